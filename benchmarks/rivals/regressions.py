"""The library's own baselines of one pattern of sources, as rivals: kernel ridge, engression."""

from __future__ import annotations

import numpy as np

from benchmarks.rivals.protocol import Known, Patients
from cohgen_jax.baselines.patterns import Fit, fit_patterns
from cohgen_jax.baselines.view import View
from cohgen_jax.sampling.generator import Generator


class Patterns:
    """A regression for each target and pattern of tables, on all components and the covariates."""

    space = "features"

    def __init__(self, known: Known, fit: Fit) -> None:
        self.known, self.fit = known, fit
        self.generators: dict[int, Generator] = {}

    def prepare(self, target: int, given: Patients) -> None:
        known, names = self.known, self.known.modalities
        z, columns = _with_covariates(known.patients)
        features = known.patients.features
        width = int(known.widths[target])
        view = View(
            z=z,
            present=known.patients.present,
            widths=known.widths,
            modalities=names,
            scale=np.ones(z.shape[1:], np.float32),  # components are in natural scale already
            covariates=columns[(z[known.train][:, -1, columns] != 0).any(axis=0)],
            features={names[target]: features[names[target]]},
            project={names[target]: lambda x: np.zeros((len(x), width), np.float32)},  # unused
            known={},
        )
        others = [m for m in range(len(names)) if m != target]
        generate = fit_patterns(self.fit, view, known.train, target, others)
        self.generators[target] = generate
        _, first = np.unique(given.present, axis=0, return_index=True)
        generate(_with_covariates(given.of(first))[0], given.present[first], 2, 0)

    def draw(self, target: int, given: Patients, num_draws: int, seed: int) -> np.ndarray:
        z, _ = _with_covariates(given)
        drawn = self.generators[target](z, given.present, num_draws, seed).features
        assert drawn is not None
        return drawn


def _with_covariates(patients: Patients) -> tuple[np.ndarray, np.ndarray]:
    """z [N, M + 1, D], the covariates last, and their columns [C]."""
    num, modalities, width = patients.components.shape
    count = patients.covariates.shape[1]
    z = np.zeros((num, modalities + 1, max(width, count)), np.float32)
    z[:, :modalities, :width] = patients.components
    z[:, modalities, :count] = patients.covariates
    return z, np.arange(count)
