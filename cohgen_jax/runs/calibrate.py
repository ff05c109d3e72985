"""What validation patients teach about the draws of a run: how wide they are, what to expect.

Every validation patient is generated twice, from all its sources and from a random subset of them,
by the default sampler, and compared with the truth:

scale        factors on the spread of draws about the posterior mean, one for each component, with
             which it is as large as the error of that mean; the bank carries them, and they are
             applied whenever the run samples (temperatures fitted after training, as Guo et al.
             2017, arXiv:1706.04599, for classifiers). With the codec's rest, draws then have the
             spread of the tables
width        factor on the half-widths of 80 % intervals of features, quantiles of the draws, with
             which they hold 80 % of the measured values: errors of features have heavier tails than
             draws of the right variance (conformal, with the half-width as the scale: Romano et al.
             2019, arXiv:1905.03222; Papadopoulos et al. 2008)
spread,      of each validation patient, and the error of its posterior mean: what is to be expected
error        of a new patient of that spread
residuals    what the codec of an assay does not bring back of each validation patient, for
             `runs/typicality.py`
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from cohgen_jax.evenly import evenly
from cohgen_jax.runs.calibration import LEVEL, Calibration, interval
from cohgen_jax.runs.families import METHODS
from cohgen_jax.sampling.generate import conditions, sample_rows
from cohgen_jax.scores.draws import patient_scores
from cohgen_jax.solvers import SolverConfig
from cohgen_jax.training.validation import judged, random_subsets

if TYPE_CHECKING:
    from cohgen_jax.cohort import Cohort
    from cohgen_jax.runs.run import Run
    from cohgen_jax.sampling.bank import Bank
    from cohgen_jax.sampling.config import SamplerConfig

DRAWS = 10
CELLS = 1 << 22
"""Values of validation patients that the width of intervals is fitted on, at most."""
SCALES = (0.5, 2.0)
"""Between which the factors lie."""
OF_ALL, OF_ONE = 20.0, 50.0
"""Patients that 1 counts for in the factor of all components, and the latter in that of each."""


def calibrate(
    run: Run, cohort: Cohort | None, solver: SolverConfig = SolverConfig()
) -> dict[str, dict[str, Calibration]]:
    """Method -> target -> Calibration. cohort: the tables that the run was trained on; without
    them widths are 1."""
    run = dataclasses.replace(run, calibration={})
    chain = run.sampler_config(solver)
    return {
        method: {
            target: calibrate_bank(run, cohort, run.bank(method, target), chain)
            for target in run.modalities
        }
        for method in METHODS
    }


def calibrate_bank(
    run: Run, cohort: Cohort | None, bank: Bank, chain: SamplerConfig
) -> Calibration:
    """Of the draws that this chain of an uncalibrated bank of the run makes."""
    t = run.index(bank.target)
    width = int(run.latents.widths[t])
    rows, shown = _validation(run, t)
    z, real = run.latents.z[rows], run.latents.z[rows, t, :width]
    chain = dataclasses.replace(chain, keep_mean=bank.predicts != "eps")
    samples = sample_rows(bank, run.modalities, z, shown, run.config.seed, DRAWS, chain)
    draws = np.asarray(samples.draws)[..., :width]
    scale = np.ones(bank.x_dim, np.float32)
    if samples.mean is not None:  # networks that predict eps do not tell it
        mean = np.asarray(samples.mean)[0, :, :width]
        worth = run.latents.scale[t, :width] ** 2
        if bank.regression is None:
            kept = run.codecs[bank.target].kept
            expected = np.square(kept) * np.mean((draws - mean) ** 2, axis=(0, 1))
        else:
            columns = [run.index(source) for source in bank.sources]
            variance = bank.variance(conditions(bank, z, columns), shown[:, columns])
            expected = np.mean(variance[:, :width], axis=0)
        scale[:width] = fit_scale(draws, mean, real, expected, worth, len(np.unique(rows)))
        draws = mean + scale[:width] * (draws - mean)
    scores = {name: np.asarray(score) for name, score in patient_scores(draws, real).items()}
    order = np.argsort(scores["spread"])
    return Calibration(
        scale,
        _measured_width(run, cohort, bank.target, rows, draws),
        scores["spread"][order],
        scores["error"][order],
    )


def _measured_width(
    run: Run, cohort: Cohort | None, target: str, rows: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    """`Calibration.width`, from latents [R, N, D] drawn for these rows of the run."""
    if cohort is None:
        return np.ones((), np.float32)
    codec = run.codecs[target]
    few = evenly(len(rows), CELLS // len(codec.features) or 1)
    rows, draws = rows[few], draws[:, few]
    table = cohort.table(target).loc[run.samples.index[rows]]
    real = np.where(table[list(codec.features)].isna(), np.nan, codec.standardised(table))
    x = codec.draw_standardised(draws, rows.astype(np.uint32), run.config.seed)
    return fit_width(x, real, len(np.unique(rows)))


def fit_width(x: np.ndarray, real: np.ndarray, patients: int) -> np.ndarray:
    """The width, float32 [], with which `interval` of x [R, N, F] holds 80 % of the known values of
    real [N, F]; few patients move it little from 1 (OF_ALL)."""
    mean, (low, high) = x.mean(axis=0), interval(x)
    half = np.where(real < mean, mean - low, high - mean)
    known = np.isfinite(real) & (half > 0)
    if not known.any():
        return np.ones((), np.float32)
    width = np.quantile(np.abs(real - mean)[known] / half[known], LEVEL)
    return np.clip((patients * width + OF_ALL) / (patients + OF_ALL), *SCALES).astype(np.float32)


def _validation(run: Run, target: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, sources shown): each patient from all its sources and from a random subset."""
    rows = run.rows("val")
    has_source = np.delete(run.latents.present[rows], target, axis=1).any(axis=1)
    use = run.latents.present[rows, target] & has_source
    rows = judged(rows[use], run.latents.present, run.config.seed)
    present = run.latents.present[rows]
    present[:, target] = False
    subset = random_subsets(present[None], run.config.seed)[0]
    return np.tile(rows, 2), np.concatenate([present, subset])


def fit_scale(
    draws: np.ndarray,
    mean: np.ndarray,
    real: np.ndarray,
    expected: np.ndarray,
    worth: np.ndarray,
    patients: int,
) -> np.ndarray:
    """Factors [D] on draws - mean with which its variance is the mean squared error of the mean.

    draws: [R, N, D]; mean, real: [N, D]; expected: [D], the error that few patients are not enough
    to say otherwise of (OF_ALL, OF_ONE); worth: [D], what components count in the ratio of all;
    patients: how many the N rows are of.
    """
    error = np.mean((real - mean) ** 2, axis=0)
    variance = np.maximum(np.mean((draws - mean) ** 2, axis=(0, 1)), 1e-12)
    expected = np.maximum(expected, 1e-12)
    shared = (worth @ error) / (worth @ expected)
    shared = (patients * shared + OF_ALL) / (patients + OF_ALL)
    each = (patients * error / expected + OF_ONE * shared) / (patients + OF_ONE)
    return np.clip(np.sqrt(each * expected / variance), *SCALES).astype(np.float32)


def codec_residuals(run: Run, cohort: Cohort) -> dict[str, np.ndarray]:
    """Modality -> `Codec.residual` of the validation patients that have it, increasing."""
    return {
        name: np.sort(codec.residual(cohort.table(name, "val")))
        for name, codec in run.codecs.items()
    }
