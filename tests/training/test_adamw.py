"""The one-pass AdamW is optax's chain, and a model that must not go on does not change."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cohgen_jax.training.adamw import Trained, adamw, learning_rate
from cohgen_jax.training.config import DiffusionConfig, TrainConfig
from cohgen_jax.training.hyper import Hyper

STEPS_PER_EPOCH = 3


def tree(seed):
    rng = np.random.default_rng(seed)
    return {
        "kernel": jnp.asarray(rng.normal(size=(5, 4)), jnp.float32),
        "bias": jnp.asarray(rng.normal(size=4), jnp.float32),
    }


def hyper_of(config):
    made = Hyper.make([config], DiffusionConfig().build(), "v")
    return jax.tree.map(lambda leaf: leaf[0], made)


def optax_chain(config):
    total = config.num_epochs * STEPS_PER_EPOCH
    rate = {
        "constant": config.learning_rate,
        "cosine": optax.warmup_cosine_decay_schedule(
            0.0, config.learning_rate, STEPS_PER_EPOCH, total
        ),
    }[config.lr_schedule]
    clip = config.grad_clip
    return optax.chain(
        optax.clip_by_global_norm(clip) if clip else optax.identity(),
        optax.adamw(rate, weight_decay=config.weight_decay, mask={"kernel": True, "bias": False}),
    )


def step(weights, grads, config, keep=0.9, go_on=True):
    hyper = hyper_of(config)
    return adamw(
        weights,
        grads,
        optax.tree.norm(grads),
        jnp.asarray(go_on),
        weight_decay=hyper.weight_decay,
        grad_clip=hyper.grad_clip,
        rate=learning_rate(weights.moments.count, hyper, config, STEPS_PER_EPOCH),
        keep=jnp.float32(keep),
    )


def start():
    params = tree(0)
    return Trained(params, optax.scale_by_adam().init(params), params)


@pytest.mark.parametrize("lr_schedule", ["constant", "cosine"])
@pytest.mark.parametrize("grad_clip", [0.0, 2.0])
def test_the_steps_are_those_of_optax(lr_schedule, grad_clip):
    config = TrainConfig(
        num_epochs=4, learning_rate=0.02, lr_schedule=lr_schedule, grad_clip=grad_clip
    )
    ours, theirs, average = start(), tree(0), tree(0)
    chain = optax_chain(config)
    state = chain.init(theirs)
    for i in range(8):
        grads = jax.tree.map(lambda leaf, i=i: leaf * 10.0 ** (i - 3), tree(1 + i))
        ours = step(ours, grads, config)
        change, state = chain.update(grads, state, theirs)
        theirs = optax.apply_updates(theirs, change)
        average = optax.incremental_update(theirs, average, 0.1)
        for own, truth in ((ours.params, theirs), (ours.average, average)):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 2e-5, 1e-6), own, truth)
    assert int(ours.moments.count) == 8


def test_without_leave_to_go_on_nothing_changes_whatever_the_gradients_are():
    config = TrainConfig(lr_schedule="constant")
    before = step(start(), tree(1), config)
    grads = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), tree(2))
    jax.tree.map(np.testing.assert_array_equal, step(before, grads, config, go_on=False), before)
