"""Second moments of a bank's predictions on validation patients, for the stacked consensus."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.sampling.bank import Bank
from cohgen_jax.sampling.chain import specialize
from cohgen_jax.sampling.generate import patients_at_once
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
    heard = bank.available(np.array([pattern], bool))[0]
    levels, num = moment_levels(schedule), len(x_0)
    few = num <= FEW_PATIENTS
    evaluated = np.arange(bank.num_models) if few else np.flatnonzero(heard)
    size = patients_at_once(max(num, 2))  # filled up, counted as 0; one patient as few are
    counted = np.where(np.arange(size) < num, 1 / (NUM_NOISES * max(num, 1)), 0)

    def filled(rows: np.ndarray) -> np.ndarray:
        missing = [(0, 0)] * (rows.ndim - 2) + [(0, size - num), (0, 0)]
        return np.pad(np.asarray(rows, np.float32), missing)

    present = np.tile(np.array(pattern, bool), (size, 1))
    shown = bank.conditions([filled(cond) for cond in conds], present)
    seen = _second_moments(
        (bank if few else bank.of(evaluated.tolist())).unnamed(),
        shown,
        present,
        filled(x_0),
        filled(_noise(seed, len(levels), NUM_NOISES, *x_0.shape)),
        heard[evaluated],
        counted.astype(np.float32),
        schedule.alpha_bar[levels].astype(np.float32),
        levels=tuple(levels.tolist()),
    )
    places = np.append(evaluated, bank.num_models)
    shape = (len(levels), len(worth), bank.num_models + 1, bank.num_models + 1)
    second = np.zeros(shape, np.float32)
    second[:, :, places[:, None], places] = np.asarray(seen)[:, : len(worth)]
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


@functools.lru_cache(maxsize=1)
def _noise(seed: int, *shape: int) -> np.ndarray:
    """Standard normal; the patterns and targets of a run ask for the same again."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@functools.partial(jax.jit, static_argnames="levels")
def _second_moments(
    bank: Bank, conds, present, x_0, eps, heard, counted, alpha_bar, levels: tuple[int, ...]
):
    """float32 [L, D, K + 1, K + 1], of the velocities that the K models predict, and of the true
    one. eps: [L, R, N, D]; heard: bool [K]; counted: [N], weights of patients."""

    def of_level(given):
        level, a2, eps = given
        a, s, eps = jnp.sqrt(a2), jnp.sqrt(1 - a2), eps * bank.dims[None, None]
        x_t = a * x_0[None] + s * eps
        outputs: list = [None] * bank.num_models
        for group, loop, table, patient in zip(bank.groups, *ready, strict=True):
            denoise = functools.partial(form_of(group.module).denoise, group.module)
            row = jax.tree.map(lambda leaf: leaf[level], table)

            def one_model(loop, row, patient, denoise=denoise):
                return denoise(loop, row, patient, x_t)

            out = group.each(one_model, (loop, row), (patient,))
            for position, k in enumerate(group.members):
                outputs[k] = out[position]
        said = eps_from(bank.predicts, jnp.stack(outputs), x_t[None], a, s)
        v = (said * bank.dims[None, None, None] - s * x_t[None]) / a
        v = jnp.where(heard[:, None, None, None], v, 0)
        v = jnp.concatenate([v, (a * eps - s * x_0[None])[None]])
        v = v * jnp.sqrt(counted)[None, None, :, None]
        return jax.lax.map(lambda one: jnp.sum(v * one[None], axis=(1, 2)), v)

    with jax.default_matmul_precision("highest"):
        ready = specialize(bank, conds, present, np.array(levels), "float32")
        seen = jax.lax.map(of_level, (jnp.arange(len(levels)), alpha_bar, eps))
    return jnp.moveaxis(seen, -1, 1)
