"""Principal components of a standardised matrix.

Exact, from the covariance of the shorter side, while that is small; otherwise by randomised range
finding with power iterations (Halko, Martinsson & Tropp 2011, arXiv:0909.4061, algorithm 4.4), so
that 10,000 samples of 60,000 features take seconds and no square matrix of either.
"""

from typing import NamedTuple

import numpy as np

_EXACT_SIDE = 2000
_OVERSAMPLING = 16
_POWER_ITERATIONS = 6
_ROUNDING = 1e-5
"""Singular values below this share of the first are float32 rounding, not data."""


class Pca(NamedTuple):
    """L components of F features."""

    centre: np.ndarray  # float32 [F]
    components: np.ndarray  # float32 [F, L], orthonormal columns, largest variance first


def fit_pca(x: np.ndarray, num_components: int, seed: int) -> Pca:
    """The first components of x [n, F]; fewer if its rank is lower. `seed` starts the range."""
    centre = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = x - centre
    if min(x.shape) <= _EXACT_SIDE:
        values, components = _exact(centred, num_components)
    else:
        values, components = _randomised(centred, num_components, seed)
    components = components[:, values > _ROUNDING * values[0]]
    # The sign of a component is arbitrary: make its largest loading positive.
    largest = np.abs(components).argmax(axis=0)
    components = components * np.sign(components[largest, np.arange(components.shape[1])])
    return Pca(centre, np.ascontiguousarray(components, dtype=np.float32))


def pca_encode(pca: Pca, x: np.ndarray) -> np.ndarray:
    """[N, F] -> [N, L]."""
    return (x - pca.centre[None, :]) @ pca.components


def pca_decode(pca: Pca, z: np.ndarray) -> np.ndarray:
    """[..., L] -> [..., F], the projection of what was encoded."""
    return z @ pca.components.T + pca.centre


def _exact(centred: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Singular values [k] and right singular vectors [F, k] from the smaller Gram matrix."""
    wide = centred.shape[0] < centred.shape[1]
    a = centred.astype(np.float64)
    variance, vectors = np.linalg.eigh(a @ a.T if wide else a.T @ a)
    variance, vectors = variance[::-1][:k], vectors[:, ::-1][:, :k]
    values = np.sqrt(np.maximum(variance, 0.0))
    if wide:
        vectors = a.T @ vectors
        vectors /= np.maximum(np.linalg.norm(vectors, axis=0), np.finfo(np.float64).tiny)
    return values, vectors


def _randomised(centred: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    size = min(k + _OVERSAMPLING, *centred.shape)
    basis = rng.standard_normal((centred.shape[1], size), dtype=np.float32)
    for _ in range(_POWER_ITERATIONS):
        left, _ = np.linalg.qr(centred @ basis)
        basis, _ = np.linalg.qr(centred.T @ left)
    _, values, vectors_t = np.linalg.svd(centred @ basis, full_matrices=False)
    return values[:k], basis @ vectors_t.T[:, :k]
