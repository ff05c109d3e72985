"""A regression for each pattern of present sources, fitted when that pattern first turns up.

Linear and kernel methods have no notion of a missing input, so every subset of sources gets a
model of its own, fitted on the training patients that have the target and that whole subset.
Covariates are inputs of all of them.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from cohgen_jax.baselines.view import ROWS, View
from cohgen_jax.errors import InputError
from cohgen_jax.sampling.generator import Generated, Generator

MIN_TRAIN = 10
KEEP_BYTES = 1 << 29
"""Of fitted models that a generator keeps, at least one: what was used last."""

Draw = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(x [N, P], u [R, N] uniform in [0, 1)) -> draws [R, N, F]; `u` picks among patients."""

Mean = Callable[[np.ndarray], np.ndarray]
"""x [N, P] -> expectation of the draws [N, F]."""


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A fitted regression: its draws and, where it knows it, their expectation."""

    draw: Draw
    mean: Mean | None = None

    def __call__(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        return self.draw(x, u)


Fit = Callable[[np.ndarray, np.ndarray], Fitted]
"""(x [n, P], y [n, F]) -> Fitted; hyperparameters are chosen by leaving out each row in turn."""


def pick(u: np.ndarray, count: int) -> np.ndarray:
    """Uniform numbers in [0, 1) -> integers in [0, count)."""
    return np.minimum((u * count).astype(int), count - 1)


def random_patient(x: np.ndarray, y: np.ndarray) -> Fitted:
    """Climatology: the target of a random training patient, whatever the inputs."""
    return Fitted(
        lambda x_new, u: y[pick(u, len(y))], lambda x_new: np.tile(y.mean(axis=0), (len(x_new), 1))
    )


def fit_patterns(
    fit: Fit,
    view: View,
    rows_train: np.ndarray,
    target: int,
    sources: Sequence[int],
    *,
    measured_only: bool = False,
) -> Generator:
    """A generator of modality `target` from whichever of `sources` each patient has.

    rows_train are integer positions of the training patients; modalities by position. A pattern
    that fewer than MIN_TRAIN training patients have is served by the largest part of it that enough
    have. With no source and no covariate, a patient is given the target of a random one.
    measured_only: the fit is told which cells nobody measured (NaN), and copes without inputs.

    Raises:
      InputError: the target is a source, or (when called) too few have the target itself.
    """
    if target in sources:
        raise InputError(f"modality {target} cannot be both target and source")
    rows_train = np.asarray(rows_train)

    @functools.cache
    def complete(subset: tuple[int, ...]) -> np.ndarray:
        return rows_train[view.present[rows_train][:, [target, *subset]].all(axis=1)]

    @functools.cache
    def served_by(subset: tuple[int, ...]) -> tuple[int, ...]:
        for size in range(len(subset), -1, -1):
            best = max(itertools.combinations(subset, size), key=lambda s: len(complete(s)))
            if len(complete(best)) >= MIN_TRAIN:
                return best
        raise InputError(
            f"a baseline for {view.modalities[target]} needs {MIN_TRAIN} training patients that "
            f"have it; there are {len(complete(()))}"
        )

    @functools.lru_cache(max(1, KEEP_BYTES // (8 * len(rows_train) * view.size(target) + 1)))
    def model(subset: tuple[int, ...]) -> Fitted:
        train = complete(subset)
        x = view.inputs(view.z[train], subset)
        y = view.outcomes(target, train, measured_only=measured_only)
        return fit(x, y) if x.shape[1] or measured_only else random_patient(x, y)

    def generate(
        z_new: np.ndarray, present_new: np.ndarray, num_draws: int, seed: int
    ) -> Generated:
        z_new = np.asarray(z_new)
        shown = np.asarray(present_new, bool)[:, list(sources)]
        # One row of numbers a patient: a patient's draws do not depend on how many come after.
        u = np.random.default_rng(seed).random((len(z_new), num_draws)).T
        drawn = np.zeros((num_draws, len(z_new), view.size(target)), np.float32)
        mean = np.full((len(z_new), view.size(target)), np.nan, np.float32)
        patterns, group = np.unique(shown, axis=0, return_inverse=True)
        for index, pattern in enumerate(patterns):
            rows = np.flatnonzero(group.ravel() == index)
            subset = served_by(tuple(np.array(sources, int)[pattern].tolist()))
            for block in np.split(rows, range(ROWS, len(rows), ROWS)):
                fitted, inputs = model(subset), view.inputs(z_new[block], subset)
                drawn[:, block] = fitted(inputs, u[:, block])
                if view.wants_mean(target) and fitted.mean is not None:
                    mean[block] = fitted.mean(inputs)
        return view.generated(target, drawn, None if np.isnan(mean).any() else mean)

    return generate
