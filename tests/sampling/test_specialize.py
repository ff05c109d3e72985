"""Specialised networks compute what the networks as defined compute."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.interop import denoiser_from_torch
from cohgen_jax.networks import NetworkConfig, build, init
from cohgen_jax.networks.posterior import GaussianPosterior
from cohgen_jax.sampling import Bank, Rejection, coherent_sample
from cohgen_jax.sampling.specialize import PLAIN, PRECISIONS, fold, form_of
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import ddim, ddpm
from tests import golden

TIMESTEPS = np.array([999, 400, 3, 0], np.int32)
PUBLISHED = ("mlp", "norm_mlp", "norm_mlp_v2", "unet", "unet_v2")
SCHEDULE = linear_schedule(40)


def disturbed(module, seed=0):
    """Variables of a network as if trained: no zero gates, no batch statistics of 0 and 1."""
    variables = init(module, jax.random.key(seed))
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    moved = [
        leaf + 0.1 * jnp.abs(jax.random.normal(key, leaf.shape, jnp.float32))
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(tree, moved)


def both_ways(module, variables, x, conds, mask, precision="float32"):
    """Outputs [S, R, N, D] of the specialised network and of the network itself."""
    form = form_of(module)
    assert form is not PLAIN

    @jax.jit
    def specialised(variables, x, conds, mask):
        folded = fold(form, module, variables, TIMESTEPS, precision)
        patients = form.condition(module, folded.cond, conds, mask)
        denoise = lambda row: form.denoise(module, folded.loop, row, patients, x)  # noqa: E731
        return jax.lax.map(denoise, folded.tables)

    @jax.jit
    def defined(variables, x, conds, mask):
        def at(t):
            steps = jnp.full(x.shape[1], t)
            return jax.vmap(lambda draw: module.apply(variables, draw, steps, conds, mask))(x)

        return jax.lax.map(at, jnp.asarray(TIMESTEPS))

    return specialised(variables, x, conds, mask), defined(variables, x, conds, mask)


@pytest.mark.parametrize("path", golden.files("core/denoiser_*.npz"))
def test_published_networks_with_golden_weights(path):
    arrays = golden.load(path)
    module, variables = denoiser_from_torch(golden.below(arrays, "param"), golden.config(arrays))
    conds = [jnp.asarray(cond) for cond in golden.numbered(arrays, "cond")]
    x = jnp.stack([arrays["x"], 1 - arrays["x"]])
    mask = np.ones((x.shape[1], len(conds)), np.float32)
    if "mask0" in arrays:
        mask = golden.masks(arrays)
    ours, theirs = both_ways(module, variables, x, conds, mask)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("fusion", ["concat", "sum"])
@pytest.mark.parametrize("architecture", ["adaln_mlp", *PUBLISHED])
def test_random_networks(architecture, fusion):
    config = NetworkConfig(
        architecture=architecture, width=24, bottleneck=8, num_layers=3, fusion=fusion
    )
    module = build(config, 7, (5, 3))
    keys = jax.random.split(jax.random.key(2), 3)
    x = jax.random.normal(keys[0], (2, 6, 7), jnp.float32)
    conds = [jax.random.normal(key, (6, c), jnp.float32) for key, c in zip(keys[1:], (5, 3))]  # noqa: B905
    mask = jnp.array([[1, 0], [0, 0], [1, 1]] * 2, jnp.float32)
    ours, theirs = both_ways(module, disturbed(module), x, conds, mask)
    scale = float(jnp.abs(theirs).max())
    np.testing.assert_allclose(ours / scale, theirs / scale, atol=1e-5)


def mixed_bank() -> tuple[Bank, jax.Array]:
    """Models of four forms and sizes, one of them looking at two sources."""
    configs = [
        NetworkConfig(architecture="adaln_mlp", width=16, num_layers=1),
        NetworkConfig(architecture="norm_mlp", width=24, num_layers=3),
        NetworkConfig(architecture="unet", width=20, bottleneck=6, num_layers=1),
        NetworkConfig(architecture="norm_mlp", width=24, num_layers=3),
        NetworkConfig(architecture="mlp", width=12, cond_embedding=8),
    ]
    slots = [(0,), (1,), (2,), (0,), (1, 2)]
    models = []
    for k, (config, slot) in enumerate(zip(configs, slots, strict=True)):
        module = build(config, 5, (5,) * len(slot))
        models.append((module, disturbed(module, k)))
    bank = Bank.from_models("t", ["a", "b", "c"], models, slots=slots, losses=[1, 2, 3, 1, 2])
    return bank, jax.random.normal(jax.random.key(9), (3, 12, 5), jnp.float32)


def test_chains_of_a_mixed_bank_equal_the_plain_path():
    """Every row with a pattern of its own; rejection on; all forms in one program."""
    bank, conds = mixed_bank()
    present = jnp.array(np.random.default_rng(0).random((12, 3)) < 0.5)
    present = present.at[0].set(False)
    solver = ddpm(SCHEDULE, 6)
    fast, plain = (
        coherent_sample(
            jax.random.key(0),
            bank,
            conds,
            present,
            schedule=SCHEDULE,
            solver=solver,
            num_draws=2,
            consensus="loss",
            ensemble="average",
            rejection=Rejection(cos_threshold=0.2, prop_threshold=0.5, max_retries=2),
            specialized=specialized,
        )
        for specialized in (True, False)
    )
    assert 0 < np.mean(np.asarray(fast.retries) > 0) < 1
    for one, other in zip(jax.tree.leaves(fast), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)


def test_a_regression_is_evaluated_as_it_is_defined():
    module, timesteps = GaussianPosterior(5, "v"), np.array([19, 7, 0])
    variables = {"levels": {"alpha_bar": jnp.asarray(SCHEDULE.alpha_bar, jnp.float32)}}
    keys = jax.random.split(jax.random.key(0), 2)
    x = jax.random.normal(keys[0], (2, 4, 5), jnp.float32)
    conds, mask = [jax.random.uniform(keys[1], (4, 10), jnp.float32)], jnp.ones((4, 1))
    form, plain = form_of(module), PLAIN
    assert form is not plain
    for i, t in enumerate(timesteps):
        said = []
        for each in (form, plain):
            folded = fold(each, module, variables, timesteps, "float32")
            row = jax.tree.map(lambda table, i=i: jnp.asarray(table)[i], folded.tables)
            patient = each.condition(module, folded.cond, conds, mask)
            said.append(each.denoise(module, folded.loop, row, patient, x))
        expected = module.apply(variables, x[0], jnp.full(4, t), conds)
        np.testing.assert_allclose(said[0], said[1], atol=1e-6)
        np.testing.assert_allclose(said[0][0], expected, atol=1e-6)


def test_modules_without_a_form_run_as_they_are():
    class Halve(nn.Module):
        x_dim: int
        cond_dims: tuple[int, ...]

        @nn.compact
        def __call__(self, x_t, t, conds, mask=None, *, train=False):
            return 0.5 * x_t + self.param("bias", nn.initializers.ones, ())

    module = Halve(5, (5,))
    assert form_of(module) is PLAIN
    bank = Bank.from_models("t", ["a"], [(module, {"params": {"bias": jnp.float32(0)}})])
    result = coherent_sample(
        jax.random.key(0), bank, jnp.zeros((1, 3, 5)), schedule=SCHEDULE, solver=ddim(SCHEDULE, 4)
    )
    assert np.isfinite(result.draws).all()


def test_data_are_arguments_of_the_program_not_constants():
    """Nothing as large as a weight matrix or a condition is folded into the compiled text."""
    from cohgen_jax.sampling import coherent

    bank, conds = mixed_bank()
    lowered = []
    original = coherent._sample

    def record(*args, **kwargs):
        lowered.append(original.lower(*args, **kwargs).as_text())
        return original(*args, **kwargs)

    coherent._sample = record
    try:
        coherent_sample(jax.random.key(0), bank, conds, schedule=SCHEDULE, solver=ddim(SCHEDULE, 4))
    finally:
        coherent._sample = original
    constants = [line for line in lowered[0].splitlines() if "stablehlo.constant" in line]
    assert constants
    # The largest are tables over the 32 frequencies of the time embedding: a few hundred digits.
    assert max(map(len, constants)) < 1500


@pytest.mark.parametrize("precision", PRECISIONS)
def test_precisions_stay_near_float32(precision):
    bank, conds = mixed_bank()
    solver = ddim(SCHEDULE, 4)
    draws = [
        coherent_sample(
            jax.random.key(0), bank, conds, schedule=SCHEDULE, solver=solver, precision=p
        ).draws
        for p in ("float32", precision)
    ]
    error = float(jnp.abs(draws[0] - draws[1]).max() / jnp.abs(draws[0]).max())
    assert error < 0.05
    assert (error > 1e-5) == (precision == "bfloat16")


def test_an_unknown_precision_is_refused():
    bank, conds = mixed_bank()
    with pytest.raises(InputError, match="float16"):
        coherent_sample(
            jax.random.key(0),
            bank,
            conds,
            schedule=SCHEDULE,
            solver=ddim(SCHEDULE, 4),
            precision="float16",  # pyright: ignore
        )
