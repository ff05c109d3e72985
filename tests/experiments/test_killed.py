"""evaluate.py and impute.py killed, on a full disk, or twice at once: the old is kept, and nothing
half-written passes for whole."""

import contextlib
import random
import re
import shutil
import time
from pathlib import Path

import filelock
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cohgen_jax.report import write_run_report
from cohgen_jax.storage.staged import PART
from tests.experiments.conftest import run_in_process
from tests.experiments.test_resume import kill, start

FEW = ("--draws", 2, "--methods", "multi", "ridge")
WRITTEN = 3 * 5 + 1
"""Completed tables: of each modality draws, mean, sd, low and high; and disagreement.csv."""


def results(run: Path) -> dict[str, bytes]:
    """The files of an evaluation, but for how long it took."""
    files = [f for name in ("metrics", "generated") for f in (run / name).rglob("*")]
    found = {str(f.relative_to(run)): f.read_bytes() for f in files if f.is_file()}
    table = pd.read_csv(run / "metrics" / "fidelity.csv").drop(columns="seconds")
    json = re.sub(rb'"seconds":[^,}\n]+', b"", found["metrics/fidelity.json"])
    return found | {
        "metrics/fidelity.csv": table.to_csv().encode(),
        "metrics/fidelity.json": json,
    }


@pytest.fixture(scope="module")
def twice(run_dir, tmp_path_factory):
    """(a run evaluated once, its results, those of a second evaluation of other draws)."""
    run = shutil.copytree(run_dir, tmp_path_factory.mktemp("evaluated") / "run")
    assert run_in_process("evaluate", "--run", run, *FEW) == 0
    other = shutil.copytree(run, run.with_name("other"))
    assert run_in_process("evaluate", "--run", other, *FEW, "--seed", 1) == 0
    assert results(run) != results(other)
    assert results(run).keys() == results(other).keys()
    return run, results(run), results(other)


def evaluations_killed(twice, run: Path, kills: int) -> None:
    _, old, new = twice
    rng, begun = random.Random(kills), 0
    for _ in range(kills):
        process = start("evaluate", "--run", run, *FEW, "--seed", 1)
        while not (run / PART).exists() and process.poll() is None:
            time.sleep(0.005)
        begun += (run / PART).exists()
        time.sleep(rng.random() * 0.8)
        kill(process)
        assert results(run) in (old, new)
        assert "Fidelity" in write_run_report(run).read_text()
    assert begun > kills / 2
    assert run_in_process("evaluate", "--run", run, *FEW, "--seed", 1) == 0
    assert results(run) == new
    assert not (run / PART).exists()


@pytest.mark.heavy
def test_an_evaluation_killed_keeps_the_one_before(twice, tmp_path):
    evaluations_killed(twice, Path(shutil.copytree(twice[0], tmp_path / "run")), 1)


@pytest.mark.heavy
def test_ten_evaluations_killed(twice, tmp_path):
    evaluations_killed(twice, Path(shutil.copytree(twice[0], tmp_path / "run")), 10)


@pytest.mark.heavy
def test_an_evaluation_on_a_full_disk_keeps_the_one_before(twice, tmp_path, command, monkeypatch):
    run = Path(shutil.copytree(twice[0], tmp_path / "run"))

    def full(self, path, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    message = command("evaluate", "--run", run, *FEW, "--seed", 1).refused()
    assert "No space left" in message
    assert "generated/multi" in message
    assert results(run) == twice[1]
    assert not (run / PART).exists()


def completed(out: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in out.iterdir() if f.name[0] != "."}


@pytest.fixture
def whole(run_dir, new_dir, tmp_path_factory):
    """Ten draws of what new patients lack, from a command that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert run_in_process("impute", "--run", run_dir, "--input", new_dir, "--out", out) == 0
    assert len(completed(out)) == len(list(out.iterdir())) == WRITTEN
    return completed(out)


def imputations_killed(command, whole, run_dir, new_dir, place: Path, kills: int) -> None:
    rng, begun, args = random.Random(kills), 0, ("--run", run_dir, "--input", new_dir, "--out")
    for k in range(kills):
        out = place / str(k)
        process = start("impute", *args, out)
        while not out.exists() and process.poll() is None:
            time.sleep(0.002)
        begun += out.exists()
        time.sleep(rng.random() * 0.6)
        kill(process)
        if not out.exists():
            continue
        there = completed(out)
        assert all(whole[name] == data for name, data in there.items())
        assert ("disagreement.csv" in there) == (len(there) == WRITTEN)
        message = command("impute", *args, out).refused()
        assert ("were cut short" in message) == (len(there) < WRITTEN)
        assert completed(out) == there
    assert begun > kills / 2


def test_an_imputation_killed_is_not_taken_for_whole(command, whole, run_dir, new_dir, tmp_path):
    imputations_killed(command, whole, run_dir, new_dir, tmp_path, 1)


@pytest.mark.heavy
def test_ten_imputations_killed(command, whole, run_dir, new_dir, tmp_path):
    imputations_killed(command, whole, run_dir, new_dir, tmp_path, 10)


def test_two_imputations_do_not_write_into_one_folder(command, run_dir, new_dir, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    args = ("impute", "--run", run_dir, "--input", new_dir, "--out", out, "--draws", 1)
    with filelock.FileLock(out / ".lock"):
        assert "another process writes" in command(*args).refused()
    assert completed(out) == {}


def test_an_imputation_on_a_full_disk_names_the_file(
    command, run_dir, new_dir, tmp_path, monkeypatch
):
    out, original, calls = tmp_path / "out", pq.ParquetWriter.write_table, []

    def full(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        return original(self, *args, **kwargs)

    args = ("impute", "--run", run_dir, "--input", new_dir, "--out", out, "--draws", 1)
    with contextlib.ExitStack() as held:
        held.enter_context(pytest.MonkeyPatch.context()).setattr(
            pq.ParquetWriter, "write_table", full
        )
        message = command(*args).refused()
    assert "No space left" in message
    assert f"{out}/" in message
    names = sorted(file.name for file in out.iterdir())
    assert names == ["cna.parquet", "cna_mean.parquet", "cna_sd.parquet"]
    assert "is not empty" in command(*args).refused()


def test_a_folder_that_may_not_be_written_is_told(command, run_dir, new_dir, tmp_path, monkeypatch):
    def forbidden(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", forbidden)
    out = tmp_path / "out"
    args = ("impute", "--run", run_dir, "--input", new_dir, "--out", out, "--draws", 1)
    message = command(*args).refused()
    assert "Permission denied" in message
    assert str(out) in message
