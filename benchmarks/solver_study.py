"""Which solver, grid and number of steps hold the quality of 1000 ancestral steps on real data.

Done on the held-out patients of a run:

    python benchmarks/solver_study.py --run runs/tcga --name v
    python benchmarks/solver_study.py --run runs/published --name eps

For every solver the run's models draw each target from all its sources for held-out patients
(Coherent Denoising) and the draws are scored: energy score with its standard error, R2 of the
posterior mean (finite-draw variance removed) and of single draws, spread over error (1 is
calibrated). A solver holds when its energy score is within one standard error of that of 1000
steps for every target. Results go to benchmarks/solver_study.json under --name.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cohgen_jax.evaluation import metrics
from cohgen_jax.run import Run, open_run
from cohgen_jax.sampling import sample_rows
from cohgen_jax.schedule import Schedule
from cohgen_jax.solvers import Solver, clipped, ddim, ddpm, dpmpp_2m

RESULT = Path(__file__).with_suffix(".json")
GRIDS = ("uniform", "log_snr", "karras")


def candidates(schedule: Schedule, clips: list[float]) -> dict[str, Solver]:
    """Name -> solver; the reference first."""
    full = schedule.num_steps
    plain = {f"ddpm-{full}": ddpm(schedule)}
    plain |= {f"ddpm-{n}": ddpm(schedule, n) for n in (250, 100, 50, 25)}
    plain |= {f"ddim-{n}": ddim(schedule, n) for n in (10, 15, 25, 50, 100)}
    plain |= {f"ddim_eta1-{n}": ddim(schedule, n, eta=1.0) for n in (15, 25, 50)}
    for grid in GRIDS:
        for n in (8, 10, 12, 15, 20, 25):
            plain[f"dpmpp_2m_{grid}-{n}"] = dpmpp_2m(schedule, n, grid=grid)
        for n in (8, 10, 12, 15, 20, 25, 40):
            plain[f"dpmpp_2m_sde_{grid}-{n}"] = dpmpp_2m(schedule, n, eta=1.0, grid=grid)
    held = {
        f"{name}_clip{clip:g}": clipped(solver, schedule, clip)
        for clip in clips
        for name, solver in plain.items()
        if solver.num_steps < full
    }
    return plain | held


@jax.jit
def scores(draws: jax.Array, real: jax.Array) -> dict[str, jax.Array]:
    energy = metrics.energy_score(draws, real)
    return {
        "energy_score": energy.mean(),
        "energy_score_se": energy.std(ddof=1) / jnp.sqrt(real.shape[0]),
        "r2_inf": metrics.r2_inf(draws, real),
        "r2": metrics.r2(draws, real).mean(),
        "spread_error": metrics.spread_error(draws, real),
        "variance": draws.var(axis=(0, 1)).mean(),
    }


def study(
    run: Run, targets: list[str], patients: int, draws: int, seed: int, solvers: dict[str, Solver]
) -> list[dict]:
    schedule, rows = run.config.diffusion.build(), run.rows("test")
    rows = rows[run.latents.present[rows].all(axis=1)]
    rows = rows[:: max(1, len(rows) // patients)][:patients]
    z, present = run.latents.z[rows], run.latents.present[rows]
    table = []
    for name, solver in solvers.items():
        for target in targets:
            bank, t = run.coherent_bank(target), run.index(target)
            began = time.perf_counter()
            drawn = sample_rows(
                bank, run.modalities, z, present, seed, draws, schedule=schedule, solver=solver
            ).draws
            seconds = time.perf_counter() - began
            width = int(run.latents.widths[t])
            row = {
                name: float(v) for name, v in scores(drawn[..., :width], z[:, t, :width]).items()
            }
            nfe = solver.num_steps * bank.num_models
            table.append({"solver": name, "target": target, "nfe": nfe, "seconds": seconds} | row)
        mine = table[-len(targets) :]
        print(
            f"{name:34s}",
            *(f"{r['energy_score']:.3f}±{r['energy_score_se']:.3f}" for r in mine),
            " spread",
            *(f"{r['spread_error']:.2f}" for r in mine),
            " r2_inf",
            *(f"{r['r2_inf']:.3f}" for r in mine),
            f" {sum(r['seconds'] for r in mine):.0f} s",
            flush=True,
        )
    return table


def holding(table: list[dict]) -> list[dict]:
    """Solvers within one standard error of the reference for every target, cheapest first."""
    reference = {row["target"]: row for row in table if row["solver"] == table[0]["solver"]}
    by_solver: dict[str, list[dict]] = {}
    for row in table:
        by_solver.setdefault(row["solver"], []).append(row)
    found = []
    for name, rows in by_solver.items():
        excess = max(
            (row["energy_score"] - reference[row["target"]]["energy_score"])
            / reference[row["target"]]["energy_score_se"]
            for row in rows
        )
        if excess <= 1:
            spread = float(np.mean([row["spread_error"] for row in rows]))
            found.append(
                {"solver": name, "nfe": rows[0]["nfe"], "excess_se": excess, "spread": spread}
            )
    return sorted(found, key=lambda row: (row["nfe"], row["excess_se"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="a finished run of the real cohort")
    parser.add_argument("--name", required=True, help="key of the results")
    parser.add_argument("--targets", nargs="*", help="all modalities by default")
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--clip", type=float, nargs="*", default=[], help="also with these bounds")
    parser.add_argument("--only", default=".", help="solvers whose names match, and the reference")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    run = open_run(arguments.run)
    targets = arguments.targets or list(run.modalities)
    every = candidates(run.config.diffusion.build(), arguments.clip)
    solvers = {
        name: solver
        for i, (name, solver) in enumerate(every.items())
        if i == 0 or re.search(arguments.only, name)
    }
    table = study(run, targets, arguments.patients, arguments.draws, arguments.seed, solvers)
    held = holding(table)
    for row in held[:12]:
        print(row)
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    results[arguments.name] = {
        "predicts": run.config.diffusion.predicts,
        "network": run.config.single.network.architecture,
        "patients": arguments.patients,
        "draws": arguments.draws,
        "seed": arguments.seed,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "table": table,
        "holding": held,
    }
    RESULT.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
