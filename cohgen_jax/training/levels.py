"""Noise levels in training: how often each is seen, how much it counts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr

from cohgen_jax.schedule import Prediction, Schedule


def level_weights(kind: str, schedule: Schedule, predicts: Prediction) -> np.ndarray:
    """Weight of each level in the loss, [T], of mean 1.

    none      all alike, in the norm of what the network predicts
    min_snr   min(SNR, 5) in the norm of x_0 (Hang et al. 2023, eq. 8), carried over to that of the
              prediction: an error of v is 1/(SNR + 1), one of eps 1/SNR of the error of x_0
    """
    if kind == "none":
        return np.ones(schedule.num_steps)
    snr = np.exp(schedule.log_snr)
    weight = np.minimum(snr, 5.0) / {"x_0": 1.0, "v": snr + 1, "eps": snr}[predicts]
    return weight / weight.mean()


def level_distribution(kind: str, schedule: Schedule) -> np.ndarray:
    """Chance that a level is at most t, [T].

    uniform      every level alike
    log_normal   log(s / a) normal with mean -1.2 and sd 1.2 (Karras et al. 2022, table 1)
    """
    if kind == "uniform":
        return np.arange(1, schedule.num_steps + 1) / schedule.num_steps
    chance = ndtr((-0.5 * schedule.log_snr + 1.2) / 1.2)
    return chance / chance[-1]


def draw_levels(key: jax.Array, num: int, distribution: jax.Array, stratified: bool) -> jax.Array:
    """num levels t in 0 .. T-1 by inversion of their distribution [T].

    Stratified: one from each of num equal shares of the distribution, in random order. Each level
    has the distribution on its own; together they cover it evenly, which takes the variance of t
    out of the gradient (Kingma et al. 2021, appendix I.1).
    """
    offset_key, order_key = jax.random.split(key)
    if stratified:
        offset = jax.random.uniform(offset_key, (), jnp.float32)
        place = jax.random.permutation(order_key, jnp.arange(num, dtype=jnp.float32))
        unit = (place + offset) / num
    else:
        unit = jax.random.uniform(offset_key, (num,), jnp.float32)
    t = jnp.searchsorted(distribution, unit, side="right")
    return jnp.minimum(t, distribution.shape[0] - 1)
