"""How cost grows: with patients, features, modalities and draws.

    python -m benchmarks.growth                       # every part, every size
    python -m benchmarks.growth --parts patients_impute --most 100000

Every size is one `cohgen train` or `cohgen impute` in a process of its own, on simulated tables
that are written block by block: seconds by the clock and by the processor, and the peak of its
memory as the kernel counts it. Recipes are small and short: what is measured is how cost grows, not
what is learnt. The exponent of a quantity is its slope over the upper sizes, log against log.
Writes growth.json after every size, growth.png, and refreshes README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse

HERE = Path(__file__).resolve().parent
RESULT, FIGURE = HERE / "growth.json", HERE / "growth.png"
BLOCK, FACTORS = 1 << 14, 6
SMALL = ("--recipe", "debug", "--codec.latent-dim", "8", "--codec.rest", "8")
SHORT = (*(f for k in ("single", "multi") for f in (f"--{k}.num-epochs", "2")),)
WIDTHS = (48, 40, 32)
"""Features of the three tables where nothing else is asked for."""


# ---- simulated tables -------------------------------------------------------------------------


def simulate(folder: Path, num: int, widths: Sequence[int], share: float = 0.7, seed: int = 0):
    """Tables m0, m1, ... of patients P0000000, ...: numbers, counts and fractions in turn, each
    table in another order of its patients, of whom it has a share; written in row groups."""
    folder.mkdir(parents=True)
    blocks = -(-num // BLOCK)
    for m, width in enumerate(widths):
        weights = np.random.default_rng([1, m]).normal(size=(FACTORS, width)) / np.sqrt(FACTORS)
        order = np.roll(np.arange(blocks)[:: -1 if m % 2 else 1], m)
        writer: pq.ParquetWriter | None = None
        for block in order:
            rng = np.random.default_rng([seed, int(block)])
            ids = np.arange(block * BLOCK, min((block + 1) * BLOCK, num))
            factors = rng.normal(size=(len(ids), FACTORS))
            there = rng.random((len(ids), len(widths))) < share
            there[~there.any(axis=1), 0] = True
            rng = np.random.default_rng([seed, int(block), m])
            x = factors @ weights + 0.5 * rng.normal(size=(len(ids), width))
            x = (x, rng.poisson(np.exp(np.clip(x, -5, 5))), 1 / (1 + np.exp(-x)))[m % 3]
            own = rng.permutation(np.flatnonzero(there[:, m]))
            frame = pd.DataFrame(
                np.asarray(x, np.float32)[own],
                pd.Index([f"P{i:07d}" for i in ids[own]], name="sample_id"),
                [f"f{k}" for k in range(width)],
            )
            table = pa.Table.from_pandas(frame)
            writer = writer or pq.ParquetWriter(folder / f"m{m}.parquet", table.schema)
            writer.write_table(table)
        if writer:
            writer.close()
    return folder


def simulate_cells(file: Path, num: int, genes: int = 2000, antibodies: int = 30):
    """A MuData file of sparse counts (about 9 % other than 0) and the proteins of as many cells."""
    import anndata
    import mudata

    rng = np.random.default_rng(0)
    weights = rng.normal(size=(FACTORS, genes)) / np.sqrt(FACTORS)
    proteins = rng.normal(size=(FACTORS, antibodies))
    level, parts, seen = rng.normal(-3.2, 1.0, genes), [], []
    for first in range(0, num, 4096):
        factors = rng.normal(size=(min(4096, num - first), FACTORS))
        parts.append(
            scipy.sparse.csr_matrix(
                rng.poisson(np.exp(factors @ weights + level)), dtype=np.float32
            )
        )
        noise = rng.normal(size=(len(factors), antibodies))
        seen.append((factors @ proteins + noise).astype(np.float32))
    names = pd.DataFrame(index=[f"C{i:06d}" for i in range(num)])
    data = mudata.MuData(
        {
            "rna": anndata.AnnData(
                scipy.sparse.vstack(parts).tocsr(),
                names,
                pd.DataFrame(index=[f"g{k}" for k in range(genes)]),
            ),
            "protein": anndata.AnnData(
                np.concatenate(seen),
                names,
                pd.DataFrame(index=[f"p{k}" for k in range(antibodies)]),
            ),
        }
    )
    data.write_h5mu(file)


# ---- measured ---------------------------------------------------------------------------------


def measured(command: str, *args: object) -> dict[str, float]:
    """Seconds and peak memory of one command of the library in a process of its own."""
    script = HERE.parent / "experiments" / f"{command}.py"
    load, began = os.getloadavg()[0], time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, str(script), *map(str, args)], stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise SystemExit(log.read().decode()[-2000:])
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
        "load_before": load,
    }


def train(cohort: Path, out: Path, *args: object) -> dict[str, float]:
    return measured("train", *SMALL, *SHORT, "--cohort", cohort, "--out", out, *args)


def of_patients_train(num: int, folder: Path) -> dict[str, float]:
    return train(simulate(folder / "in", num, WIDTHS), folder / "run")


def of_patients_impute(num: int, folder: Path) -> dict[str, float]:
    """One draw of what each patient lacks, 0.9 tables a patient."""
    run = _trained(folder, WIDTHS)
    source = simulate(folder / "in", num, WIDTHS, seed=1)
    size = sum(f.stat().st_size for f in source.iterdir()) / 2**20
    found = measured(
        "impute", "--run", run, "--input", source, "--out", folder / "out", "--draws", 1
    )
    rows = [pq.read_metadata(folder / "out" / f"m{m}.parquet").num_rows for m in range(3)]
    return {**found, "generated": sum(rows), "read_mb": size}


def of_features(num: int, folder: Path) -> dict[str, float]:
    return train(simulate(folder / "in", 1000, (num, 30)), folder / "run")


def of_modalities(num: int, folder: Path, pairs: str = "separate") -> dict[str, float]:
    """Networks alone, 300 patients: the regressions are the same whatever the pairs are."""
    small = ("--single.network.width", 128, "--multi.network.width", 128, "--no-regression")
    longer = ("--single.num-epochs", 40, "--multi.num-epochs", 5, "--pairs", pairs)
    run = folder / "run"
    found = train(simulate(folder / "in", 300, (20,) * num, 0.9), run, *small, *longer)
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    single = [line["seconds"] for line in log if line.get("family") == "single"]
    size = sum(f.stat().st_size for f in (run / "models" / "single").rglob("*") if f.is_file())
    return {**found, "single_seconds": sum(single), "single_mb": size / 2**20}


def of_modalities_shared(num: int, folder: Path) -> dict[str, float]:
    return of_modalities(num, folder, "shared")


def of_draws(num: int, folder: Path) -> dict[str, float]:
    run = _trained(folder, WIDTHS)
    source = simulate(folder / "in", 500, WIDTHS, seed=1)
    return measured(
        "impute", "--run", run, "--input", source, "--out", folder / "out", "--draws", num
    )


def of_cells(num: int, folder: Path) -> dict[str, float]:
    file = folder / "cells.h5mu"
    folder.mkdir(parents=True)
    _apart(simulate_cells, file, num)
    found = train(file, folder / "run")
    return {**found, "read_mb": file.stat().st_size / 2**20}


PARTS: dict[str, tuple[Callable[[int, Path], dict[str, float]], tuple[int, ...]]] = {
    "patients_train": (of_patients_train, (1_000, 10_000, 100_000, 1_000_000)),
    "patients_impute": (of_patients_impute, (1_000, 10_000, 100_000, 1_000_000)),
    "features": (of_features, (1_000, 4_000, 16_000, 60_000)),
    "modalities": (of_modalities, (2, 4, 6, 10)),
    "modalities_shared": (of_modalities_shared, (2, 4, 6, 10)),
    "draws": (of_draws, (1, 10, 100, 1_000)),
    "cells": (of_cells, (10_000, 30_000, 100_000)),
}


def _trained(folder: Path, widths: Sequence[int]) -> Path:
    """A run to impute with, the same for every size."""
    out = folder.parent.parent / "run"
    if not out.exists():
        train(simulate(folder.parent.parent / "trained", 2_000, widths), out)
    return out


def _apart(work: Callable[..., Any], *args: object) -> None:
    """In a process of its own, whose memory this one does not keep."""
    import multiprocessing

    process = multiprocessing.get_context("spawn").Process(target=work, args=args)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{work.__name__} failed")


# ---- results ----------------------------------------------------------------------------------


def exponent(rows: Sequence[dict[str, float]], quantity: str) -> float:
    """Slope of log quantity over log size, over the upper sizes: three where there are four."""
    upper = sorted(rows, key=lambda row: row["size"])[-max(2, len(rows) - 1) :][-3:]
    sizes, values = ([row[key] for row in upper] for key in ("size", quantity))
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def keep(part: str, row: dict[str, Any]) -> None:
    import jax

    kept: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {"parts": {}}
    rows = [r for r in kept["parts"].get(part, []) if r["size"] != row["size"]]
    kept["parts"][part] = sorted([*rows, row], key=lambda r: r["size"])
    kept["machine"] = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    kept["versions"] = {"jax": jax.__version__}
    RESULT.write_text(json.dumps(kept, indent=1) + "\n")


def draw() -> None:
    """One panel a part of several sizes: seconds of the processor and peak memory against size."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    every = json.loads(RESULT.read_text())["parts"]
    parts = {part: rows for part, rows in every.items() if len(rows) > 1}
    figure, axes = plt.subplots(2, len(parts), figsize=(2.7 * len(parts), 5), squeeze=False)
    quantities = (("cpu_seconds", "seconds of the processor"), ("peak_mb", "peak memory, MiB"))
    for column, (part, rows) in zip(axes.T, parts.items(), strict=True):
        for axis, (quantity, label) in zip(column, quantities, strict=True):
            axis.plot([r["size"] for r in rows], [r[quantity] for r in rows], marker="o")
            axis.set(xscale="log", yscale="log", xlabel=part.split("_")[0])
            axis.set_title(f"{part.replace('_', ', ')}: {exponent(rows, quantity):.2f}", fontsize=9)
            if axis in axes[:, 0]:
                axis.set_ylabel(label)
    figure.tight_layout()
    figure.savefig(FIGURE, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--least", type=int, default=0, help="sizes from this one")
    parser.add_argument("--most", type=int, default=1 << 62, help="sizes up to this one")
    parser.add_argument("--folder", type=Path, help="for the simulated tables")
    args = parser.parse_args()
    if args.folder:
        args.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    try:
        for part in args.parts:
            measure, sizes = PARTS[part]
            for size in (s for s in sizes if args.least <= s <= args.most):
                row = {"size": size, **measure(size, folder / part / str(size))}
                print(part, {k: round(v, 1) for k, v in row.items()}, flush=True)
                keep(part, row | {"date": time.strftime("%Y-%m-%d", time.gmtime())})
                shutil.rmtree(folder / part / str(size))
    finally:
        shutil.rmtree(folder)
    from benchmarks import readme

    draw()
    readme.refresh("growth")


if __name__ == "__main__":
    main()
