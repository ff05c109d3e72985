"""How models are judged while they train: by what they generate for validation patients.

    mse        mean squared error of generated samples           (published)
    cosine     cosine distance of generated samples              (published)
    timestep   mean squared error of the noise prediction        (published)
    energy     energy score of the draws (Gneiting & Raftery 2007, eq. 21), fair in the number
               of draws: a strictly proper score, the only one here that collapsed spread
               cannot improve

All of them in the natural scale of the target, each component at what it is worth in the table;
cosine and energy of published latents, which are worth the same, are those of the latents.

A multi-condition model is judged as it will be used and as it was trained: half of its
validation set shows every source, half a random non-empty subset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.schedule import Prediction, Schedule, eps_from, q_sample, signal_and_noise
from cohgen_jax.scores.draws import cosine_distance, energy_score
from cohgen_jax.solvers import Solver, reverse_process, uniform_levels
from cohgen_jax.training.spec import ModelSpec

METRICS = ("energy", "mse", "cosine", "timestep")
MOST_JUDGED = 2048
"""Validation patients at most: scores do not gain by more, and all are on the device at once."""


def judged(rows: np.ndarray, present: np.ndarray, seed: int) -> np.ndarray:
    """Those of the validation rows that are used: all, or, of too many, the ones with the most
    modalities, drawn by chance among equals. rows: positions in present [N, M]."""
    if len(rows) <= MOST_JUDGED:
        return rows
    chance = np.random.default_rng(seed).random(len(rows))
    order = np.lexsort((chance, -present[rows].sum(axis=1)))
    return np.sort(rows[order[:MOST_JUDGED]])


class ValidationData(NamedTuple):
    """Validation patients, the same for every model; masks and weights are the model's own."""

    z: jax.Array  # [V, M, D]
    mask: jax.Array  # [K, V, C] float32, sources shown
    weight: jax.Array  # [K, V] float32, 1 where the patient has the target and a source

    @classmethod
    def make(
        cls,
        specs: Sequence[ModelSpec],
        z: np.ndarray,
        present: np.ndarray,
        seed: int,
        masking: str = "independent",
    ) -> ValidationData:
        """z: [V, M, D]; present: [V, M] bool."""
        num_conds = len(specs[0].sources)
        shown = np.stack([present[:, list(spec.sources)] for spec in specs])
        has_target = np.stack([present[:, spec.target] for spec in specs])
        if masking == "one":
            shown = one_of(shown, seed)
        elif num_conds > 1:
            z, has_target = np.concatenate([z, z]), np.concatenate([has_target] * 2, axis=1)
            shown = np.concatenate([shown, random_subsets(shown, seed)], axis=1)
        weight = has_target & shown.any(axis=2)
        return cls(
            jnp.asarray(z, jnp.float32),
            jnp.asarray(shown, jnp.float32),
            jnp.asarray(weight, jnp.float32),
        )


def random_subsets(shown: np.ndarray, seed: int) -> np.ndarray:
    """A random non-empty subset of each patient's sources, the same for every model: [K, V, C]."""
    order = np.random.default_rng(seed).random(shown.shape[1:])[None]
    order = np.where(shown, order, np.inf)
    return shown & ((order < 0.5) | (order == order.min(axis=2, keepdims=True)))


def one_of(shown: np.ndarray, seed: int) -> np.ndarray:
    """A random one of each patient's sources: [K, V, C]."""
    order = np.random.default_rng(seed).random(shown.shape[1:])[None]
    order = np.where(shown, order, np.inf)
    return shown & (order == order.min(axis=2, keepdims=True))


def validation_scores(
    variables: Any,
    val: ValidationData,
    target: jax.Array,
    sources: jax.Array,
    worth: jax.Array,
    keys: jax.Array,
    *,
    scale: jax.Array,
    covariates: jax.Array | None = None,
    module: nn.Module,
    schedule: Schedule,
    predicts: Prediction,
    solver: Solver,
    num_draws: int,
) -> dict[str, jax.Array]:
    """Scores [K] of K models; each uses the same noise at every validation.

    worth: [K, D]; scale: [M, D]; covariates: [V, Q] (see `farm.FarmData`).
    """

    def one_model(variables, mask, weight, target, sources, worth, key):
        dims = (worth > 0).astype(jnp.float32)
        natural = jnp.sqrt(worth / (jnp.sum(worth) / jnp.sum(dims)))
        real = val.z[:, target]  # [V, D]
        conds = [val.z[:, s] * scale[None, s] for s in sources]
        if covariates is not None:
            conds.append(covariates)
            mask = jnp.concatenate([mask, jnp.ones((len(mask), 1), mask.dtype)], axis=1)
        chain_key, level_key = jax.random.split(jax.random.fold_in(key, 2))

        def predict_eps(x, t):  # x [V, D], t [V]
            out: Any = module.apply(variables, x, t, conds, mask)
            return eps_from(predicts, out, x, *signal_and_noise(schedule, t)) * dims[None]

        def chain_step(x, t):
            steps = jnp.full(x.shape[1], t, jnp.int32)
            return jax.vmap(lambda draw: predict_eps(draw, steps))(x), ()

        shape = (num_draws, *real.shape)
        x_T = jax.random.normal(chain_key, shape, jnp.float32) * dims[None, None]

        def noise(i):
            key = jax.random.fold_in(chain_key, i + 1)
            return jax.random.normal(key, shape, jnp.float32) * dims[None, None]

        draws, _ = reverse_process(solver, chain_step, x_T, noise)
        draws, real_natural = draws * natural[None, None], real * natural[None]

        def noise_error(t):
            eps = jax.random.normal(jax.random.fold_in(level_key, t), real.shape, jnp.float32)
            eps = eps * dims[None]
            steps = jnp.full(real.shape[0], t)
            error = predict_eps(q_sample(schedule, real, steps, eps), steps) - eps
            return jnp.sum(jnp.square(error * natural[None]), axis=1)

        levels = jnp.asarray(uniform_levels(schedule.num_steps, min(10, schedule.num_steps)))
        squared = jnp.sum(jnp.square(draws - real_natural[None]), axis=-1)
        width = jnp.sum(dims)
        per_patient = {
            "energy": energy_score(draws, real_natural),
            "mse": jnp.mean(squared, axis=0) / width,
            "cosine": jnp.mean(cosine_distance(draws[:, :, None], real_natural[:, None]), axis=0),
            "timestep": jnp.mean(jax.lax.map(noise_error, levels), axis=0) / width,
        }
        return {
            name: jnp.sum(jnp.where(weight > 0, score, 0) * weight) / jnp.sum(weight)
            for name, score in per_patient.items()
        }

    return jax.vmap(one_model)(variables, val.mask, val.weight, target, sources, worth, keys)
