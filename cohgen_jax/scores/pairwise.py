"""Distances between all pairs of rows, and nearest rows (Euclidean, float64)."""

import numpy as np

BLOCK = 2048  # query rows whose distances to all points are held at once


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """||a_i - b_j||^2: [N, F], [n, F] -> [N, n]; exact to about 1e-15 of the squared norms."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None]
    return np.maximum(squares - 2 * a @ b.T, 0)


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """||a_i - b_j||: [N, F], [n, F] -> [N, n]."""
    return np.sqrt(squared_distances(a, b))


def neighbours(query: np.ndarray, points: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k nearest points, nearest first: [N, F], [n, F] -> [N, k]."""
    positions = [np.zeros((0, k), int)]
    for start in range(0, len(query), BLOCK):
        distance = squared_distances(query[start : start + BLOCK], points)
        nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(distance, nearest, axis=1), axis=1, kind="stable")
        positions.append(np.take_along_axis(nearest, order, axis=1))
    return np.concatenate(positions)
