"""A small cohort on disk, new patients with holes, commands run in this process, a trained run."""

import concurrent.futures
import dataclasses
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cli import (
    audit,
    check,
    downstream,
    evaluate,
    explore,
    export,
    impute,
    prioritize,
    publish,
    report,
    search,
    train,
)
from cohgen_jax.cli.common import run_command
from cohgen_jax.cohort import demo_cohort
from cohgen_jax.storage import parts
from cohgen_jax.storage.distributed import Share
from tests.conftest import CACHE

MODALITIES = ("cna", "rnaseq", "rppa")
NUM_FEATURES = {"cna": 24, "rnaseq": 24, "rppa": 3}
"""rppa is narrower than the latents of the others, so that every command pads."""
DEBUG = ("--recipe", "debug", "--codec.latent-dim", "4")
COMMANDS = {
    "audit": audit.main,
    "check": check.main,
    "train": train.main,
    "downstream": downstream.main,
    "evaluate": evaluate.main,
    "explore": explore.main,
    "export": export.main,
    "impute": impute.main,
    "prioritize": prioritize.main,
    "publish": publish.main,
    "report": report.main,
    "search": search.main,
}


def demo_tables(seed: int, num_patients: int) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """(tables, facts) of the demo cohort, three modalities and few features; its cancer types and
    ages are covariates of every model."""
    cohort = demo_cohort(seed, num_patients)
    tables = {name: cohort.tables[name].iloc[:, : NUM_FEATURES[name]] for name in MODALITIES}
    return tables, cohort.samples.drop(columns="split")


def set_apart(
    tables: dict[str, pd.DataFrame], facts: pd.DataFrame
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Enough of train and of val have rppa beside another modality, but not beside the same."""
    patients = facts["patient_id"]
    ids = facts.index[~patients.duplicated(keep=False)]  # of one sample
    for table in tables.values():
        ids = ids.intersection(table.index)
    train, val = ids[:12], ids[12:15]
    of_patient = np.array(["train"] * 8 + ["val", "test"])[pd.factorize(patients)[0] % 10]
    sides = pd.Series(of_patient, facts.index)
    sides[train], sides[val] = "train", "val"
    apart = {
        "rppa": tables["rppa"].loc[[*train, *val]],
        "cna": tables["cna"].drop(val),
        "rnaseq": tables["rnaseq"].drop(train),
    }
    return apart, facts.assign(split=sides)


def write_tables(folder, tables, facts=None):
    """The tables as a stranger would have them: Parquet, CSV and TSV, facts in samples.csv."""
    folder.mkdir(parents=True)
    forms = {"rnaseq": ("csv", ","), "rppa": ("tsv", "\t")}
    for name, table in tables.items():
        if name in forms:
            suffix, sep = forms[name]
            table.to_csv(folder / f"{name}.{suffix}", sep=sep)
        else:
            table.to_parquet(folder / f"{name}.parquet")
    if facts is not None:
        facts.to_csv(folder / "samples.csv")
    return folder


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a user sees of a command."""

    status: int
    out: str
    err: str

    def refused(self) -> str:
        """The message of a command that refused to work: one line, status 2."""
        assert self.status == 2, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0].removeprefix("error: ")


def run_in_process(name: str, *args) -> int:
    """The exit status of `python experiments/NAME.py ARGS`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(CACHE))
        patch.setattr(sys, "argv", [f"experiments/{name}.py", *map(str, args)])
        try:
            run_command(COMMANDS[name])
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0


@pytest.fixture
def command(capfd):
    def run(name: str, *args) -> Outcome:
        capfd.readouterr()
        status = run_in_process(name, *args)
        return Outcome(status, *capfd.readouterr())

    return run


def by_two(folder: Path, work: Callable[[Share], Any]) -> Any:
    """What the first of two threads returns, which share work in parts as processes do; folder: of
    the parts, which the first begins."""

    def second() -> None:
        while not (folder / parts.JOB).exists():
            time.sleep(0.01)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parts, "by_first", lambda begin: None)
            work(Share(1, 2))

    with concurrent.futures.ThreadPoolExecutor() as pool:
        other = pool.submit(second)
        result = work(Share(0, 2))
        other.result()
    return result


@pytest.fixture(scope="session")
def cohort_dir(tmp_path_factory):
    """200 patients, rppa of four in five."""
    return write_tables(tmp_path_factory.mktemp("cohort") / "tables", *demo_tables(0, 200))


@pytest.fixture(scope="session")
def run_dir(cohort_dir, tmp_path_factory):
    """A finished run; not to be written to."""
    out = tmp_path_factory.mktemp("runs") / "done"
    args = (*DEBUG, "--few-steps", "--cohort", cohort_dir, "--out", out)
    assert run_in_process("train", *args) == 0
    return out


@pytest.fixture(scope="session")
def eps_run_dir(cohort_dir, tmp_path_factory):
    """The same of models that predict the noise; not to be written to."""
    out = tmp_path_factory.mktemp("runs") / "eps"
    args = (*DEBUG, "--diffusion.predicts", "eps")
    assert run_in_process("train", *args, "--cohort", cohort_dir, "--out", out) == 0
    return out


@pytest.fixture(scope="session")
def new_tables():
    """Patients of another seed. N00 has all; N01, N02 lack rppa; N03 has only cna; N04 only rppa;
    N05 lacks cna and a single cell of rnaseq."""
    tables, _ = demo_tables(7, 60)
    has_all = [i for i in tables["cna"].index if all(i in t.index for t in tables.values())][:6]
    names = pd.Index([f"N{i:02d}" for i in range(6)], name="sample_id")
    tables = {name: table.loc[has_all].set_axis(names) for name, table in tables.items()}
    tables["cna"] = tables["cna"].drop(["N04", "N05"])
    tables["rnaseq"] = tables["rnaseq"].drop(["N03", "N04"])
    tables["rnaseq"].loc["N05", tables["rnaseq"].columns[2]] = np.nan
    tables["rppa"] = tables["rppa"].drop(["N01", "N02", "N03"]).fillna(0.0)
    return tables


@pytest.fixture
def new_dir(new_tables, tmp_path):
    return write_tables(tmp_path / "new", new_tables)


@pytest.fixture(scope="session")
def exported(run_dir, tmp_path_factory):
    """A model of a run that was evaluated; not to be written to."""
    run = shutil.copytree(run_dir, tmp_path_factory.mktemp("evaluated") / "run")
    few = ("--draws", "2", "--targets", "rppa", "--methods", "coherent", "ridge")
    assert run_in_process("evaluate", "--run", run, *few, "--no-report") == 0
    out = tmp_path_factory.mktemp("models") / "mine"
    given = ("--license", "cc-by-4.0", "--cohort", "Simulated: no patients")
    assert run_in_process("export", "--run", run, "--out", out, *given) == 0
    return out
