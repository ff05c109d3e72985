"""Parquet tables of many samples, gone through by batches of rows.

The ids of a table are held, its values are not. What only a whole table can tell (row numbers in
place of ids, a table that lies across) is left to `read.py`: `open_rows` then returns None.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from cohgen_jax.cohort.foreign import SUMMARIES, is_no_feature
from cohgen_jax.cohort.idcolumns import ID_COLUMNS
from cohgen_jax.cohort.spellings import joined
from cohgen_jax.cohort.tables import numeric
from cohgen_jax.cohort.text import ID_NAMES

compute: Any = pyarrow.compute
"""Its functions are made when it is imported."""
BUFFER_BYTES = 1 << 26
"""Read ahead from a file, all columns together."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """One table of samples x features, as it lies in its files."""

    name: str
    """Of the file, for messages."""
    files: tuple[Path, ...]
    ids: pa.StringArray
    """Sample id of each row, each once."""
    features: tuple[str, ...]
    """The columns that are read."""
    doubtful: bool
    """Another column might hold the ids as well: they are those of the samples if another table
    has some of them."""

    def batches(self, num_rows: int) -> Iterator[tuple[slice, pd.DataFrame]]:
        """(which rows, float32 [n, F], index sample_id) one batch after another.

        Raises:
            InputError: cells that are no finite numbers.
        """
        first = 0
        columns = list(self.features)
        ahead = max(4096, BUFFER_BYTES // len(columns))
        for path in self.files:
            with pq.ParquetFile(path, buffer_size=ahead) as file:
                for batch in file.iter_batches(num_rows, columns=columns, use_threads=False):
                    own = slice(first, first + batch.num_rows)
                    frame = batch.to_pandas(ignore_metadata=True)[columns]
                    index = pd.Index(self.ids[own].to_pylist(), name="sample_id")
                    yield own, numeric(frame.set_axis(index), self.name)
                    first = own.stop


def parquet_files(path: Path) -> tuple[Path, ...]:
    """The files of a Parquet table, or of a folder of its parts; none where it is neither."""
    files = (
        [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.name[0] not in "._")
    )
    flat = all(f.is_file() and f.parent in (path, path.parent) for f in files)
    return tuple(files) if flat and all(f.suffix in (".parquet", ".pq") for f in files) else ()


def open_rows(name: str, files: Sequence[Path], features: Collection[str]) -> Rows | None:
    """A table with its ids; None where these, or the features, are not plainly there."""
    schema = pq.read_schema(files[0])
    names = [str(column) for column in schema.names]
    if len(set(names)) < len(names) or not set(features) <= set(names):
        return None
    if any(pq.read_schema(file).names != schema.names for file in files[1:]):
        return None
    index = [c for c in (schema.pandas_metadata or {}).get("index_columns", []) if type(c) is str]
    if len(index) > 1:
        return None
    by_name = [c for c in ID_COLUMNS if c in names]
    column = (index or by_name or names)[0]
    kind = schema.field(column).type
    named = column in ID_COLUMNS and not index
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if column in features or not (text or (named and pa.types.is_integer(kind))):
        return None
    parts = [pq.read_table(file, columns=[column])[column].cast(pa.string()) for file in files]
    ids = compute.utf8_trim_whitespace(pa.chunked_array([c for p in parts for c in p.chunks]))
    ids = ids.combine_chunks()
    if (
        not _name_samples(ids, named)
        or compute.any(compute.is_in(ids, pa.array(list(features)))).as_py()
    ):
        return None
    others = [c for c in names if c != column and c not in features]
    doubtful = any(joined(c) in ID_NAMES or _is_text(schema.field(c).type) for c in others)
    return Rows(name, tuple(files), ids, tuple(features), doubtful)


def of_one_form(ids: pa.StringArray) -> bool:
    """Whether the ids are the same letters with as many digits behind them (P0001, P0002): none can
    be another one in another spelling."""
    if not len(ids):
        return True
    lengths = compute.min_max(compute.utf8_length(ids))
    ends = compute.min_max(ids)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    letters = low.rstrip("0123456789")
    if lengths["min"] != lengths["max"] or not high.startswith(letters) or letters == low:
        return False
    plain = letters.rstrip("-_. ").isalpha() or not letters
    digits = compute.utf8_slice_codeunits(ids, len(letters))
    # Barcodes have their own rules: those of one form are P-0000001-T01, which ends otherwise.
    return plain and compute.all(compute.ascii_is_decimal(digits)).as_py() and low.isascii()


def _name_samples(ids: pa.StringArray, named: bool) -> bool:
    """Whether every row has an id of its own, which is no number (unless `named`) and no word for
    a summary of the other rows."""
    if not len(ids) or ids.null_count or compute.any(compute.equal(ids, "")).as_py():
        return False
    if compute.count_distinct(ids).as_py() < len(ids):
        return False
    numbers = compute.all(compute.match_substring_regex(ids, r"^\d+(\.0)?$")).as_py()
    if numbers and not named:
        return False
    words = ids.filter(compute.invert(compute.match_substring_regex(ids, r"\d"))).to_pylist()
    return not any(joined(word) in SUMMARIES or is_no_feature(word) for word in words)


def _is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)
    )


def positions(ids: pa.StringArray, known: pa.StringArray) -> np.ndarray:
    """int32: where each id is among the known ones, -1 where it is not."""
    return np.array(compute.fill_null(compute.index_in(ids, value_set=known), -1), np.int32)
