"""Where completed tables go, block by block: Parquet files, or frames in memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cohgen_jax.storage.checkpoint import writing

SCORES = "disagreement.csv"


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write: it gets its name when it is whole, and is gone if it does not become so."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with writing(path):
            yield partial
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


class FrameTable:
    """A table in memory written block by block; it goes into `made` when it is whole."""

    def __init__(self, name: str, made: dict[str, pd.DataFrame]) -> None:
        self.name, self.made, self.blocks = name, made, []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: Any, *_: Any) -> None:
        if error is None:
            self.made[self.name] = pd.concat(self.blocks).rename_axis("sample_id")

    def write(self, block: pd.DataFrame) -> None:
        self.blocks.append(block)


class ParquetTable(contextlib.ExitStack):
    """A Parquet table written block by block, each a row group; no file without any."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.writer: pq.ParquetWriter | None = None

    def write(self, block: pd.DataFrame) -> None:
        self._append(pa.Table.from_pandas(block.rename_axis("sample_id")))

    def write_all(self, path: Path) -> None:
        """The blocks of another table."""
        with pq.ParquetFile(path) as file:
            for k in range(file.num_row_groups):
                self._append(file.read_row_group(k))

    def _append(self, table: pa.Table) -> None:
        writer = self.writer or self._opened(table.schema)
        writer.write_table(table)
        self.writer = writer

    def _opened(self, schema: pa.Schema) -> pq.ParquetWriter:
        partial = self.enter_context(whole(self.path))
        return self.enter_context(pq.ParquetWriter(partial, schema))


class ScoresTable(contextlib.ExitStack):
    """A table of SCORES, of blocks that have the same columns."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.partial = self.enter_context(whole(path))
        self.begun = False

    def write(self, block: pd.DataFrame) -> None:
        block.to_csv(self.partial, mode="a", header=not self.begun)
        self.begun = True

    def write_all(self, path: Path) -> None:
        """The blocks of another table."""
        head, _, rows = path.read_bytes().partition(b"\n")
        with self.partial.open("ab") as file:
            file.write(rows if self.begun else head + b"\n" + rows)
        self.begun = True
