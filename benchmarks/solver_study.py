"""Which solver, grid and number of steps hold the quality of 1000 ancestral steps on real data.

Done on patients of a run that it was not trained on:

    python -m benchmarks.solver_study --run runs/tcga --name v
    python -m benchmarks.solver_study --run runs/tcga --name v_multi --method multi
    python -m benchmarks.solver_study --run runs/published --name eps

For every solver the run's models draw each target from all its sources for held-out patients, once
for each seed, and the draws are scored: energy score with its standard error over patients, R2 of
the posterior mean (finite-draw variance removed) and of single draws, spread over error (1 is
calibrated). `excess` is the energy score above that of 1000 ancestral steps on the same patients,
with its own standard error, which is smaller. A solver holds when its energy score is within one
standard error of that of 1000 steps for every target. Names that end in bfloat16 are the same
solvers with the networks' products in bfloat16, names that end in mixture those whose ensembles
take turns from draw to draw. Results go to benchmarks/solver_study.json under
--name, and from there with plot_sampling.py into the README.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import re
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from cohgen_jax.runs.run import Run, open_run
from cohgen_jax.sampling import SamplerConfig, sample_rows
from cohgen_jax.sampling.bank import Ensemble
from cohgen_jax.sampling.consensus import RULES
from cohgen_jax.sampling.specialize import Precision
from cohgen_jax.schedule import Schedule
from cohgen_jax.scores import draws as metrics
from cohgen_jax.solvers import Solver, clipped, ddim, ddpm, dpmpp_2m

RESULT = Path(__file__).with_suffix(".json")
GRIDS = ("uniform", "log_snr", "karras")


class Candidate(NamedTuple):
    solver: Solver
    precision: Precision = "float32"
    ensemble: Ensemble = "average"


def candidates(schedule: Schedule, clips: list[float]) -> dict[str, Candidate]:
    """Name -> solver; the reference first."""
    full = schedule.num_steps
    plain = {f"ddpm-{full}": ddpm(schedule)}
    plain |= {f"ddpm-{n}": ddpm(schedule, n) for n in (250, 100, 50, 25)}
    plain |= {f"ddim-{n}": ddim(schedule, n) for n in (10, 15, 25, 50, 100)}
    plain |= {f"ddim_eta1-{n}": ddim(schedule, n, eta=1.0) for n in (15, 25, 50)}
    for grid in GRIDS:
        for kind, eta in (("", 0.0), ("_half", 0.5), ("_sde", 1.0)):
            for n in (6, 8, 10, 12, 15, 20, 25):
                plain[f"dpmpp_2m{kind}_{grid}-{n}"] = dpmpp_2m(schedule, n, eta=eta, grid=grid)
    held = {
        f"{name}_clip{clip:g}": clipped(solver, clip)
        for clip in clips
        for name, solver in plain.items()
        if solver.num_steps < full
    }
    every = {name: Candidate(solver) for name, solver in (plain | held).items()}
    for name in ("ddpm-250", "dpmpp_2m_sde_uniform-15", "dpmpp_2m_log_snr-10"):
        every[f"{name}_bfloat16"] = Candidate(plain[name], "bfloat16")
    name = "dpmpp_2m_log_snr-8"
    every[f"{name}_mixture"] = Candidate(plain[name], ensemble="mixture")
    return every


@jax.jit
def scores(draws: jax.Array, real: jax.Array) -> dict[str, jax.Array]:
    return {
        "energy": metrics.energy_score(draws, real),  # [N]
        "r2_inf": metrics.r2_inf(draws, real),
        "r2": metrics.r2(draws, real).mean(),
        "spread_error": metrics.spread_error(draws, real),
        "variance": draws.var(axis=(0, 1)).mean(),
    }


def study(run: Run, arguments: argparse.Namespace, tried: dict[str, Candidate]) -> list[dict]:
    rows = run.rows(arguments.split)
    rows = rows[run.latents.present[rows].all(axis=1)]
    rows = rows[:: max(1, len(rows) // arguments.patients)][: arguments.patients]
    z, present = run.latents.z[rows], run.latents.present[rows]
    table, reference = [], {}
    for name, (solver, precision, ensemble) in tried.items():
        config = SamplerConfig(
            solver=solver,
            consensus=arguments.consensus,
            precision=precision,
            ensemble=ensemble,
        )
        for target in arguments.targets or run.modalities:
            bank = dataclasses.replace(
                run.bank(arguments.method, target), spread=1.0
            )  # fitted to one solver
            t = run.index(target)
            width = int(run.latents.widths[t])
            began, per_seed = time.perf_counter(), []
            for seed in arguments.seeds:
                drawn = sample_rows(
                    bank, run.modalities, z, present, seed, arguments.draws, config
                ).draws
                per_seed.append(scores(drawn[..., :width], z[:, t, :width]))
            seconds = (time.perf_counter() - began) / len(per_seed)
            means = {key: np.mean([s[key] for s in per_seed], axis=0) for key in per_seed[0]}
            energy = means.pop("energy")
            excess = energy - reference.setdefault(target, energy)
            row = {"solver": name, "target": target, "seconds": seconds}
            row |= {"nfe": solver.num_steps * bank.turns(ensemble)[0].num_models}
            row |= {"energy_score": float(energy.mean()), "energy_score_se": _se(energy)}
            row |= {"excess": float(excess.mean()), "excess_se": _se(excess)}
            row |= {"seed_sd": float(np.std([s["energy"].mean() for s in per_seed]))}
            table.append(row | {key: float(value) for key, value in means.items()})
        of_solver = table[-len(reference) :]
        print(
            f"{name:34s}",
            *(
                f"{r['energy_score']:.3f}({r['excess']:+.3f}±{r['excess_se']:.3f})"
                for r in of_solver
            ),
            " spread",
            *(f"{r['spread_error']:.2f}" for r in of_solver),
            " r2_inf",
            *(f"{r['r2_inf']:.3f}" for r in of_solver),
            f" {sum(r['seconds'] for r in of_solver):.0f} s",
            flush=True,
        )
    return table


def _se(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def holding(table: list[dict]) -> list[dict]:
    """Solvers within one standard error of the reference for every target, cheapest first."""
    reference = {row["target"]: row for row in table if row["solver"] == table[0]["solver"]}
    by_solver: dict[str, list[dict]] = {}
    for row in table:
        by_solver.setdefault(row["solver"], []).append(row)
    solvers = []
    for name, rows in by_solver.items():
        excess = max(
            (row["energy_score"] - reference[row["target"]]["energy_score"])
            / reference[row["target"]]["energy_score_se"]
            for row in rows
        )
        if excess <= 1:
            spread = float(np.mean([row["spread_error"] for row in rows]))
            solvers.append(
                {"solver": name, "nfe": rows[0]["nfe"], "excess_se": excess, "spread": spread}
            )
    return sorted(solvers, key=lambda row: (row["nfe"], row["excess_se"]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="a finished run of the real cohort")
    parser.add_argument("--name", required=True, help="key of the results")
    parser.add_argument("--targets", nargs="*", help="all modalities by default")
    parser.add_argument("--method", choices=("coherent", "multi"), default="coherent")
    parser.add_argument("--consensus", choices=RULES, default="mean")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--patients", type=int, default=210)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--clip", type=float, nargs="*", default=[], help="also with these bounds")
    parser.add_argument("--only", default=".", help="solvers whose names match, and the reference")
    parser.add_argument("--reference", help="that the others are compared with, not 1000 steps")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    arguments = parser.parse_args()
    run = open_run(arguments.run)
    every = candidates(run.config.diffusion.build(), arguments.clip)
    first = arguments.reference or next(iter(every))
    if first not in every:
        raise SystemExit(f"unknown solver {first!r}; one of {', '.join(every)}")
    tried = {first: every[first]}
    tried |= {name: solver for name, solver in every.items() if re.search(arguments.only, name)}
    table = study(run, arguments, tried)
    held = holding(table)
    for row in held[:12]:
        print(row)
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    results[arguments.name] = {
        "predicts": run.config.diffusion.predicts,
        "network": run.config.single.network.architecture,
        "method": arguments.method,
        "consensus": arguments.consensus,
        "split": arguments.split,
        "patients": arguments.patients,
        "draws": arguments.draws,
        "seeds": arguments.seeds,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "table": table,
        "holding": held,
    }
    RESULT.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
