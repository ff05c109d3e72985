"""The simulated cohort: fixed, complete in kind, and with the effects it says it planted."""

import dataclasses
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.codec import CodecConfig, encode_cohort, fit_codecs
from cohgen_jax.cohort import demo_cohort, demo_truth, load_cohort, stage_number


@pytest.fixture(scope="module")
def demo():
    return demo_cohort()


def test_same_seed_same_cohort_other_seed_other_patients(demo):
    again = demo_cohort(0)
    for modality in demo.modalities:
        assert demo.tables[modality].equals(again.tables[modality])
    assert demo.samples.equals(again.samples)
    other = demo_cohort(1)
    assert not set(other.samples.index) & set(demo.samples.index)
    assert list(other.tables["rppa"].columns) == list(demo.tables["rppa"].columns)


def test_missingness_is_realistic(demo):
    assert demo.modalities == ("cna", "rnaseq", "rppa", "wsi", "mut")
    share = demo.present.mean(axis=0)
    assert share.argmin() == 2
    assert 0.62 < demo.present.all(axis=1).mean() < 0.78
    assert 0.005 < demo.tables["rppa"].isna().to_numpy().mean() < 0.02
    assert 0.04 < demo.samples["stage"].isna().mean() < 0.12


def test_some_patients_have_two_samples_on_one_side(demo):
    groups = demo.samples.groupby("patient_id")["split"]
    assert (groups.size() == 2).sum() > 10
    assert (groups.nunique() == 1).all()


def test_every_side_has_complete_patients(demo):
    for split in ("train", "val", "test"):
        assert demo.present[demo.rows(split)].all(axis=1).sum() >= 40


def test_planted_stage_and_survival(demo):
    truth = demo_truth()
    np.testing.assert_array_equal(truth.sample_ids, demo.samples.index)
    stage = stage_number(demo.samples["stage"]).to_numpy()
    known = ~np.isnan(stage)
    np.testing.assert_array_equal(stage[known], truth.stage[known])
    primary = demo.samples.index.str.endswith("-01")
    assert np.corrcoef(truth.progression[primary], truth.stage[primary])[0, 1] > 0.85
    died = (demo.samples["os_event"] == 1).to_numpy() & primary
    days = np.log(demo.samples["os_days"].to_numpy())
    assert 0.3 < died.mean() < 0.8
    assert np.corrcoef(truth.log_hazard[died], days[died])[0, 1] < -0.3


def test_planted_mutations(demo):
    """Drivers follow their factor, passengers nothing; half of them are unknown in three types."""
    from sklearn.metrics import roc_auc_score

    table, truth = demo.tables["mut"], demo_truth()
    assert demo.kinds["mut"] == "binary"
    assert 0.15 < table.isna().to_numpy().mean() < 0.3
    factors = pd.DataFrame(truth.factors, truth.sample_ids)
    for gene, values in table.items():
        known = values.dropna()
        assert 0.02 < known.mean() < 0.6
        auc = [roc_auc_score(known, factors.loc[known.index, k]) for k in factors]
        found = np.abs(np.array(auc) - 0.5)
        if gene in truth.drivers:
            assert found.argmax() == truth.drivers[gene]
            assert found.max() > 0.25
        else:
            assert found.max() < 0.12


@pytest.mark.heavy
def test_modalities_predict_each_other_and_not_only_linearly(demo):
    """Ridge regression explains 0.3 to 0.6 of the latents, kernel ridge more."""
    from sklearn.kernel_ridge import KernelRidge

    tables = {m: demo.tables[m] for m in demo.modalities[:4]}
    demo = dataclasses.replace(demo, modalities=tuple(tables), tables=tables)
    latents = encode_cohort(demo, fit_codecs(demo, CodecConfig(latent_dim=16), seed=0))
    whole = latents.present.all(axis=1)
    train = np.intersect1d(np.flatnonzero(whole), demo.rows("train"))
    test = demo.rows("test")
    gains = []
    for j in range(4):
        x = np.delete(latents.z, j, axis=1).reshape(len(latents.z), -1)
        y = latents.z[:, j]
        r2 = {}
        for name, model in {
            "linear": KernelRidge(kernel="linear", alpha=60.0),
            "rbf": KernelRidge(kernel="rbf", gamma=0.3 / 48, alpha=0.1),
        }.items():
            error = y[test] - model.fit(x[train], y[train]).predict(x[test])
            r2[name] = 1 - (error**2).sum() / ((y[test] - y[test].mean()) ** 2).sum()
        assert 0.3 < r2["linear"] < 0.6
        gains.append(r2["rbf"] - r2["linear"])
    assert np.mean(gains) > 0.03  # observed 0.05


def test_command_writes_a_cohort_directory(tmp_path):
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "cohgen_jax.cohort.demo",
        "--num-patients",
        "300",
    ]
    subprocess.run([*command, "--out", tmp_path / "demo"], check=True, capture_output=True)
    cohort, demo = load_cohort(tmp_path / "demo"), demo_cohort(0, 300)
    assert cohort.name == "demo"
    for modality in demo.modalities:
        assert cohort.tables[modality].equals(demo.tables[modality])
