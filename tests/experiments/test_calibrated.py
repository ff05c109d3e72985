"""A calibration is for the draws that it was fitted to: other solvers sample without it."""

import dataclasses
import shutil

import numpy as np
import pytest

from cohgen_jax.evaluation.masks import shown_latents
from cohgen_jax.evaluation.of_run import run_generators
from cohgen_jax.runs.calibration import FEW_STEPS, save_calibration
from cohgen_jax.runs.run import open_run
from cohgen_jax.solvers import SolverConfig
from tests.experiments.conftest import DEBUG

OTHER = SolverConfig(num_steps=4)


@pytest.fixture(scope="module")
def run(run_dir):
    """A run whose calibration says that draws are twice as wide as they should be."""
    run = open_run(run_dir)
    half = np.full(run.latents.z.shape[2], 0.5, np.float32)
    of_multi = run.calibration["multi"]["rppa"]._replace(scale=half)
    return dataclasses.replace(run, calibration={"multi": {"rppa": of_multi}})


def drawn(run, solver):
    rows = run.rows("test")[:5]
    shown = np.ones((5, 3), bool)
    shown[:, run.index("rppa")] = False
    z = shown_latents(run.latents.z[rows], shown)
    return run_generators(run, ["rppa"], solver=solver)["multi", "rppa"](z, shown, 6, 0).draws


def test_only_the_solver_that_was_calibrated_is_scaled(run):
    plain = dataclasses.replace(run, calibration={})
    np.testing.assert_array_equal(drawn(run, OTHER), drawn(plain, OTHER))
    scaled, draws = (drawn(each, run.calibrated_with) for each in (run, plain))
    # Both are m + factor (draw - m) with the same m.
    np.testing.assert_allclose(np.ptp(scaled, axis=0), 0.5 * np.ptp(draws, axis=0), atol=1e-5)


def test_what_is_not_calibrated_is_told_in_one_line(command, run, run_dir, new_dir, tmp_path):
    assert run.uncalibrated(run.calibrated_with) is None
    for solver, consensus in ((OTHER, "stacked"), (run.calibrated_with, "mean")):
        assert "not calibrated (spread" in run.uncalibrated(solver, consensus)
    never = dataclasses.replace(run, calibration={}, calibrated_with=None)
    assert "--resume" in never.uncalibrated(SolverConfig())
    out = tmp_path / "completed"
    asked = ("--draws", 2, "--targets", "rppa", "--solver.num-steps", 4)
    outcome = command("impute", "--run", run_dir, "--input", new_dir, "--out", out, *asked)
    assert outcome.err.count("draws are not calibrated") == 1


def test_the_solver_of_few_evaluations_has_a_calibration_of_its_own(run_dir):
    run, few = open_run(run_dir), SolverConfig(name="gaussian")
    assert run.uncalibrated(few) is None
    own = run.sampled_by(few)
    known = own.calibration["multi"]["rppa"]
    assert np.any(known.scale != run.calibration["multi"]["rppa"].scale)
    np.testing.assert_array_equal(own.bank("multi", "rppa").spread, known.scale)
    assert run.uncalibrated(SolverConfig(name="gaussian", num_steps=2))  # is another chain


def test_resuming_calibrates_for_the_solver_of_this_version(command, run_dir, cohort_dir, tmp_path):
    """A run that another version calibrated for another number of evaluations."""
    shutil.copytree(run_dir, tmp_path / "run")
    few, run = SolverConfig(name="gaussian"), open_run(run_dir)
    (known, of_few), *_ = run.calibrated_too.items()
    other = dataclasses.replace(known, num_steps=7)
    save_calibration(tmp_path / "run" / FEW_STEPS, of_few, {}, other)
    assert open_run(tmp_path / "run").uncalibrated(few)
    args = (*DEBUG, "--few-steps", "--cohort", cohort_dir, "--out", tmp_path / "run", "--resume")
    command("train", *args)
    again = open_run(tmp_path / "run")
    assert again.uncalibrated(few) is None
    assert again.uncalibrated(other)
    np.testing.assert_array_equal(
        again.sampled_by(few).calibration["multi"]["rppa"].scale, of_few["multi"]["rppa"].scale
    )


def test_it_is_refused_where_nothing_tells_the_variance(run_dir):
    run, few = open_run(run_dir), SolverConfig(name="gaussian")
    with pytest.raises(ValueError, match="gaussian solver needs the variance"):
        run.sampler_config(few, consensus="mean")
    with pytest.raises(ValueError, match="gaussian solver needs the variance"):
        dataclasses.replace(run, regressions={}).sampler_config(few)
    made = run_generators(run, ["rppa"], solver=few)  # published rules by the default solver
    assert {("coherent", "rppa"), ("coherent_mean", "rppa")} <= set(made)
