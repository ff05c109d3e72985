"""ForestDiffusion (Jolicoeur-Martineau et al. 2024, AISTATS): flow matching with XGBoost.

One model a target, given the other tables as the package's further inputs; trees take an empty
cell for what it is. Its defaults but for two, without which it does not end on two cores: a tree
predicts all components at once (`multi_strategy`), and a patient is seen with DUPLICATES noises.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.rivals.protocol import Known, Patients

COMPONENTS = 32
DUPLICATES = 20


class Forests:
    """One for each target, fitted when it is asked for."""

    space = "components"

    def __init__(self, known: Known) -> None:
        self.known = known
        self.models: dict[int, Any] = {}

    def prepare(self, target: int, given: Patients) -> None:
        from ForestDiffusion import ForestDiffusionModel

        known, rows = self.known, self.known.having(target)
        learnt = known.patients.of(rows)
        self.models[target] = ForestDiffusionModel(
            learnt.components[:, target, : known.leading(target, COMPONENTS)].astype(float),
            X_covs=known.inputs(learnt, target, COMPONENTS).astype(float),
            duplicate_K=DUPLICATES,
            n_jobs=1,  # one model after another, each on all cores
            multi_strategy="multi_output_tree",
        )

    def draw(self, target: int, given: Patients, num_draws: int, seed: int) -> np.ndarray:
        np.random.seed(seed)  # noqa: NPY002, the package draws from it
        x = np.tile(self.known.inputs(given, target, COMPONENTS).astype(float), (num_draws, 1))
        drawn = self.models[target].generate(batch_size=len(x), X_covs=x)
        return drawn.reshape(num_draws, len(given.present), -1)


def fit(known: Known) -> Forests:
    return Forests(known)
