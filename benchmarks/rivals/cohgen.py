"""The library itself in this process, measured as its rivals are: a run trained from the start, its
held-out patients drawn by both of its models.

`python -m benchmarks.rivals.cohgen --cohort PATH --run FOLDER --out FOLDER`; OUT/<method> is as
worker.py writes, draws in the units of the tables. Every target is drawn twice, since the first
call compiles: `draw_s` is of the second, `first_draw_s` of the first.

With --trained the run is there already: its training time is what its log says, and peak memory is
that of drawing alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.rivals.worker import timed, write_report
from cohgen_jax.runs.config import ExperimentConfig, RecipeName, recipe
from cohgen_jax.runs.families import METHODS, Method
from cohgen_jax.runs.run import Run, open_run
from cohgen_jax.runs.train import train_run


def asked(run: Run, target: str, side: str = "test") -> np.ndarray:
    """Rows of the patients of a side of the split who have the target and another table."""
    rows, m = run.rows(side), run.index(target)
    present = run.latents.present[rows]
    return rows[present[:, m] & (present.sum(axis=1) > 1)]


def work(
    config: ExperimentConfig | None, run_dir: Path, out: Path, num_draws: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Train, draw every target by each method, return the reports that are also written.

    config: None to take the run that is there.
    """
    fitting: dict[str, float] = {}
    if config is None:
        run, fitting["fit_s"] = open_run(run_dir), logged_seconds(run_dir)
    else:
        with timed(fitting, "fit"):
            run = train_run(config, run_dir, overwrite=True)
    reports: dict[str, dict[str, Any]] = {m: {**fitting, "targets": {}} for m in METHODS}
    for target in run.modalities:
        rows = asked(run, target)
        if len(rows) < 2:
            continue
        for method in METHODS:
            times: dict[str, Any] = {"patients": len(rows), "space": "units", "prepare_s": 0.0}
            with timed(times, "first_draw"):
                _draws(run, target, rows, method, num_draws, seed)
            with timed(times, "draw"):
                draws = _draws(run, target, rows, method, num_draws, seed)
            folder = out / method
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{target}.npy", draws)
            reports[method]["targets"][target] = times
            write_report(folder, reports[method])
    return reports


def logged_seconds(run_dir: Path) -> float:
    """Between the last start of a training, and its end."""
    times: dict[str, datetime.datetime] = {}
    for line in (run_dir / "log.jsonl").read_text().splitlines():
        entry = json.loads(line)
        times[entry["event"]] = datetime.datetime.fromisoformat(entry["time"])
    return (times["trained"] - times["start"]).total_seconds()


def _draws(
    run: Run, target: str, rows: np.ndarray, method: Method, num_draws: int, seed: int
) -> np.ndarray:
    """float32 [R, n, F] in the units of the table, patients in the order of `rows`."""
    ids = list(run.samples.index[rows])
    table = run.sample(target, ids, num_draws=num_draws, method=method, seed=seed)
    by_draw = [t.drop(columns="draw").loc[ids] for _, t in table.groupby("draw")]
    return np.stack([t.to_numpy(np.float32) for t in by_draw])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohort", default="demo")
    parser.add_argument("--recipe", choices=get_args(RecipeName), default="default")
    parser.add_argument("--modalities", nargs="*", default=[])
    parser.add_argument("--split-seed", type=int, help="default: the recipe's")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--trained", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    config = dataclasses.replace(recipe(a.recipe), cohort=a.cohort, modalities=tuple(a.modalities))
    if a.split_seed is not None:
        config = dataclasses.replace(config, split_seed=a.split_seed)
    work(None if a.trained else config, a.run, a.out, a.draws, a.seed)


if __name__ == "__main__":
    main()
