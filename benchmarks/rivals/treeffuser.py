"""Treeffuser (Beltran-Velez et al. 2024, NeurIPS): diffusion whose score is boosted trees.

One model a target; trees take an empty cell for what it is. The package's defaults, which keep a
tenth of the training patients to stop by.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.rivals.protocol import Known, Patients

COMPONENTS = 32
SEED = 0


class Treeffusers:
    """One for each target, fitted when it is asked for."""

    space = "components"

    def __init__(self, known: Known) -> None:
        self.known = known
        self.models: dict[int, Any] = {}

    def prepare(self, target: int, given: Patients) -> None:
        from treeffuser import Treeffuser

        known, rows = self.known, self.known.having(target)
        learnt = known.patients.of(rows)
        outcomes = learnt.components[:, target, : known.leading(target, COMPONENTS)]
        model = Treeffuser(seed=SEED, n_jobs=1)  # of so few rows, more threads are slower
        model.fit(known.inputs(learnt, target, COMPONENTS).astype(float), outcomes.astype(float))
        self.models[target] = model

    def draw(self, target: int, given: Patients, num_draws: int, seed: int) -> np.ndarray:
        x = self.known.inputs(given, target, COMPONENTS).astype(float)
        return self.models[target].sample(x, n_samples=num_draws, seed=seed)


def fit(known: Known) -> Treeffusers:
    return Treeffusers(known)
