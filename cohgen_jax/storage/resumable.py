"""The state of a long computation on disk: the last two, each whole or not there.

Orbax copies the state off the device, the computation goes on, and a thread writes it under another
name that becomes the checkpoint's when all of it is on disk.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cohgen_jax.errors import InputError
from cohgen_jax.storage.checkpoint import alone, system_reason


class Checkpoints:
    """Checkpoints of one computation in one directory; close it, or use it as a context.

    Args:
      directory: without one nothing is kept and nothing found.
      every_seconds: time that has to pass before `due` asks for the next one.
      shared: all processes save and restore together, each its parts of the arrays; otherwise the
        computation is this process's own.
    """

    def __init__(
        self, directory: str | Path | None, every_seconds: float = 0.0, *, shared: bool = True
    ) -> None:
        import orbax.checkpoint as ocp

        self._manager = None
        if directory is None:
            return
        self.directory = Path(directory).resolve()
        self.every_seconds = every_seconds
        self._last = time.monotonic()
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=True)
        with self._told():
            if not shared:
                self.directory.mkdir(parents=True, exist_ok=True)
                of_process = {"create": False, "multiprocessing_options": alone()}
                options = dataclasses.replace(options, **of_process)
            self._manager = ocp.CheckpointManager(self.directory, options=options)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def due(self) -> bool:
        return self._manager is not None and time.monotonic() - self._last >= self.every_seconds

    def save(self, epoch: int, state: Any, log: dict[str, Any]) -> None:
        """Begin to write a pytree of arrays and what JSON can say beside it.

        An error of the one before is raised here or by `wait`.
        """
        import orbax.checkpoint as ocp

        if self._manager is None or epoch in self._manager.all_steps():
            return
        with self._told():
            self._manager.save(
                epoch,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),  # pyright: ignore[reportCallIssue]
                    log=ocp.args.JsonSave(log),  # pyright: ignore[reportCallIssue]
                ),
            )
        self._last = time.monotonic()

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
        """The latest, placed on devices as `like` is; None when there is none.

        Raises:
          InputError: it cannot be read, or is of another computation.
        """
        import orbax.checkpoint as ocp

        latest = None if self._manager is None else self._manager.latest_step()
        if self._manager is None or latest is None:
            return None
        try:
            restored = self._manager.restore(
                latest,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(like),  # pyright: ignore[reportCallIssue]
                    log=ocp.args.JsonRestore(),  # pyright: ignore[reportCallIssue]
                ),
            )
            return restored["state"], restored["log"]
        except Exception as error:  # whatever Orbax and TensorStore raise on a damaged directory
            raise InputError(
                f"the checkpoint {self.directory}/{latest} cannot be restored: it is damaged or of "
                "another configuration; delete it to resume from an earlier one, or start again "
                "with --overwrite"
            ) from error

    def wait(self) -> None:
        """Until the last one is on disk."""
        if self._manager is not None:
            with self._told():
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait, and end the thread."""
        try:
            self.wait()
        finally:
            if self._manager is not None:
                self._manager.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What the file system refuses, as one sentence; the half-written state goes."""
        try:
            yield
        except Exception as error:
            reason = system_reason(error)
            if reason is None:
                raise
            for half in self.directory.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(half, ignore_errors=True)
            raise OSError(
                f"the state of training cannot be saved in {self.directory} ({reason}); what was "
                "saved before is whole: mend this and continue with --resume"
            ) from error
