"""Patients and assays that are not like those of training, with a generator of known behaviour."""

import dataclasses

import numpy as np
import pytest

from cohgen_jax.audits.shift import shift_of_run
from cohgen_jax.baselines import fit_baselines
from cohgen_jax.runs.calibrate import codec_residuals
from cohgen_jax.runs.config import ExperimentConfig
from cohgen_jax.runs.run import open_run
from cohgen_jax.runs.source import load_any_cohort
from cohgen_jax.runs.typicality import typicality


@pytest.fixture(scope="module")
def run(run_dir):
    return open_run(run_dir)


@pytest.fixture(scope="module")
def shifted(run):
    """A third of the training patients stand for patients set aside, another for validation ones:
    of fewer than 39, no p-value is as low as 0.05."""
    samples = run.samples.copy()
    train = run.rows("train")
    for first, split in enumerate(("ood", "val")):
        samples.iloc[train[first::3], samples.columns.get_loc("split")] = split
    own = dataclasses.replace(run, samples=samples)
    cohort = load_any_cohort(run.config)
    cohort = dataclasses.replace(cohort, samples=samples)
    own = dataclasses.replace(own, residuals=codec_residuals(own, cohort))
    generators = fit_baselines(
        own.latents, own.rows("train"), own.rows("val"), methods=["gaussian"]
    )
    return shift_of_run(own, cohort, generators, num_draws=10, patients=25)


def test_every_case_of_every_source_is_there(run, shifted):
    counts = shifted.groupby(["target", "case"]).size().unstack()
    assert (counts[["none", "set aside"]] == 1).all(axis=None)
    wrong = ["x 1.5", "+ 1 sd", "permuted", "zero"]
    assert (counts[wrong] == len(run.modalities) - 1).all(axis=None)
    assert (shifted["target"] != shifted["shifted"]).all()
    assert (shifted["n"] == 25).all()


def test_assays_in_other_units_are_flagged_and_mislead(shifted):
    by_case = shifted.groupby("case")[["rmse", "flagged", "spread"]].mean()
    wrong = by_case.loc[["x 1.5", "+ 1 sd"], "flagged"]
    assert wrong.min() > by_case.loc["none", "flagged"] + 0.1
    assert by_case.loc["none", "flagged"] < 0.4
    assert by_case.loc[["zero", "permuted"], "rmse"].min() > by_case.loc["none", "rmse"]
    # The spread of a Gaussian's conditional does not depend on what is conditioned on.
    assert by_case["spread"].max() == pytest.approx(by_case["spread"].min(), rel=0.05)


def test_columns_under_wrong_names_are_flagged(shifted):
    """Their latents may pass; what the codec does not bring back of them does not."""
    by_case = shifted.groupby("case")[["flagged", "typicality"]].mean()
    assert by_case.loc["permuted", "flagged"] > by_case.loc["none", "flagged"] + 0.3
    assert by_case.loc["permuted", "typicality"] < by_case.loc["none", "typicality"] / 2


def test_typicality_is_of_present_assays_only(run):
    rows = run.rows("test")
    z, present = run.latents.z[rows].copy(), run.latents.present[rows].copy()
    present[0, 1] = False
    z[1, 0] += 100
    found = typicality(run, z, present)
    assert (np.isnan(found) == ~present).all()
    assert np.nanmin(found) == found[1, 0]
    everyone = typicality(run, z[2:], np.ones_like(present[2:]))
    np.testing.assert_array_equal(found[2:][present[2:]], everyone[present[2:]])


def test_excluded_patients_are_in_the_run_and_on_no_side():
    cohort = load_any_cohort(ExperimentConfig(cohort="demo", exclude=("cancer_type=brain",)))
    types, split = cohort.samples["cancer_type"], cohort.samples["split"]
    assert ((split == "ood") == (types == "brain")).all()
