"""Agreement with the numbers of the published implementation."""

import numpy as np
import pytest

from cohgen_jax.evaluation.masks import balanced_masks
from cohgen_jax.scores import distances
from cohgen_jax.scores import draws as metrics
from cohgen_jax.scores.manifold import manifold_metrics
from tests import golden


@pytest.mark.parametrize("path", golden.files("core/metrics*.npz"))
def test_fidelity(path):
    arrays = golden.load(path)
    generated, real = arrays["generated"], arrays["real"]
    np.testing.assert_allclose(metrics.r2(generated, real), arrays["r2"], atol=1e-5)
    np.testing.assert_allclose(metrics.mse(generated, real), arrays["mse"], rtol=1e-5)
    np.testing.assert_allclose(
        metrics.cosine_distance(generated, real), arrays["cosine_distance"], atol=1e-5
    )


@pytest.mark.parametrize("path", golden.files("core/metrics*.npz"))
def test_manifold(path):
    arrays = golden.load(path)
    ours = manifold_metrics(arrays["generated"], arrays["real"], int(arrays["nearest_k"]))
    for name in ("precision", "recall", "density", "coverage"):
        np.testing.assert_allclose(getattr(ours, name), arrays[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("path", golden.files("core/metrics*.npz"))
def test_distances(path):
    arrays = golden.load(path)
    d = distances.pair_distances(arrays["generated"], arrays["real"])
    k = int(arrays["nearest_k"])
    # The published distances are float32: their differences carry about 1e-5 of rounding.
    for ours, name in (
        (distances.global_energy(d), "global_ed"),
        (distances.local_energy(d, k), "local_ed"),
        (distances.global_pointwise(d), "global_ped"),
        (distances.local_pointwise(d, k), "local_ped"),
    ):
        np.testing.assert_allclose(ours, arrays[name], rtol=2e-4, err_msg=name)


@pytest.mark.parametrize("path", golden.files("core/balanced_masks*.npz"))
def test_balanced_masks(path):
    arrays = golden.load(path)
    ours = balanced_masks(
        int(arrays["n_datasets"]), int(arrays["total_samples"]), int(arrays["seed"])
    )
    np.testing.assert_array_equal(ours.T, arrays["masks"].astype(bool))
