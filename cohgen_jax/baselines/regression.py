"""Ridge and kernel ridge regression, made into generators by a local residual bootstrap.

A draw is the regression mean plus the whole residual vector of one of the nearest training
patients (Euclidean in the inputs; 50 of them or a sixteenth), so that spread and correlation
between features follow the neighbourhood. Two details keep the draws honest:
- residuals are leave-one-out, r_i = r_i^fit / (1 - H_ii) (Allen 1974's PRESS identity, H the hat
  matrix): fitted residuals of a kernel method are far too small;
- each neighbourhood's residuals are centred, so the posterior mean of the draws is the regression.

Hyperparameters minimise the mean square of the same residuals: no patient is set aside, of however
few. Inputs x [n, P] in natural scale, outcomes y [n, F], in whose precision the results are.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cohgen_jax.baselines.patterns import Fitted, Mean, pick
from cohgen_jax.evenly import evenly
from cohgen_jax.scores.pairwise import neighbours, squared_distances

RIDGE_PENALTIES = 10.0 ** np.arange(-4, 4.5, 0.5)
"""Per training patient: the penalty on squared weights is this times n."""
KERNEL_PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Added to the diagonal of a kernel matrix whose diagonal is 1."""
KERNEL_SCALES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""gamma times the median squared distance between training patients."""
NUM_RESIDUALS = 50
SHARE_RESIDUALS = 1 / 16
"""Of all training patients, where these are more than NUM_RESIDUALS: patients without much change
are near to everyone, and of few neighbours too many are such (200 against 50 of 3200 TCGA patients:
lower CRPS, spread and coverage nearer to what they should be)."""
TUNING_ROWS = 1500
"""Training patients, evenly spaced, on which kernel ridge chooses its hyperparameters."""
SKETCHED = 256
"""Outcomes, or random combinations of more, by which hyperparameters are chosen."""
BLOCK = 2048
"""Outcomes that are solved for at once."""


def sketch(y: np.ndarray) -> np.ndarray:
    """float64 [n, F] or, of more than SKETCHED outcomes, [n, SKETCHED] random combinations.

    With signs S [F, k] / sqrt(k) the mean of ||E S||^2 is ||E||^2 for any errors E (Achlioptas
    2003), and an error that is linear in the outcomes is that of their combinations.
    """
    if y.shape[1] <= SKETCHED:
        return y.astype(float)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (y.shape[1], SKETCHED))
    return (y @ signs.astype(y.dtype)).astype(float) / np.sqrt(SKETCHED)


def _residual_bootstrap(predict: Mean, residuals: np.ndarray, x: np.ndarray) -> Fitted:
    k = min(max(NUM_RESIDUALS, int(SHARE_RESIDUALS * len(x))), len(x))
    # Centring k residuals takes 1/k of their variance away; put it back.
    gain = float(np.sqrt(k / (k - 1)))

    def draw(x_new: np.ndarray, u: np.ndarray) -> np.ndarray:
        near = neighbours(x_new, x, k)
        local = sum(residuals[column] for column in near.T) / k
        centre = predict(x_new) - gain * local
        chosen = np.take_along_axis(near, pick(u, k).T, axis=1).T  # [R, N]
        draws = np.empty((*chosen.shape, residuals.shape[1]), residuals.dtype)
        for one, picked in zip(draws, chosen, strict=True):
            one[:] = centre + gain * residuals[picked]
        return draws

    return Fitted(draw, predict)


def ridge(x: np.ndarray, y: np.ndarray) -> Fitted:
    """Multi-output ridge with an unpenalised intercept.

        W = (Xc' Xc + n a I)^-1 Xc' (Y - mean),    H = 1/n + Xc (Xc' Xc + n a I)^-1 Xc'

    through the principal axes V of Xc, T = Xc V: the inverse is V diag(1 / (T'T + n a)) V'.
    """
    mean_x, mean_y, n = x.mean(axis=0, dtype=float), y.mean(axis=0, dtype=float), len(x)
    scores, axes, spectrum = _principal(x - mean_x)
    truth = sketch(y)
    truth -= truth.mean(axis=0)
    rotated = scores.T @ truth

    def fit(penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """1 / (T'T + n a) and 1 - H_ii."""
        shrunk = 1 / (spectrum + n * penalty)
        return shrunk, 1 - 1 / n - scores**2 @ shrunk

    def error(penalty: float) -> float:
        shrunk, rest = fit(penalty)
        left = truth - scores @ (shrunk[:, None] * rotated)
        return float(np.mean((left / rest[:, None]) ** 2))

    shrunk, rest = fit(min(RIDGE_PENALTIES, key=error))
    offset = mean_y.astype(y.dtype)
    centred = y - offset
    along = (shrunk[:, None] * scores.T).astype(y.dtype) @ centred  # [r, F], of T
    residuals = centred - scores.astype(y.dtype) @ along
    residuals /= rest[:, None].astype(y.dtype)
    weights = axes.astype(y.dtype) @ along
    return _residual_bootstrap(
        lambda new: offset + (new - mean_x).astype(y.dtype) @ weights, residuals, x
    )


def _principal(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """T [n, r], V [P, r] and diag T'T [r], from the smaller of the two Gram matrices."""
    wide = centred.shape[1] > len(centred)
    spectrum, axes = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    kept = spectrum > 1e-12 * spectrum[-1]
    spectrum, axes = spectrum[kept], axes[:, kept]
    if wide:
        axes = centred.T @ axes / np.sqrt(spectrum)
    return centred @ axes, axes, spectrum


def kernel_ridge(x: np.ndarray, y: np.ndarray) -> Fitted:
    """Gaussian-kernel ridge, K = exp(-gamma ||x - x'||^2), with an unpenalised intercept b.

        A = K + a I,  s = A^-1 1,  b = s'Y / s'1,  r_i = [A^-1 (Y - b)]_i / (A^-1_ii - s_i^2 / s'1)

    r are the leave-one-out residuals, the intercept left out too (Dubrule 1983, Math. Geol.
    15:687). Penalty and width are chosen by one search along each axis in turn until neither
    moves, on at most TUNING_ROWS patients: both are properties of the distribution (noise over
    signal variance, and length scale, of the equivalent Gaussian process), not of n, and the
    solves are cubic in n.
    """
    tuning = evenly(len(x), TUNING_ROWS)
    distance, truth = squared_distances(x[tuning], x[tuning]), sketch(y[tuning])
    unit = 1 / (np.median(distance) or distance.mean() or 1.0)

    @functools.cache
    def error(scale: float, penalty: float) -> float:
        return float(np.mean(_left_out(scale * unit * distance, penalty, truth).residuals ** 2))

    scale, penalty, before = 0.8, 0.3, None
    while before != (scale, penalty):
        before = (scale, penalty)
        penalty = _descend(KERNEL_PENALTIES, penalty, lambda value, s=scale: error(s, value))
        scale = _descend(KERNEL_SCALES, scale, lambda value, p=penalty: error(value, p))

    gamma = scale * unit
    intercept, residuals, diagonal = _left_out(gamma * squared_distances(x, x), penalty, y)

    def predict(new: np.ndarray) -> np.ndarray:
        kernel = np.exp(-gamma * squared_distances(new, x))
        return intercept + (kernel * diagonal).astype(y.dtype) @ residuals

    return _residual_bootstrap(predict, residuals, x)


class LeftOut(NamedTuple):
    intercept: np.ndarray  # b [F]
    residuals: np.ndarray  # r [n, F]
    diagonal: np.ndarray  # [n], over which r are: A^-1 (Y - b) = diagonal * r


def _left_out(exponent: np.ndarray, penalty: float, y: np.ndarray) -> LeftOut:
    """Of kernel exp(-exponent) [n, n] and penalty a."""
    from scipy.linalg import cho_solve, cholesky, get_lapack_funcs

    kernel = np.exp(-exponent)
    kernel[np.diag_indices_from(kernel)] += penalty
    lower = cholesky(kernel, lower=True, overwrite_a=True, check_finite=False)
    ones = cho_solve((lower, True), np.ones(len(y)), check_finite=False)
    intercept = (ones @ y / ones.sum()).astype(y.dtype)
    residuals = np.empty_like(y)
    for start in range(0, y.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        right = y[:, block] - intercept[block]
        residuals[:, block] = cho_solve((lower, True), right, check_finite=False)
    (invert,) = get_lapack_funcs(("trtri",), (lower,))
    inverse, _ = invert(lower, lower=True, overwrite_c=True)  # A^-1 is its square
    diagonal = np.einsum("ij,ij->j", inverse, inverse) - ones**2 / ones.sum()
    residuals /= diagonal[:, None].astype(y.dtype)
    return LeftOut(intercept, residuals, diagonal)


def _descend(grid: tuple[float, ...], start: float, error: Callable[[float], float]) -> float:
    """Walk along an ordered grid from `start` to the nearest local minimum of `error`."""
    at = grid.index(start)
    while True:
        around = [i for i in (at - 1, at, at + 1) if 0 <= i < len(grid)]
        best = min(around, key=lambda i: error(grid[i]))
        if best == at:
            return grid[at]
        at = best
