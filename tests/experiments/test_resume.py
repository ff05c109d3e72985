"""train.py --resume: wherever a run was cut, it ends in the same bits as one that was not."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pandas as pd
import pytest

from cohgen_jax.runs import consensus, models, prepare, train
from cohgen_jax.runs.families import FAMILIES
from cohgen_jax.storage import checkpoint, rundir
from cohgen_jax.storage.checkpoint import load_tree
from tests.conftest import CACHE
from tests.experiments.conftest import DEBUG, run_in_process

ROOT = Path(__file__).parents[2]


def assert_same_run(one: Path, other: Path) -> None:
    saved = {"models/single": "models", "models/multi": "models", "codec": "codecs"}
    saved |= {"consensus": "moments", "calibration": "calibration"}
    few = "calibration_few_steps"  # not of every run
    assert (one / few).exists() == (other / few).exists()
    saved |= {few: "calibration"} if (one / few).exists() else {}
    for name, what in saved.items():
        (arrays, about), (arrays_2, about_2) = (load_tree(r / name, what) for r in (one, other))
        assert about == about_2  # with the checksums of the arrays
        assert jax.tree.structure(arrays) == jax.tree.structure(arrays_2)
        for a, b in zip(jax.tree.leaves(arrays), jax.tree.leaves(arrays_2), strict=True):
            assert np.array_equal(a, b)
    for family in FAMILIES:
        history = f"metrics/history_{family}.csv"
        assert (one / history).read_bytes() == (other / history).read_bytes()
    for table in ("samples.parquet", *(f"latents/{p.name}" for p in (one / "latents").iterdir())):
        pd.testing.assert_frame_equal(pd.read_parquet(one / table), pd.read_parquet(other / table))
    assert not (other / "checkpoints").exists()
    assert not (other / "latents.part").exists()


class Killed(BaseException):
    """Like kill -9, nothing in the program catches it."""


def kill_on(patch, owner, name, call=1, when=lambda *args: True, after=False) -> None:
    """Die at the given call of a function, before or after it has done its work."""
    original, calls = getattr(owner, name), []

    def deadly(*args, **kwargs):
        calls.extend([1] if when(*args) else [])
        due = len(calls) == call and when(*args)
        if due and not after:
            raise Killed
        result = original(*args, **kwargs)
        if due:
            raise Killed
        return result

    patch.setattr(owner, name, deadly)


def ends_with(*names):
    return lambda *args: any(str(arg).endswith(names) for arg in args)


CUTS = {
    "before config.json": lambda p: kill_on(p, rundir, "write_json"),
    "after config.json": lambda p: kill_on(p, rundir, "write_json", after=True),
    "before the codecs": lambda p: kill_on(p, prepare, "fit_codecs"),
    "between samples and latents": lambda p: kill_on(
        p, pd.DataFrame, "to_parquet", when=ends_with("latents.part/rnaseq.parquet")
    ),
    "between latents and codecs": lambda p: kill_on(p, prepare, "save_codecs"),
    "codec arrays without about.json": lambda p: kill_on(p, checkpoint, "write_json"),
    "codecs just saved": lambda p: kill_on(p, prepare, "save_codecs", after=True),
    "before the first checkpoint": lambda p: kill_on(p, rundir, "log", 1, log_of("validated")),
    "models trained, not saved": lambda p: kill_on(p, models, "save_tree"),
    "model arrays without about.json": lambda p: kill_on(p, checkpoint, "write_json"),
    "second farm trained": lambda p: kill_on(p, models, "save_tree", 2),
    "models saved, checkpoints there": lambda p: kill_on(
        p, train.shutil, "rmtree", when=ends_with("checkpoints")
    ),
    "moments measured, not saved": lambda p: kill_on(p, consensus, "save_tree"),
    "draws calibrated, not saved": lambda p: kill_on(p, train, "save_calibration"),
    "calibrated for one solver of two": lambda p: kill_on(p, train, "save_calibration", after=True),
    "everything done": lambda p: kill_on(p, train, "open_run", 2),
}


def log_of(event):
    return lambda *args: event in args


def test_a_run_cut_at_every_step_ends_as_one_that_was_not(cohort_dir, run_dir, tmp_path):
    out = tmp_path / "cut"
    args = (*DEBUG, "--few-steps", "--cohort", cohort_dir, "--out", out, "--resume")
    for place, cut in CUTS.items():
        with pytest.MonkeyPatch.context() as patch:
            cut(patch)
            with pytest.raises(Killed):
                pytest.fail(f"{place}: not reached, status {run_in_process('train', *args)}")
    assert run_in_process("train", *args) == 0
    assert_same_run(run_dir, out)
    finished = (out / "models/single/about.json").stat().st_mtime_ns
    assert run_in_process("train", *args) == 0  # nothing left to do
    assert (out / "models/single/about.json").stat().st_mtime_ns == finished


def test_an_overwrite_cut_short_leaves_a_run_that_can_be_resumed_or_overwritten(
    cohort_dir, run_dir, tmp_path
):
    out = tmp_path / "cut"
    shutil.copytree(run_dir, out)
    (out / "my_notes.txt").write_text("kept")
    args = (*DEBUG, "--few-steps", "--cohort", cohort_dir, "--out", out)
    for call in (1, 3):
        with pytest.MonkeyPatch.context() as patch:
            kill_on(patch, shutil, "rmtree", call, ends_with(".removed"))
            with pytest.raises(Killed):
                run_in_process("train", *args, "--overwrite")
    assert run_in_process("train", *args, "--resume") == 0
    assert_same_run(run_dir, out)
    assert (out / "my_notes.txt").read_text() == "kept"


def full_disk(patch, out, name):
    """A name in the run directory whose every write finds the disk full, as the kernel says it."""
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).unlink(missing_ok=True)
    (out / name).symlink_to("/dev/full")
    patch.callback((out / name).unlink)


def refused_by(owner, name, error, call=1):
    """A function of a library that meets the error at its given call."""

    def prepare(held, out):
        patch, calls = held.enter_context(pytest.MonkeyPatch.context()), []
        original = getattr(owner, name)

        def fails(*args, **kwargs):
            calls.append(1)
            if len(calls) == call:
                raise error
            return original(*args, **kwargs)

        patch.setattr(owner, name, fails)

    return prepare


FULL = OSError(28, "No space left on device")
REFUSALS = {
    "config.json": (lambda held, out: full_disk(held, out, "config.json.part"), "No space left"),
    "latents.part": (refused_by(pd.DataFrame, "to_parquet", FULL, 2), "No space left"),
    "log.jsonl": (lambda held, out: full_disk(held, out, "log.jsonl"), "No space left"),
    "checkpoints/single": (refused_by(ocp.CheckpointManager, "save", FULL), "No space left"),
    "models/single": (
        refused_by(ocp.StandardCheckpointer, "save", PermissionError(13, "Permission denied")),
        "Permission denied",
    ),
    "metrics/history_multi.csv": (
        lambda held, out: full_disk(held, out, "metrics/history_multi.csv.part"),
        "No space left",
    ),
}


def test_what_the_disk_refuses_is_told_with_its_path_and_loses_nothing(
    cohort_dir, run_dir, tmp_path, capsys
):
    out = tmp_path / "cut"
    out.mkdir()
    args = (*DEBUG, "--few-steps", "--cohort", cohort_dir, "--out", out, "--resume")
    for name, (hinder, reason) in REFUSALS.items():
        with contextlib.ExitStack() as held:
            hinder(held, out)
            assert run_in_process("train", *args) == 2, name
        told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(told) == 1
        assert reason in told[0]
        assert str(out / name).removesuffix("/latents.part") in told[0]
    assert run_in_process("train", *args) == 0
    assert_same_run(run_dir, out)


# ---- real processes ---------------------------------------------------------------------------


def start(name: str, *args, before: str = "") -> subprocess.Popen:
    """`python experiments/NAME.py ARGS`, compiled as in this process; before: run first."""
    program = [f"experiments/{name}.py"]
    if before:
        run = f"import runpy; runpy.run_path({program[0]!r}, run_name='__main__')"
        program = ["-c", f"{before}\n{run}"]
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(CACHE),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",
    }
    return subprocess.Popen(
        [sys.executable, *program, *map(str, args)],
        cwd=ROOT,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> tuple[str, str]:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return out, err


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def events(out: Path, event: str) -> int:
    log = out / "log.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return sum(json.loads(line)["event"] == event for line in lines)


@pytest.mark.heavy
def test_the_commands_in_processes_of_their_own(cohort_dir, run_dir, new_dir, tmp_path):
    """Train, kill -9 three times, resume, evaluate, impute."""
    out = tmp_path / "run"
    args = (*DEBUG, "--few-steps", "--cohort", cohort_dir, "--out", out)
    for event, count in (("start", 1), ("validated", 1), ("validated", 3)):
        process = start("train", *args, "--resume", "--compute.checkpoint-seconds", 0)
        while events(out, event) < count and process.poll() is None:
            time.sleep(0.02)
        kill(process)
    assert not (out / "models" / "multi").exists()
    _, err = finish(start("train", *args, "--resume"))
    assert f"9 models of cna, rnaseq, rppa in {out}" in err
    assert_same_run(run_dir, out)

    methods = ("--methods", "coherent", "multi", "ridge")
    few = ("--draws", 2, "--keep-generated", "full", *methods)
    printed, _ = finish(start("evaluate", "--run", out, *few))
    assert "target" in printed
    assert f"report: {out / 'report.html'}" in printed
    fidelity = pd.read_csv(out / "metrics" / "fidelity.csv")
    assert {"coherent", "multi", "ridge"} <= set(fidelity["method"])
    assert set(fidelity["target"]) == {"cna", "rnaseq", "rppa"}
    assert len(list((out / "generated" / "coherent").iterdir())) == 3
    assert any((out / "figures").iterdir())

    done = tmp_path / "completed"
    finish(start("impute", "--run", out, "--input", new_dir, "--out", done, "--draws", 2))
    assert len(list(done.iterdir())) == 10
    assert pd.read_parquet(done / "rppa_mean.parquet").notna().all(axis=None)


@pytest.mark.heavy
@pytest.mark.parametrize("codec", ["pca", "autoencoder"])
def test_twenty_kills_at_random_moments(codec, cohort_dir, tmp_path):
    """In codecs, farms, checkpoints that are being written and between them: bitwise the same."""
    rng = random.Random(codec)
    epochs = [
        f"--{family}.{name}" for family in FAMILIES for name in ("num-epochs", "validate-every")
    ]
    often = [x for pair in zip(epochs, ("24", "1", "24", "1"), strict=True) for x in pair]
    args = (*DEBUG, *often, "--codec.kind", codec, "--codec.max-epochs", 40, "--cohort", cohort_dir)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finish(start("train", *args, "--out", whole))
    for _ in range(20):
        every = ("--compute.checkpoint-seconds", rng.choice((0, 0.2)))
        process = start("train", *args, *every, "--out", cut, "--resume")
        seen, wait = events(cut, "validated"), rng.randrange(6)
        while events(cut, "validated") < seen + wait and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.random() * (0.2 if wait else 4))
        kill(process)
    finish(start("train", *args, "--out", cut, "--resume"))
    assert_same_run(whole, cut)
