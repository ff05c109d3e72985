"""Restartable stages: skip what is done and unchanged.

A stage is a function from input files and parameters to output files. Its record holds the
checksum of each input and output and the parameters. The stage is skipped when every checksum
and parameter still matches, and run again otherwise. Checksums of unchanged files (same size and
modification time) are remembered, so that a restart does not read gigabytes to find nothing to do.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.files import read_json, sha256, write_json

log = logging.getLogger("data_prep")

FORMAT = 2
"""Raised when a stage's output changes meaning, so that older outputs are made again."""


class Checksums:
    """SHA-256 of files, remembered by (size, modification time) in one JSON file."""

    def __init__(self, store: Path):
        self._store = store
        self._known: dict[str, list] = read_json(store) if store.exists() else {}
        self._changed = False

    def of(self, path: Path) -> str:
        """The checksum of `path`, computed only if the file has changed since last asked."""
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        key = str(path.absolute())
        if self._known.get(key, [None])[:2] != stamp:
            self._known[key] = [*stamp, sha256(path)]
            self._changed = True
        return self._known[key][2]

    def save(self) -> None:
        """Writes the remembered checksums, if there are new ones."""
        if self._changed:
            write_json(self._store, self._known)
            self._changed = False


class Stages:
    """The records of one work directory (`<work>/records/<stage>.json`)."""

    def __init__(self, work: Path):
        self.work = work
        self.checksums = Checksums(work / "records" / "checksums.json")
        self.ran: list[str] = []
        self.skipped: list[str] = []

    def record_path(self, name: str) -> Path:
        return self.work / "records" / f"{name}.json"

    def run(
        self,
        name: str,
        inputs: Sequence[Path],
        params: Mapping[str, Any],
        outputs: Sequence[Path],
        build: Callable[[], Mapping[str, Any] | None],
    ) -> dict[str, Any]:
        """Runs `build` unless the record of `name` says its outputs are up to date.

        Args:
            inputs: files read; a changed one makes the stage run again.
            params: JSON-able settings that decide the outputs.
            outputs: every file that `build` writes.
            build: writes the outputs and returns what is worth telling (JSON-able).
        Returns:
            What `build` returned, now or when the stage last ran.
        """
        path = self.record_path(name)
        # Through JSON once, so that tuples compare equal to the lists read back.
        wanted = json.loads(
            json.dumps(
                {
                    "format": FORMAT,
                    "params": dict(params),
                    "inputs": {str(p): self.checksums.of(p) for p in sorted(set(inputs))},
                }
            )
        )
        record = read_json(path) if path.exists() else None
        if record is not None and self._current(record, wanted, outputs):
            log.info("%s: up to date", name)
            self.skipped.append(name)
            self.checksums.save()
            return record["info"]
        path.unlink(missing_ok=True)
        info = dict(build() or {})
        made = {str(p): self.checksums.of(p) for p in sorted(set(outputs))}
        write_json(path, {**wanted, "outputs": made, "info": info})
        self.checksums.save()
        self.ran.append(name)
        return info

    def _current(self, record: dict, wanted: dict, outputs: Sequence[Path]) -> bool:
        if any(record.get(key) != wanted[key] for key in wanted):
            return False
        made = record.get("outputs", {})
        if set(made) != {str(p) for p in outputs}:
            return False
        return all(Path(p).exists() and self.checksums.of(Path(p)) == h for p, h in made.items())

    def info(self, name: str) -> dict[str, Any] | None:
        """What stage `name` told when it last ran, None if it has not."""
        path = self.record_path(name)
        return read_json(path)["info"] if path.exists() else None
