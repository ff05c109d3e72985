"""The denoising objective of one model (Ho et al. 2020, eq. 14; v: Salimans & Ho 2022).

    L = E_{t, eps, batch} mean_d ( net(x_t, t, cond) - target )^2

over the true width of the target's latent. Conditions are hidden and blurred while training:
hiding makes the model an unconditional one too, and teaches a multi-condition model every
pattern of missing sources; blurring keeps few patients from being learnt by heart.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from cohgen_jax.schedule import Prediction, Schedule, q_sample, signal_and_noise, target_of
from cohgen_jax.training.config import TrainConfig


def stratified_levels(key: jax.Array, num: int, num_steps: int) -> jax.Array:
    """num levels t in 0 .. T-1, one from each of num equal strata, in random order.

    Each is uniform on its own; together they cover the range evenly, which takes the variance
    of t out of the gradient (Kingma et al. 2021, appendix I.1).
    """
    offset_key, order_key = jax.random.split(key)
    offset = jax.random.uniform(offset_key, (), jnp.float32)
    unit = (jnp.arange(num, dtype=jnp.float32) + offset) / num
    levels = jnp.minimum((unit * num_steps).astype(jnp.int32), num_steps - 1)
    return jax.random.permutation(order_key, levels)


def hide_conditions(key: jax.Array, mask: jax.Array, config: TrainConfig) -> jax.Array:
    """Hide some of the present conditions: [B, C] -> [B, C], as `config.masking` says.

    'independent': each with chance cond_dropout (all may go). 'count': draw how many to hide,
    uniform on 0 .. C-1, and hide that many of the C slots, absent ones included, but never the
    last present one.
    """
    if config.masking == "independent":
        return mask * jax.random.bernoulli(key, 1 - config.cond_dropout, mask.shape)
    num_conds = mask.shape[1]
    count_key, order_key = jax.random.split(key)
    count = jax.random.randint(count_key, (mask.shape[0], 1), 0, num_conds)
    rank = jnp.argsort(jnp.argsort(jax.random.uniform(order_key, mask.shape), axis=1), axis=1)
    kept = mask * (rank >= count)
    last = mask * (rank == jnp.max(jnp.where(mask > 0, rank, -1), axis=1, keepdims=True))
    return jnp.where(kept.sum(axis=1, keepdims=True) > 0, kept, last)


def denoising_loss(
    module: nn.Module,
    variables: dict,
    key: jax.Array,
    x_0: jax.Array,
    conds: jax.Array,
    mask: jax.Array,
    dim_mask: jax.Array,
    *,
    schedule: Schedule,
    predicts: Prediction,
    config: TrainConfig,
) -> tuple[jax.Array, dict]:
    """Loss of one batch and the updated batch statistics.

    x_0: [B, D]; conds: [B, C, D]; mask: [B, C] float; dim_mask: [D], 1 on the true width.
    """
    t_key, eps_key, hide_key, blur_key, dropout_key = jax.random.split(key, 5)
    t = stratified_levels(t_key, x_0.shape[0], schedule.num_steps)
    eps = jax.random.normal(eps_key, x_0.shape, jnp.float32)
    a, s = signal_and_noise(schedule, t)
    mask = hide_conditions(hide_key, mask, config)
    conds = conds + config.cond_noise * jax.random.normal(blur_key, conds.shape, jnp.float32)
    out, updates = module.apply(
        variables,
        q_sample(schedule, x_0, t, eps),
        t,
        [conds[:, c] for c in range(conds.shape[1])],
        mask,
        train=True,
        rngs={"dropout": dropout_key},
        mutable=["batch_stats"],
    )
    error = jnp.square(out - target_of(predicts, x_0, eps, a, s)) * dim_mask[None]
    return jnp.mean(jnp.sum(error, axis=1)) / jnp.sum(dim_mask), dict(updates)
