"""What a checkpoint, a stop and a resumption cost, at the size of the default recipe.

    python -m benchmarks.resume --cohort tcga_tables/

Trains in processes of their own, validating after every epoch: one is told to stop by SIGTERM, one
is killed, each is resumed. The cost of resuming is the time from the start of the process to the
first training step, by the clock and by the processor, and what the first epoch takes longer than
the median of those before the stop.
A checkpoint is measured by itself: what it holds up training, and how long it takes to be on disk
and to be read. Writes resume.json and refreshes README.md.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
RESULT = HERE / "resume.json"
EPOCHS = 3
OFTEN = tuple(
    part
    for kind in ("single", "multi")
    for part in (f"--{kind}.validate-every", "1", f"--{kind}.val-draws", "2")
)


def events(out: Path, since: int = 0) -> list[dict]:
    log = out / "log.jsonl"
    return (
        [json.loads(line) for line in log.read_text().splitlines()[since:]] if log.exists() else []
    )


def train(out: Path, *args: str) -> subprocess.Popen:
    command = [sys.executable, str(HERE.parent / "experiments" / "train.py"), "--out", str(out)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*command, *OFTEN, *args], **quiet)


def wait_for(process: subprocess.Popen, out: Path, since: int, event: str, count: int) -> float:
    """Seconds until the log holds that many such events beyond its first `since` lines."""
    started = time.perf_counter()
    while sum(line["event"] == event for line in events(out, since)) < count:
        if process.poll() is not None:
            raise SystemExit(f"train.py ended with status {process.returncode}")
        time.sleep(0.01)
    return time.perf_counter() - started


def stopped_and_resumed(folder: Path, signum: signal.Signals, *args: str) -> dict:
    out = folder / signum.name
    process = train(out, *args)
    wait_for(process, out, 0, "validated", EPOCHS)
    usual = statistics.median(
        line["seconds"] for line in events(out)[1:] if line["event"] == "validated"
    )
    last = [line["epoch"] for line in events(out) if line["event"] == "validated"][-1]
    asked = time.perf_counter()
    process.send_signal(signum)
    status = process.wait()
    to_stop = time.perf_counter() - asked
    since = len(events(out))
    process = train(out, *args, "--resume")
    to_training = wait_for(process, out, since, "training", 1)
    cpu = psutil.Process(process.pid).cpu_times()
    wait_for(process, out, since, "validated", 1)
    process.kill()
    process.wait()
    after = events(out, since)
    first = next(line for line in after if line["event"] == "validated")
    return {
        "status": status,
        "seconds_to_stop": to_stop,
        "usual_epoch_seconds": usual,
        "seconds_to_training": to_training,
        "cpu_seconds_to_training": cpu.user + cpu.system,
        "first_epoch_seconds": first["seconds"],
        "resume_cost_seconds": to_training + max(0.0, first["seconds"] - usual),
        "epoch_of_last_report": last,
        "resumed_at_epoch": first["epoch"] - 1,
    }


def checkpoint(folder: Path) -> dict:
    """Twelve models of the default recipe."""
    import jax
    import numpy as np

    from cohgen_jax.storage.resumable import Checkpoints
    from cohgen_jax.training import DiffusionConfig, TrainConfig, make_farm, pair_specs
    from cohgen_jax.training.farm import init_state

    rng = np.random.default_rng(0)
    z = rng.standard_normal((600, 4, 32), dtype=np.float32)
    present, rows = np.ones((600, 4), bool), np.arange(600)
    farm, data = make_farm(
        pair_specs(["a", "b", "c", "d"]),
        z,
        present,
        [32] * 4,
        rows[100:],
        rows[:100],
        TrainConfig(),
        DiffusionConfig(),
        0,
    )
    state = jax.block_until_ready(init_state(data, farm=farm))
    held_up, written, read = [], [], []
    with Checkpoints(folder / "checkpoint") as kept:
        for number in range(5):
            started = time.perf_counter()
            kept.save(number, state, {})
            held_up.append(time.perf_counter() - started)
            kept.wait()
            written.append(time.perf_counter() - started)
            started = time.perf_counter()
            jax.block_until_ready(kept.restore(state))
            read.append(time.perf_counter() - started)
    return {
        "models": len(farm.specs),
        "mb": sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 2**20,
        "held_up_seconds": statistics.median(held_up),
        "written_seconds": statistics.median(written),
        "read_seconds": statistics.median(read),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohort", default="demo")
    args = parser.parse_args()

    import jax

    from benchmarks import readme

    folder = Path(tempfile.mkdtemp())
    try:
        both = (signal.SIGTERM, signal.SIGKILL)
        result = {
            "date": datetime.date.today().isoformat(),
            "machine": f"{os.cpu_count()} CPU cores ({platform.machine()})",
            "versions": {"jax": jax.__version__},
            "cohort": Path(args.cohort).name,
            "checkpoint": checkpoint(folder),
            **{s.name: stopped_and_resumed(folder, s, "--cohort", args.cohort) for s in both},
            "load_average": os.getloadavg()[1],
        }
    finally:
        shutil.rmtree(folder)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    readme.refresh("resume")


if __name__ == "__main__":
    main()
