"""Ridge and kernel ridge regression, made into generators by a local residual bootstrap.

A draw is the regression mean plus the whole residual vector of one of the 50 nearest training
patients (Euclidean in the sources), so that spread and correlation between features follow the
neighbourhood. Two details keep the draws honest:
- residuals are leave-one-out, r_i = r_i^fit / (1 - H_ii) (Allen 1974's PRESS identity, H the hat
  matrix): fitted residuals of a kernel method are far too small;
- each neighbourhood's residuals are centred, so the posterior mean of the draws is the regression.
"""

import functools
from collections.abc import Callable

import numpy as np

from cohgen_jax.evaluation.baselines.patterns import Draw, pick
from cohgen_jax.evaluation.pairwise import neighbours, squared_distances

RIDGE_PENALTIES = 10.0 ** np.arange(-4, 2.5, 0.5)
"""Per training patient: the penalty on squared weights is this times n."""
KERNEL_PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Added to the diagonal of a kernel matrix whose diagonal is 1."""
KERNEL_SCALES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""gamma times the median squared distance between training patients."""
NUM_RESIDUALS = 50
TUNING_ROWS = 1500
"""Training patients, evenly spaced, on which kernel ridge chooses its hyperparameters."""

Predict = Callable[[np.ndarray], np.ndarray]


def _residual_bootstrap(predict: Predict, residuals: np.ndarray, x: np.ndarray) -> Draw:
    k = min(NUM_RESIDUALS, len(x))

    def draw(x_new: np.ndarray, u: np.ndarray) -> np.ndarray:
        local = residuals[neighbours(x_new, x, k)]  # [N, k, D]
        local -= local.mean(axis=1, keepdims=True)
        # Centring k residuals takes 1/k of their variance away; put it back.
        local *= np.sqrt(k / (k - 1))
        return predict(x_new)[None] + local[np.arange(len(x_new))[None], pick(u, k)]

    return draw


def _squared_error(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean((predicted - truth) ** 2))


def ridge(x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray) -> Draw:
    """Multi-output ridge with an unpenalised intercept; the penalty is chosen on validation.

    W = (Xc' Xc + n a I)^-1 Xc' (Y - mean),    H = 1/n + Xc (Xc' Xc + n a I)^-1 Xc'
    """
    mean_x, mean_y, n = x.mean(axis=0), y.mean(axis=0), len(x)
    centred = x - mean_x
    gram, cross = centred.T @ centred, centred.T @ (y - mean_y)

    def weights(penalty: float) -> np.ndarray:
        return np.linalg.solve(gram + n * penalty * np.eye(len(gram)), cross)

    def error(penalty: float) -> float:
        return _squared_error(mean_y + (x_val - mean_x) @ weights(penalty), y_val)

    best = min(RIDGE_PENALTIES, key=error)
    fitted = weights(best)
    inverse = np.linalg.inv(gram + n * best * np.eye(len(gram)))
    leverage = 1 / n + np.sum((centred @ inverse) * centred, axis=1)
    residuals = (y - mean_y - centred @ fitted) / (1 - leverage)[:, None]
    return _residual_bootstrap(lambda new: mean_y + (new - mean_x) @ fitted, residuals, x)


def kernel_ridge(x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray) -> Draw:
    """Gaussian-kernel ridge, K = exp(-gamma ||x - x'||^2), about the training mean.

    Penalty and width are chosen on validation by one search along each axis in turn until neither
    moves, trained on at most TUNING_ROWS patients: both are properties of the distribution (noise
    over signal variance, and length scale, of the equivalent Gaussian process), not of n, and the
    solves are cubic in n. Leave-one-out residuals are (K + a I)^-1 (Y - mean), each row over the
    diagonal of that inverse (the training mean taken as known).
    """
    from scipy.linalg import cho_factor, cho_solve, get_lapack_funcs

    mean_y = y.mean(axis=0)
    tuning = np.linspace(0, len(x) - 1, min(len(x), TUNING_ROWS)).astype(int)
    distance = squared_distances(x[tuning], x[tuning])
    distance_val = squared_distances(x_val, x[tuning])
    unit = 1 / np.median(distance)

    def factor(squared: np.ndarray, scale: float, penalty: float):
        kernel = np.exp(-scale * unit * squared)
        kernel[np.diag_indices_from(kernel)] += penalty
        return cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)

    @functools.cache
    def error(scale: float, penalty: float) -> float:
        dual = cho_solve(factor(distance, scale, penalty), y[tuning] - mean_y)
        predicted = mean_y + np.exp(-scale * unit * distance_val) @ dual
        return _squared_error(predicted, y_val)

    scale, penalty, before = 0.8, 0.3, None
    while before != (scale, penalty):
        before = (scale, penalty)
        penalty = _descend(KERNEL_PENALTIES, penalty, lambda value, s=scale: error(s, value))
        scale = _descend(KERNEL_SCALES, scale, lambda value, p=penalty: error(value, p))

    cholesky = factor(squared_distances(x, x), scale, penalty)
    dual = cho_solve(cholesky, y - mean_y)
    (invert,) = get_lapack_funcs(("potri",), (cholesky[0],))
    inverse, _ = invert(cholesky[0], lower=True)
    residuals = dual / np.diag(inverse)[:, None]
    gamma = scale * unit
    return _residual_bootstrap(
        lambda new: mean_y + np.exp(-gamma * squared_distances(new, x)) @ dual, residuals, x
    )


def _descend(grid: tuple[float, ...], start: float, error: Callable[[float], float]) -> float:
    """Walk along an ordered grid from `start` to the nearest local minimum of `error`."""
    at = grid.index(start)
    while True:
        around = [i for i in (at - 1, at, at + 1) if 0 <= i < len(grid)]
        best = min(around, key=lambda i: error(grid[i]))
        if best == at:
            return grid[at]
        at = best
