"""Files that stay as they are while they are read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from cohgen_jax.errors import InputError, shown

State = dict[Path, tuple[int, int]]


@contextlib.contextmanager
def unchanged(files: Iterable[Path]) -> Iterator[None]:
    """Within, these files (and what is in those that are folders) are read.

    Raises:
        InputError: one of them was written meanwhile, by its size and time: what was read may be
            half of the old and half of the new.
    """
    files = list(files)
    before = state_of(files)
    yield
    after = state_of(files)
    changed = sorted(f.name for f in before | after if before.get(f) != after.get(f))
    if changed:
        raise InputError(
            f"{shown(changed)} changed while it was read: wait until nobody writes there, and try "
            "again"
        )


def state_of(files: Iterable[Path]) -> State:
    """File -> size in bytes and time of its last change."""
    state: State = {}
    for file in files:
        for part in [f for f in file.rglob("*") if f.is_file()] if file.is_dir() else [file]:
            with contextlib.suppress(FileNotFoundError):
                about = part.stat()
                state[part] = (about.st_size, about.st_mtime_ns)
    return state
