"""The objective's pieces against what they promise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.networks import NetworkConfig, build
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.training import TrainConfig
from cohgen_jax.training.hyper import Hyper
from cohgen_jax.training.objective import denoising_loss, hide_conditions

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
