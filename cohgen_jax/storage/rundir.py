"""The run directory: what commands hand to each other.

config.json      the resolved configuration and a checksum of the data
understood.json  what was understood of the cohort: files, labels, split, what was left out
samples.parquet  the patients: split, labels, survival
latents/         <modality>.parquet, standardised latents of the patients that have it
codec/           raw <-> latent (cohgen_jax.codec)
checkpoints/     state of training, removed when a farm is finished
models/          single/ and multi/: the best weights by each metric
consensus/       moments of the single-condition models' predictions on validation patients
calibration/     how wide the draws are and what to expect of them, from validation patients;
                 calibration_few_steps/ the same of the solver of few evaluations
metrics/  generated/  figures/  report.html  log.jsonl
cohort/          of a run that was fitted on tables in memory, these (cohgen_jax.estimator)
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import shutil
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cohgen_jax.errors import InputError
from cohgen_jax.storage.checkpoint import ABOUT, write_json, writing

CONTENTS = (
    "config.json",
    "understood.json",
    "samples.parquet",
    "covariates.parquet",
    "covariates.json",
    "latents",
    "codec",
    "checkpoints",
    "evaluation.part",
    "metrics",
    "models",
    "regression",
    "consensus",
    "calibration",
    "calibration_few_steps",
    "generated",
    "figures",
    "report.html",
    "search.csv",
    "best.json",
    "tensorboard",
    "log.jsonl",
)
"""In the order in which they come to be: a run is removed from its end, so that what is left of it
when that is interrupted is a run that was interrupted."""
COHORT = "cohort"
"""The tables of a run that carries them: one that was fitted on tables in memory."""
DATA = "data_checksum"
"""The entry of config.json that is not configuration."""
SHARED = "model.json"
"""What makes a folder a shared model (runs/shared.py): a run without its patients."""
_FREE = {"cohort": "", "compute": {}, "few_steps": True}
"""Entries that a resumed run need not share: where the data lie (they are compared by their
checksum), how the run is computed, and a calibration that it may get later."""
_ONCE = {"pairs": "separate"}
"""Entries that runs of earlier versions lack, and what those did."""
LOCK = ".lock"
_REMOVED = ".removed"
_LEFT_BEHIND = (LOCK, _REMOVED, "config.json.part")
"""What a process that was killed may leave in a directory that holds nothing else."""


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run directory; a second process is refused, a killed one leaves no lock behind."""
    import filelock

    run_dir.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(run_dir / LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise InputError(
            f"another process is working in {run_dir}: wait until it has finished"
        ) from error
    try:
        yield
    finally:
        lock.release()


def check(run_dir: Path, config: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Refuse a directory that `prepare` must not touch, changing nothing.

    `config` may lack the checksum of the data, which is known only when they have been read.

    Raises:
      InputError: the directory holds something else, or a run and neither `resume` with the same
        configuration and data nor `overwrite` was asked for.
    """
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    if run_dir.exists() and not run_dir.is_dir():
        raise InputError(f"{run_dir} is a file: name a directory with --out")
    there = sorted(path.name for path in run_dir.iterdir()) if run_dir.exists() else []
    there = [name for name in there if name not in _LEFT_BEHIND]
    if not there:
        return
    refuse_shared(run_dir, "training")
    if "config.json" not in there:
        raise InputError(
            f"{run_dir} is not empty and not a run directory (no config.json, but {there[0]}): "
            "use another --out"
        )
    old, new = read_config(run_dir), json.loads(json.dumps(config))
    if overwrite and COHORT in there:
        raise InputError(
            f"{run_dir} carries the tables that it was fitted on ({COHORT}/), which a new run in "
            "its place would not: use another --out"
        )
    if overwrite:
        return
    old_data, new_data = old.pop(DATA), new.pop(DATA, None)
    unlike = differences({**_ONCE, **old, **_FREE}, {**_ONCE, **new, **_FREE})
    if unlike:
        raise InputError(
            f"{run_dir} holds a run of another configuration ({'; '.join(unlike[:5])}): "
            "use another --out, or --overwrite to replace it"
        )
    if new_data not in (None, old_data):
        raise InputError(
            f"{run_dir} holds a run on other data: {new.get('cohort')} is not, or no longer, what "
            "it began with; use another --out, or --overwrite to replace it"
        )
    if not resume:
        raise InputError(
            f"{run_dir} already holds this run: --resume continues it, --overwrite replaces it"
        )


def prepare(run_dir: Path, config: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Make the directory ready for a run of this configuration, or refuse as `check` does."""
    check(run_dir, config, resume=resume, overwrite=overwrite)
    if overwrite:
        for name in reversed(CONTENTS):
            _remove(run_dir / name)
    if not (run_dir / "config.json").exists():
        write_json(run_dir / "config.json", config)


def _remove(path: Path) -> None:
    """Remove a file or directory, never leaving half a directory under its name."""
    if path.is_dir() and not path.is_symlink():
        gone = path.with_name(_REMOVED)
        shutil.rmtree(gone, ignore_errors=True)
        path.rename(gone)
        shutil.rmtree(gone)
    else:
        path.unlink(missing_ok=True)


def read_config(run_dir: Path) -> dict[str, Any]:
    """config.json of a run directory: the configuration and, as `DATA`, the data's checksum."""
    file = run_dir / "config.json"
    try:
        config = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{run_dir} is not a run directory (no config.json); experiments/train.py makes one"
        ) from error
    except ValueError as error:
        raise InputError(f"{file} is not JSON ({error}): it is damaged or not ours") from error
    if not isinstance(config, dict) or DATA not in config:
        raise InputError(f"{run_dir} is not a run directory: its config.json is not ours")
    return config


def fingerprint(run_dir: Path) -> int:
    """A number that changes with any array of the run: its models, codecs and what they learnt."""
    abouts = sorted(run_dir.rglob(ABOUT))
    return zlib.crc32(b"".join(about.read_bytes() for about in abouts))


def refuse_shared(run_dir: Path, what: str) -> None:
    """Raise InputError for a shared model: `what` needs patients."""
    if (run_dir / SHARED).exists():
        raise InputError(
            f"{run_dir} is a shared model, without patients: it samples and imputes, but {what} "
            "needs the run that it was exported from"
        )


def log(run_dir: Path, event: str, **facts: Any) -> None:
    """Append one line to log.jsonl."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    path = run_dir / "log.jsonl"
    with writing(path), path.open("a") as file:
        file.write(json.dumps({"time": now, "event": event, **facts}) + "\n")


def environment() -> dict[str, Any]:
    """Versions and device of this process, for the log."""
    import platform

    import flax
    import jax
    import numpy as np
    import optax

    from cohgen_jax import __version__

    versions = {module.__name__: module.__version__ for module in (jax, flax, optax, np)}
    device = jax.devices()[0]
    return {
        "versions": {"cohgen_jax": __version__, "python": platform.python_version(), **versions},
        "device": f"{len(jax.devices())} x {device.device_kind}, {platform.platform()}",
    }


def events(run_dir: Path) -> list[dict[str, Any]]:
    """Everything in log.jsonl, in order: `time`, `event` and its facts."""
    logged = []
    for line in (run_dir / "log.jsonl").read_text().splitlines():
        with contextlib.suppress(ValueError):  # a line cut short by a full disk
            logged.append(json.loads(line))
    return logged


def notes(run_dir: Path) -> list[str]:
    """What was told about the data when the run began, from log.jsonl."""
    texts = (event["text"] for event in events(run_dir) if event["event"] == "note")
    return list(dict.fromkeys(texts))


def from_dict(kind: type, values: Mapping[str, Any]) -> Any:
    """A (nested) configuration dataclass from what `dataclasses.asdict` and JSON made of it."""
    import typing

    hints = typing.get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = set(values) - known
    if unknown:
        raise InputError(f"{kind.__name__} has no entry {min(unknown)!r}")
    built = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            value = from_dict(hints[name], value)  # pyright: ignore[reportArgumentType]
        built[name] = tuple(value) if isinstance(value, list) else value
    return kind(**built)


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """Where two configurations differ, as `place: old -> new`."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in sorted({*old, *new})
            for line in differences(old.get(key), new.get(key), f"{place}.{key}".strip("."))
        ]
    return [] if old == new else [f"{place}: {old} -> {new}"]
