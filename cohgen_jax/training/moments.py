"""Second moments of a bank's predictions on validation patients, for the stacked consensus."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.sampling.bank import Bank
from cohgen_jax.sampling.stacking import Moments, Pattern
from cohgen_jax.schedule import Schedule

NUM_LEVELS = 20
NUM_NOISES = 4
"""Noised copies of each patient at each level."""
LARGEST_LOG_SNR = 6.0
"""Beyond it nothing is left to predict: x_0 is known to 5 % of its standard deviation."""


def moment_levels(schedule: Schedule, num_levels: int = NUM_LEVELS) -> np.ndarray:
    """Levels evenly spaced in log SNR, int [L], from noise to data."""
    first, last = schedule.log_snr[-1], min(LARGEST_LOG_SNR, schedule.log_snr[0])
    wanted = np.linspace(first, last, num_levels)
    t = np.interp(-wanted, -schedule.log_snr, np.arange(schedule.num_steps))
    return np.unique(np.round(t).astype(int))[::-1]


def measure_moments(
    bank: Bank,
    x_0: np.ndarray,
    conds: list[np.ndarray],
    pattern: Pattern,
    worth: np.ndarray,
    schedule: Schedule,
    seed: int,
) -> Moments:
    """Moments of the predictions of the bank's models where just these sources are shown.

    Args:
      bank: K models of the target.
      x_0: [N, D], the target of patients who have it and all sources of the pattern.
      conds: latents of the bank's sources, arrays [N, C], and its covariates.
      worth: [width] of the target's components.
    """
    present = np.tile(np.array(pattern, bool), (len(x_0), 1))
    levels, rng = moment_levels(schedule), np.random.default_rng(seed)
    a, s = np.sqrt(schedule.alpha_bar[levels]), np.sqrt(1 - schedule.alpha_bar[levels])
    width = len(worth)
    dims = np.arange(x_0.shape[1]) < width
    shown = bank.conditions([jnp.asarray(cond, jnp.float32) for cond in conds], present)
    second = []
    for t, signal, noise in zip(levels, a, s, strict=True):
        eps = rng.standard_normal((NUM_NOISES, *x_0.shape), np.float32) * dims
        x_t = (signal * x_0 + noise * eps).astype(np.float32)
        v_k = _predict_v(bank.unnamed(), x_t, t, shown, present, signal, noise)
        v = np.concatenate([v_k, (signal * eps - noise * x_0)[None]])[..., :width]
        total = np.einsum("irnd,jrnd->dij", v, v, optimize=True)
        second.append(total / (NUM_NOISES * max(len(x_0), 1)))
    resting = np.zeros(bank.num_models, np.float32)
    if bank.regression is not None:
        resting[-1] = 1
    return Moments(
        schedule.log_snr[levels].astype(np.float32),
        np.stack(second).astype(np.float32),
        worth.astype(np.float32),
        np.asarray(len(x_0), np.int32),
        resting,
    )


@jax.jit
def _predict_v(bank: Bank, x_t, t, conds, present, signal, noise):
    """[K, R, N, D]."""
    eps = bank.predict_eps(x_t, t, conds, present, signal, noise)
    return (eps - noise * x_t[None]) / signal
