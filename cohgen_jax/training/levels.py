"""Noise levels in training: how often each is seen, how much it counts.

Flow matching with straight paths is a choice of both. With tau = s / (a + s), x_t is (a + s) times
a point of the straight path (1 - tau) x_0 + tau eps, whose velocity u = eps - x_0 is in error by
(a + s) times the error of v. Uniform tau with errors of u is `straight` twice (rectified flow: Liu
et al. 2022, arXiv:2209.03003; Lipman et al. 2022, arXiv:2210.02747); its Euler steps are those of
DDIM on the grid `straight` (solvers/base.py).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr

from cohgen_jax.schedule import Prediction, Schedule, straight_time


def level_weights(kind: str, schedule: Schedule, predicts: Prediction) -> np.ndarray:
    """Weight of each level in the loss, [T], of mean 1.

    none      all alike, in the norm of what the network predicts
    min_snr   min(SNR, 5) in the norm of x_0 (Hang et al. 2023, eq. 8), carried over to that of the
              prediction: an error of v is 1/(SNR + 1), one of eps 1/SNR of the error of x_0
    straight  all alike in the norm of the velocity of straight paths, carried over likewise
    """
    if kind == "none":
        return np.ones(schedule.num_steps)
    snr = np.exp(schedule.log_snr)
    of_x_0 = np.minimum(snr, 5.0) if kind == "min_snr" else np.square(np.sqrt(snr) + 1)
    weight = of_x_0 / {"x_0": 1.0, "v": snr + 1, "eps": snr}[predicts]
    return weight / weight.mean()


def level_distribution(kind: str, schedule: Schedule) -> np.ndarray:
    """Chance that a level is at most t, [T].

    uniform      every level alike
    log_normal   log(s / a) normal with mean -1.2 and sd 1.2 (Karras et al. 2022, table 1)
    straight     s / (a + s) uniform, the time of straight paths
    """
    if kind == "uniform":
        return np.arange(1, schedule.num_steps + 1) / schedule.num_steps
    if kind == "straight":
        chance = straight_time(schedule)
    else:
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
