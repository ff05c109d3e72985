"""What any generator has to beat: ridge, kernel ridge and nearest patients, on the same split."""

from collections.abc import Callable, Sequence

import numpy as np

from cohgen_jax.evaluation.baselines.nearest import nearest_patients
from cohgen_jax.evaluation.baselines.patterns import fit_patterns
from cohgen_jax.evaluation.baselines.regression import kernel_ridge, ridge
from cohgen_jax.evaluation.generator import Generator

BASELINES: dict[str, Callable] = {
    "ridge": ridge,
    "kernel_ridge": kernel_ridge,
    "nearest": nearest_patients,
}
"""Name -> how one is fitted on complete rows: (x, y, x_val, y_val) -> draw function."""


def fit_baselines(
    latents,
    rows_train: np.ndarray,
    rows_val: np.ndarray,
    *,
    methods: Sequence[str] = tuple(BASELINES),
    targets: Sequence[str] | None = None,
) -> dict[tuple[str, str], Generator]:
    """Every baseline for every target, keyed (method, target) as `evaluate` takes them.

    `latents` has `z` [N, M, D], `present` [N, M] and `modalities`; rows are integer positions.
    Nothing is computed until a generator is called with a presence pattern for the first time.
    """
    names = tuple(latents.modalities)
    return {
        (method, target): fit_patterns(
            BASELINES[method],
            latents.z,
            latents.present,
            rows_train,
            rows_val,
            names.index(target),
            [i for i, name in enumerate(names) if name != target],
        )
        for method in methods
        for target in (names if targets is None else targets)
    }


__all__ = [
    "BASELINES",
    "fit_baselines",
    "fit_patterns",
    "kernel_ridge",
    "nearest_patients",
    "ridge",
]
