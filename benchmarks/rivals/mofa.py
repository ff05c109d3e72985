"""MOFA+ (Argelaguet et al. 2020, Genome Biology 21:111) as mofapy2 fits it.

Model   x_m = mu_m + W_m f + e_m, f ~ N(0, I), e_m ~ N(0, 1 / tau_m); a sparse prior on W decides
        which factors a table uses
Fit     variational, on every training patient, whatever it has; covariates are one more view
Draw    a held-out patient with views S has f ~ N(P^-1 sum_m W_m' tau_m (x_m - mu_m), P^-1) with
        P = I + sum_m E[W_m' tau_m W_m], m in S; then x_t = mu_t + W_t f + e_t
"""

from __future__ import annotations

import contextlib
import io
from typing import NamedTuple

import numpy as np

from benchmarks.rivals.protocol import Known, Patients

FACTORS = 25
SEED = 0


class View(NamedTuple):
    mean: np.ndarray  # mu [F]
    weights: np.ndarray  # E[W] [F, K]
    squares: np.ndarray  # E[W^2] [F, K]
    precision: np.ndarray  # tau [F]

    def information(self) -> np.ndarray:
        """E[W' tau W] [K, K]."""
        weighted = self.weights.T * self.precision
        spread = self.precision @ (self.squares - self.weights**2)
        return weighted @ self.weights + np.diag(spread)


class Mofa:
    """Factors and weights of all views."""

    space = "features"

    def __init__(self, known: Known) -> None:
        from mofapy2.run.entry_point import entry_point

        patients = known.patients.of(known.train)
        self.names, self.covariates = known.modalities, known.patients.covariates.shape[1] > 0
        tables = self._tables(patients)
        # A feature that does not vary has no weights, and mofapy2 no scale for it.
        self.used = [np.nanstd(x, axis=0) > 1e-6 for x in tables]
        tables = [x[:, use] for x, use in zip(tables, self.used, strict=True)]
        with contextlib.redirect_stdout(io.StringIO()):
            model = entry_point()
            model.set_data_options()
            model.set_data_matrix([[x.astype(float)] for x in tables], ["gaussian"] * len(tables))
            model.set_model_options(factors=min(FACTORS, len(patients.present) // 4))
            model.set_train_options(seed=SEED, quiet=True)
            model.build()
            model.run()
        nodes = model.model.nodes
        weights, noise = nodes["W"].getExpectations(), nodes["Tau"].getExpectations()
        self.views = [
            View(np.nanmean(x, axis=0), w["E"], w["E2"], np.median(np.atleast_2d(tau["E"]), axis=0))
            for x, w, tau in zip(tables, weights, noise, strict=True)
        ]

    def _tables(self, patients: Patients) -> list[np.ndarray]:
        covariates = [patients.covariates] * self.covariates
        return [*(patients.features[m] for m in self.names), *covariates]

    def prepare(self, target: int, given: Patients) -> None:
        pass

    def draw(self, target: int, given: Patients, num_draws: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        tables, num = self._tables(given), len(given.present)
        there = ~np.stack([np.isnan(x).all(axis=1) for x in tables], axis=1)
        view, use = self.views[target], self.used[target]
        factors = np.zeros((num_draws, num, view.weights.shape[1]))
        for pattern in np.unique(there, axis=0):
            rows = np.flatnonzero((there == pattern).all(axis=1))
            information, pull = np.eye(factors.shape[2]), 0.0
            for m in np.flatnonzero(pattern):
                seen = self.views[m]
                information = information + seen.information()
                away = tables[m][rows][:, self.used[m]] - seen.mean
                pull = pull + (away * seen.precision) @ seen.weights
            covariance = np.linalg.inv(information)
            noise = rng.standard_normal((num_draws, len(rows), len(covariance)))
            factors[:, rows] = pull @ covariance + noise @ np.linalg.cholesky(covariance).T
        draws = np.zeros((num_draws, num, len(use)), np.float32)
        noise = rng.standard_normal((num_draws, num, len(view.mean))) / np.sqrt(view.precision)
        draws[..., use] = view.mean + factors @ view.weights.T + noise
        return draws


def fit(known: Known) -> Mofa:
    return Mofa(known)
