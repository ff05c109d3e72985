"""Linear and BatchNorm against their definitions; the autoencoder's shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.networks import Autoencoder, layer_sizes
from cohgen_jax.networks.layers import BatchNorm, Linear


def test_linear_starts_uniform_within_one_over_root_fan_in():
    fan_in, features = 25, 4000
    params = Linear(features).init(jax.random.key(0), jnp.zeros((1, fan_in)))["params"]
    for values in params.values():
        assert np.abs(values).max() <= 0.2
        # sd of U(-a, a) is a / sqrt(3); 4000 draws or more put it within 3 per cent
        assert np.std(values) == pytest.approx(0.2 / np.sqrt(3), rel=0.03)


def test_batch_norm_follows_biased_batches_and_keeps_unbiased_variance():
    x = np.random.default_rng(0).normal(3.0, 2.0, (6, 4)).astype(np.float32)
    module = BatchNorm()
    variables = module.init(jax.random.key(0), x, train=True)
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], np.zeros(4))
    np.testing.assert_array_equal(variables["batch_stats"]["var"], np.ones(4))

    steps = 5
    for _ in range(steps):
        out, state = module.apply(variables, x, train=True, mutable=["batch_stats"])
        variables = {**variables, **state}
    mean, var = x.mean(0), x.var(0)
    np.testing.assert_allclose(out, (x - mean) / np.sqrt(var + 1e-5), atol=1e-5)

    kept = 0.9**steps
    stats = jax.tree.map(np.asarray, variables["batch_stats"])
    np.testing.assert_allclose(stats["mean"], (1 - kept) * mean, rtol=1e-5)
    np.testing.assert_allclose(stats["var"], kept + (1 - kept) * x.var(0, ddof=1), rtol=1e-5)

    expected = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
    np.testing.assert_allclose(module.apply(variables, x), expected, atol=1e-5)


def test_batch_norm_refuses_a_batch_of_one():
    x = jnp.ones((1, 3))
    variables = BatchNorm().init(jax.random.key(0), x)
    with pytest.raises(ValueError, match="at least two samples"):
        BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])


def test_layer_sizes_fall_geometrically_to_the_bottleneck():
    assert layer_sizes(1024, 16, 3) == (256, 64, 16)
    narrow = layer_sizes(1024, 16, 3, shrink=3.0)
    assert narrow[-1] == 16
    assert all(a <= b for a, b in zip(narrow, layer_sizes(1024, 16, 3), strict=True))


def test_autoencoder_mirrors_its_encoder():
    module = Autoencoder(input_dim=40, bottleneck=5, num_layers=2)
    x = np.random.default_rng(0).normal(size=(6, 40)).astype(np.float32)
    variables = module.init(jax.random.key(0), x)
    z = module.apply(variables, x, method="encode")
    assert z.shape == (6, 5)
    np.testing.assert_array_equal(
        module.apply(variables, z, method="decode"), module.apply(variables, x)
    )

    def widths(half):
        kernels = [
            v["kernel"]
            for k, v in variables["params"].items()
            if k.startswith(half) and "kernel" in v
        ]
        return sorted(k.shape for k in kernels)

    assert widths("decoder") == sorted(shape[::-1] for shape in widths("encoder"))


def test_autoencoder_refuses_sizes_that_are_not_positive():
    with pytest.raises(InputError, match="bottleneck must be positive"):
        Autoencoder(input_dim=4, bottleneck=0, num_layers=2).init(
            jax.random.key(0), jnp.ones((2, 4))
        )
