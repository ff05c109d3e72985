"""Files that are written whole or not at all, by whatever library writes them."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cohgen_jax.errors import InputError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
