"""Principal components against what is known of them."""

import numpy as np
import pytest

from cohgen_jax.codec import pca as pca_module
from cohgen_jax.codec.pca import fit_pca, pca_decode, pca_encode


def _low_rank(n, features, rank, seed=0):
    rng = np.random.default_rng(seed)
    spectrum = np.geomspace(10.0, 1.0, rank)
    x = (rng.normal(size=(n, rank)) * spectrum) @ rng.normal(size=(rank, features))
    return (x + rng.normal(size=features)).astype(np.float32)


@pytest.fixture(params=["exact", "randomised"])
def method(request, monkeypatch):
    if request.param == "randomised":
        monkeypatch.setattr(pca_module, "_EXACT_SIDE", 0)
    return request.param


@pytest.mark.parametrize("shape", [(80, 200), (200, 80)])
def test_rank_r_data_come_back_exactly(method, shape):
    x = _low_rank(*shape, rank=7)
    pca = fit_pca(x, 7, seed=0)
    np.testing.assert_allclose(pca_decode(pca, pca_encode(pca, x)), x, atol=2e-4 * np.abs(x).max())
    np.testing.assert_allclose(pca.components.T @ pca.components, np.eye(7), atol=1e-5)


def test_components_beyond_the_rank_are_not_made_up(method):
    assert fit_pca(_low_rank(100, 60, rank=5), 20, seed=0).components.shape == (60, 5)


def test_decoding_the_encoded_is_the_projection(method):
    rng = np.random.default_rng(1)
    x = (_low_rank(150, 60, rank=5) + rng.normal(size=(150, 60))).astype(np.float32)
    pca = fit_pca(x, 5, seed=0)
    once = pca_decode(pca, pca_encode(pca, x))
    np.testing.assert_allclose(pca_decode(pca, pca_encode(pca, once)), once, atol=1e-4)
    np.testing.assert_allclose(pca_encode(pca, x - once + pca.centre), 0.0, atol=1e-4)


def test_agrees_with_the_singular_value_decomposition(method):
    rng = np.random.default_rng(2)
    x = (_low_rank(120, 90, rank=4) + 0.05 * rng.normal(size=(120, 90))).astype(np.float32)
    pca = fit_pca(x, 4, seed=0)
    _, _, right = np.linalg.svd(x.astype(np.float64) - x.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(np.sum(pca.components * right[:4].T, axis=0)), 1, atol=1e-4)
    variance = pca_encode(pca, x).var(axis=0)
    assert (np.diff(variance) < 0).all()


def test_sign_does_not_depend_on_the_order_of_samples():
    x = _low_rank(60, 30, rank=3)
    order = np.random.default_rng(0).permutation(60)
    np.testing.assert_allclose(
        fit_pca(x, 3, 0).components, fit_pca(x[order], 3, 0).components, atol=1e-5
    )
