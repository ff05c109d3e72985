"""experiments/impute.py: completed tables of patients never seen."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.runs import complete
from cohgen_jax.runs.impute import impute_tables
from cohgen_jax.runs.run import open_run
from cohgen_jax.sampling import generate
from tests.experiments.conftest import MODALITIES, write_tables

NAMES = [f"{m}{suffix}.parquet" for m in MODALITIES for suffix in ("", "_mean", "_sd")]


@pytest.fixture
def completed(run_dir, new_dir, tmp_path, command):
    """Run impute.py on the new patients (or other ones) and read what it wrote."""

    def run(*args, source=new_dir, out="out"):
        outcome = command(
            "impute", "--run", run_dir, "--input", source, "--out", tmp_path / out, *args
        )
        assert outcome.status == 0, outcome.err
        files = sorted((tmp_path / out).iterdir())
        return {
            file.name: pd.read_csv(file) if file.suffix == ".csv" else pd.read_parquet(file)
            for file in files
        }

    return run


def same(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name, table in one.items():
        pd.testing.assert_frame_equal(table, other[name], **tolerance)


def test_what_is_missing_is_generated_and_the_rest_kept(completed, new_tables):
    tables = completed("--draws", 3)
    assert sorted(tables) == sorted([*NAMES, "disagreement.csv"])
    lacking = {"cna": ["N04", "N05"], "rnaseq": ["N03", "N04"], "rppa": ["N01", "N02", "N03"]}
    for modality, ids in lacking.items():
        observed = new_tables[modality]
        draws, mean, sd = (tables[f"{modality}{s}.parquet"] for s in ("", "_mean", "_sd"))
        features = list(observed.columns)
        assert draws.index.name == mean.index.name == sd.index.name == "sample_id"
        assert list(draws.columns) == ["draw", *features]
        holes = ["N05"] if modality == "rnaseq" else []  # an unknown cell
        assert list(draws.index) == np.repeat([*ids, *holes], 3).tolist()
        assert list(draws["draw"]) == [0, 1, 2] * len([*ids, *holes])
        everyone = [f"N{i:02d}" for i in range(6)]
        assert list(mean.index) == list(sd.index) == everyone
        assert list(mean.columns) == list(sd.columns) == features
        by_patient = draws.drop(columns="draw").groupby("sample_id")
        made = [*ids, *holes]
        np.testing.assert_allclose(mean.loc[made], by_patient.mean(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(sd.loc[made], by_patient.std(), rtol=1e-4, atol=1e-5)
        assert (sd.loc[ids] > 0).all(axis=None)
        known = observed.reindex(everyone).drop(ids).notna()
        assert np.array_equal(sd.drop(ids) == 0, known)
        kept = mean.drop(ids)
        known = observed.loc[kept.index].notna().to_numpy()
        assert np.array_equal(kept.to_numpy()[known], observed.loc[kept.index].to_numpy()[known])
        assert np.isfinite(mean).all(axis=None)  # N05's missing cell was drawn
        # Raw units: where the observed values of each feature are, not about 0 with sd 1.
        error = (mean.loc[ids] - observed.mean()).abs().mean(axis=None)
        assert error < 2 * observed.std().mean()
    scores = tables["disagreement.csv"]
    assert list(scores.columns) == [
        *("sample_id", "modality", "sources", "disagreement", "spread"),
        *("spread_rank", "expected_error", "flagged", "typicality"),
    ]
    assert (scores["flagged"] == (scores["spread_rank"] > 0.9)).all()
    assert scores["spread_rank"].between(0, 1).all()
    assert (scores["expected_error"] > 0).all()
    assert scores["typicality"].between(0, 1, inclusive="right").all()
    sources = scores.set_index(["sample_id", "modality"])["sources"].to_dict()
    assert sources == {
        ("N04", "cna"): "rppa",
        ("N05", "cna"): "rnaseq+rppa",
        ("N03", "rnaseq"): "cna",
        ("N04", "rnaseq"): "rppa",
        ("N01", "rppa"): "cna+rnaseq",
        ("N02", "rppa"): "cna+rnaseq",
        ("N03", "rppa"): "cna",
    }
    alone = ~scores["sources"].str.contains("+", regex=False)
    assert scores.loc[alone, "disagreement"].isna().all()
    assert (scores.loc[~alone, "disagreement"].between(0, 2)).all()


def test_a_patient_does_not_notice_who_else_is_there(completed, new_tables, tmp_path, monkeypatch):
    base = completed("--draws", 2)
    shuffled = {
        m: t.sample(frac=1, random_state=1).sample(frac=1, axis=1, random_state=2)
        for m, t in new_tables.items()
    }
    same(base, completed("--draws", 2, source=write_tables(tmp_path / "s", shuffled), out="s_out"))

    monkeypatch.setattr(generate, "chains_at_once", lambda bank, device, present: 2)
    chunked = completed("--draws", 2, out="chunked")
    same(base, chunked, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(complete, "BLOCK_BYTES", 1)  # a patient at a time
    same(base, completed("--draws", 2, out="blocks"), rtol=1e-4, atol=1e-4)
    assert pq.ParquetFile(tmp_path / "blocks" / "cna_mean.parquet").num_row_groups == 6
    monkeypatch.undo()

    fewer = {m: t.drop("N01", errors="ignore") for m, t in new_tables.items()}
    without = completed("--draws", 2, source=write_tables(tmp_path / "f", fewer), out="f_out")
    for name, table in base.items():
        ids = table.get("sample_id", table.index)
        left = table[ids != "N01"]
        if "sample_id" in table:
            left = left.reset_index(drop=True)
        pd.testing.assert_frame_equal(left, without[name], rtol=1e-4, atol=1e-4)


def test_unknown_cells_may_be_left_unknown(completed, new_tables):
    """With --no-fill they stay empty, and nobody is drawn for them."""
    tables = completed("--draws", 3, "--no-fill")
    hole = new_tables["rnaseq"].loc["N05"].isna()
    assert hole.sum() == 1
    for part in ("_mean", "_sd"):
        row = tables[f"rnaseq{part}.parquet"].loc["N05"]
        assert np.array_equal(row.isna(), hole)
    assert "N05" not in tables["rnaseq.parquet"].index
    assert (tables["rnaseq_sd.parquet"].loc["N05"].dropna() == 0).all()


def test_another_seed_is_another_draw_and_the_same_seed_the_same(completed):
    base = completed("--draws", 2, "--targets", "rppa")
    same(base, completed("--draws", 2, "--targets", "rppa", out="again"))
    other = completed("--draws", 2, "--targets", "rppa", "--seed", 1, out="other")
    assert not np.allclose(base["rppa.parquet"], other["rppa.parquet"])


def test_targets_limit_what_is_generated(completed):
    tables = completed("--draws", 2, "--targets", "rppa")
    assert sorted(tables) == ["disagreement.csv", *(n for n in NAMES if n.startswith("rppa"))]
    assert set(tables["disagreement.csv"]["modality"]) == {"rppa"}


def test_regenerate_replaces_what_is_there(completed, new_tables):
    tables = completed("--draws", 2, "--targets", "rnaseq", "--regenerate")
    # N05 and N04 have rppa, N00-N03 cna: everybody has another modality.
    assert sorted(set(tables["rnaseq.parquet"].index)) == [f"N{i:02d}" for i in range(6)]
    sd = tables["rnaseq_sd.parquet"]
    assert (sd > 0).mean(axis=None) > 0.95  # two draws may both be the 0 of a gene that is often 0
    seen = new_tables["rnaseq"].loc["N00"]
    assert not np.allclose(tables["rnaseq_mean.parquet"].loc["N00"], seen)


def test_ten_draws_come_with_intervals(completed):
    tables = completed("--draws", 10, "--targets", "rppa")
    low, high, mean = (tables[f"rppa_{name}.parquet"] for name in ("low", "high", "mean"))
    generated = ["N01", "N02", "N03"]
    assert (low.loc[generated] < high.loc[generated]).all(axis=None)
    observed = mean.index.difference(generated)
    assert low.loc[observed].equals(high.loc[observed])
    np.testing.assert_array_equal(low.loc[observed], mean.loc[observed])
    assert "rppa_low.parquet" not in completed("--draws", 9, "--targets", "rppa", out="nine")


def test_intervals_of_another_sampler_are_its_own_draws(completed):
    """Between the outermost two of ten on either side; no width was fitted to them."""
    tables = completed("--draws", 10, "--targets", "rppa", "--solver.num-steps", 7)
    draws = tables["rppa.parquet"].drop(columns="draw").groupby("sample_id")
    low, high = (
        tables[f"rppa_{end}.parquet"].loc[["N01", "N02", "N03"]] for end in ("low", "high")
    )
    sides = (
        (draws.quantile(0), low, draws.quantile(1 / 9)),
        (draws.quantile(8 / 9), high, draws.quantile(1)),
    )
    for least, end, most in sides:
        assert ((least <= end + 1e-5) & (end <= most + 1e-5)).all(axis=None)


def test_intervals_are_one_table_whatever_the_blocks(completed, monkeypatch):
    """Blocks in which nobody is generated too."""
    base = completed("--draws", 10, "--targets", "rppa")
    monkeypatch.setattr(complete, "BLOCK_BYTES", 1)  # a patient at a time
    same(base, completed("--draws", 10, "--targets", "rppa", out="blocks"), rtol=1e-4, atol=1e-4)


def test_what_is_told_of_patients_changes_their_draws(completed, new_tables, tmp_path):
    """By samples.csv or by --set alike; unknown is what they are without either."""
    asked = ("--draws", 2, "--targets", "rppa")
    unknown = completed(*asked)
    lung = completed(*asked, "--set", "cancer_type=lung", out="lung")
    brain = completed(*asked, "--set", "cancer_type=BRAIN", out="brain")
    draws = [t["rppa.parquet"].drop(columns="draw") for t in (unknown, lung, brain)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not np.allclose(draws[one], draws[other], atol=1e-3)
    same(unknown, completed(*asked, "--set", "cancer_type=unknown", "age=unknown", out="none"))
    ids = pd.Index([f"N{i:02d}" for i in range(6)], name="sample_id")
    facts = pd.DataFrame({"cancer_type": "lung"}, ids)
    told = write_tables(tmp_path / "told", new_tables, facts)
    same(lung, completed(*asked, source=told, out="told_out"))
    same(brain, completed(*asked, "--set", "cancer_type=brain", source=told, out="set_out"))


@pytest.mark.heavy
def test_models_of_noise_impute_too(command, eps_run_dir, new_dir, new_tables, tmp_path):
    """Of another run, whose chain and calibration are those of epsilon."""
    out = tmp_path / "eps"
    args = ("--input", new_dir, "--out", out, "--draws", 4)
    outcome = command("impute", "--run", eps_run_dir, *args)
    assert outcome.status == 0, outcome.err
    for modality, table in new_tables.items():
        mean = pd.read_parquet(out / f"{modality}_mean.parquet")
        assert np.isfinite(mean).all(axis=None)
        made = mean.drop(table.index)
        low, high = table.min().min(), table.max().max()
        reach = high - low
        assert made.min().min() > low - reach
        assert made.max().max() < high + reach


def test_one_draw_has_no_spread(completed):
    tables = completed("--draws", 1, "--targets", "rppa")
    assert tables["rppa_sd.parquet"].loc["N01"].isna().all()
    assert (tables["rppa_sd.parquet"].loc["N00"] == 0).all()
    draw = tables["rppa.parquet"].drop(columns="draw")
    np.testing.assert_array_equal(draw, tables["rppa_mean.parquet"].loc[draw.index])


def test_the_multi_condition_model_generates_too(completed):
    tables = completed("--draws", 2, "--method", "multi", "--targets", "rppa")
    assert np.isfinite(tables["rppa.parquet"]).all(axis=None)
    assert tables["disagreement.csv"]["disagreement"].isna().all()  # one model speaks
    coherent = completed("--draws", 2, "--targets", "rppa", out="coherent")
    assert not np.allclose(tables["rppa.parquet"], coherent["rppa.parquet"])


def test_a_patient_with_one_modality_gets_the_others(completed, new_tables, tmp_path):
    source = write_tables(tmp_path / "one", {"cna": new_tables["cna"].loc[["N03"]]})
    tables = completed("--draws", 2, source=source)
    assert sorted(set(tables["disagreement.csv"]["modality"])) == ["rnaseq", "rppa"]
    assert len(tables["rppa.parquet"]) == len(tables["rnaseq.parquet"]) == 2
    assert "cna.parquet" not in tables


def test_a_folder_of_parquet_parts_is_a_table_here_too(completed, new_tables, tmp_path):
    base = completed("--draws", 2)
    source = write_tables(tmp_path / "parts", new_tables)
    (source / "cna.parquet").unlink()
    (source / "cna.parquet").mkdir()
    for part, rows in enumerate((slice(None, 2), slice(2, None))):
        new_tables["cna"].iloc[rows].to_parquet(source / "cna.parquet" / f"part.{part}.parquet")
    same(base, completed("--draws", 2, source=source, out="parts_out"))


def test_extra_columns_and_tables_are_left_alone(completed, new_tables, tmp_path, command, run_dir):
    base = completed("--draws", 2)
    extra = {**new_tables, "cna": new_tables["cna"].assign(surplus=1.0)}
    source = write_tables(tmp_path / "extra", extra)
    (source / "drugs.csv").write_text("sample_id,drug\nN00,aspirin\n")
    (source / "README.md").write_text("Notes.")
    same(base, completed("--draws", 2, source=source, out="extra_out"))
    args = ("--run", run_dir, "--input", source, "--out", tmp_path / "told", "--draws", 1)
    assert "drugs is not a modality of this run" in command("impute", *args).err


def test_a_table_has_its_name_only_when_it_is_whole(run_dir, new_dir, tmp_path, monkeypatch):
    out, draw = tmp_path / "out", complete.Codec.draw_standardised

    def full_disk(self, z, streams, seed):
        if (out / "rnaseq_sd.parquet").exists():  # the next target
            raise OSError("No space left on device")
        return draw(self, z, streams, seed)

    monkeypatch.setattr(complete.Codec, "draw_standardised", full_disk)
    with pytest.raises(OSError, match="No space left"):
        impute_tables(open_run(run_dir), new_dir, out, num_draws=1, consensus="mean")
    names = sorted(file.name for file in out.iterdir())
    assert names == [f"{m}{s}.parquet" for m in ("cna", "rnaseq") for s in ("", "_mean", "_sd")]
    assert len(pd.read_parquet(out / "rnaseq_mean.parquet")) == 6


# ---- refused ----------------------------------------------------------------------------------


@pytest.fixture
def refused(run_dir, tmp_path, command):
    def run(source, *args) -> str:
        out = tmp_path / "refused"
        return command(
            "impute", "--run", run_dir, "--input", source, "--out", out, "--draws", 1, *args
        ).refused()

    yield run
    assert not (tmp_path / "refused").exists()


def test_unknown_names_are_refused(refused, new_dir):
    assert "unknown modality 'wsi'; this run knows cna, rnaseq, rppa" in refused(
        new_dir, "--targets", "wsi"
    )
    assert "--draws must be at least 1" in refused(new_dir, "--draws", 0)
    assert "seed must lie in" in refused(new_dir, "--seed", 2**31)


def test_covariates_that_the_models_do_not_know_are_refused(refused, new_dir):
    message = refused(new_dir, "--set", "cancer_type=skin")
    assert message.startswith("cancer_type=skin: no training patient had it; known are brain")
    assert "age=old: a number like those of training" in refused(new_dir, "--set", "age=old")
    message = refused(new_dir, "--set", "colour=blue")
    assert "colour is no covariate of the models; they have cancer_type, age" in message
    assert "is not like cancer_type=LUSC" in refused(new_dir, "--set", "lung")


def test_bad_tables_are_refused(refused, new_tables, tmp_path):
    short = {**new_tables, "cna": new_tables["cna"].iloc[:, 1:]}
    message = refused(write_tables(tmp_path / "short", short))
    assert message.startswith("cna: the table has 23 of the 24 features")
    only = write_tables(tmp_path / "foreign", {"proteins": new_tables["rppa"]})
    assert "has no table of cna, rnaseq, rppa" in refused(only)
    assert "no such cohort" in refused(tmp_path / "nowhere")
    empty = {"cna": new_tables["cna"] * np.nan}
    assert "has no patient with any value in cna" in refused(write_tables(tmp_path / "e", empty))
    infinite = {**new_tables, "cna": new_tables["cna"] + np.inf}
    message = refused(write_tables(tmp_path / "infinite", infinite))
    assert message.startswith("cna.parquet, column 'GENE000', row 'N00': infinite value")
    text = {
        **new_tables,
        "rnaseq": new_tables["rnaseq"].map(lambda cell: "n.d." if np.isnan(cell) else cell),
    }
    message = refused(write_tables(tmp_path / "text", text))
    assert message.startswith("rnaseq.csv, column 'GENE002': 1 cells are not numbers")
    twice = {**new_tables, "cna": pd.concat([new_tables["cna"]] * 2)}
    assert "sample ids occur more than once" in refused(write_tables(tmp_path / "twice", twice))


def test_unknown_settings_are_refused_without_the_command_line_too(run_dir, new_dir, tmp_path):
    run = open_run(run_dir)
    for wrong in ({"method": "magic"}, {"consensus": "median"}):
        with pytest.raises(InputError, match=r"unknown .* known: "):
            impute_tables(run, new_dir, tmp_path / "out", **wrong)


def test_nothing_to_generate_is_refused(refused, new_tables, tmp_path):
    whole = {m: t.loc[["N00"]] for m, t in new_tables.items()}
    assert "nothing to generate" in refused(write_tables(tmp_path / "whole", whole))
    alone = {"cna": new_tables["cna"]}
    source = write_tables(tmp_path / "alone", alone)
    assert "nothing to generate" in refused(source, "--targets", "cna", "--regenerate")


def test_an_occupied_folder_is_refused(run_dir, new_dir, tmp_path, command):
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("precious")
    args = ("--run", run_dir, "--input", new_dir)
    assert "is not empty" in command("impute", *args, "--out", full).refused()
    assert (full / "mine.txt").read_text() == "precious"
    command("impute", *args, "--out", full / "mine.txt").refused()
