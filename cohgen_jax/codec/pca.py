"""Principal components of a standardised matrix.

Exact, from the covariance of the shorter side, while that is small; otherwise by randomised range
finding with power iterations (Halko, Martinsson & Tropp 2011, arXiv:0909.4061, algorithm 4.4), so
that 10,000 samples of 60,000 features take seconds and no square matrix of either. The matrix is
gone through by blocks of rows, and none of the size of the whole is made beside it.
"""

from typing import NamedTuple

import numpy as np

from cohgen_jax.codec.matrix import Matrix, blocks, mean_of, rows_of_block

_EXACT_SIDE = 2000
_OVERSAMPLING = 16
_POWER_ITERATIONS = 6
_ROUNDING = 1e-5
"""Singular values below this share of the first are float32 rounding, not data."""


class Pca(NamedTuple):
    """L components of F features."""

    centre: np.ndarray  # float32 [F]
    components: np.ndarray  # float32 [F, L], orthonormal columns, largest variance first


def fit_pca(x: Matrix, num_components: int, seed: int) -> Pca:
    """The first components of x [n, F]; fewer if its rank is lower. `seed` starts the range."""
    centre = mean_of(x).astype(np.float32)
    if min(x.shape) <= _EXACT_SIDE:
        values, components = _exact(x, centre, num_components)
    else:
        values, components = _randomised(x, centre, num_components, seed)
    components = components[:, values > _ROUNDING * values[0]]
    # The sign of a component is arbitrary: make its largest loading positive.
    largest = np.abs(components).argmax(axis=0)
    components = components * np.sign(components[largest, np.arange(components.shape[1])])
    return Pca(centre, np.ascontiguousarray(components, dtype=np.float32))


def pca_encode(pca: Pca, x: Matrix) -> np.ndarray:
    """[N, F] -> [N, L]."""
    return np.concatenate([(part - pca.centre[None, :]) @ pca.components for part in blocks(x)])


def pca_decode(pca: Pca, z: np.ndarray) -> np.ndarray:
    """[..., L] -> [..., F], the projection of what was encoded."""
    return z @ pca.components.T + pca.centre


def _exact(x: Matrix, centre: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Singular values [k] and right singular vectors [F, k] from the smaller Gram matrix."""
    wide = x.shape[0] < x.shape[1]
    if wide:
        a = np.concatenate([part - centre for part in blocks(x)]).astype(np.float64)
        gram = a @ a.T
    else:
        a, gram = np.zeros((0, 0)), np.zeros((x.shape[1], x.shape[1]))
        for part in blocks(x):
            centred = (part - centre).astype(np.float64)
            gram += centred.T @ centred
    variance, vectors = np.linalg.eigh(gram)
    variance, vectors = variance[::-1][:k], vectors[:, ::-1][:, :k]
    values = np.sqrt(np.maximum(variance, 0.0))
    if wide:
        vectors = a.T @ vectors
        vectors /= np.maximum(np.linalg.norm(vectors, axis=0), np.finfo(np.float64).tiny)
    return values, vectors


def _randomised(x: Matrix, centre: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    size = min(k + _OVERSAMPLING, *x.shape)
    basis = rng.standard_normal((x.shape[1], size), dtype=np.float32)
    step = rows_of_block(x)

    def projected() -> np.ndarray:
        return np.concatenate([(part - centre) @ basis for part in blocks(x)])

    for _ in range(_POWER_ITERATIONS):
        left, _ = np.linalg.qr(projected())
        basis = np.zeros_like(basis)
        for i, part in enumerate(blocks(x)):
            basis += (part - centre).T @ left[i * step : (i + 1) * step]
        basis, _ = np.linalg.qr(basis)
    _, values, vectors_t = np.linalg.svd(projected(), full_matrices=False)
    return values[:k], basis @ vectors_t.T[:, :k]
