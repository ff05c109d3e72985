"""What must hold of every denoiser, whatever its weights."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.networks import NetworkConfig, build, init, time_embedding
from cohgen_jax.networks.unet import level_widths
from tests.conftest import enable_x64

X_DIM, COND_DIMS, COUNT = 5, (4, 3, 2), 7
SMALL = NetworkConfig(
    architecture="mlp",
    width=12,
    bottleneck=3,
    num_layers=3,
    time_embedding=6,
    cond_embedding=4,
)
PUBLISHED = ("mlp", "norm_mlp", "norm_mlp_v2", "unet", "unet_v2")
# norm_mlp_v2 sees raw conditions beside their masks: its masks silence nothing, as published.
SILENCED = [
    (architecture, fusion)
    for architecture in ("mlp", "norm_mlp", "unet", "unet_v2")
    for fusion in ("concat", "sum")
]


@functools.cache
def network(architecture, **changes):
    """A small denoiser, compiled, and variables in which nothing is zero."""
    config = dataclasses.replace(SMALL, architecture=architecture, **changes)
    module = build(config, X_DIM, COND_DIMS)
    return module, jax.jit(module.apply), random_variables(module, seed=0)


def random_variables(module, seed):
    """Random numbers in place of `init`, whose many draws take long to compile."""
    rng = np.random.default_rng(seed)
    template = jax.eval_shape(lambda: init(module, jax.random.key(0)))

    def fill(path, leaf):
        low, high = (0.5, 1.5) if path[-1].key == "var" else (-0.3, 0.4)
        return rng.uniform(low, high, leaf.shape).astype(leaf.dtype)

    return jax.tree.map_with_path(fill, template)


def inputs(count=COUNT, seed=1):
    rng = np.random.default_rng(seed)
    x_t = rng.normal(size=(count, X_DIM)).astype(np.float32)
    t = rng.integers(0, 1000, count).astype(np.int32)
    conds = [rng.normal(size=(count, c)).astype(np.float32) for c in COND_DIMS]
    mask = rng.integers(0, 2, (count, len(COND_DIMS))).astype(np.float32)
    return x_t, t, conds, mask


@pytest.mark.parametrize("architecture", ["adaln_mlp", *PUBLISHED])
def test_samples_do_not_see_each_other(architecture):
    _, apply, variables = network(architecture)
    x_t, t, conds, mask = inputs()
    out = apply(variables, x_t, t, conds, mask)
    assert out.shape == x_t.shape
    assert out.dtype == jnp.float32

    order = np.random.default_rng(2).permutation(COUNT)
    shuffled = apply(variables, x_t[order], t[order], [c[order] for c in conds], mask[order])
    np.testing.assert_allclose(shuffled, out[order], atol=1e-5)


@pytest.mark.parametrize("architecture", ["adaln_mlp", *PUBLISHED])
def test_masks_may_be_absent_or_boolean(architecture):
    _, apply, variables = network(architecture)
    x_t, t, conds, mask = inputs()
    everything = np.ones_like(mask)
    without = apply(variables, x_t, t, conds)
    np.testing.assert_allclose(without, apply(variables, x_t, t, conds, everything), atol=1e-5)
    boolean = apply(variables, x_t, t, conds, mask.astype(bool))
    np.testing.assert_allclose(boolean, apply(variables, x_t, t, conds, mask), atol=1e-5)


@pytest.mark.parametrize(("architecture", "fusion"), [("adaln_mlp", "concat"), *SILENCED])
def test_a_missing_modality_gets_zero_gradient(architecture, fusion):
    _, apply, variables = network(architecture, fusion=fusion)
    x_t, t, conds, mask = inputs()

    def total(conds):
        return jnp.sum(apply(variables, x_t, t, conds, mask) ** 2)

    for i, grad in enumerate(jax.grad(total)(conds)):
        absent = mask[:, i] == 0
        assert np.all(grad[absent] == 0)
        assert np.any(grad[~absent] != 0)


@pytest.mark.parametrize(("architecture", "fusion"), SILENCED[:4])
def test_embeddings_of_a_modality_missing_everywhere_do_not_learn(architecture, fusion):
    _, apply, variables = network(architecture, fusion=fusion)
    x_t, t, conds, mask = inputs()
    mask[:, 1] = 0

    def total(params):
        return jnp.sum(apply({**variables, "params": params}, x_t, t, conds, mask) ** 2)

    grads = jax.grad(total)(variables["params"])
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(grads["cond_embeddings_1"]))
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(grads["cond_embeddings_2"]))


@pytest.mark.parametrize("architecture", ["adaln_mlp", *PUBLISHED])
def test_stacked_models_under_vmap_equal_a_loop(architecture):
    module, apply, _ = network(architecture)
    models = [random_variables(module, seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    x_t, t, conds, mask = inputs()
    together = jax.vmap(lambda v: apply(v, x_t, t, conds, mask))(stacked)
    loop = jnp.stack([apply(v, x_t, t, conds, mask) for v in models])
    np.testing.assert_allclose(together, loop, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", PUBLISHED)
def test_dropout_acts_in_training_only(architecture):
    module, apply, variables = network(architecture, dropout=0.5)
    _, without, _ = network(architecture)
    arguments = inputs()

    @jax.jit
    def train(key):
        options = {"train": True, "mutable": ["batch_stats"], "rngs": {"dropout": key}}
        return module.apply(variables, *arguments, **options)[0]

    first, second = jax.random.split(jax.random.key(0))
    np.testing.assert_array_equal(train(first), train(first))
    assert np.any(train(first) != train(second))
    np.testing.assert_allclose(
        apply(variables, *arguments), without(variables, *arguments), atol=1e-5
    )


def test_same_numbers_with_64_bit_types_enabled():
    module, apply, variables = network("norm_mlp")
    out = apply(variables, *inputs())
    with enable_x64(True):
        again = jax.jit(module.apply)(variables, *inputs())
        fresh = jax.eval_shape(lambda: init(module, jax.random.key(0)))
    assert again.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(fresh)} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(again, out, atol=1e-5)


def test_time_embedding_knows_differences_only():
    """sin a sin b + cos a cos b = cos(a - b): inner products depend on t - t' alone."""
    gram = [e @ e.T for e in (time_embedding(jnp.arange(4) + start, 16) for start in (0, 500))]
    np.testing.assert_allclose(gram[0], gram[1], atol=1e-4)
    np.testing.assert_allclose(np.diag(gram[0]), 8, atol=1e-5)


def test_time_embedding_of_odd_width_ends_in_zero():
    t = jnp.arange(5)
    np.testing.assert_array_equal(time_embedding(t, 9)[:, :8], time_embedding(t, 8))
    assert np.all(time_embedding(t, 9)[:, 8] == 0)


def test_unet_widths_fall_geometrically():
    config = NetworkConfig(architecture="unet", width=512, bottleneck=32, num_layers=4)
    assert level_widths(config) == (512, 256, 128, 64)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "transformer"}, "architecture 'transformer'; known: adaln_mlp, mlp"),
        ({"fusion": "mean"}, "fusion 'mean'; known: concat, sum"),
        ({"width": 0}, "width must be a whole number of at least 1"),
        ({"num_layers": 2.5}, "num_layers must be"),
        ({"time_embedding": 1}, "time_embedding must be a whole number of at least 2"),
        ({"cond_embedding": True}, "cond_embedding must be"),
        ({"dropout": 1.0}, "dropout must lie in"),
        ({"dropout": "0.1"}, "dropout must be a number"),
    ],
)
def test_config_is_checked_at_birth(changes, said):
    with pytest.raises(InputError, match=said):
        NetworkConfig(**changes)


@pytest.mark.parametrize(("x_dim", "cond_dims"), [(0, (3,)), (4, ()), (4, (3, 0))])
def test_build_refuses_empty_latents(x_dim, cond_dims):
    with pytest.raises(InputError, match="positive width"):
        build(SMALL, x_dim, cond_dims)


@pytest.mark.parametrize("architecture", PUBLISHED)
def test_arguments_of_wrong_shape_are_named(architecture):
    _, apply, variables = network(architecture)
    x_t, t, conds, mask = inputs()
    with pytest.raises(ValueError, match="takes 3 conditions, got 2"):
        apply(variables, x_t, t, conds[:2], mask)
    with pytest.raises(ValueError, match=r"conds\[1\] of shape \(7, 3\), got \(7, 2\)"):
        apply(variables, x_t, t, [conds[0], conds[2], conds[1]], mask)
    with pytest.raises(ValueError, match="mask of shape"):
        apply(variables, x_t, t, conds, mask[:, :2])
    with pytest.raises(ValueError, match="t of shape"):
        apply(variables, x_t, t[:1], conds, mask)
