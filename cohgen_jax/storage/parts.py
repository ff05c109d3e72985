"""A job in parts, each of them whole on disk or not there, made by one process or by several.

The parts are dealt out, and those that are there are not made again when the job goes on. The
processes see one folder and nothing else of each other:

job.json    what the parts are parts of, and which of them were there when the job began or went on
NAME/       a part, which got its name when it was whole
process-K   a number that rises while process K lives, or that it has stopped

So none depends on another but for its parts, and one that was killed, by whatever, is noticed by
its silence.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cohgen_jax import __version__
from cohgen_jax.errors import InputError, shown
from cohgen_jax.storage.checkpoint import write_json, writing
from cohgen_jax.storage.distributed import Share, by_first, leave
from cohgen_jax.storage.rundir import differences

JOB = "job.json"
BEAT, PATIENCE, POLL = 5.0, 60.0, 0.2
"""Seconds between signs of life, of silence until a process counts as lost, between two looks."""
STOPPED = "stopped"


def holds_parts(folder: Path) -> bool:
    return folder.exists() and any(_is_part(path) for path in folder.iterdir())


def _is_part(path: Path) -> bool:
    return path.is_dir() and path.name[0] != "."


class Parts:
    """The parts of a job in a folder, `opened` by every process that makes some of them."""

    def __init__(self, folder: Path, share: Share) -> None:
        self.folder, self.share = folder, share
        self._about: dict[str, Any] = {}
        self._dealt: list[list[str]] = []

    @classmethod
    @contextlib.contextmanager
    def opened(
        cls,
        folder: Path,
        share: Share,
        job: Mapping[str, Any],
        *,
        resume: bool,
        held: contextlib.AbstractContextManager[Any],
    ) -> Iterator[Parts]:
        """Within, parts are made and waited for; every process says the same of the job.

        resume: go on with the parts of the same job that are there; otherwise these are removed.
        held: what process 0 enters before it touches the folder, and leaves at the end.

        Raises:
            InputError: what is there is of another job, or another process sees another job.
        """
        parts, job = cls(folder, share), json.loads(json.dumps({**job, "version": __version__}))
        with contextlib.ExitStack() as stack:

            def begin() -> None:
                stack.enter_context(held)
                parts._begin(job, resume)

            by_first(begin)
            parts._see()  # while nobody can have come to the end
            leave()
            if not parts._about:
                raise InputError(
                    f"process {share.index} does not see {folder}, which process 0 has made: it "
                    "must be on a file system that all processes reach"
                )
            if share.count > 1:
                stack.enter_context(parts._heard_of())
            whose = f"is of a job that looks otherwise from process {share.index}"
            parts._compare(job, whose, "all processes must see the same files and packages")
            yield parts

    def deal(self, groups: Sequence[Sequence[str]]) -> list[str]:
        """Names of the parts that this process has to make. A group, which one process makes
        cheaper than several, goes to one."""
        there = set(self._about["there"])
        left = [[name for name in group if name not in there] for group in groups]
        self._dealt = [group for group in left if group]
        return self._of(self.share.index)

    @contextlib.contextmanager
    def making(self, name: str) -> Iterator[Path]:
        """A folder to write, which becomes the part of this name if the block succeeds."""
        part = self.folder / name
        with writing(part):
            half = Path(tempfile.mkdtemp(prefix=".", dir=self.folder))
        try:
            yield half
            if not part.exists():  # made, the same, by a process that was taken for lost
                with writing(part):
                    os.replace(half, part)
        finally:
            shutil.rmtree(half, ignore_errors=True)

    def wait(self) -> None:
        """Until all parts that were dealt are there, or the job has ended.

        Raises:
            InputError: a process is lost that had some to make.
        """

        def owed() -> dict[int, list[str]]:
            every = {
                k: [name for name in self._of(k) if not (self.folder / name).exists()]
                for k in range(self.share.count)
            }
            return {k: names for k, names in every.items() if names}

        self._until_nothing(owed)

    def wait_for_end(self) -> None:
        """Until process 0 has put the parts together and removed them.

        Raises:
            InputError: it is lost.
        """
        self._until_nothing(lambda: {0: ["putting the parts together"]})

    def remove(self) -> None:
        (self.folder / JOB).unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _of(self, index: int) -> list[str]:
        return [name for group in self._dealt[index :: self.share.count] for name in group]

    def _begin(self, job: Mapping[str, Any], resume: bool) -> None:
        there = []
        self._see()
        if resume and self._about:
            self._compare(
                job, "holds parts of another job", "give the same arguments, or remove it"
            )
            for path in self.folder.iterdir():
                if _is_part(path):
                    there.append(path.name)
                elif path.is_dir():  # left by a process that was killed, as the other files
                    shutil.rmtree(path)
                elif path.name != JOB:
                    path.unlink()
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            with writing(self.folder):
                self.folder.mkdir(parents=True)
        write_json(self.folder / JOB, {"job": job, "there": sorted(there)})

    def _compare(self, job: Mapping[str, Any], what: str, mend: str) -> None:
        unlike = differences(self._about["job"], job)
        if unlike:
            raise InputError(f"{self.folder} {what} ({shown(unlike)}): {mend}")

    @contextlib.contextmanager
    def _heard_of(self) -> Iterator[None]:
        """Within, the others see that this process lives; after an error, that it has stopped."""
        ended, path = threading.Event(), self._sign(self.share.index)

        def live() -> None:
            beats = 0
            with contextlib.suppress(OSError):
                while not ended.wait(BEAT if beats else 0) and self._goes_on():
                    path.write_text(str(beats := beats + 1))

        thread = threading.Thread(target=live, daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            ended.set()
            thread.join()
            with contextlib.suppress(OSError):
                path.write_text(STOPPED)
            raise
        finally:
            ended.set()

    def _until_nothing(self, owed: Callable[[], dict[int, list[str]]]) -> None:
        """Until no process owes anything, or the job has ended. owed: process -> what it has yet to
        do."""
        heard: dict[int, tuple[str, float]] = {}
        while self._goes_on() and (left := owed()):
            lost = []
            for k, names in left.items():
                said, now = self._said(k), time.monotonic()
                if k not in heard or heard[k][0] != said:
                    heard[k] = said, now
                silent = now - heard[k][1] > PATIENCE
                if said == STOPPED or silent:
                    why = f"is silent for {PATIENCE:.0f} s" if silent else "has stopped"
                    lost.append(f"process {k} of {self.share.count} {why}, left: {shown(names)}")
            if lost:
                raise InputError(
                    f"{'; '.join(lost)}. What is done is kept in {self.folder}: run the same "
                    "command again with --resume"
                )
            time.sleep(POLL)

    def _said(self, k: int) -> str:
        try:
            return self._sign(k).read_text()
        except OSError:
            return ""

    def _sign(self, k: int) -> Path:
        return self.folder / f"process-{k}"

    def _goes_on(self) -> bool:
        return (self.folder / JOB).exists()

    def _see(self) -> None:
        if self._goes_on():
            self._about = json.loads((self.folder / JOB).read_text())
