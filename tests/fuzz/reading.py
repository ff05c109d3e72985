"""Reads damaged files in a process of its own, since a library may crash or hang it.

    python -m tests.fuzz.reading FOLDER '[["csv", 0], ["csv", 1], ...]'

FOLDER holds a folder with a whole example of each kind. For each kind and seed one of its files is
damaged and read; a line of JSON says that it begins, another how it ended. A file that takes longer
than SECONDS ends the process by SIGALRM.
"""

import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cohgen_jax.errors import InputError
from cohgen_jax.interop import hdf5
from tests.fuzz.damage import damaged, damaged_member

SECONDS = 30
FORBIDDEN = ("os.system", "os.exec", "subprocess.Popen", "socket.connect")
"""Audit events of code that a file has no business with."""
FACTOR, SLACK_MB = 2, 64
"""Memory that a damaged file may take of what the whole one takes, beside this."""


class Kind(NamedTuple):
    files: str
    """Glob of those that are damaged."""
    read: Callable[[Path], Any]
    """From the folder."""


def _cohort(folder: Path) -> None:
    from cohgen_jax.cohort import load_cohort

    load_cohort(folder, min_train=5)


def _annotated(folder: Path) -> None:
    from cohgen_jax.cohort import load_cohort
    from cohgen_jax.interop.annotated import register

    register()
    file = next(folder.glob("*.h5*"))
    load_cohort(file, min_train=5, layers=["part=obsm:X_part"])


def _slides(folder: Path) -> None:
    from data_prep.slides.embeddings import read_slide_vectors

    if skipped := read_slide_vectors(folder).skipped:  # the others are read, this one is told
        raise InputError(f"{skipped}")


def _slide_table(folder: Path) -> None:
    from data_prep.slides.embeddings import read_slide_vectors

    read_slide_vectors(next(folder.glob("slides.*")))


def _torch(folder: Path) -> None:
    from cohgen_jax.interop.torch_pickle import load_torch_checkpoint

    load_torch_checkpoint(next(folder.glob("*.pth")))


def _generated(folder: Path) -> None:
    from cohgen_jax.interop.completed import read_generated

    read_generated(folder)


def _run(folder: Path) -> None:
    from cohgen_jax.runs.run import open_run

    open_run(folder)


def _config(folder: Path) -> None:
    from cohgen_jax.cli.common import parse
    from cohgen_jax.cli.train import Arguments

    parse(Arguments, ["--config", str(folder / "config.json"), "--out", "x"], None)


KINDS = {
    "csv": Kind("rna.csv", _cohort),
    "tsv": Kind("rna.tsv", _cohort),
    "csv.gz": Kind("rna.csv.gz", _cohort),
    "parquet": Kind("rna.parquet", _cohort),
    "samples.csv": Kind("samples.csv", _cohort),
    "samples.parquet": Kind("samples.parquet", _cohort),
    "cohort": Kind("cohort.json", _cohort),
    "h5ad": Kind("*.h5ad", _annotated),
    "h5mu": Kind("*.h5mu", _annotated),
    "trident": Kind("*.h5", _slides),
    "slides.csv": Kind("slides.csv", _slide_table),
    "slides.parquet": Kind("slides.parquet", _slide_table),
    "pth": Kind("*.pth", _torch),
    "generated": Kind("*.parquet", _generated),
    "run": Kind("**/*", _run),
    "config": Kind("config.json", _config),
}


def _drill(harm: Callable[[], Any]) -> Kind:
    """A reader that does harm as soon as its file is another: by it the watch is tested."""
    whole: list[bytes] = []

    def read(folder: Path) -> None:
        whole.append((folder / "rna.csv").read_bytes())
        if whole[-1] != whole[0]:
            harm()

    return Kind("rna.csv", read)


DRILLS = {
    "crash": _drill(os.abort),
    "spawn": _drill(lambda: os.system("true")),
    "hoard": _drill(lambda: bytes(bytearray(300_000_000))),
    "raise": _drill(lambda: 1 / 0),
}


def main(folder: Path, wanted: list[tuple[str, int]]) -> None:
    warnings.simplefilter("ignore")
    events: list[str] = []
    sys.addaudithook(lambda event, about: events.extend(_forbidden(event, about)))
    for name, of_kind in itertools.groupby(wanted, key=lambda each: each[0]):
        with tempfile.TemporaryDirectory() as temporary:
            copy = Path(temporary) / name
            shutil.copytree(folder / _example(name), copy)
            _damage_and_read(name, copy, [seed for _, seed in of_kind], events)


def _example(name: str) -> str:
    return "csv" if name in DRILLS else name


def _damage_and_read(name: str, folder: Path, seeds: list[int], events: list[str]) -> None:
    kind = {**KINDS, **DRILLS}[name]
    kind.read(folder)  # what is imported and cached counts for no file
    usual = _peak(lambda: kind.read(folder))
    files = sorted(f for f in folder.glob(kind.files) if f.is_file() and f.stat().st_size)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        file = files[rng.integers(len(files))]
        whole = file.read_bytes()
        inside = name == "pth" and seed % 2
        new = damaged_member(whole, "data.pkl", rng) if inside else damaged(whole, rng)
        file.write_bytes(new)
        begun = {"kind": name, "seed": seed, "file": str(file.relative_to(folder))}
        print(json.dumps(begun), flush=True)
        events.clear()
        outcome: dict[str, str] = {}
        signal.alarm(SECONDS)
        peak = _peak(lambda outcome=outcome: outcome.update(_outcome(kind.read, folder)))
        signal.alarm(0)
        if peak > FACTOR * usual + SLACK_MB * 1e6:
            outcome = {"fault": f"{peak / 1e6:.0f} MB, the whole file {usual / 1e6:.0f} MB"}
        if events:
            outcome = {"fault": f"ran {events}"}
        file.write_bytes(whole)
        print(json.dumps(outcome), flush=True)


def _forbidden(event: str, about: tuple) -> list[str]:
    """The event if it is forbidden; the process that looks HDF5 files through is ours."""
    ours = event == "subprocess.Popen" and hdf5.__file__ in about[1]
    return [event] if event in FORBIDDEN and not ours else []


def _outcome(read: Callable[[Path], Any], folder: Path) -> dict[str, str]:
    try:
        read(folder)
    except InputError as error:
        return {"refused": str(error)}
    except FileNotFoundError as error:  # of a run: what a damaged file no longer names
        return {"refused": str(error)}
    except BaseException as error:
        where = "".join(traceback.format_exception(error)[-3:])
        return {"fault": f"{type(error).__name__}: {error}\n{where}"[-1500:]}
    return {"read": ""}


def _peak(work: Callable[[], None]) -> float:
    """Bytes that the process grows by while it works."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _status(entry: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{entry}:"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
