"""The run directory: what commands hand to each other.

config.json      the resolved configuration and a checksum of the data
samples.parquet  the patients: split, labels, survival
latents/         <modality>.parquet, standardised latents of the patients that have it
codec/           raw <-> latent (cohgen_jax.codec)
checkpoints/     state of training, removed when a farm is finished
models/          single/ and multi/: the best weights by each metric
metrics/  generated/  figures/  report.html  log.jsonl
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cohgen_jax.checkpoint import write_json
from cohgen_jax.errors import InputError

CONTENTS = (
    "config.json",
    "samples.parquet",
    "latents",
    "codec",
    "checkpoints",
    "models",
    "metrics",
    "generated",
    "figures",
    "report.html",
    "log.jsonl",
)


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run directory; a second process is refused, a killed one leaves no lock behind."""
    import filelock

    run_dir.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(run_dir / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise InputError(
            f"another process is working in {run_dir}: wait for it, or use another --out"
        ) from error
    try:
        yield
    finally:
        lock.release()


def prepare(run_dir: Path, config: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Make the directory ready for a run of this configuration, or refuse.

    Raises:
      InputError: it holds something else, or a run and neither `resume` with the same
        configuration nor `overwrite` was asked for.
    """
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    file = run_dir / "config.json"
    config = json.loads(json.dumps(config))  # tuples become lists, as they will be read back
    there = [path.name for path in run_dir.iterdir() if path.name != ".lock"]
    if there and not file.exists():
        raise InputError(
            f"{run_dir} is not empty and not a run directory (no config.json, but {there[0]}): "
            "use another --out"
        )
    if file.exists() and overwrite:
        for name in CONTENTS:
            path = run_dir / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    elif file.exists():
        differences = _differences(read_config(run_dir), config)
        if differences:
            raise InputError(
                f"{run_dir} holds a run of another configuration ({'; '.join(differences[:5])}): "
                "use another --out, or --overwrite to replace it"
            )
        if not resume:
            raise InputError(
                f"{run_dir} already holds this run: --resume continues it, --overwrite replaces it"
            )
    write_json(file, config)


def read_config(run_dir: Path) -> dict[str, Any]:
    """config.json of a run directory."""
    try:
        return json.loads((run_dir / "config.json").read_text())
    except FileNotFoundError as error:
        raise InputError(
            f"{run_dir} is not a run directory (no config.json); experiments/train.py makes one"
        ) from error
    except ValueError as error:
        raise InputError(f"{run_dir / 'config.json'} is not JSON: {error}") from error


def log(run_dir: Path, event: str, **facts: Any) -> None:
    """Append one line to log.jsonl."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with (run_dir / "log.jsonl").open("a") as file:
        file.write(json.dumps({"time": now, "event": event, **facts}) + "\n")


def notes(run_dir: Path) -> list[str]:
    """What was told about the data when the run began, from log.jsonl."""
    lines = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    return list(dict.fromkeys(line["text"] for line in lines if line["event"] == "note"))


def from_dict(kind: type, values: Mapping[str, Any]) -> Any:
    """A (nested) configuration dataclass from what `dataclasses.asdict` and JSON made of it."""
    import typing

    hints = typing.get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = set(values) - known
    if unknown:
        raise InputError(
            f"config.json has the entry {min(unknown)!r}, which this version does not know"
        )
    built = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            value = from_dict(hints[name], value)  # pyright: ignore[reportArgumentType]
        built[name] = tuple(value) if isinstance(value, list) else value
    return kind(**built)


def _differences(old: Any, new: Any, place: str = "") -> list[str]:
    """Where two configurations differ, as `place: old -> new`."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in sorted({*old, *new})
            for line in _differences(old.get(key), new.get(key), f"{place}.{key}".strip("."))
        ]
    return [] if old == new else [f"{place}: {old} -> {new}"]
