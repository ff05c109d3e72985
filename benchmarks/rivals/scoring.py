"""What rivals are given of a run's cohort, and how their draws are judged: in units of the tables.

Preprocessing is common: the codecs of the library's run, fitted on its training patients. What a
rival draws of leading components alone becomes whole by the rest of a random training patient, as
the library's own baselines of components do (cohgen_jax/baselines/components.py).
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from benchmarks.rivals.protocol import Cohort, Patients
from cohgen_jax.baselines.components import fit_rest
from cohgen_jax.evaluation.clustered import error_of_mean
from cohgen_jax.evaluation.tables import cohort_of, features_of_run, units_of_run
from cohgen_jax.evaluation.units import Units, patient_crps, score_units
from cohgen_jax.runs.run import Run
from cohgen_jax.scores.draws import inside_interval


def cohort_of_run(run: Run) -> Cohort:
    """What rivals are given: the run's patients, split, components and covariates."""
    latents, count = run.latents, len(run.modalities)
    features = features_of_run(run, cohort_of(run), run.modalities).features
    patients = Patients(
        components=latents.z[:, :count] * latents.scale[:count],
        features={m: features[m] for m in run.modalities},
        covariates=(
            latents.z[:, count, : run.covariates.width]
            if run.covariates.width
            else np.zeros((len(latents.z), 0), np.float32)
        ),
        present=latents.present,
    )
    sides = (run.rows(side) for side in ("train", "val", "test"))
    return Cohort(patients, np.asarray(latents.widths)[:count], *sides)


class Judged(NamedTuple):
    """Draws of one target in units, scored."""

    scores: dict[str, float]
    by_patient: np.ndarray
    """[N]: fair CRPS of each patient, mean over its known features."""
    whole_s: float
    """Seconds that the way from what was drawn to the units of the table took."""


class Judge:
    """Scores draws of a run's held-out patients."""

    def __init__(self, run: Run, cohort: Cohort) -> None:
        self.run, self.cohort = run, cohort
        self.units: dict[str, Units] = units_of_run(run, cohort_of(run), run.modalities)

    def judge(self, draws: np.ndarray, space: str, target: str, seed: int = 0) -> Judged:
        """Scores of draws [R, N, ...] of the patients that `Cohort.asked` names."""
        m, units = self.run.index(target), self.units[target]
        rows = self.cohort.asked(m)
        began = time.perf_counter()
        x = self._in_units(draws, space, m, seed)
        whole_s = time.perf_counter() - began
        truth = units.truth[rows]
        return Judged(
            scores_of(x, truth, units.mean, units.sd),
            patient_crps(x, truth, units.mean, units.sd),
            whole_s,
        )

    def _in_units(self, draws: np.ndarray, space: str, m: int, seed: int) -> np.ndarray:
        name = self.run.modalities[m]
        codec, columns = self.run.codecs[name], self.units[name].columns
        if space == "units":
            return draws[..., columns]
        if space == "components":
            known = self.cohort.patients.of(self.cohort.train)
            having, k = known.present[:, m], draws.shape[-1]
            rest = fit_rest(known.components[having, m, :k], known.features[name][having])
            u = np.random.default_rng(seed).random(draws.shape[:2])
            draws = rest.draw(draws, u)
        return np.stack([codec.units(draw)[:, columns] for draw in draws])


def scores_of(
    x: np.ndarray, truth: np.ndarray, mean: np.ndarray, sd: np.ndarray
) -> dict[str, float]:
    """Of draws x [R, N, F] of the truth [N, F], NaN where unknown.

    crps and crps_se, its standard error over patients; r2 of the mean; variance_ratio, of draws
    over that of the truth; coverage, the share of the truth inside the 80 % intervals of its draws.
    """
    every = score_units(x, truth, mean, sd)
    known = np.isfinite(truth)
    inside = np.asarray(inside_interval(x, np.where(known, truth, 0)))
    return {
        **{name: every[name] for name in ("crps", "crps_se", "r2", "variance_ratio")},
        "coverage": float(inside[known].mean()),
    }


def against(mine: np.ndarray, other: np.ndarray, patients: np.ndarray) -> dict[str, Any]:
    """Mean difference of two methods' CRPS over the same samples [N], and its standard error over
    the patients [N] that they are of; positive: the first is worse."""
    both = np.isfinite(mine) & np.isfinite(other)
    difference = (mine - other)[both]
    return {
        "difference": float(difference.mean()),
        "se": float(error_of_mean(difference, patients[both])),
    }
