"""Nearest patients: a draw is the whole target vector of a similar training patient."""

import numpy as np

from cohgen_jax.baselines.patterns import Fitted, pick
from cohgen_jax.baselines.regression import sketch
from cohgen_jax.scores.pairwise import neighbours

NUM_NEIGHBOURS = (10, 20, 50, 100, 200)


def nearest_patients(x: np.ndarray, y: np.ndarray) -> Fitted:
    """Draws are targets of one of the k nearest training patients, each as likely.

    k is the one of NUM_NEIGHBOURS whose neighbour mean has the least squared error for training
    patients that are not their own neighbours.
    """
    candidates = [k for k in NUM_NEIGHBOURS if k < len(x)] or [len(x) - 1]
    others, truth = _others(x, candidates[-1]), sketch(y)
    total, errors = np.zeros_like(truth), {}
    for k in range(1, candidates[-1] + 1):
        total += truth[others[:, k - 1]]
        if k in candidates:
            errors[k] = np.mean((total / k - truth) ** 2)
    best = min(candidates, key=errors.__getitem__)

    def draw(x_new: np.ndarray, u: np.ndarray) -> np.ndarray:
        chosen = np.take_along_axis(neighbours(x_new, x, best), pick(u, best).T, axis=1)  # [N, R]
        return y[chosen.T]

    def mean(x_new: np.ndarray) -> np.ndarray:
        total = np.zeros((len(x_new), y.shape[1]), y.dtype)
        for column in neighbours(x_new, x, best).T:
            total += y[column]
        return total / best

    return Fitted(draw, mean)


def _others(x: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k nearest other rows of each row: [n, k]."""
    nearest = neighbours(x, x, k + 1)
    itself = nearest == np.arange(len(x))[:, None]
    itself[:, -1] |= ~itself.any(axis=1)  # where too many others are exactly alike
    return nearest[~itself].reshape(len(x), k)
