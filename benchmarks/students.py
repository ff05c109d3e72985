"""Whether students of one evaluation a draw hold what their teacher's draws are worth.

    python -m benchmarks.students --runs runs/tcga runs/cll

A student has its bank's networks, from the trained weights on, and draws by the gaussian solver on
two levels: the first, pure noise, is evaluated once a patient, the second once a draw. Training
patients, as they are and with random ones of their sources, teach it by one of two losses through
the whole chain and the consensus:

path     where 12 evaluations of the bank lead the same noise, squared distance: direct distillation
         of the flow (Luhman & Luhman 2021, arXiv:2101.02388), also what straightening does in one
         go (reflow: Liu et al. 2022, arXiv:2209.03003)
energy   the energy score of its draws against those of the bank: only distributions need agree
         (Bouchacourt et al. 2016, arXiv:1606.02556; De Bortoli et al. 2025, arXiv:2502.02483)

Held-out patients judge them in units of the tables, as few_evaluations.py does, beside their
teacher's 8 evaluations, 3 of the gaussian solver, and 2 without any lesson. Results go to
students.json, a part a run, and into the README.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from benchmarks.few_evaluations import DEFAULT, END, candidates, compare, judged_tables
from benchmarks.readme import refresh
from benchmarks.record import record
from benchmarks.rivals.cohgen import asked
from cohgen_jax.evaluation.tables import cohort_of, units_of_run
from cohgen_jax.runs.families import METHODS
from cohgen_jax.runs.run import Run, open_run
from cohgen_jax.sampling import Sampler, SamplerConfig
from cohgen_jax.sampling.bank import Bank
from cohgen_jax.scores.draws import energy_score
from cohgen_jax.training.validation import random_subsets

RESULT = Path(__file__).with_suffix(".json")
LEVELS = "gaussian-2"
"""The solver that students draw by."""
BATCH = 64
"""Patients of a lesson."""

Loss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Students of one evaluation a draw."""

    runs: tuple[Path, ...]
    """Finished runs whose cohorts lie where they lay in training."""
    targets: tuple[str, ...] = ()
    """All when empty."""
    lessons: int = 200
    """Steps of Adam, at a rate that falls to 0 by half a cosine."""
    rate: float = 3e-4
    lesson_draws: int = 4
    """Of each patient of a lesson."""
    draws: int = 10
    patients: int = 400
    """Held-out patients at most, of each target."""
    seed: int = 0
    out: Path = RESULT


def path_loss(made: jax.Array, taught: jax.Array, worth: jax.Array) -> jax.Array:
    """Mean squared distance of draws [R, N, D] of the same noise."""
    return jnp.mean(jnp.square(made - taught) @ worth)


def energy_loss(made: jax.Array, taught: jax.Array, worth: jax.Array) -> jax.Array:
    """Twice the energy score of draws [R, N, D] against each of as many of other noise."""
    size = jnp.sqrt(worth)[None, None]
    score = jax.vmap(energy_score, in_axes=(None, 0))(made * size, taught * size)
    return 2 * jnp.mean(score)


LOSSES: dict[str, Loss] = {"path": path_loss, "energy": energy_loss}


def main(arguments: Arguments) -> None:
    for path in arguments.runs:
        run = dataclasses.replace(open_run(path), calibration={})
        record(path.name, lambda run=run: scored(run, arguments), arguments.out)
        if arguments.out == RESULT:
            refresh("students")


def scored(run: Run, arguments: Arguments) -> list[dict]:
    """A row a method, target and way to draw; of students `seconds` of their training."""
    units = units_of_run(run, cohort_of(run), run.modalities)
    solvers = {name: candidates()[name] for name in (DEFAULT, "gaussian-3", LEVELS, END)}
    table = []
    for method, target, rows in judged_tables(run, METHODS, arguments.targets, arguments.patients):
        bank = run.bank(method, target)
        ways = {name: (bank, solver) for name, solver in solvers.items()}
        seconds = {}
        for loss in LOSSES:
            began = time.perf_counter()
            ways[loss] = (student(run, bank, loss, arguments), solvers[LEVELS])
            seconds[loss] = time.perf_counter() - began
        found = compare(run, units[target], rows, ways, arguments.draws, arguments.seed)
        for row in found:
            more = {"seconds": seconds[row["solver"]]} if row["solver"] in seconds else {}
            table.append({"method": method, "target": target, **row, **more})
    return table


def student(run: Run, bank: Bank, loss: str, arguments: Arguments) -> Bank:
    """The bank with weights taught by this loss."""
    teacher, pupil = (
        dataclasses.replace(run.sampler_config(candidates()[name]), keep_mean=False)
        for name in (END, LEVELS)
    )
    conds, shown, told = _training_patients(run, bank, arguments.seed)
    scale = run.latents.scale[run.index(bank.target), : bank.x_dim]
    worth = jnp.square(scale) * bank.dims
    worth /= worth.sum()
    order, key = np.random.default_rng(arguments.seed), jax.random.key(arguments.seed)
    draws = arguments.lesson_draws

    def drawn(bank: Bank, config: SamplerConfig, rows: np.ndarray, first: int) -> jax.Array:
        samples = Sampler(bank, config)(
            key,
            [cond[rows] for cond in conds],
            shown[rows],
            draws,
            first_draw=first,
            sample_ids=rows,
            told=None if told is None else told[rows],
        )
        return samples.draws

    def taught(weights: list, rows: np.ndarray, lesson: int, goal: jax.Array) -> jax.Array:
        first = draws * (2 * lesson + (loss == "energy"))
        return LOSSES[loss](drawn(_with(bank, weights), pupil, rows, first), goal, worth)

    weights = [group.variables.get("params", {}) for group in bank.groups]
    rate = optax.cosine_decay_schedule(arguments.rate, arguments.lessons)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    state = optimiser.init(weights)

    @jax.jit
    def step(grads, state, weights):
        change, state = optimiser.update(grads, state, weights)
        return optax.apply_updates(weights, change), state

    said = []
    for lesson in range(arguments.lessons):
        rows = order.choice(len(shown), BATCH, replace=len(shown) < BATCH)
        goal = drawn(bank, teacher, rows, draws * 2 * lesson)
        value, grads = jax.value_and_grad(taught)(weights, rows, lesson, goal)
        weights, state = step(grads, state, weights)
        said.append(value)
        if (lesson + 1) % 100 == 0:
            print(f"{bank.target} {loss} {lesson + 1}: {np.mean(said[-100:]):.5f}", flush=True)
    return _with(bank, weights)


def _with(bank: Bank, weights: list) -> Bank:
    groups = tuple(
        dataclasses.replace(
            group, variables={**group.variables, "params": params} if params else group.variables
        )
        for group, params in zip(bank.groups, weights, strict=True)
    )
    return dataclasses.replace(bank, groups=groups)


def _training_patients(
    run: Run, bank: Bank, seed: int
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray | None]:
    """Conditions, sources shown and what the regression tells of training patients, each with all
    its sources and with random ones."""
    rows = asked(run, bank.target, "train")
    conds, present = run.conditions(bank, np.tile(rows, 2))
    present = present[: len(rows)]
    shown = np.concatenate([present, random_subsets(present[None], seed)[0]])
    return conds, shown, bank.told(conds, shown)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
