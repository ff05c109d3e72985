"""experiments/downstream.py: what it leaves, what it does not do twice, what it says it cannot."""

import importlib.util
import json
import shutil

import pandas as pd
import pytest

from cohgen_jax.cli.downstream import summary_text
from cohgen_jax.downstream import ANALYSES
from cohgen_jax.downstream.of_run import DownstreamConfig, analyse_run
from cohgen_jax.downstream.reconstruction import EVERYONE
from cohgen_jax.runs.run import open_run

SMALL = ("--quick", "--methods", "mean", "nearest", "multi", "--jobs", "1", "--bootstrap", "50")


@pytest.fixture
def own_run(run_dir, tmp_path):
    return shutil.copytree(run_dir, tmp_path / "run")


@pytest.mark.heavy
def test_analyses_are_kept_and_not_computed_twice(command, own_run):
    wanted = ("reconstruction", "rescue_stage", "cascades")
    args = ("--run", own_run, *SMALL, "--analyses", *wanted)
    outcome = command("downstream", *args)
    assert outcome.status == 0, outcome.err
    chosen = [a for a in ANALYSES if a.name in wanted]
    summary = pd.read_csv(own_run / "metrics" / "downstream_summary.csv")
    assert list(summary["analysis"].unique()) == list(wanted)
    assert (summary["ci_low"] <= summary["ci_high"]).all()
    for analysis in chosen:
        assert len(pd.read_csv(own_run / analysis.table_file))
        assert (own_run / f"{analysis.figure_stem}.png").exists()
    first, second = (own_run / a.table_file for a in chosen[:2])
    second.write_text("not computed again\n")
    first.with_suffix(".json").unlink()  # as after an interruption
    again = command("downstream", *args, "--no-report")
    assert "rescue_stage: as computed before" in again.err
    assert "reconstruction: as computed before" not in again.err
    assert second.read_text() == "not computed again\n"

    second.with_suffix(".json").unlink()  # what is not whole makes no claim
    fewer = ("--draws", 2, "--analyses", wanted[0], "--no-report")
    less = command("downstream", "--run", own_run, *SMALL, *fewer)
    assert less.status == 0, less.err
    summary = pd.read_csv(own_run / "metrics" / "downstream_summary.csv")
    work = summary.groupby("analysis")[["draws", "seeds", "trees"]].agg(set)
    assert set(work.index) == {"reconstruction", "cascades"}
    assert work.loc["reconstruction"].tolist() == [{2}, {2}, {25}]
    assert work.loc["cascades"].tolist() == [{3}, {2}, {25}]


def test_claims_are_told_by_metric():
    rows = [("stage", "balanced_accuracy", 40), ("survival", "c_index", 30)]
    table = pd.DataFrame(rows, columns=["contrast", "metric", "n"]).assign(
        analysis="completion", unit="patient", estimate=0.1, ci_low=0.0, ci_high=0.2, p_holm=0.5,
        draws=10, seeds=5, trees=100,
    )  # fmt: skip
    heads = [line for line in summary_text(table).splitlines() if line[0] != " "]
    assert heads == [
        "completion (balanced accuracy, 40 patients; 10 draws, 5 seeds, 100 trees)",
        "completion (c index, 30 patients; 10 draws, 5 seeds, 100 trees)",
    ]


@pytest.mark.heavy
def test_results_follow_calibration_and_labels(own_run):
    config = DownstreamConfig(
        analyses=("reconstruction",), quick=True, methods=("nearest", "multi"), bootstrap=20, jobs=1
    )
    table, kept = (
        own_run / place
        for place in ("metrics/downstream/reconstruction.csv", "generated/downstream/multi.npz")
    )

    def computed() -> tuple[pd.DataFrame, bytes]:
        told = []
        analyse_run(open_run(own_run), config, tell=told.append)
        assert "reconstruction: as computed before" not in told
        return pd.read_csv(table), kept.read_bytes()

    (own_run / "calibration").rename(own_run / "later")
    plain, narrow = computed()
    (own_run / "later").rename(own_run / "calibration")
    calibrated, wide = computed()
    assert wide != narrow
    changed = calibrated["energy_score"] != plain["energy_score"]
    assert (changed == (calibrated["method"] == "multi")).all()

    samples = pd.read_parquet(own_run / "samples.parquet")
    samples.assign(cancer_type="one").to_parquet(own_run / "samples.parquet")
    labelled, same = computed()
    assert same == wide
    assert set(labelled["label"]) == {EVERYONE, "one"}


@pytest.mark.heavy
def test_two_processes_find_what_one_finds(command, own_run):
    wanted = ("rescue_stage", "rescue_survival", "sets")
    args = ("--run", own_run, *SMALL, "--analyses", *wanted)
    chosen = [a for a in ANALYSES if a.name in wanted]

    def tables(*more) -> list[pd.DataFrame]:
        shutil.rmtree(own_run / "metrics" / "downstream", ignore_errors=True)
        outcome = command("downstream", *args, *more)
        assert outcome.status == 0, outcome.err
        return [pd.read_csv(own_run / a.table_file) for a in chosen]

    for one, two in zip(tables(), tables("--jobs", "2"), strict=True):
        pd.testing.assert_frame_equal(one, two)


def test_what_a_run_cannot_have_is_named_and_the_rest_done(command, own_run):
    samples = pd.read_parquet(own_run / "samples.parquet")
    samples.assign(os_days=0.0).drop(columns="stage").to_parquet(own_run / "samples.parquet")
    wanted = ("rescue_stage", "rescue_survival", "sets")
    outcome = command("downstream", "--run", own_run, *SMALL, "--analyses", *wanted, "--no-report")
    assert outcome.status == 0, outcome.err
    assert "rescue_stage: skipped: this run has no 'stage'" in outcome.err
    assert "rescue_survival: skipped: survival: 0 deaths among the training" in outcome.err
    about = json.loads((own_run / "metrics" / "downstream" / "rescue_stage.json").read_text())
    assert "no 'stage'" in about["skipped"]
    assert not (own_run / "metrics" / "downstream" / "rescue_stage.csv").exists()
    assert len(pd.read_csv(own_run / "metrics" / "downstream" / "sets.csv"))


def test_a_run_without_models_is_refused(command, own_run):
    shutil.rmtree(own_run / "models" / "multi")
    message = command("downstream", "--run", own_run, *SMALL).refused()
    assert "is not finished: it has no multi-condition models" in message


def test_packages_that_are_not_there_are_named_before_any_work(
    command, own_run, new_dir, tmp_path, monkeypatch
):
    there, absent = importlib.util.find_spec, ("sksurv", "tensorflow_datasets")

    def found(name, *more):
        return None if name in absent else there(name, *more)

    monkeypatch.setattr("importlib.util.find_spec", found)
    install = "sksurv: pip install 'cohgen-jax[downstream]'"
    assert install in command("downstream", "--run", own_run, *SMALL).refused()
    assert not (own_run / "metrics" / "downstream").exists()
    args = ("--run", own_run, "--patients", new_dir, "--out", tmp_path / "next.csv")
    assert install in command("prioritize", *args, "--label", "survival").refused()
    args = ("--cohort", "tfds:any/raw", "--out", tmp_path / "packed")
    assert (
        "tensorflow_datasets: pip install 'cohgen-jax[prep]'" in command("train", *args).refused()
    )
    assert not (tmp_path / "packed").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--analyses", "fortune"), "unknown analysis 'fortune'"),
        (("--methods", "guess"), "unknown method 'guess'"),
        (("--draws", "1"), "--draws must be at least 2"),
    ],
)
def test_bad_options_are_refused(command, run_dir, args, message):
    assert message in command("downstream", "--run", run_dir, *args).refused()
