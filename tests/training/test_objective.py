"""The objective's pieces against what they promise."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.networks import NetworkConfig, build
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.training import TrainConfig
from cohgen_jax.training.hyper import Hyper
from cohgen_jax.training.objective import denoising_loss, hide_conditions
from tests.sampling.test_specialize import disturbed

pytestmark = pytest.mark.usefixtures("strict_dtypes")

CONFIG = TrainConfig(network=NetworkConfig(width=16, dropout=0.0), cond_dropout=0.25)


def one_hyper(config):
    return jax.tree.map(lambda leaf: leaf[0], Hyper.make([config], linear_schedule(), "v"))


def test_independent_masking_hides_the_asked_share_and_never_shows_what_is_absent():
    mask = jnp.ones((4000, 3), jnp.float32).at[:, 1].set(0)
    hidden = np.asarray(hide_conditions(jax.random.key(1), mask, 0.25, "independent"))
    assert np.all(hidden[:, 1] == 0)
    assert hidden[:, [0, 2]].mean() == pytest.approx(0.75, abs=0.02)


def test_count_masking_hides_zero_to_all_but_one_and_keeps_somebody():
    mask = jnp.ones((6000, 3), jnp.float32)
    shown = np.asarray(hide_conditions(jax.random.key(2), mask, 0.0, "count")).sum(axis=1)
    assert np.allclose(
        np.bincount(shown.astype(int), minlength=4) / 6000, [0, 1, 1, 1] / np.float64(3), atol=0.03
    )
    lonely = mask.at[:, :2].set(0)
    assert np.all(np.asarray(hide_conditions(jax.random.key(3), lonely, 0.0, "count"))[:, 2] == 1)


def test_masking_by_one_shows_each_present_condition_alone_and_equally_often():
    mask = jnp.ones((6000, 3), jnp.float32).at[3000:, 1].set(0).at[5000:].set(0)
    shown = np.asarray(hide_conditions(jax.random.key(2), mask, 0.25, "one"))
    assert set(shown.sum(axis=1)) == {0, 1}
    np.testing.assert_allclose(shown[:3000].mean(axis=0), [0.25] * 3, atol=0.03)
    np.testing.assert_allclose(shown[3000:5000].mean(axis=0), [0.375, 0, 0.375], atol=0.03)
    assert not shown[5000:].any()


@pytest.mark.parametrize("architecture", ["adaln_mlp", "norm_mlp", "unet"])
def test_a_missing_modality_gets_no_gradient(architecture):
    """Values of a masked condition cannot influence the loss, whatever they are."""
    config = dataclasses.replace(
        CONFIG,
        network=NetworkConfig(architecture=architecture, width=16, bottleneck=4),
        cond_dropout=0.0,
    )
    module = build(config.network, 6, (6, 6))
    x_0 = jax.random.normal(jax.random.key(4), (8, 6), jnp.float32)
    conds = jax.random.normal(jax.random.key(5), (8, 2, 6), jnp.float32)
    variables = module.init(jax.random.key(6), x_0, jnp.zeros(8, jnp.int32), [x_0, x_0])
    # Networks that start at zero output would have no gradient at all: move them off it.
    variables = jax.tree.map(lambda leaf: leaf + 0.1, variables)
    mask = jnp.ones((8, 2), jnp.float32).at[:, 1].set(0)

    def loss(conds):
        return denoising_loss(
            module,
            variables,
            jax.random.key(7),
            x_0,
            conds,
            mask,
            jnp.ones(6, jnp.float32),
            schedule=linear_schedule(),
            predicts="v",
            hyper=one_hyper(config),
            config=config,
        )[0]

    gradient = np.asarray(jax.grad(loss)(conds))
    assert np.all(gradient[:, 1] == 0)
    assert np.any(gradient[:, 0] != 0)


def loss_of(module, variables, x_0, conds, mask, worth, config, predicts="v", key=7, **more):
    return denoising_loss(
        module,
        variables,
        jax.random.key(key),
        x_0,
        conds,
        mask,
        worth,
        schedule=linear_schedule(),
        predicts=predicts,
        hyper=one_hyper(config),
        config=config,
        **more,
    )[0]


@pytest.mark.parametrize("predicts", ["v", "eps"])
def test_nothing_is_learnt_beyond_the_true_width(predicts):
    """x_t is 0 there: no gradient in the rows that read it and the columns that predict it."""
    module = build(CONFIG.network, 8, (8,))
    x_0 = jax.random.normal(jax.random.key(4), (8, 8), jnp.float32).at[:, 3:].set(0)
    variables = disturbed(module)
    worth = jnp.array([2.0, 1.0, 0.1, 0, 0, 0, 0, 0], jnp.float32)

    def loss(variables):
        mask = jnp.ones((8, 1), jnp.float32)
        return loss_of(module, variables, x_0, x_0[:, None], mask, worth, CONFIG, predicts)

    gradient = jax.tree.map(np.asarray, jax.grad(loss)(variables)["params"])
    inputs, output = gradient["Dense_1"]["kernel"], gradient["output"]
    assert inputs.shape == (8, CONFIG.network.width)
    for leaf in (inputs, output["kernel"].T, output["bias"][:, None]):
        np.testing.assert_array_equal(leaf[3:], 0)
        assert np.all(np.abs(leaf[:3]).max(axis=1) > 0)


def test_a_component_counts_by_its_worth():
    """The network outputs 0: the loss is the worth-weighted mean square of v, in closed form."""
    module = build(CONFIG.network, 6, (6,))
    x_0 = jax.random.normal(jax.random.key(4), (8, 6), jnp.float32).at[:, 4:].set(0)
    variables = module.init(jax.random.key(6), x_0, jnp.zeros(8, jnp.int32), [x_0])
    mask = jnp.ones((8, 1), jnp.float32)

    def loss(worth):
        worth = jnp.asarray(worth, jnp.float32)
        return float(loss_of(module, variables, x_0, x_0[:, None], mask, worth, CONFIG))

    each = [loss(np.eye(6)[d]) for d in range(4)]
    assert loss([1, 1, 1, 1, 0, 0]) == pytest.approx(np.mean(each), rel=1e-5)
    worth = np.array([4.0, 0.5, 1.0, 2.5, 0, 0])
    assert loss(worth) == pytest.approx(worth[:4] @ each / worth.sum(), rel=1e-5)
    assert loss(10 * worth) == pytest.approx(loss(worth), rel=1e-5)


@pytest.mark.parametrize("masking", ["independent", "count"])
def test_covariates_are_never_hidden_nor_blurred(masking):
    """What the network is shown when every source is hidden, and blurred."""
    config = dataclasses.replace(CONFIG, cond_dropout=1 - 1e-6, cond_noise=3.0, masking=masking)
    seen = []

    class Witness(nn.Module):
        @nn.compact
        def __call__(self, x_t, t, conds, mask, *, train):
            seen.append((conds, mask))
            return self.param("zero", nn.initializers.zeros, ()) * x_t

    keys = jax.random.split(jax.random.key(0), 3)
    x_0 = jax.random.normal(keys[0], (16, 4), jnp.float32)
    conds = jax.random.normal(keys[1], (16, 2, 4), jnp.float32)
    known = jax.random.normal(keys[2], (16, 3), jnp.float32)
    mask, worth = jnp.ones((16, 2), jnp.float32), jnp.ones(4, jnp.float32)
    variables = {"params": {"zero": jnp.float32(0)}}
    loss_of(Witness(), variables, x_0, conds, mask, worth, config, covariates=known)
    (shown, told), *_ = seen
    np.testing.assert_array_equal(shown[2], known)
    np.testing.assert_array_equal(told[:, 2], 1)
    assert np.asarray(told)[:, :2].min() == 0
    if masking == "independent":
        np.testing.assert_array_equal(told[:, :2], 0)
    assert np.abs(np.asarray(shown[0] - conds[:, 0])).min() > 0


def test_covariates_reach_a_network_whose_sources_are_all_hidden():
    config = dataclasses.replace(CONFIG, cond_dropout=1 - 1e-6)
    module = build(config.network, 6, (6, 3))
    variables = disturbed(module)
    x_0 = jax.random.normal(jax.random.key(4), (8, 6), jnp.float32)
    known = jax.random.normal(jax.random.key(5), (8, 3), jnp.float32)

    def loss(conds, known):
        mask, worth = jnp.ones((8, 1), jnp.float32), jnp.ones(6, jnp.float32)
        return loss_of(module, variables, x_0, conds, mask, worth, config, covariates=known)

    of_source, of_known = jax.grad(loss, argnums=(0, 1))(x_0[:, None], known)
    np.testing.assert_array_equal(of_source, 0)
    assert np.all(np.abs(of_known).max(axis=1) > 0)  # every patient's


def test_padding_columns_do_not_count():
    module = build(CONFIG.network, 6, (6,))
    x_0 = jax.random.normal(jax.random.key(4), (8, 6), jnp.float32).at[:, 4:].set(0)
    variables = module.init(jax.random.key(6), x_0, jnp.zeros(8, jnp.int32), [x_0])
    dim_mask = (jnp.arange(6) < 4).astype(jnp.float32)

    def loss(variables, x_0):
        return denoising_loss(
            module,
            variables,
            jax.random.key(7),
            x_0,
            x_0[:, None],
            jnp.ones((8, 1), jnp.float32),
            dim_mask,
            schedule=linear_schedule(),
            predicts="v",
            hyper=one_hyper(CONFIG),
            config=CONFIG,
        )[0]

    # A fresh network outputs 0, so the loss is the mean square of v over the true width.
    assert loss(variables, x_0) == loss(variables, x_0.at[:, 4:].set(100.0))
    gradient = jax.grad(loss)(variables, x_0)["params"]["output"]["bias"]
    assert np.all(np.asarray(gradient[4:]) == 0)
    assert np.any(np.asarray(gradient[:4]) != 0)
