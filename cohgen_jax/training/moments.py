"""Second moments of a bank's predictions on validation patients, for the stacked consensus."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.sampling.bank import Bank
from cohgen_jax.sampling.chain import specialize
from cohgen_jax.sampling.specialize import form_of
from cohgen_jax.sampling.stacking import Moments, Pattern
from cohgen_jax.schedule import Schedule, eps_from
from cohgen_jax.solvers import uniform_levels

NUM_LEVELS = 20
NUM_NOISES = 4
"""Noised copies of each patient at each level."""
FEW_PATIENTS = 512
"""Up to these all patterns share a program, which also evaluates models that are not heard: it
compiles once, where a program for each pattern would take longer than all its evaluations."""
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
      pattern: which of them; models that see nothing of it are not heard, their moments are 0.
      worth: [width] of the target's components.
    """
    heard = np.flatnonzero(bank.available(np.array([pattern], bool))[0])
    levels, rng = moment_levels(schedule), np.random.default_rng(seed)
    a, s = np.sqrt(schedule.alpha_bar[levels]), np.sqrt(1 - schedule.alpha_bar[levels])
    width, places = len(worth), np.append(heard, bank.num_models)
    dims = np.arange(x_0.shape[1]) < width
    few, num = len(x_0) <= FEW_PATIENTS, len(x_0)
    size = max(32, 1 << max(num - 1, 0).bit_length()) if few else num  # filled up, then cut

    def filled(rows: np.ndarray) -> np.ndarray:
        return np.pad(rows, [(0, 0)] * (rows.ndim - 2) + [(0, size - num), (0, 0)])

    present = np.tile(np.array(pattern, bool), (size, 1))
    shown = bank.conditions([filled(np.asarray(cond, np.float32)) for cond in conds], present)
    models = (bank if few else bank.of(heard.tolist())).unnamed()
    kept = heard if few else slice(None)
    ready = _ready(models, shown, present, tuple(levels.tolist()))
    second = np.zeros((len(levels), width, bank.num_models + 1, bank.num_models + 1), np.float32)
    for i, (signal, noise) in enumerate(zip(a, s, strict=True)):
        eps = rng.standard_normal((NUM_NOISES, *x_0.shape), np.float32) * dims
        x_t = (signal * x_0 + noise * eps).astype(np.float32)
        v_k = np.asarray(_predict_v(models, ready, i, filled(x_t), signal, noise))[kept, :, :num]
        v = np.concatenate([v_k, (signal * eps - noise * x_0)[None]])[..., :width]
        total = np.einsum("irnd,jrnd->dij", v, v, optimize=True)
        second[i][:, places[:, None], places] = total / (NUM_NOISES * max(len(x_0), 1))
    resting = np.zeros(bank.num_models, np.float32)
    if bank.regression is not None:
        resting[-1] = 1
    return Moments(
        schedule.log_snr[levels].astype(np.float32),
        second,
        worth.astype(np.float32),
        np.asarray(len(x_0), np.int32),
        resting,
    )


def noise_errors(moments: Moments, schedule: Schedule) -> np.ndarray:
    """Mean squared errors of the models' noise predictions [K], as validation scores them
    (`timestep` in validation.py): eps = a v + s x_t, so that an error is a times that of v."""
    worth = moments.worth / moments.worth.sum()
    second = np.einsum("d,ldij->lij", worth, moments.second)
    of_models = np.diagonal(second, axis1=1, axis2=2)[:, :-1]
    error_v = of_models - 2 * second[:, :-1, -1] + second[:, -1:, -1]
    error = error_v / (1 + np.exp(-moments.log_snr[:, None]))
    levels = uniform_levels(schedule.num_steps, min(10, schedule.num_steps))
    at = schedule.log_snr[levels]
    return np.array([np.interp(at, moments.log_snr, own).mean() for own in error.T])


@functools.partial(jax.jit, static_argnames="levels")
def _ready(bank: Bank, conds, present, levels: tuple[int, ...]):
    with jax.default_matmul_precision("highest"):
        return specialize(bank, conds, present, np.array(levels), "float32")


@jax.jit
def _predict_v(bank: Bank, ready, level, x_t, signal, noise):
    """[K, R, N, D], at one of the levels."""
    outputs: list = [None] * bank.num_models
    with jax.default_matmul_precision("highest"):
        for group, loop, table, patient in zip(bank.groups, *ready, strict=True):
            denoise = functools.partial(form_of(group.module).denoise, group.module)
            row = jax.tree.map(lambda leaf: leaf[level], table)

            def one_model(loop, row, patient, denoise=denoise):
                return denoise(loop, row, patient, x_t)

            out = group.each(one_model, (loop, row), (patient,))
            for position, k in enumerate(group.members):
                outputs[k] = out[position]
    eps = eps_from(bank.predicts, jnp.stack(outputs), x_t[None], signal, noise)
    return (eps * bank.dims[None, None, None] - noise * x_t[None]) / signal
