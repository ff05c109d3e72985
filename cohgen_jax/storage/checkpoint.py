"""Arrays on disk: Orbax holds the numbers, a JSON beside them says what they are.

Nothing is pickled. The JSON records shape, type and checksum of every array and is written last,
so that a directory that was cut short, altered, or written by something else is refused with a
sentence instead of being used.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cohgen_jax.errors import InputError

SCHEMA_VERSION = 1
ABOUT = "about.json"


def save_tree(
    directory: str | Path, what: str, arrays: Mapping[str, Any], about: Mapping[str, Any]
) -> None:
    """Write a tree of arrays (nested dicts) and its description, replacing what was there.

    Args:
        what: what the directory then holds, in one word ("codecs", "models").
        arrays: nested dicts of arrays of at most 32 bits a number, none of them empty.
        about: anything that JSON can say.
    """
    directory = Path(directory).resolve()
    (directory / ABOUT).unlink(missing_ok=True)  # first: without it nothing here counts as whole
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    arrays = jax.tree.map(np.asarray, dict(arrays))
    try:
        with _checkpointer() as checkpointer:
            checkpointer.save(directory / "arrays", arrays)
    except Exception as error:
        reason = system_reason(error)
        if reason is None:
            raise
        shutil.rmtree(directory, ignore_errors=True)
        raise OSError(f"{what} cannot be saved in {directory} ({reason})") from error
    head = {"schema_version": SCHEMA_VERSION, "holds": what}
    write_json(directory / ABOUT, {**head, **about, "arrays": _fingerprints(arrays)})


def is_whole(directory: str | Path) -> bool:
    """Whether `save_tree` came to its end here."""
    return (Path(directory) / ABOUT).exists()


def load_tree(directory: str | Path, what: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(arrays, about) that `save_tree` wrote, checked.

    Args:
        what: what the directory has to hold.

    Raises:
      FileNotFoundError: no such directory.
      InputError: it does not hold a whole tree of this kind and schema version.
    """
    directory = Path(directory).resolve()
    if not directory.is_dir():
        raise FileNotFoundError(f"no {what}: {directory} is not a directory")
    refused = f"{directory} does not hold whole {what}"
    mend = "train again, or copy the directory again from its source"
    try:
        about = json.loads((directory / ABOUT).read_text())
        version, holds, recorded = about["schema_version"], about["holds"], about["arrays"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{refused}: {ABOUT} is missing or not ours; {mend}") from error
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{directory} was written with schema version {version!r}, this program reads "
            f"{SCHEMA_VERSION}: train again with this version"
        )
    if holds != what:
        raise InputError(f"{refused}: it holds {holds}; {mend}")
    try:
        with _checkpointer() as checkpointer:
            arrays = checkpointer.restore(directory / "arrays", _abstract(recorded))
    except Exception as error:  # whatever Orbax and TensorStore raise on a damaged directory
        raise InputError(f"{refused}: arrays/ cannot be read; {mend}") from error
    if _fingerprints(arrays) != recorded:
        raise InputError(f"{refused}: arrays/ is not what {ABOUT} recorded; {mend}")
    return arrays, about


def _checkpointer():
    import orbax.checkpoint as ocp

    return ocp.StandardCheckpointer(multiprocessing_options=alone())


def alone():
    """Orbax's option for work of this process only, whether or not there are others."""
    import orbax.checkpoint as ocp

    me = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process_{me}"
    )


_SYSTEM_REASONS = (
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "Permission denied",
    "Read-only file system",
    "Input/output error",
)


def system_reason(error: Exception) -> str | None:
    """What the file system refused, however a library passed it on; None for other errors."""
    reasons = [reason for reason in _SYSTEM_REASONS if reason in str(error)]
    if reasons:
        return reasons[0]
    return str(error) if isinstance(error, OSError) else None


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within, what the file system refuses is told with the path, which a full disk is not."""
    try:
        yield
    except OSError as error:
        reason = system_reason(error)
        raise OSError(
            f"{path} cannot be written ({reason}); what was written before is whole: mend this and "
            "run the command again, training with --resume"
        ) from error


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, content: str) -> None:
    """Write a text file (UTF-8) whole or not at all."""
    half = path.with_suffix(path.suffix + ".part")
    with writing(path):
        half.write_text(content, encoding="utf-8")
        os.replace(half, path)


def _fingerprints(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with every array replaced by its shape, type and checksum."""

    def fingerprint(array: np.ndarray) -> dict[str, Any]:
        checksum = zlib.crc32(array.tobytes())
        return {"shape": list(array.shape), "dtype": str(array.dtype), "crc32": checksum}

    return jax.tree.map(fingerprint, dict(tree))


def _abstract(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """What Orbax is to restore, from the recorded fingerprints: NumPy arrays, at half the cost of
    JAX's."""
    return jax.tree.map(
        lambda node: np.empty(node["shape"], node["dtype"]),
        dict(recorded),
        is_leaf=lambda node: isinstance(node, dict) and "crc32" in node,
    )
