"""The reverse chains of a bank: at every level all models predict, and their consensus drives the
solver.

Axes: K models, R draws, N samples, D latent width, S steps, J seats of a model (dispatch.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.axes import Array, Float
from cohgen_jax.sampling.bank import Bank
from cohgen_jax.sampling.config import SamplerConfig
from cohgen_jax.sampling.consensus import Weights, combine, disagreement
from cohgen_jax.sampling.dispatch import Dispatch
from cohgen_jax.sampling.noise import Noise
from cohgen_jax.sampling.specialize import PLAIN, Folded, Precision, fold, form_of
from cohgen_jax.schedule import eps_from, x_0_from
from cohgen_jax.solvers import reverse_process

PURE_NOISE = 1e-4
"""alpha_bar up to which nothing of x_0 is left in x_t: networks that predict v or x_0 then say the
same whatever x_t is."""


class Chains(NamedTuple):
    draws: Float[Array, "R N D"]
    disagreement: Float[Array, "R N"]
    share: Float[Array, "R N"]
    trajectory: Float[Array, "R N S"] | None


class Ready(NamedTuple):
    """The bank specialised to a grid of steps and to N samples; one entry a group of models."""

    loops: list  # leaves [K_g, ...]
    patients: list  # leaves [K_g, N, ...]
    levels: tuple  # (tables, signal, noise, weights by pattern): leaves [S, ...]
    pattern: jax.Array  # [N]
    pairs: jax.Array  # [N, K]
    variance: jax.Array | None  # [N, D], for a solver that needs it


def make_ready(
    bank: Bank, conds, present, variance, weights: Weights, config: SamplerConfig
) -> Ready:
    loops, tables, patients = specialize(
        bank, conds, present, config.solver.timesteps, config.precision, config.specialized
    )
    alpha_bar = config.solver.schedule.alpha_bar_at(config.solver.timesteps)
    levels = (
        tables,
        jnp.asarray(np.sqrt(alpha_bar), jnp.float32),
        jnp.asarray(np.sqrt(1 - alpha_bar), jnp.float32),
        weights.table,
    )
    return Ready(loops, patients, levels, weights.pattern, weights.pairs, variance)


def specialize(
    bank: Bank,
    conds,
    present,
    timesteps: np.ndarray,
    precision: Precision,
    specialized: bool = True,
) -> tuple[list, list, list]:
    """(loops, tables, patients) of each group of models, see `specialize.Form`: leaves [P_g, ...],
    [S, P_g, ...] and [K_g, N, ...], P_g networks. conds: those of `Bank.conditions`."""
    mask = bank.masks(present)
    loops, patients, tables = [], [], []
    for group in bank.groups:
        module, form = group.module, _form(group, specialized)
        folded = jax.vmap(
            lambda variables, form=form, module=module: fold(
                form, module, variables, timesteps, precision
            ),
            out_axes=Folded(loop=0, tables=1, cond=0),
        )(group.variables)
        loops.append(folded.loop)
        tables.append(folded.tables)
        condition = functools.partial(form.condition, module)
        patients.append(group.each(condition, (folded.cond,), bank.shown(group, conds, mask)))
    return loops, tables, patients


def _form(group, specialized: bool):
    return form_of(group.module) if specialized else PLAIN


class Predictor(NamedTuple):
    """What a bank says of N samples at a level, a row of `Ready.levels`."""

    outputs: Callable[[jax.Array, Any], jax.Array]
    """(x [R, N, D], level) -> what the models of each sample put out [P, R, N, D]"""
    agree: Callable[[jax.Array, jax.Array, Any], tuple[jax.Array, jax.Array]]
    """(outputs, x, level) -> the consensus of their eps [R, N, D], their disagreement [R, N]"""
    first: jax.Array
    """[P, 1, N, D]: outputs at the first level for x_T = 0"""
    shared: bool
    """Whether those serve all draws: the first level is pure noise, and eps is not what is put out,
    which is x_T there."""


def predictor(bank: Bank, ready: Ready, plan: Dispatch, config: SamplerConfig) -> Predictor:
    """What the bank says of these samples."""
    plan = jax.tree.map(lambda leaf: leaf[0], plan)  # this device's
    pairs = jnp.where(plan.taken, jnp.take_along_axis(ready.pairs, plan.models, axis=1), 0)
    patients = [  # by slot: leaves [K_g, J_g, ...]
        jax.tree.map(
            lambda leaf, rows=rows: jax.vmap(lambda terms, r: terms[r])(leaf, rows), leaves
        )
        for leaves, rows in zip(ready.patients, plan.rows, strict=True)
    ]

    def outputs(x, level):
        slots = []
        for group, loop, row, patient, rows in zip(
            bank.groups, ready.loops, level[0], patients, plan.rows, strict=True
        ):
            form = _form(group, config.specialized)

            def one_model(loop, row, patient, rows, form: Any = form, module: Any = group.module):
                return form.denoise(module, loop, row, patient, x[:, rows])

            out = group.each(one_model, (loop, row), (patient, rows))  # [K_g, R, J_g, D]
            slots.append(jax.lax.collapse(jnp.moveaxis(out, 1, 2), 0, 2))  # [K_g J_g, R, D]
        return jnp.moveaxis(jnp.concatenate(slots)[plan.seats], 0, 2)

    def agree(out, x, level):
        _, signal, noise, table = level
        eps = eps_from(bank.predicts, out, x[None], signal, noise)
        eps = eps * bank.dims[None, None, None]
        # Of each sample its pattern's weights, of those its own models'.
        weights = jnp.where(
            plan.taken[..., None], table[ready.pattern[:, None], plan.models], 0
        )  # [N, P, D]
        return combine(eps, weights, noise * x), disagreement(eps, pairs)

    x_T = jnp.zeros((1, len(ready.pattern), bank.x_dim), jnp.float32)
    left = config.solver.schedule.alpha_bar_at(config.solver.timesteps)[0]
    shared = config.specialized and bank.predicts != "eps" and left <= PURE_NOISE
    return Predictor(outputs, agree, outputs(x_T, _first(ready.levels)), bool(shared))


def _first(levels: tuple) -> tuple:
    return jax.tree.map(lambda leaf: leaf[0], levels)


def posterior_mean(models: Predictor, ready: Ready) -> Float[Array, "1 N D"]:
    """x_0 that the bank predicts from x_T = 0 at the solver's first level, where nothing of x_0 is
    left in x_T."""
    level = _first(ready.levels)
    x_T = jnp.zeros(models.first.shape[1:], jnp.float32)
    eps, _ = models.agree(models.first, x_T, level)
    return x_0_from("eps", eps, x_T, *level[1:3])


def run_chains(
    models: Predictor,
    ready: Ready,
    initial: Float[Array, "R N D"],
    noise: Noise,
    config: SamplerConfig,
) -> Chains:
    """One chain for each draw and sample."""
    threshold = config.rejection.cos_threshold if config.rejection else jnp.inf
    first = None
    if models.shared:
        first = models.agree(models.first, initial, _first(ready.levels))
    run = functools.partial(
        reverse_process,
        config.solver,
        lambda x, level: models.agree(models.outputs(x, level), x, level),
        initial,
        noise,
        levels=ready.levels,
        first=first,
        variance=None if ready.variance is None else ready.variance[None],
    )
    if config.keep_trajectory:
        draws, steps = run()
        above = (steps > threshold).astype(jnp.float32)
        trajectory = jnp.moveaxis(steps, 0, -1)
        return Chains(draws, jnp.mean(steps, axis=0), jnp.mean(above, axis=0), trajectory)

    def add(total, step):
        return total[0] + step, total[1] + (step > threshold).astype(jnp.int32)

    zero = jnp.zeros(initial.shape[:2], jnp.float32)
    draws, (total, above) = run(summary=((zero, zero.astype(jnp.int32)), add))
    count = config.solver.num_steps
    return Chains(draws, total / count, above.astype(jnp.float32) / count, None)
