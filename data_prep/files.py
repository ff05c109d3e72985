"""Files on disk: written whole or not at all, and recognised again by checksum."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cohgen_jax.errors import InputError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file, read in 4 MiB pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while piece := f.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


@contextlib.contextmanager
def full_disk_explained(path: Path, *partial: Path) -> Iterator[None]:
    """Turns "no space left" into one `InputError` that says what was written and what to do.

    `partial` are unfinished files, removed then: they are what fills the disk.
    """
    try:
        yield
    except OSError as error:
        # HDF5 and Arrow may hide the errno: fall back on the words of the system.
        hidden = any(os.strerror(code) in str(error) for code in _NO_SPACE)
        if error.errno in _NO_SPACE or hidden:
            for file in partial:
                file.unlink(missing_ok=True)
            raise InputError(
                f"no space left while writing {path}; the partial file was removed. Free some "
                "space (or choose another --out) and run the same command again: it continues."
            ) from error
        raise


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name only if the block succeeds.

    Whatever ends the block (an error, a full disk, Ctrl-C), no half file stays under `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with full_disk_explained(path, temporary):
            yield temporary
            with open(temporary, "rb") as f:
                os.fsync(f.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes JSON with sorted keys, so that equal values are equal bytes."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Reads JSON; a broken file is named."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON ({error}); delete it and run again") from error
