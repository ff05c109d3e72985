"""experiments/audit.py: what it leaves in a run and says."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from tests.experiments.conftest import MODALITIES


@pytest.fixture
def own_run(run_dir, tmp_path):
    return shutil.copytree(run_dir, tmp_path / "run")


def test_privacy_audit_of_a_run(command, own_run):
    """Four epochs teach nothing by heart; nearest patients hand out training records."""
    outcome = command(
        "audit", "--run", own_run, "--analyses", "privacy", "--draws", "4", "--targets", "rppa"
    )
    assert outcome.status == 0, outcome.err
    metrics = own_run / "metrics"
    found = pd.read_csv(metrics / "privacy_membership.csv").set_index("method")
    assert set(found.index) == {"coherent", "multi", "nearest"}
    control = found.loc["nearest"].set_index("attack")["auc"]
    assert (control[["query", "release", "query_units", "release_units"]] > 0.6).all()
    attacks = [*("release", "query", "release_units", "query_units"), *("loss", "loss_calibrated")]
    assert set(found.loc["coherent", "attack"]) == {*attacks, "supervised"}
    ours = found.loc[["coherent", "multi"]]
    assert (ours["auc_low"] < 0.55).all()
    near = pd.read_csv(metrics / "privacy_distances.csv").set_index("method")
    assert near.loc["nearest", "dcr"] < near.loc["coherent", "dcr"]
    told = pd.read_csv(metrics / "privacy_attributes.csv")
    assert set(told["attribute"]) == {"rppa"}  # too few validation patients to learn stages from
    verdict = json.loads((metrics / "privacy.json").read_text())
    assert verdict["worst_auc"] == pytest.approx(ours["auc"].max())
    assert f"worst AUC {verdict['worst_auc']:.3f}" in outcome.out
    assert "does not show" in outcome.out
    for name in ("privacy_membership", "privacy_distances"):
        assert (own_run / "figures" / f"{name}.svg").exists()


@pytest.mark.heavy
def test_raw_space_of_a_run(command, own_run, cohort_dir, tmp_path):
    """What is decoded from real latents is near the tables; four epochs of training are not."""
    moved = shutil.copytree(cohort_dir, tmp_path / "moved")
    asked = ("audit", "--run", own_run, "--analyses", "raw_space", "--draws", "3")
    outcome = command(*asked, "--targets", "cna", "rppa", "--cohort", moved)
    assert outcome.status == 0, outcome.err
    metrics = own_run / "metrics"
    scores = pd.read_csv(metrics / "raw_scores.csv").set_index(["target", "method"])
    for target in ("cna", "rppa"):
        kept = scores.loc[target]
        others = ["coherent", "multi", "ridge", "kernel_ridge", "nearest", "gaussian"]
        assert kept.loc["reconstruction", "r_mean"] > max(0.5, *kept.loc[others, "r_mean"])
        if target == "cna":  # rppa has three correlations
            assert kept.loc["train", "structure"] > 0.3
    links = pd.read_csv(metrics / "raw_links.csv")
    assert set(links["generated"]) == {"cna"}  # rppa measures no gene under the names of the others
    assert links["gene"].nunique() == 24
    real = links.query("method == 'reconstruction'")
    assert np.corrcoef(real["r"], real["r_real"])[0, 1] > 0.8
    assert (own_run / "figures" / "raw_links.svg").exists()
    assert "reconstruction" in outcome.out
    outcome = command(*asked, "--targets", "rppa", "--cohort", moved)  # genes, but none to link
    assert outcome.status == 0, outcome.err

    table = pd.read_parquet(moved / "cna.parquet")
    table.iloc[0, 0] += 1
    table.to_parquet(moved / "cna.parquet")
    said = command(*asked, "--cohort", moved).refused()
    assert str(moved) in said
    assert "--cohort" in said


def test_audits_that_cannot_be_are_refused(command, own_run):
    before = sorted(own_run.rglob("*"))
    said = command("audit", "--run", own_run, "--targets", "protein").refused()
    assert "protein" in said
    assert MODALITIES[0] in said
    assert "patients" in command("audit", "--run", own_run, "--patients", "0").refused()
    assert "HER2=ERBB2" in command("audit", "--run", own_run, "--synonyms", "HER2").refused()
    assert sorted(own_run.rglob("*")) == before
    samples = pd.read_parquet(own_run / "samples.parquet")
    latents = pd.read_parquet(own_run / "latents" / "rppa.parquet")
    latents = latents[(samples["split"].loc[latents.index] != "val").to_numpy()]
    latents.to_parquet(own_run / "latents" / "rppa.parquet")
    said = command("audit", "--run", own_run, "--analyses", "privacy").refused()
    assert "validation patients; none of them has every modality" in said


@pytest.mark.heavy
def test_without_its_tables_a_run_is_attacked_in_latents(command, own_run, cohort_dir):
    config = json.loads((own_run / "config.json").read_text())
    gone = json.dumps(config | {"cohort": "/nowhere"})
    (own_run / "config.json").write_text(gone)
    asked = ("audit", "--run", own_run, "--draws", "3", "--targets", "rppa")
    assert "--analyses privacy only" in command(*asked).refused()
    outcome = command(*asked, "--analyses", "privacy")
    assert outcome.status == 0, outcome.err
    found = pd.read_csv(own_run / "metrics" / "privacy_membership.csv")
    assert not found["attack"].str.endswith("_units").any()
    assert "Latents are attacked, not files" in outcome.out
    assert command(*asked, "--cohort", cohort_dir, "--analyses", "intervals").status == 0


def test_intervals_hold_held_out_patients(command, own_run):
    """With and without the width that validation patients have fitted."""
    outcome = command("audit", "--run", own_run, "--analyses", "intervals", "--no-report")
    assert outcome.status == 0, outcome.err
    found = pd.read_csv(own_run / "metrics" / "intervals.csv")
    assert len(found) == 2 * len(MODALITIES)
    # 12 validation patients, 28 or 30 held out, features of a patient alike: a wide margin.
    assert (found[["coverage", "uncalibrated"]] - 0.8).abs().max(axis=None) < 0.25
    assert (found["coverage"] != found["uncalibrated"]).any()
