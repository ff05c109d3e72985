"""Second moments of a bank's predictions on validation patients, for the stacked consensus.

Patients who lack a source count for the pairs of sources that they have, so that everybody with
the target is used. Sources that no patient has together are taken to be independent given v.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.errors import InputError
from cohgen_jax.sampling.bank import Bank
from cohgen_jax.sampling.stacking import Moments
from cohgen_jax.schedule import Schedule

NUM_LEVELS = 20
NUM_NOISES = 8
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
    present: np.ndarray,
    width: int,
    schedule: Schedule,
    seed: int,
) -> Moments:
    """Moments of the predictions from each of the bank's sources.

    Args:
      bank: single-condition models; several of one source are averaged.
      x_0: [N, D], the target of patients who have it. conds: S arrays [N, C]; present: [N, S].
      width: features of the target that are not padding.

    Raises:
      InputError: a source that no patient has together with the target.
    """
    present = np.asarray(present, bool)
    for source, patients in zip(bank.sources, present.sum(axis=0), strict=True):
        if not patients:
            raise InputError(
                f"no validation patient has both {bank.target} and {source}: enlarge val_fraction"
            )
    levels, rng = moment_levels(schedule), np.random.default_rng(seed)
    a, s = np.sqrt(schedule.alpha_bar[levels]), np.sqrt(1 - schedule.alpha_bar[levels])
    shown = [np.where(present[:, [i]], cond, 0) for i, cond in enumerate(conds)]
    known = np.concatenate([present, np.ones((len(x_0), 1), bool)], axis=1).T  # and the truth
    patients = (known[:, None] & known[None]).sum(axis=-1)
    second = []
    for t, signal, noise in zip(levels, a, s, strict=True):
        eps = rng.standard_normal((NUM_NOISES, *x_0.shape), np.float32)
        x_t = (signal * x_0 + noise * eps).astype(np.float32)
        v_k = _predict_v(bank, x_t, t, shown, present, signal, noise)
        v = np.concatenate([v_k, (signal * eps - noise * x_0)[None]])[..., :width]
        v = np.where(known[:, None, :, None], v, 0)
        total = np.einsum("irnd,jrnd->dij", v, v, optimize=True)
        moment = total / (NUM_NOISES * np.maximum(patients, 1))
        with_truth = moment[:, :, -1]
        apart = with_truth[:, :, None] * with_truth[:, None] / moment[:, -1, -1, None, None]
        second.append(np.where(patients > 0, moment, apart))
    return Moments(
        schedule.log_snr[levels].astype(np.float32),
        np.stack(second).astype(np.float32),
        patients.astype(np.int32),
    )


@jax.jit
def _predict_v(bank: Bank, x_t, t, conds, present, signal, noise):
    """Mean over the models of each source, [S, R, N, D]."""
    eps = bank.predict_eps(x_t, t, conds, present, signal, noise)
    v = (eps - noise * x_t[None]) / signal
    return jnp.stack(
        [
            v[jnp.array([k for k, slot in enumerate(bank.slots) if slot == (i,)])].mean(axis=0)
            for i in range(len(bank.sources))
        ]
    )
