"""Kernel regression of latents on what is known of a patient, tuned by exact leave-one-out errors.

Model     y = mean + f(x) + residual, f a Gaussian process of the Matern kernel of order 3/2 with
          a gain for each source (Rasmussen & Williams 2006, eq. 4.17 and 5.2)

              k(x, x') = (1 + r) exp(-r),    r^2 = 3 sum_s g_s |x_s - x'_s|^2 / (median of it)

Tuning    gains and penalty by coordinate descent on the leave-one-out error of all training
          patients, exact from one factorisation: r_i = [K^-1 y]_i / [K^-1]_ii (eq. 5.12), each
          component counted by what it is worth
Shrinkage each component of f towards 0 by the factor that its leave-one-out predictions bear,
          pulled to the factor of all: what nothing predicts keeps the training average
Spread    residuals of patients differ in size (quiet genomes, restless ones): their mean squares
          are regressed in the same way, and scale the residual variances of the components

Patterns  what a regression says depends on all that it sees, so that every pattern of sources has
          its own; a patient of a pattern that has none is given that of the largest within it

Axes      n training patients, N patients, D latent width, C_s condition features of source s
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from cohgen_jax.evenly import evenly
from cohgen_jax.sampling.stacking import Pattern, nearest_pattern, restricted

LEAST_PATIENTS = 10
ENOUGH = 50
"""Training patients with a pattern of sources, for a regression of its own (`patterns_of`)."""
MOST_PATIENTS = 4096
"""Training patients at most, evenly drawn: solves are cubic in their number."""
PREDICTED_AT_ONCE = 512
"""Patients: fewer read the training patients more often, more leave the cache."""
TUNING_PATIENTS = 1024
"""Patients, evenly drawn, on which gains and penalty are tuned."""
START = (0.2, 0.3)
"""Gain of every source, and penalty, where the descent begins."""
GAINS, PENALTIES = (2e-3, 20.0), (5e-3, 40.0)
LEAST_GAIN = 3e-4
"""Share of the error by which a move must lower it."""
MOST_PATTERNS = 32
"""Patterns with a regression of their own."""
SIZES = (0.1, 10.0)
"""Between which a patient's residual variance lies, in units of the mean one."""
PULL = 20.0
"""Patients that what holds for all components counts for in what is found of one."""


class Regressions(NamedTuple):
    """Of one target, by pattern of its sources."""

    by_pattern: dict[Pattern, Regression]
    order: tuple[int, ...] | None = None
    """Where its sources, as they were in fitting, are among those given; None: in this order."""

    def __call__(
        self, conds: Sequence[np.ndarray], present: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance [N, D] of each patient. conds: sources (and covariates) as they were
        in fitting, [N, C] each, or in the order asked of `of`; present: [N, S]."""
        if self.order is not None:
            conds = [*(conds[i] for i in self.order), *conds[len(self.order) :]]
            present = present[:, list(self.order)]
        width = len(next(iter(self.by_pattern.values())).mean)
        mean, variance = np.zeros((2, len(present), width), np.float32)
        patterns, group = np.unique(present, axis=0, return_inverse=True)
        for i, wanted in enumerate(patterns):
            rows = np.flatnonzero(group.ravel() == i)
            pattern = nearest_pattern(self.by_pattern, tuple(wanted.tolist()))
            assert pattern is not None  # that of no source has one
            fitted = self.by_pattern[pattern]
            blocks = _seen([cond[rows] for cond in conds], pattern)
            mean[rows], variance[rows] = predict(fitted, blocks, len(rows))
        return mean, variance

    def of(self, sources: Sequence[int]) -> Regressions:
        """Those that need no source but these, to be given in this order."""
        assert self.order is None
        order = tuple(np.argsort(sources).tolist())
        return Regressions(restricted(self.by_pattern, sorted(sources)), order)


def fit_regressions(
    conds: Sequence[np.ndarray],
    present: np.ndarray,
    y: np.ndarray,
    worth: np.ndarray,
) -> Regressions:
    """A regression for each of `patterns_of`, on the training patients that have all of it.

    conds: S sources, then perhaps covariates, [n, C] each; present: [n, S]; y: [n, D]; worth: [D].
    As many at once as there are cores, each on one: their matrices are too small to share out.
    """
    from threadpoolctl import threadpool_limits

    def fit(pattern: Pattern) -> Regression:
        rows = np.flatnonzero(present[:, np.array(pattern, bool)].all(axis=1))
        rows = rows[evenly(len(rows), MOST_PATIENTS)]
        own = fit_regression([cond[rows] for cond in _seen(conds, pattern)], y[rows], worth)
        return own._replace(rows=rows[own.rows].astype(np.int32))

    patterns = patterns_of(present)
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        return Regressions(dict(zip(patterns, pool.map(fit, patterns), strict=True)))


def rebuilt(saved: dict[str, np.ndarray], pattern: Pattern, conds: Sequence[np.ndarray]):
    """A regression from all its fields but x, and the conditions that it was fitted on."""
    blocks = [cond[saved["rows"]] for cond in _seen(conds, pattern)]
    x = np.concatenate(blocks, axis=1) * saved["gains"] if blocks else np.zeros((1, 1))
    return Regression(x=np.asarray(x, np.float32), **saved)


def patterns_of(present: np.ndarray) -> list[Pattern]:
    """The patterns of sources with a regression, those of most patients first. present: [n, S].

    Every one that enough training patients have (ENOUGH, or half of all where these are few: what
    another source adds is less than what fewer patients lose), or, of many, the smallest and
    largest and those that most patients have exactly.
    """
    num = present.shape[1]
    every = [tuple(p) for p in itertools.product([False, True], repeat=num)] if num < 6 else []
    exact = Counter(map(tuple, present.tolist()))
    sizes = (0, 1, num - 1, num)
    few = [
        tuple(i in c for i in range(num))
        for k in sizes
        for c in itertools.combinations(range(num), k)
    ]
    wanted = every or [*few, *(p for p, _ in exact.most_common())]
    least = max(LEAST_PATIENTS, min(ENOUGH, len(present) // 2))
    enough = [p for p in dict.fromkeys(wanted) if not any(p) or _having(present, p) >= least]
    chosen = enough[: max(MOST_PATTERNS, len(every))]
    return sorted(chosen, key=lambda p: -_having(present, p))


def _having(present: np.ndarray, pattern: Pattern) -> int:
    return int(present[:, np.array(pattern, bool)].all(axis=1).sum())


def _seen(conds: Sequence[np.ndarray], pattern: Pattern) -> list[np.ndarray]:
    """The sources of the pattern, and the covariates."""
    return [cond for i, cond in enumerate(conds) if i >= len(pattern) or pattern[i]]


class Regression(NamedTuple):
    """Fitted on n patients; predicts the mean and the variance of D components."""

    rows: np.ndarray  # int32 [n], positions of the patients among those it was fitted on
    x: np.ndarray  # float32 [n, sum C_s], each source times the square root of its gain
    gains: np.ndarray  # float32 [sum C_s], those square roots
    dual: np.ndarray  # float32 [n, D], shrunk
    mean: np.ndarray  # float32 [D]
    variance: np.ndarray  # float32 [D], of leave-one-out residuals
    size: np.ndarray  # float32 [n], dual weights of the residuals' mean squares about 1


def fit_regression(blocks: Sequence[np.ndarray], y: np.ndarray, worth: np.ndarray) -> Regression:
    """Fit on n patients. blocks: the sources, arrays [n, C_s]; y: [n, D]; worth: [D], weights of
    the components in the error."""
    blocks = [np.asarray(block, np.float32) for block in blocks]
    y = np.asarray(y, np.float32)
    mean = y.mean(axis=0)
    centred = y - mean
    if not blocks or len(y) < 3:
        variance = (centred**2).sum(axis=0) / max(len(y) - 1, 1)
        gains = np.zeros(sum(block.shape[1] for block in blocks) or 1, np.float32)
        return Regression(
            np.zeros(1, np.int32),
            np.zeros((1, len(gains)), np.float32),
            gains,
            np.zeros((1, y.shape[1]), np.float32),
            mean,
            np.maximum(variance, 1e-6).astype(np.float32),
            np.zeros(1, np.float32),
        )
    units = [_median_distance(block) for block in blocks]
    tuning = evenly(len(y), TUNING_PATIENTS)
    distances = np.stack(
        [
            squared_distances(block[tuning], block[tuning]) / unit
            for block, unit in zip(blocks, units, strict=True)
        ]
    )
    gains, penalty = _tune(distances, centred[tuning], worth)
    roots = [np.sqrt(gain / unit) for gain, unit in zip(gains, units, strict=True)]
    x = np.concatenate([root * block for root, block in zip(roots, blocks, strict=True)], axis=1)
    widths = [block.shape[1] for block in blocks]
    solve = _solver(matern(squared_distances(x, x)), penalty)
    dual, left_out = solve(centred)
    predicted = centred - left_out
    factor = _shrinkage(predicted, centred)
    squares = (centred - factor * predicted) ** 2
    # Each prediction was made without its own patient, the mean with it.
    variance = np.maximum(np.mean(squares, axis=0) * len(y) / (len(y) - 1), 1e-6)
    shared = float(np.mean(variance))
    variance = ((len(y) * variance + PULL * shared) / (len(y) + PULL)).astype(np.float32)
    excess = (squares @ worth / (variance @ worth) - 1)[:, None].astype(np.float32)
    size, left_out = solve(excess)
    size *= _shrinkage(excess - left_out, excess)
    return Regression(
        np.arange(len(y), dtype=np.int32),
        x.astype(np.float32),
        np.repeat(roots, widths).astype(np.float32),
        (dual * factor).astype(np.float32),
        mean.astype(np.float32),
        variance.astype(np.float32),
        size[:, 0].astype(np.float32),
    )


def predict(
    fitted: Regression, blocks: Sequence[np.ndarray], num: int
) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances, float32 [num, D], from the sources, arrays [num, C_s] as in fitting."""
    if not blocks:
        return np.tile(fitted.mean, (num, 1)), np.tile(fitted.variance, (num, 1))
    x = np.concatenate([np.asarray(block, np.float32) for block in blocks], axis=1) * fitted.gains
    weights = np.concatenate([fitted.dual, fitted.size[:, None]], axis=1)
    parts = [
        matern(squared_distances(part, fitted.x)) @ weights
        for part in np.array_split(x, -(-num // PREDICTED_AT_ONCE) or 1)
    ]
    said = np.concatenate(parts)
    return fitted.mean + said[:, :-1], fitted.variance * np.clip(1 + said[:, -1:], *SIZES)


def _tune(distances: np.ndarray, y: np.ndarray, worth: np.ndarray) -> tuple[list[float], float]:
    """(gains, penalty) at a minimum of the leave-one-out error, in steps of two. distances: of the
    sources, [S, n, n]; y: [n, D]."""
    known: dict[tuple[float, ...], float] = {}

    def error(setting: tuple[float, ...]) -> float:
        if setting not in known:
            *gains, penalty = setting
            squared = np.tensordot(np.array(gains, np.float32), distances, 1)
            _, left_out = _solver(matern(squared), penalty)(y)
            known[setting] = float(np.mean(left_out**2, axis=0) @ worth)
        return known[setting]

    best = (*[START[0]] * len(distances), START[1])
    bounds = [*[GAINS] * len(distances), PENALTIES]
    before = None
    while before != best:
        before = best
        for i, (low, high) in enumerate(bounds):
            for step in (2.0, 0.5):
                while low <= (value := best[i] * step) <= high:
                    moved = (*best[:i], value, *best[i + 1 :])
                    if not error(moved) < error(best) * (1 - LEAST_GAIN):
                        break
                    best = moved
    *gains, penalty = best
    return gains, penalty


def _solver(
    kernel: np.ndarray, penalty: float
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """y [n, D] -> dual weights and leave-one-out residuals, [n, D] both; the kernel [n, n] is
    overwritten."""
    from scipy.linalg import LinAlgError, get_lapack_funcs

    kernel[np.diag_indices(len(kernel))] += np.float32(penalty)
    factorise, invert, solve_by = get_lapack_funcs(("potrf", "trtri", "potrs"), (kernel,))
    lower, failed = factorise(kernel.T, lower=True, overwrite_a=True)  # T: LAPACK's own order
    if failed:
        raise LinAlgError("the kernel of a regression is not positive definite")
    inverse, _ = invert(lower, lower=True)  # K^-1 is its square
    diagonal = np.einsum("ij,ij->j", inverse, inverse)[:, None]

    def solve(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dual, _ = solve_by(lower, y, lower=True)
        return dual, dual / diagonal

    return solve


def _shrinkage(predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Factors [D] in [0, 1] with which leave-one-out predictions [n, D] come closest to y, pulled
    to that of all, and that to 0: the best of many settings looks better than it is."""
    product, square = (predicted * y).sum(axis=0), (predicted**2).sum(axis=0)
    tiny = np.finfo(np.float32).tiny
    shared = product.sum() / max(square.sum() * (1 + PULL / len(y)), tiny)
    size = PULL * square / len(y)
    return np.clip((product + size * shared) / np.maximum(square + size, tiny), 0, 1)


def matern(squared: np.ndarray) -> np.ndarray:
    """Order 3/2, of squared distances, which are overwritten: a matrix less to go through."""
    r = np.sqrt(np.multiply(squared, np.float32(3), out=squared), out=squared)
    decay = np.exp(np.negative(r))
    return np.multiply(np.add(r, np.float32(1), out=r), decay, out=r)


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares_a, squares_b = (np.einsum("ij,ij->i", x, x) for x in (a, b))
    squared = (-2 * a) @ b.T
    squared += squares_a[:, None]
    squared += squares_b[None]
    return np.maximum(squared, 0, out=squared)


def _median_distance(block: np.ndarray) -> float:
    """Of the squared distances between patients who differ; 1 where none do."""
    rows = block[evenly(len(block), 500)]
    squared = squared_distances(rows, rows)
    differ = squared[squared > 1e-6 * max(float(squared.max()), 1e-30)]
    return float(np.median(differ)) if len(differ) else 1.0
