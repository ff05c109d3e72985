"""How few evaluations of the networks draws need, judged in units of the tables.

    python -m benchmarks.few_evaluations --runs runs/tcga runs/cll runs/citeseq runs/breast
    python -m benchmarks.few_evaluations --runs runs/tcga --timing

Each solver, among them Euler steps on straight paths (DDIM's on that grid: training/levels.py), is
calibrated on validation patients as the default is, then draws every target of held-out patients
from all they have, by both methods, all solvers from the same noise. Of the draws are kept: fair
CRPS, 80 % coverage, variance ratio, how correlations within draws compare with
measured ones (structure_slope), and `off`: how far draws end from where 12 steps lead the same
noise, in standard deviations of draws about their mean, both calibrated. A solver holds where CRPS
is at most 0.3 % worse than the default's, coverage within 0.01 and variance ratio within 0.02.
--timing: seconds for 1,000 patients x 10 draws, medians of interleaved repeats, and of an
imputation what is not the networks: from latents to units of the table, the model of the rest
among it. Results go to few_evaluations.json, a part a run, and into the README.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tyro

from benchmarks.readme import refresh
from benchmarks.record import record
from benchmarks.rivals.cohgen import asked
from cohgen_jax.evaluation.tables import cohort_of, streams_of, units_of_run
from cohgen_jax.evaluation.units import Units, patient_crps, score_units
from cohgen_jax.runs.calibrate import calibrate_bank
from cohgen_jax.runs.families import METHODS
from cohgen_jax.runs.run import Run, open_run
from cohgen_jax.sampling import sample_rows
from cohgen_jax.sampling.bank import Bank
from cohgen_jax.sampling.generator import Generated
from cohgen_jax.scores.draws import inside_interval
from cohgen_jax.solvers import SolverConfig

RESULT = Path(__file__).with_suffix(".json")
DEFAULT, END = "dpmpp_2m-8", "gaussian-12"
TIMED_PATIENTS = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Draws of few evaluations against those of the default."""

    runs: tuple[Path, ...]
    """Finished runs whose cohorts lie where they lay in training."""
    methods: tuple[str, ...] = METHODS
    targets: tuple[str, ...] = ()
    """All when empty."""
    draws: int = 10
    patients: int = 400
    """Held-out patients at most, of each target."""
    seed: int = 0
    solvers: tuple[str, ...] = ()
    """Names of `candidates`, all when empty; the default is always among them."""
    timing: bool = False
    """Measure seconds, not scores."""
    repeats: int = 5
    out: Path = RESULT


def candidates() -> dict[str, SolverConfig]:
    """Name -> solver; the default first, then the one that tells where the ODE leads."""
    made = {DEFAULT: SolverConfig(), END: SolverConfig(name="gaussian", num_steps=12)}
    made |= {f"dpmpp_2m-{n}": SolverConfig(num_steps=n) for n in (4, 5, 6)}
    made |= {
        f"straight-{n}": SolverConfig(name="ddim", num_steps=n, grid="straight")
        for n in (2, 3, 4, 8)
    }
    return made | {
        f"gaussian-{n}": SolverConfig(name="gaussian", num_steps=n) for n in (1, 2, 3, 4, 5)
    }


def _asked(arguments: Arguments) -> dict[str, SolverConfig]:
    every = candidates()
    return {name: every[name] for name in every if name in (DEFAULT, *(arguments.solvers or every))}


def main(arguments: Arguments) -> None:
    for path in arguments.runs:
        run = dataclasses.replace(open_run(path), calibration={})
        if arguments.timing:
            record(f"{path.name} seconds", lambda run=run: timed(run, arguments), arguments.out)
        else:
            record(path.name, lambda run=run: scored(run, arguments), arguments.out)
    if arguments.out == RESULT:
        refresh("few evaluations")


def scored(run: Run, arguments: Arguments) -> list[dict]:
    """A row a method, target and solver."""
    units = units_of_run(run, cohort_of(run), run.modalities)
    table = []
    chosen = arguments.methods, arguments.targets, arguments.patients
    for method, target, rows in judged_tables(run, *chosen):
        bank = run.bank(method, target)
        ways = {name: (bank, solver) for name, solver in _asked(arguments).items()}
        drawn = compare(run, units[target], rows, ways, arguments.draws, arguments.seed)
        table += [{"method": method, "target": target, **row} for row in drawn]
    return table


def judged_tables(
    run: Run, methods: Sequence[str], targets: Sequence[str], most: int
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Method, target (all of the run where none is named) and the held-out patients who have it and
    something else, two at least and about `most` at most."""
    for method, target in itertools.product(methods, targets or run.modalities):
        rows = asked(run, target)
        rows = rows[:: max(1, len(rows) // most)][:most]
        if len(rows) > 1:
            print(f"-- {target} by {method}", flush=True)
            yield method, target, rows


def compare(
    run: Run,
    units: Units,
    rows: np.ndarray,
    ways: Mapping[str, tuple[Bank, SolverConfig]],
    draws: int,
    seed: int,
) -> list[dict]:
    """A row a way to draw the target of these patients, the first that which others are held to."""
    bank, _ = next(iter(ways.values()))
    t = run.index(bank.target)
    width = int(run.latents.widths[t])
    worth, truth = run.latents.scale[t, :width] ** 2, units.truth[rows]
    known = np.isfinite(truth)
    table, of_way, default = [], {}, np.zeros(0)
    for name, (bank, solver) in ways.items():
        generated = _drawn(run, bank, solver, rows, draws, seed)
        of_way[name] = generated.draws[..., :width]
        x = units.of(generated, rows, seed)
        scores = score_units(x, truth, units.mean, units.sd)
        crps = patient_crps(x, truth, units.mean, units.sd)
        default = default if len(table) else crps
        more = (crps - default)[np.isfinite(crps)]
        inside = np.asarray(inside_interval(x, np.where(known, truth, 0)))
        row = {"solver": name, "patients": len(rows)}
        row |= {key: scores[key] for key in ("crps", "crps_se", "variance_ratio")}
        row |= {"structure_slope": scores["structure_slope"]}
        row |= {"difference_se": float(more.std(ddof=1) / len(more) ** 0.5)}
        row |= {"coverage": float(inside[known].mean())}
        table.append(row)
        print(
            f"{name:18s} crps {row['crps']:.4f} "
            f"({100 * (row['crps'] / table[0]['crps'] - 1):+.2f} %) coverage {row['coverage']:.3f} "
            f"variance {row['variance_ratio']:.3f} slope {row['structure_slope']:.3f}",
            flush=True,
        )
    if END in of_way:
        for row in table:
            row["off"] = off(of_way[row["solver"]], of_way[END], worth)
    return table


def _drawn(
    run: Run, bank: Bank, solver: SolverConfig, rows: np.ndarray, draws: int, seed: int
) -> Generated:
    """Calibrated draws of these patients."""
    chain = run.sampler_config(solver)
    spread = calibrate_bank(run, None, bank, chain).scale
    calibrated = dataclasses.replace(bank, spread=spread)
    present = run.latents.present[rows].copy()
    present[:, run.index(bank.target)] = False
    z = run.latents.z[rows]
    made = sample_rows(calibrated, run.modalities, z, present, seed, draws, chain, sample_ids=rows)
    mean = None if made.mean is None else np.asarray(made.mean)
    return Generated(np.asarray(made.draws), np.asarray(made.disagreement), mean=mean)


def off(draws: np.ndarray, end: np.ndarray, worth: np.ndarray) -> float:
    """Root mean square of draws - end [R, N, D], over that of end about its mean over draws."""
    spread = end.var(axis=0, ddof=1).mean(axis=0) @ worth
    return float(np.sqrt(((draws - end) ** 2).mean(axis=(0, 1)) @ worth / spread))


def timed(run: Run, arguments: Arguments) -> list[dict]:
    """Seconds for TIMED_PATIENTS x draws of each target: of the chains by solver, and of the way to
    units of the table."""
    table, streams = [], streams_of(run)
    solvers = {name: solver for name, solver in _asked(arguments).items() if name != END}
    for method in arguments.methods:
        for target in arguments.targets or run.modalities:
            present, t = run.latents.present, run.index(target)
            able = np.flatnonzero(np.delete(present, t, axis=1).any(axis=1))
            rows = np.resize(able, TIMED_PATIENTS)
            bank, codec = run.bank(method, target), run.codecs[target]
            bank = dataclasses.replace(bank, spread=1.01)  # as calibrated, the mean is computed too
            shown = present[rows].copy()
            shown[:, t] = False
            seconds: dict[str, list[float]] = {name: [] for name in (*solvers, "to units")}
            for repeat in range(arguments.repeats + 1):  # the first one compiles
                draws = np.zeros(0)
                for name, solver in solvers.items():
                    began = time.perf_counter()
                    draws = sample_rows(
                        bank,
                        run.modalities,
                        run.latents.z[rows],
                        shown,
                        repeat,
                        arguments.draws,
                        run.sampler_config(solver),
                    ).draws
                    seconds[name].append(time.perf_counter() - began)
                began = time.perf_counter()
                codec.draw(np.asarray(draws)[..., : codec.width], streams[rows], repeat)
                seconds["to units"].append(time.perf_counter() - began)
            of_part = {name: float(np.median(s[1:])) for name, s in seconds.items()}
            table.append({"method": method, "target": target, "seconds": of_part})
            print(method, target, {name: round(s, 2) for name, s in of_part.items()}, flush=True)
    return table


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
