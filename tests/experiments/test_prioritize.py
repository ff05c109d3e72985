"""experiments/prioritize.py: what to measure first, of patients never seen."""

import shutil

import pandas as pd
import pytest

from tests.experiments.conftest import write_tables

SMALL = ("--draws", 4, "--forests", 5, "--trees", 5, "--jobs", 1)


def test_every_missing_assay_of_every_patient_is_ranked(command, run_dir, new_tables, tmp_path):
    types = pd.DataFrame(
        {"cancer_type": ["lung"] * 6}, sorted(set(new_tables["cna"].index) | {"N04", "N05"})
    )
    source = write_tables(tmp_path / "new", new_tables, types.rename_axis("sample_id"))
    prices = tmp_path / "costs.csv"
    prices.write_text("modality,cost\ncna,100\nrnaseq,200\nrppa,50\n")
    out = tmp_path / "out" / "next.csv"
    args = ("--run", run_dir, "--patients", source, "--out", out, *SMALL)
    outcome = command("prioritize", *args, "--costs", prices)
    assert outcome.status == 0, outcome.err
    table = pd.read_csv(out)
    lacking = {"N01": ["rppa"], "N02": ["rppa"], "N03": ["rnaseq", "rppa"],
               "N04": ["cna", "rnaseq"], "N05": ["cna"]}  # fmt: skip
    found = table.groupby("sample_id")["modality"].apply(lambda own: sorted(own)).to_dict()
    assert found == lacking
    assert set(table["predicted"]) <= {"I", "II", "III", "IV"}
    pd.testing.assert_series_equal(
        table["value"], table["expected_change"] / table["cost"], check_names=False
    )
    for _, own in table.groupby("sample_id"):
        assert list(own["rank"]) == list(range(1, len(own) + 1))
        assert own["value"].is_monotonic_decreasing
        assert own["advice"].iloc[0] in (own["modality"].iloc[0], "cannot tell")
    assert "5 patients, what to measure first for stage" in outcome.out
    assert "N01 (" in outcome.out
    message = command("prioritize", *args).refused()
    assert "is there already" in message
    pd.testing.assert_frame_equal(pd.read_csv(out), table)

    again = tmp_path / "again.csv"
    args = ("--run", run_dir, "--patients", source, "--out", again, *SMALL)
    dear = ("cna=100", "rnaseq=200", "rppa=50")
    assert command("prioritize", *args, "--costs", *dear).status == 0
    pd.testing.assert_frame_equal(pd.read_csv(again), table)


def test_survival_is_a_label_and_needs_none_of_the_patients(command, run_dir, new_dir, tmp_path):
    out = tmp_path / "next.csv"
    args = ("--run", run_dir, "--patients", new_dir, "--out", out, *SMALL)
    outcome = command("prioritize", *args, "--label", "survival", "--method", "multi")
    assert outcome.status == 0, outcome.err
    table = pd.read_csv(out)
    assert (table["expected_change"] >= 0).all()
    assert table["predicted"].str.startswith("risk ").all()
    assert table["cost"].isna().all()
    assert "the patients have no cancer type" in outcome.err


def test_numbers_are_labels_and_test_patients_need_none(command, run_dir, new_dir, tmp_path):
    run, tables = shutil.copytree(run_dir, tmp_path / "run"), []
    samples = pd.read_parquet(run / "samples.parquet")
    grade = samples["stage"].map({"I": 1, "II": 2, "III": 3, "IV": 4})
    grade = grade.where(samples["split"] != "test")
    samples.assign(grade=grade).to_parquet(run / "samples.parquet")
    for label in ("stage", "grade"):
        out = tmp_path / f"{label}.csv"
        args = ("--run", run, "--patients", new_dir, "--out", out, *SMALL, "--label", label)
        outcome = command("prioritize", *args)
        assert outcome.status == 0, outcome.err
        tables.append(pd.read_csv(out, dtype={"predicted": str}))
    stage, graded = tables
    assert set(graded["predicted"]) <= {"1", "2", "3", "4"}
    named = graded["predicted"].map({"1": "I", "2": "II", "3": "III", "4": "IV"})
    pd.testing.assert_frame_equal(graded.assign(predicted=named), stage)


@pytest.fixture
def refused(command, run_dir, new_dir, tmp_path):
    def run(*args, run=run_dir, source=new_dir) -> str:
        out = tmp_path / "next.csv"
        message = command(
            "prioritize", "--run", run, "--patients", source, "--out", out, *SMALL, *args
        ).refused()
        assert not out.exists()
        return message

    return run


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--costs", "mri=5"), "--costs: 'mri' is no modality of this run: cna, rnaseq, rppa"),
        (("--costs", "cna=-5", "rppa=1"), "the cost of cna must be a positive number, got '-5'"),
        (("--costs", "cna=0"), "the cost of cna must be a positive number, got '0'"),
        (("--costs", "cna=cheap"), "the cost of cna must be a positive number, got 'cheap'"),
        (("--costs", "cna=1", "cna=2"), "--costs names a modality twice"),
        (("--costs", "cna=1", "rppa=1"), "no cost of rnaseq, which patients lack"),
        (("--costs", "none.csv"), "no such table"),
        (("--label", "fortune"), "this run has no 'fortune'"),
        (("--draws", "1"), "--draws must be at least 2"),
        (("--forests", "2"), "--forests must be at least 5"),
    ],
)
def test_what_cannot_be_used_is_named(refused, args, message):
    assert message in refused(*args)


def test_labels_that_cannot_be_learnt_are_named(refused, run_dir, tmp_path):
    run = shutil.copytree(run_dir, tmp_path / "run")
    samples = pd.read_parquet(run / "samples.parquet")
    samples.assign(stage="II", os_days=0.0).to_parquet(run / "samples.parquet")
    assert "stage: 1 classes" in refused(run=run)
    assert "survival: 0 deaths among the training" in refused("--label", "survival", run=run)
    samples[["patient_id", "split"]].to_parquet(run / "samples.parquet")
    assert "this run has no 'stage'" in refused(run=run)
    assert "no os_event and no os_days" in refused("--label", "survival", run=run)


def test_patients_who_lack_nothing_are_refused(refused, new_tables, tmp_path):
    whole = {m: t.loc[["N00"]] for m, t in new_tables.items()}
    assert "nothing to rank: nobody in" in refused(source=write_tables(tmp_path / "w", whole))
    foreign = write_tables(tmp_path / "f", {"proteins": new_tables["rppa"]})
    assert "has no table of cna, rnaseq, rppa" in refused(source=foreign)
