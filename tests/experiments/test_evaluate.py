"""experiments/evaluate.py: what it scores, in which units, and what it does without."""

import json
import shutil
import zlib

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.evaluation.units import SCORES, score_units
from cohgen_jax.runs.run import open_run
from tests.experiments.conftest import MODALITIES

METHODS = ("coherent", "multi", "climatology", "ridge")
ASKED = ("--draws", 3, "--methods", *METHODS)


@pytest.fixture(scope="module")
def evaluated(run_dir, tmp_path_factory):
    from tests.experiments.conftest import run_in_process

    run = shutil.copytree(run_dir, tmp_path_factory.mktemp("evaluated") / "run")
    assert run_in_process("evaluate", "--run", run, *ASKED, "--targets", "rppa", "cna") == 0
    return run


def fidelity(run) -> pd.DataFrame:
    return pd.read_csv(run / "metrics" / "fidelity.csv")


@pytest.mark.parametrize("target", ["rppa", "cna"])
@pytest.mark.parametrize("method", ["coherent", "multi"])
def test_scores_in_units_are_those_of_the_latents_written(evaluated, cohort_dir, method, target):
    """Whole draws of every patient, by the codec and the stream of its sample id."""
    run = open_run(evaluated)
    sources = "+".join(m for m in MODALITIES if m != target)
    made = pd.read_parquet(evaluated / "generated" / method / f"{target}_from_{sources}.parquet")
    draws = np.stack([own.drop(columns="draw").to_numpy() for _, own in made.groupby("draw")])
    ids = made.index[made["draw"] == 0]
    codec = run.codecs[target]
    streams = np.array([zlib.crc32(name.encode()) for name in ids], np.uint32)
    if target == "cna":
        table = pd.read_parquet(cohort_dir / "cna.parquet")
    else:
        table = pd.read_csv(cohort_dir / "rppa.tsv", sep="\t", index_col=0)
    table = table[list(codec.features)].astype(np.float32).astype(float)
    train = table.reindex(run.samples.index[run.rows("train")])
    expected = score_units(
        codec.draw(draws, streams, 0), table.loc[ids].to_numpy(), train.mean(), train.std()
    )
    row = fidelity(evaluated).query(
        "method == @method and target == @target and sources == @sources"
    )
    for name in SCORES:
        np.testing.assert_allclose(row[f"units_{name}"], expected[name], rtol=1e-4, err_msg=name)


def test_every_condition_is_scored_in_units_and_paired_with_baselines(evaluated):
    table = fidelity(evaluated)
    assert set(table["method"]) == set(METHODS)
    scores = [f"units_{name}" for name in SCORES]
    assert np.isfinite(table[scores]).all(axis=None)
    nothing = table.query("num_sources == 0")  # ridge of covariates; climatology of nothing
    assert set(nothing["method"]) == {"coherent", "climatology", "ridge"}
    same = table.query("method == 'climatology' and target == 'cna' and n == n.max()")
    assert same["units_crps"].nunique() <= 2  # whatever the sources; all, or those with rppa too
    patients = pd.read_parquet(evaluated / "metrics" / "by_patient.parquet")
    own = patients.query("target == 'rppa' and sources == 'cna+rnaseq'")
    crps = own.pivot(index="sample_id", columns="method", values="units_crps")
    paired = pd.read_csv(evaluated / "metrics" / "against_baselines.csv")
    assert set(paired["score"]) == {"units_crps"}
    row = paired.query(
        "method == 'multi' and baseline == 'ridge' and target == 'rppa' and num_sources == 2"
    )
    difference = crps["multi"] - crps["ridge"]
    np.testing.assert_allclose(row["difference"], difference.mean(), rtol=1e-6)
    np.testing.assert_allclose(row["se"], difference.std() / len(difference) ** 0.5, rtol=1e-6)
    page = (evaluated / "report.html").read_text()
    assert "all models know cancer_type, age of each patient" in page
    assert "Against baselines, patient by patient" in page


@pytest.mark.heavy
def test_without_its_tables_a_run_is_scored_in_latents(command, run_dir, cohort_dir, tmp_path):
    run = shutil.copytree(run_dir, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"cohort": str(tmp_path / "nowhere")}))
    asked = ("evaluate", "--run", run, "--draws", 2, "--targets", "rppa", "--methods", "ridge")
    outcome = command(*asked)
    assert outcome.status == 0, outcome.err
    assert outcome.err.count("no scores in units of the tables, of latents alone: ") == 1
    assert not fidelity(run).columns.str.startswith("units_").any()
    assert "no such cohort" in command(*asked, "--cohort", tmp_path / "there").refused()
    moved = command(*asked, "--cohort", cohort_dir)
    assert "no scores in units" not in moved.err
    assert np.isfinite(fidelity(run)["units_crps"]).all()


def test_what_test_patients_lack_is_left_out_and_told(command, run_dir, tmp_path):
    run = shutil.copytree(run_dir, tmp_path / "run")
    samples, latents = (
        pd.read_parquet(run / name) for name in ("samples.parquet", "latents/cna.parquet")
    )
    tested = (samples["split"].loc[latents.index] == "test").to_numpy()
    latents[~tested].to_parquet(run / "latents" / "cna.parquet")
    asked = ("--draws", 2, "--methods", "multi", "ridge", "--no-report")
    outcome = command("evaluate", "--run", run, *asked)
    assert outcome.status == 0, outcome.err
    assert "cna from rnaseq: 0 test patients have all of these: left out" in outcome.err
    table = fidelity(run)
    found = set(zip(table["target"], table["sources"], strict=True))
    assert {pair for pair in found if pair[1] != "none"} == {("rnaseq", "rppa"), ("rppa", "rnaseq")}
    command_of_one = ("evaluate", "--run", run, "--draws", 2, "--methods", "multi")
    assert "nothing can be judged" in command(*command_of_one, "--targets", "cna").refused()


@pytest.mark.heavy
def test_models_of_noise_are_evaluated_too(command, eps_run_dir, tmp_path):
    """Without posterior means, which one evaluation does not give."""
    run = shutil.copytree(eps_run_dir, tmp_path / "run")
    outcome = command("evaluate", "--run", run, *ASKED, "--targets", "rppa")
    assert outcome.status == 0, outcome.err
    assert np.isfinite(fidelity(run)["units_crps"]).all()
    assert not (run / "metrics" / "temperature.csv").exists()
