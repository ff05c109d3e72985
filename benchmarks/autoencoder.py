"""Autoencoder training at real width: samples a second and peak memory, in memory and streamed.

    python -m benchmarks.autoencoder                                   60,000 genes x 10,000 samples
    python -m benchmarks.autoencoder --rows 1000 --features 6000       a small one

The table is simulated (factors and noise, a hundredth of the cells missing) and float32. Loading
the cohort and fitting the codec with the table in each place run in processes of their own, whose
peak resident memory the kernel reports; the places take turns, `--rounds` times. Writes
autoencoder.json and refreshes README.md.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
RESULT = HERE / "autoencoder.json"
PLACES = ("device", "host", "disk")


def simulate(folder: Path, rows: int, features: int) -> None:
    """Two tables: `wide`, and `small`, since a cohort needs two."""
    rng = np.random.default_rng(0)
    loadings = rng.standard_normal((20, features), dtype=np.float32)
    ids = pd.Index([f"S{i:05d}" for i in range(rows)], name="sample_id")
    values = np.empty((rows, features), np.float32)
    for part in np.array_split(np.arange(rows), max(1, rows // 500)):
        factors = rng.standard_normal((len(part), 20), dtype=np.float32)
        noise = rng.standard_normal((len(part), features), dtype=np.float32)
        noise[rng.random(noise.shape, dtype=np.float32) < 0.01] = np.nan
        values[part] = factors @ loadings + noise
    for name, table in (("wide", values), ("small", values[:, :20])):
        frame = pd.DataFrame(table, index=ids, columns=[f"g{i}" for i in range(table.shape[1])])
        frame.to_parquet(folder / f"{name}.parquet")


def load(folder: Path) -> dict:
    from cohgen_jax.cohort import load_cohort

    started = time.perf_counter()
    cohort = load_cohort(folder)
    return {"seconds": time.perf_counter() - started, "shape": list(cohort.tables["wide"].shape)}


def fit(folder: Path, place: str, epochs: int, layers: int, shrink: float) -> dict:
    """Loads the table alone and fits its codec; the first epoch, with compilation, is not timed."""
    from cohgen_jax.codec import CodecConfig, fit_codec
    from cohgen_jax.cohort.read import read_table
    from cohgen_jax.cohort.tables import numeric

    table = numeric(read_table(folder / "wide.parquet"), "wide.parquet")
    num_val = max(2, len(table) // 15)
    loaded = peak()
    config = CodecConfig(
        kind="autoencoder", place=place, max_epochs=epochs, num_layers=layers, shrink=shrink
    )
    times = []
    started = time.perf_counter()
    codec = fit_codec(
        table.iloc[num_val:],
        table.iloc[:num_val],
        config,
        seed=0,
        progress=lambda line: times.append(time.perf_counter()),
        scratch=folder / "scratch",
        checkpoint_seconds=1e9,
    )
    per_epoch = statistics.median(np.diff(times))
    num = (len(table) - num_val) // config.batch_size * config.batch_size
    return {
        "samples_per_s": num / per_epoch,
        "seconds": time.perf_counter() - started,
        "table_read_peak_mb": loaded,
        "loss": codec.reducer.train_loss,
        "parameters": sum(leaf.size for leaf in leaves(codec.reducer.variables["params"])),
    }


def leaves(tree: dict) -> list:
    import jax

    return jax.tree.leaves(tree)


def peak() -> float:
    """Peak resident memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def stage(*args: object) -> dict:
    command = [sys.executable, "-m", "benchmarks.autoencoder", "--stage", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--shrink", type=float, default=3.0, help="as the publication for cna")
    parser.add_argument("--stage", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stage:
        name, folder, *rest = args.stage
        if name == "simulate":
            simulate(Path(folder), *map(int, rest))
            found = {}
        elif name == "load":
            found = load(Path(folder))
        else:
            found = fit(Path(folder), rest[0], int(rest[1]), int(rest[2]), float(rest[3]))
        print(json.dumps({**found, "peak_mb": peak()}))
        return

    import jax

    from benchmarks import readme

    folder = Path(tempfile.mkdtemp())
    try:
        stage("simulate", folder, args.rows, args.features)
        loading = stage("load", folder)
        shape = (args.epochs, args.layers, args.shrink)
        runs = {place: [] for place in PLACES}
        for _ in range(args.rounds):
            for place in PLACES:
                runs[place].append(stage("fit", folder, place, *shape))
    finally:
        shutil.rmtree(folder)
    losses = [run["loss"] for own in runs.values() for run in own]
    fits = {
        place: {
            key: statistics.median(run[key] for run in own)
            for key in ("samples_per_s", "seconds", "peak_mb", "table_read_peak_mb", "parameters")
        }
        for place, own in runs.items()
    }
    result = {
        "machine": f"{os.cpu_count()} CPU cores ({platform.machine()})",
        "versions": {"jax": jax.__version__, "numpy": np.__version__, "pandas": pd.__version__},
        "load_average": os.getloadavg()[1],
        "rounds": args.rounds,
        "size": {
            "rows": args.rows,
            "features": args.features,
            "table_mb": 4 * args.rows * args.features / 2**20,
        },
        "load": loading,
        "fit": fits,
        "equal": all(loss == losses[0] for loss in losses),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    readme.refresh("autoencoder")


if __name__ == "__main__":
    main()
