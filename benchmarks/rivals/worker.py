"""One rival in this process: `python -m benchmarks.rivals.worker NAME --cohort FILE --out FOLDER`.

Writes FOLDER/<target>.npy, draws [R, N, F or k], and FOLDER/report.json anew after every target, so
that what was drawn before a limit of time still counts. NumPy alone, but for the rival's packages.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rivals import RIVALS
from benchmarks.rivals.protocol import load

PACKAGES = (
    *("jax", "torch", "engression", "multivae", "mofapy2"),
    *("treeffuser", "lightgbm", "ForestDiffusion", "xgboost", "numpy", "scikit-learn"),
)


@contextlib.contextmanager
def timed(into: dict[str, float], name: str) -> Iterator[None]:
    """Wall-clock seconds as `name`_s, those of all cores as `name`_cpu_s."""
    wall, cpu = time.perf_counter(), _cpu()
    yield
    into[f"{name}_s"] = time.perf_counter() - wall
    into[f"{name}_cpu_s"] = _cpu() - cpu


def _cpu() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def peak_mb() -> float:
    """Of this process, or of the largest that it started.

    Of Linux's two numbers the one that begins with the program: getrusage's begins with the process
    that started it, before the program took its place.
    """
    started = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    status = Path("/proc/self/status")
    if not status.exists():
        return max(started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return max(started, int(peak.split()[1])) / 1024


def versions() -> dict[str, str]:
    """Of what is installed here of PACKAGES."""
    there = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            there[name] = importlib.metadata.version(name)
    return there


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """As a whole or not at all."""
    half = folder / "report.part"
    half.write_text(json.dumps({**report, "peak_mb": peak_mb(), "versions": versions()}))
    half.replace(folder / "report.json")


def work(name: str, file: Path, out: Path, num_draws: int, seed: int) -> dict[str, Any]:
    """Fit a rival, draw every target, return the report that is also written."""
    out.mkdir(parents=True, exist_ok=True)
    cohort = load(file)
    module = importlib.import_module(f"benchmarks.rivals.{RIVALS[name].module}")
    report: dict[str, Any] = {"targets": {}}
    with timed(report, "fit"):
        fitted = module.fit(cohort.known())
    for m, target in enumerate(cohort.modalities):
        rows = cohort.asked(m)
        if len(rows) < 2:
            continue
        given = cohort.patients.of(rows).hiding(m)
        times: dict[str, Any] = {"patients": len(rows), "space": fitted.space}
        with timed(times, "prepare"):
            fitted.prepare(m, given)
        with timed(times, "draw"):
            draws = fitted.draw(m, given, num_draws, seed)
        np.save(out / f"{target}.npy", np.asarray(draws, np.float32))
        report["targets"][target] = times
        write_report(out, report)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=RIVALS)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    work(a.name, a.cohort, a.out, a.draws, a.seed)


if __name__ == "__main__":
    main()
