"""The denoising objective of one model (Ho et al. 2020, eq. 14; v: Salimans & Ho 2022).

    L = E_{t, eps, batch} w_t sum_d worth_d ( net(x_t, t, cond) - target )^2_d / sum_d worth_d

A component counts by what it is worth in the table, and one beyond the true width of the target's
latent not at all: there x_t is 0. Conditions are hidden and blurred while training: hiding makes
the model an unconditional one too, and teaches a multi-condition model every pattern of missing
sources; blurring keeps few patients from being learnt by heart. Covariates are always known: they
are neither hidden nor blurred.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from cohgen_jax.schedule import Prediction, Schedule, q_sample, signal_and_noise, target_of
from cohgen_jax.training.config import TrainConfig
from cohgen_jax.training.hyper import Hyper
from cohgen_jax.training.levels import draw_levels


def hide_conditions(
    key: jax.Array, mask: jax.Array, chance: jax.Array | float, masking: str
) -> jax.Array:
    """Hide some of the present conditions: [B, C] -> [B, C].

    'independent': each with this chance (all may go). 'count': draw how many to hide,
    uniform on 0 .. C-1, and hide that many of the C slots, absent ones included, but never the
    last present one. 'one': all but one of the present ones, drawn by chance, and that one with
    this chance.
    """
    if masking == "one":
        hide_key, order_key = jax.random.split(key)
        order = jnp.where(mask > 0, jax.random.uniform(order_key, mask.shape), -1)
        first = jax.nn.one_hot(jnp.argmax(order, axis=1), mask.shape[1], dtype=mask.dtype)
        shown = jax.random.bernoulli(hide_key, 1 - chance, (mask.shape[0], 1))
        return jnp.where(shown, first * mask, 0)
    if masking == "independent":
        return jnp.where(jax.random.bernoulli(key, 1 - chance, mask.shape), mask, 0)
    num_conds = mask.shape[1]
    count_key, order_key = jax.random.split(key)
    count = jax.random.randint(count_key, (mask.shape[0], 1), 0, num_conds)
    rank = jnp.argsort(jnp.argsort(jax.random.uniform(order_key, mask.shape), axis=1), axis=1)
    kept = jnp.where(rank >= count, mask, 0)
    shown_last = jnp.max(jnp.where(mask > 0, rank, -1), axis=1, keepdims=True)
    last = jnp.where(rank == shown_last, mask, 0)
    return jnp.where(kept.sum(axis=1, keepdims=True) > 0, kept, last)


def denoising_loss(
    module: nn.Module,
    variables: dict,
    key: jax.Array,
    x_0: jax.Array,
    conds: jax.Array,
    mask: jax.Array,
    worth: jax.Array,
    *,
    covariates: jax.Array | None = None,
    schedule: Schedule,
    predicts: Prediction,
    hyper: Hyper,
    config: TrainConfig,
) -> tuple[jax.Array, dict]:
    """Loss of one batch and the updated batch statistics.

    x_0: [B, D]; conds: [B, C, D], in natural scale; mask: [B, C] float; worth: [D], 0 beyond the
    true width; covariates: [B, Q], the last condition of a network that knows them.
    """
    t_key, eps_key, hide_key, blur_key, dropout_key = jax.random.split(key, 5)
    t = draw_levels(t_key, x_0.shape[0], hyper.level_distribution, config.stratified)
    eps = jax.random.normal(eps_key, x_0.shape, jnp.float32)
    eps = jnp.where((worth > 0)[None], eps, 0)
    a, s = signal_and_noise(schedule, t)
    mask = hide_conditions(hide_key, mask, hyper.cond_dropout, config.masking)
    conds = conds + hyper.cond_noise * jax.random.normal(blur_key, conds.shape, jnp.float32)
    shown = [conds[:, c] for c in range(conds.shape[1])]
    if covariates is not None:
        shown.append(covariates)
        mask = jnp.concatenate([mask, jnp.ones((len(mask), 1), mask.dtype)], axis=1)
    out, updates = module.apply(
        variables,
        q_sample(schedule, x_0, t, eps),
        t,
        shown,
        mask,
        train=True,
        rngs={"dropout": dropout_key},
        mutable=["batch_stats"],
    )
    error = jnp.square(out - target_of(predicts, x_0, eps, a, s)) * worth[None]
    weighted = hyper.level_weight[t] * jnp.sum(error, axis=1)
    return jnp.mean(weighted) / jnp.sum(worth), dict(updates)
