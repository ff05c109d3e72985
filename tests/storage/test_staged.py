"""Results take the place of earlier ones all together, wherever that is cut."""

import os
import shutil
from pathlib import Path

import pytest

from cohgen_jax.storage.staged import PART, commit, is_pending, settle, staged

NAMES = ("metrics/a.csv", "metrics/b.csv", "metrics/c.csv", "generated/one", "generated/two")
OLD = {"metrics/a.csv": "old a", "metrics/b.csv": "old b", "generated/one/x": "old x"}
OLD |= {"metrics/others.csv": "of others"}
NEW = {"metrics/a.csv": "new a", "metrics/c.csv": "new c", "generated/one/y": "new y"}
NEW |= {"generated/two/z": "new z"}
AFTER = {**NEW, "metrics/others.csv": "of others"}


class Killed(BaseException):
    """Nothing catches it."""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def contents(run: Path) -> dict[str, str]:
    files = [f for f in run.rglob("*") if f.is_file() and PART not in f.parts]
    return {str(f.relative_to(run)): f.read_text() for f in files}


def test_the_old_is_there_until_the_new_is_whole(tmp_path):
    write(tmp_path, OLD)
    with staged(tmp_path) as part:
        write(part, NEW)
        assert contents(tmp_path) == OLD
        commit(tmp_path, NAMES)
        assert contents(tmp_path) == AFTER
    assert not (tmp_path / PART).exists()


def test_what_fails_leaves_no_trace(tmp_path):
    write(tmp_path, OLD)
    (tmp_path / "metrics" / "in the way").write_text("a file")
    lost = {**NEW, "metrics/a.csv/below": "no folder"}
    with pytest.raises(OSError, match="exists"), staged(tmp_path) as part:
        write(part, lost)
    (tmp_path / "metrics" / "in the way").unlink()
    assert contents(tmp_path) == OLD
    assert not (tmp_path / PART).exists()


@pytest.mark.parametrize("after", [False, True])
def test_wherever_it_is_cut_it_is_the_old_or_the_new(after, tmp_path, monkeypatch):
    """Killed at every call that moves or removes something, then settled by the next command."""
    seen = []
    for cut in range(40):
        run = tmp_path / str(cut)
        write(run, OLD)
        calls = []

        def deadly(original, calls=calls, cut=cut):
            def call(*args, **kwargs):
                calls.append(args)
                if len(calls) == cut + 1 and not after:
                    raise Killed
                result = original(*args, **kwargs)
                if len(calls) == cut + 1:
                    raise Killed
                return result

            return call

        with monkeypatch.context() as patch:
            for owner, name in (
                (os, "replace"), (shutil, "rmtree"), (Path, "unlink"), (Path, "rename")
            ):  # fmt: skip
                patch.setattr(owner, name, deadly(getattr(owner, name)))
            part = run / PART  # not `staged`, whose end a killed process does not see
            write(part, NEW)
            died = False
            try:
                commit(run, NAMES)
            except Killed:
                died = True
        pending = is_pending(run)
        settle(run)
        seen.append(contents(run))
        assert seen[-1] in (OLD, AFTER), cut
        assert seen[-1] == AFTER or not pending
        assert not (run / PART).exists()
        if not died:
            break
    assert not died
    assert len(seen) > 6
    assert (seen[0] == OLD) is not after
    assert seen[-1] == AFTER


def test_a_process_that_was_killed_before_the_end_leaves_the_old(tmp_path):
    write(tmp_path, OLD)
    write(tmp_path / PART, NEW)
    with staged(tmp_path) as part:
        assert not part.exists()
        assert contents(tmp_path) == OLD
