"""Where the levels of the solver of few evaluations should lie.

    python -m benchmarks.step_grids --run runs/tcga

Validation patients are drawn from all they have, by both methods, from the same noise: on two and
three levels in many places, the first of them pure noise, and by the default solver. What counts is
how far draws end from where 12 evaluations lead the same noise (`off` of few_evaluations.py), mean
over methods and targets. Levels are given as shares of the way from noise to data in the angle
arcsin(a) (solvers/base.py), by which the solver's own are even. Results go to step_grids.json and
the README.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import tyro

from benchmarks.few_evaluations import off
from benchmarks.readme import refresh
from benchmarks.record import record
from benchmarks.rivals.cohgen import asked
from cohgen_jax.runs.families import METHODS
from cohgen_jax.runs.run import Run, open_run
from cohgen_jax.sampling import sample_rows
from cohgen_jax.sampling.bank import Bank
from cohgen_jax.schedule import Schedule
from cohgen_jax.solvers import Solver, SolverConfig, gaussian

RESULT = Path(__file__).with_suffix(".json")
FIRST, SECOND = (0.2, 1 / 3, 0.4, 0.47), (0.55, 0.6, 2 / 3, 0.73, 0.8)
GRIDS = (*((p,) for p in (0.3, 0.4, 0.5, 0.6, 0.7)), *itertools.product(FIRST, SECOND))
"""Levels after the first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Grids of few levels against the end of the chain."""

    run: Path
    """A finished run."""
    targets: tuple[str, ...] = ()
    """All when empty."""
    patients: int = 96
    """Validation patients of each target at most."""
    draws: int = 6
    seed: int = 0
    out: Path = RESULT


def main(arguments: Arguments) -> None:
    run = open_run(arguments.run)
    record(arguments.run.name, lambda: study(run, arguments), arguments.out)
    if arguments.out == RESULT:
        refresh("step grids")


def study(run: Run, arguments: Arguments) -> list[dict]:
    """A row a solver: the levels of a grid, or the name; `off` by method and target."""
    schedule = run.config.diffusion.build()
    solvers = {
        "8 of dpmpp_2m": SolverConfig().build(schedule, run.config.diffusion.predicts),
        **{grid: gaussian(schedule, timesteps=at(schedule, grid)) for grid in GRIDS},
    }
    found: dict = {name: {} for name in solvers}
    targets = arguments.targets or run.modalities
    for target, method in itertools.product(targets, METHODS):
        t = run.index(target)
        width = int(run.latents.widths[t])
        bank = dataclasses.replace(run.bank(method, target), spread=1.0)
        end, mean = _drawn(run, bank, gaussian(schedule, 12), arguments)
        end, mean = end[..., :width], mean[..., :width]
        spread, worth = (end - mean).std(axis=(0, 1)), run.latents.scale[t, :width] ** 2
        for name, solver in solvers.items():
            draws = _drawn(run, bank, solver, arguments)[0][..., :width] - mean
            draws = mean + draws * (spread / draws.std(axis=(0, 1)))  # as calibration would
            found[name][f"{method} {target}"] = off(draws, end, worth)
        print(method, target, {n: round(of[f"{method} {target}"], 4) for n, of in found.items()})
    return [{"levels": name, "off": of} for name, of in found.items()]


def at(schedule: Schedule, grid: tuple[float, ...]) -> np.ndarray:
    """Levels int [S]: pure noise, then those at these shares of the way."""
    angle = np.arcsin(np.sqrt(schedule.alpha_bar[::-1]))
    wanted = 0.5 * np.pi * np.array(grid)
    later = np.round(np.interp(wanted, angle, np.arange(schedule.num_steps)[::-1]))
    return np.append(schedule.num_steps - 1, later).astype(np.int32)


def _drawn(
    run: Run, bank: Bank, solver: Solver, arguments: Arguments
) -> tuple[np.ndarray, np.ndarray]:
    """Draws and posterior means of validation patients, uncalibrated."""
    rows = asked(run, bank.target, "val")[: arguments.patients]
    shown = run.latents.present[rows].copy()
    shown[:, run.index(bank.target)] = False
    chain = dataclasses.replace(run.sampler_config(), solver=solver, keep_mean=True)
    z, draws = run.latents.z[rows], arguments.draws
    made = sample_rows(bank, run.modalities, z, shown, arguments.seed, draws, chain)
    return np.asarray(made.draws), np.asarray(made.mean)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
