"""ForestDiffusion (Jolicoeur-Martineau et al. 2024, AISTATS): flow matching with XGBoost.

One model a target, given the other tables as the package's further inputs; trees take an empty
cell for what it is. At its defaults a small cohort takes hours on two cores: components, levels,
trees and noises a patient are fewer here.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from benchmarks.rivals.protocol import Known, Patients

COMPONENTS = 16
LEVELS = 20
"""Noise levels, each with trees of its own; 50 by default."""
TREES = 50
"""A component and level; 100 by default."""
DUPLICATES = 10
"""Noises that a patient is seen with; 100 by default."""
BINS = 64
"""Of an input's values; 256 by default."""


class Forests:
    """One for each target, fitted when it is asked for."""

    space = "components"

    def __init__(self, known: Known) -> None:
        self.known = known
        self.models: dict[int, Any] = {}

    def prepare(self, target: int, given: Patients) -> None:
        from ForestDiffusion import ForestDiffusionModel
        from joblib import parallel_config

        known, rows = self.known, self.known.having(target)
        learnt = known.patients.of(rows)
        with parallel_config(backend="threading"):  # in this process, whose seconds are counted
            self.models[target] = ForestDiffusionModel(
                learnt.components[:, target, : known.leading(target, COMPONENTS)].astype(float),
                X_covs=known.inputs(learnt, target, COMPONENTS).astype(float),
                n_t=LEVELS,
                n_estimators=TREES,
                duplicate_K=DUPLICATES,
                n_batch=0,  # all noises at once, since bins cannot be chosen otherwise
                n_jobs=os.cpu_count() or 1,  # models side by side, each on one core
                nthread=1,
                max_bin=BINS,
            )

    def draw(self, target: int, given: Patients, num_draws: int, seed: int) -> np.ndarray:
        np.random.seed(seed)  # noqa: NPY002, the package draws from it
        x = np.tile(self.known.inputs(given, target, COMPONENTS).astype(float), (num_draws, 1))
        drawn = self.models[target].generate(batch_size=len(x), X_covs=x)
        return drawn.reshape(num_draws, len(given.present), -1)


def fit(known: Known) -> Forests:
    return Forests(known)
