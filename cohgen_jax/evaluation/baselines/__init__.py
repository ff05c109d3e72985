"""What any generator has to beat, on the same split: regressions, similar patients, a Gaussian,
and where it is installed a multimodal VAE of another library."""

from collections.abc import Callable, Sequence

import numpy as np

from cohgen_jax.evaluation.baselines.gaussian import gaussian
from cohgen_jax.evaluation.baselines.nearest import nearest_patients
from cohgen_jax.evaluation.baselines.patterns import fit_patterns
from cohgen_jax.evaluation.baselines.regression import kernel_ridge, ridge
from cohgen_jax.evaluation.baselines.vae import multimodal_vae
from cohgen_jax.evaluation.generator import Generator

REGRESSIONS: dict[str, Callable] = {
    "ridge": ridge,
    "kernel_ridge": kernel_ridge,
    "nearest": nearest_patients,
}
"""Name -> how one is fitted on complete rows: (x, y, x_val, y_val) -> draw function."""
OPTIONAL: dict[str, Callable[..., dict[str, Generator]]] = {"multimodal_vae": multimodal_vae}
"""What needs a library that need not be there; as JOINT."""
JOINT: dict[str, Callable[..., dict[str, Generator]]] = {"gaussian": gaussian, **OPTIONAL}
"""Name -> one model of all modalities: (latents, rows_train, rows_val) -> generators by target."""
BASELINES = (*REGRESSIONS, "gaussian")


def fit_baselines(
    latents,
    rows_train: np.ndarray,
    rows_val: np.ndarray,
    *,
    methods: Sequence[str] = BASELINES,
    targets: Sequence[str] | None = None,
) -> dict[tuple[str, str], Generator]:
    """Every baseline for every target, keyed (method, target) as `evaluate` takes them.

    `latents` has `z` [N, M, D], `present` [N, M], `widths` [M] and `modalities`; rows are integer
    positions. Nothing is computed until a generator is called (for a regression: with a presence
    pattern) for the first time.
    """
    names = tuple(latents.modalities)
    fitted = {}
    for method in methods:
        joint = JOINT[method](latents, rows_train, rows_val) if method in JOINT else {}
        for target in names if targets is None else targets:
            fitted[method, target] = joint.get(target) or fit_patterns(
                REGRESSIONS[method],
                latents.z,
                latents.present,
                rows_train,
                rows_val,
                names.index(target),
                [i for i, name in enumerate(names) if name != target],
            )
    return fitted


__all__ = [
    "BASELINES",
    "JOINT",
    "OPTIONAL",
    "REGRESSIONS",
    "fit_baselines",
    "fit_patterns",
    "gaussian",
    "kernel_ridge",
    "multimodal_vae",
    "nearest_patients",
    "ridge",
]
