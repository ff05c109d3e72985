"""Results that replace earlier ones all together: written beside them, moved when they are whole.

staged    a folder in the run for files under the names that they will have there
commit    a list, written last, says that they are whole; then what is old goes and they are moved
settle    what a killed process left: moved to the end if it was whole, removed otherwise

So a run holds the results of one evaluation, the earlier or the later, wherever that was cut.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from cohgen_jax.storage.checkpoint import write_json, writing

PART = "evaluation.part"
_WHOLE = "whole.json"


@contextlib.contextmanager
def staged(run_dir: Path, *, resume: bool = False, keep: bool = False) -> Iterator[Path]:
    """The folder to write into, which goes without a trace if `commit` does not come to be called.

    The run directory is this process's (`rundir.locked`).

    resume: what was kept in the folder is still there; keep: it is kept for a `resume`.
    """
    settle(run_dir, keep=resume)
    part = run_dir / PART
    try:
        yield part
    finally:
        if not (keep or is_pending(run_dir)):
            shutil.rmtree(part, ignore_errors=True)


def commit(run_dir: Path, replaced: Collection[str]) -> None:
    """Let what was staged take the place of what there is under the names `replaced`.

    replaced: names in the run directory of files and folders, those of a file before its folder's;
        what was staged under none of them is not kept.
    """
    part = run_dir / PART
    part.mkdir(exist_ok=True)
    new = [name for name in replaced if (part / name).exists()]
    write_json(part / _WHOLE, {"replaced": list(replaced), "new": new})
    settle(run_dir)


def is_pending(run_dir: Path) -> bool:
    """Whether whole results wait to be moved, because a process was killed at this."""
    return (run_dir / PART / _WHOLE).exists()


def settle(run_dir: Path, *, keep: bool = False) -> None:
    """Finish what a process that was killed had begun, or undo it, unless that is to be kept."""
    part = run_dir / PART
    if is_pending(run_dir):
        keep = False
        names = json.loads((part / _WHOLE).read_text())
        for k, name in enumerate(names["replaced"]):
            old, made = run_dir / name, part / name
            with writing(old):
                if old.exists() and (made.exists() or name not in names["new"]):
                    os.replace(old, part / f"old-{k}")
                if made.exists():  # otherwise it was moved before
                    old.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(made, old)
        (part / _WHOLE).unlink()
    if not keep:
        shutil.rmtree(part, ignore_errors=True)
