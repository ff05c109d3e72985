"""experiments/audit.py: what it leaves in a run and says."""

import json
import shutil

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
    assert (control[["query", "release"]] > 0.6).all()
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


def test_audits_that_cannot_be_are_refused(command, own_run):
    before = sorted(own_run.rglob("*"))
    said = command("audit", "--run", own_run, "--targets", "protein").refused()
    assert "protein" in said
    assert MODALITIES[0] in said
    assert "patients" in command("audit", "--run", own_run, "--patients", "0").refused()
    assert sorted(own_run.rglob("*")) == before
