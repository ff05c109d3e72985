"""A regression for each pattern of present sources, fitted when that pattern first turns up.

Linear and kernel methods have no notion of a missing input, so every subset of sources gets a
model of its own, fitted on the training patients that have the target and that whole subset.
"""

from collections.abc import Callable, Sequence

import numpy as np

from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.generator import Generated, Generator

MIN_TRAIN = 10
MIN_VAL = 20

Draw = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(x [N, F], u [R, N] uniform in [0, 1)) -> draws [R, N, D]; `u` picks among neighbours."""

Fit = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], Draw]
"""(x [n, F], y [n, D], x_val, y_val) -> Draw; hyperparameters are chosen on validation."""


def pick(u: np.ndarray, count: int) -> np.ndarray:
    """Uniform numbers in [0, 1) -> integers in [0, count)."""
    return np.minimum((u * count).astype(int), count - 1)


def fit_patterns(
    fit: Fit,
    z: np.ndarray,
    present: np.ndarray,
    rows_train: np.ndarray,
    rows_val: np.ndarray,
    target: int,
    sources: Sequence[int],
) -> Generator:
    """A generator of modality `target` from whichever of `sources` each patient has.

    z float32 [N, M, D], present bool [N, M]; rows are integer positions of the training and
    validation patients; modalities by position. A pattern with fewer than MIN_VAL validation
    patients has a fifth of its training patients set aside to choose hyperparameters. A patient
    with no source at all is given the target of a random training patient.
    """
    if target in sources:
        raise InputError(f"modality {target} cannot be both target and source")
    z, present = np.asarray(z, np.float32), np.asarray(present, bool)
    models: dict[tuple[int, ...], Draw] = {}

    def inputs(values: np.ndarray, rows, subset: Sequence[int]) -> np.ndarray:
        return values[rows][:, list(subset)].reshape(len(rows), -1).astype(float)

    def complete(rows, subset: Sequence[int]) -> np.ndarray:
        rows = np.asarray(rows)
        return rows[present[rows][:, [target, *subset]].all(axis=1)]

    def model(subset: tuple[int, ...]) -> Draw:
        if subset not in models:
            train, val = complete(rows_train, subset), complete(rows_val, subset)
            if len(train) < MIN_TRAIN:
                raise InputError(
                    f"a baseline for modality {target} from {subset} needs {MIN_TRAIN} training "
                    f"patients with all of them; there are {len(train)}"
                )
            y = z[train, target].astype(float)
            if not subset:
                models[subset] = lambda x, u: y[pick(u, len(y))]
                return models[subset]
            x = inputs(z, train, subset)
            if len(val) < MIN_VAL:
                held = np.arange(len(train)) % 5 == 0
                models[subset] = fit(x[~held], y[~held], x[held], y[held])
            else:
                models[subset] = fit(x, y, inputs(z, val, subset), z[val, target].astype(float))
        return models[subset]

    def generate(
        z_new: np.ndarray, present_new: np.ndarray, num_draws: int, seed: int
    ) -> Generated:
        z_new, present_new = np.asarray(z_new), np.asarray(present_new, bool)
        draws = np.zeros((num_draws, len(z_new), z_new.shape[-1]), np.float32)
        # One row of numbers a patient: a patient's draws do not depend on how many come after.
        u = np.random.default_rng(seed).random((len(z_new), num_draws)).T
        patterns, group = np.unique(present_new[:, list(sources)], axis=0, return_inverse=True)
        for index, pattern in enumerate(patterns):
            rows = np.flatnonzero(group.ravel() == index)
            subset = tuple(s for s, here in zip(sources, pattern, strict=True) if here)
            draws[:, rows] = model(subset)(inputs(z_new, rows, subset), u[:, rows])
        return Generated(draws, np.full(draws.shape[:2], np.nan, np.float32))

    return generate
