"""Nearest patients: a draw is the whole target vector of a similar training patient."""

import numpy as np

from cohgen_jax.evaluation.baselines.patterns import Draw, pick

NUM_NEIGHBOURS = (10, 20, 50, 100, 200)
BLOCK = 2048  # query rows whose distances to all training rows are held at once


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """||a_i - b_j||^2: [N, F], [n, F] -> [N, n]."""
    squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None]
    return np.maximum(squares - 2 * a @ b.T, 0)


def neighbours(query: np.ndarray, points: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k nearest points (Euclidean), nearest first: [N, F], [n, F] -> [N, k]."""
    found = []
    for start in range(0, len(query), BLOCK):
        distance = squared_distances(query[start : start + BLOCK], points)
        nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(distance, nearest, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(nearest, order, axis=1))
    return np.concatenate(found) if found else np.zeros((0, k), int)


def nearest_patients(x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray) -> Draw:
    """Draws are targets of one of the k nearest training patients, each as likely.

    k is the one of NUM_NEIGHBOURS whose neighbour mean has the least squared validation error.
    """
    candidates = [k for k in NUM_NEIGHBOURS if k <= len(x)] or [len(x)]
    nearest = y[neighbours(x_val, x, candidates[-1])]  # [N_val, k, D]
    errors = [np.mean((nearest[:, :k].mean(axis=1) - y_val) ** 2) for k in candidates]
    best = candidates[int(np.argmin(errors))]

    def draw(x_new: np.ndarray, u: np.ndarray) -> np.ndarray:
        chosen = np.take_along_axis(neighbours(x_new, x, best), pick(u, best).T, axis=1)  # [N, R]
        return y[chosen].swapaxes(0, 1)

    return draw
