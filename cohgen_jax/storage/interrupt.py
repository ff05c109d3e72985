"""Stopping on request: SIGTERM (a scheduler's) and SIGINT (Ctrl-C).

Within `raising` either raises `Interrupted`; within `deferred` it waits until the work has
come to a place where it can be left. The second one does not wait.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(KeyboardInterrupt):
    """Work was left on request; what had been done is on disk."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}")
        self.status = 128 + signum
        """Exit status, as a shell reports a process that died of the signal."""


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Within, either signal raises `Interrupted`."""
    with _handled_by(_raise):
        yield


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], int]]:
    """Keep the first signal for the end of the block, which then raises `Interrupted`.

    Yields a function that returns it, 0 when there was none, for the block to end early.
    """
    caught: list[int] = []

    def note(signum: int, frame: object) -> None:
        caught.append(signum)
        for each in SIGNALS:
            signal.signal(each, _raise)

    with _handled_by(note):
        yield lambda: caught[0] if caught else 0
    if caught:
        raise Interrupted(caught[0])


def _raise(signum: int, frame: object) -> None:
    raise Interrupted(signum)


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Does nothing outside the main thread, where Python handles no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A handler that was not installed from Python reads as None and cannot be put back.
    previous = {each: signal.signal(each, handler) or signal.SIG_DFL for each in SIGNALS}
    try:
        yield
    finally:
        for each, old in previous.items():
            signal.signal(each, old)
