"""Reading one table of numbers: samples down, features across.

A table is Parquet, CSV or TSV (the text forms also gzipped), or a folder of Parquet parts whose
name ends so, as Spark and dask write them. Its row ids are the index that the file carries, else
the column `sample_id` or `patient_id`, else the first column. Everything that would later surface
as a puzzling number is an `InputError` here, naming file, column and row.
"""

import csv
import gzip
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cohgen_jax.cohort.spellings import is_missing
from cohgen_jax.errors import InputError, unreadable

COMPANIONS = ("mean", "sd", "low", "high")
"""What is written beside a generated table: <modality>_mean and the others, as far as there are."""
DRAW = "draw"
"""Column of a generated table that numbers the draws of a patient."""
ID_COLUMNS = ("sample_id", "patient_id")
_COLUMNS_AT_ONCE = 2048
_SHOWN = 5
"""How many offending ids or columns a message spells out."""


def shown(items: Collection) -> str:
    """The first few items as text, with a count of the rest."""
    head = ", ".join(str(item) for item in list(items)[:_SHOWN])
    return head if len(items) <= _SHOWN else f"{head} and {len(items) - _SHOWN} more"


def table_name(path: Path) -> str | None:
    """`rna` of `rna.tsv.gz`; None when the suffix is not that of a table."""
    for suffix in READERS:
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return path.name[: -len(suffix)]
    return None


def read_table(path: Path) -> pd.DataFrame:
    """One table as it stands in the file, cells of any type, indexed by unique string ids.

    Raises InputError for a file that is empty, unreadable, without rows or columns, or whose ids
    or column names repeat; FileNotFoundError when there is no such file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such table: {path}")
    reader = next((r for s, r in READERS.items() if path.name.lower().endswith(s)), None)
    if reader is None:
        raise InputError(f"{path.name}: not a table; known suffixes are {', '.join(READERS)}")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path.name} is an empty file: write it again or remove it")
    try:
        frame = reader(path)
    except InputError:
        raise
    except Exception as error:  # of pandas, Arrow, zlib and others
        raise unreadable(path.name, error) from error
    return _with_clean_ids(frame, path.name)


def numeric(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table as float32, booleans and integers included, NaN where a cell is missing.

    `name` is the file, for messages. Id columns beside the index are left out. Raises InputError
    for text, dates and infinite values.
    """
    others = [c for c in ID_COLUMNS if c in frame.columns]
    if others:
        frame = frame.drop(columns=others)
    if frame.shape[1] == 0:
        raise InputError(f"{name} has ids but no feature columns")
    texts = [
        str(c) for c, dtype in frame.dtypes.items() if not pd.api.types.is_numeric_dtype(dtype)
    ]
    if texts:
        ids = frame.index.to_numpy()
        parsed = {c: _parse_cells(frame[c].to_numpy(dtype=object), ids, c, name) for c in texts}
        frame = frame.assign(**parsed)
    with np.errstate(over="ignore"):  # too large for float32 is infinite, and refused as such
        values = frame.to_numpy(dtype=np.float32, na_value=np.nan)
    if np.isinf(values).any():
        row, column = np.argwhere(np.isinf(values))[0]
        raise InputError(
            f"{name}, column {frame.columns[column]!r}, row {frame.index[row]!r}: infinite value "
            f"({int(np.isinf(values).sum())} in all); leave the cell empty if it is not known"
        )
    return pd.DataFrame(values, index=frame.index, columns=frame.columns.astype(str))


def parse_numbers(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells of any type [N] as (float64 [N], bool [N] those that hold something else); "NA",
    "[Not Available]" and their like are missing."""
    numbers = np.full(len(cells), np.nan)
    bad = np.zeros(len(cells), dtype=bool)
    for i, cell in enumerate(cells):
        if is_missing(cell):
            continue
        try:
            numbers[i] = float(cell)
        except (TypeError, ValueError):
            bad[i] = True
    return numbers, bad


def _parse_cells(cells: np.ndarray, ids: np.ndarray, column: str, name: str) -> np.ndarray:
    """A column of text or mixed cells as numbers, or the error that names its first bad rows."""
    numbers, bad = parse_numbers(cells)
    if bad.any():
        first = [f"{i!r} ({str(c)!r})" for i, c in zip(ids[bad], cells[bad], strict=True)]
        raise InputError(
            f"{name}, column {column!r}: {int(bad.sum())} cells are not numbers, first rows "
            f"{shown(first)}; correct them, leave them empty, or move the column to samples"
        )
    return numbers


def _with_clean_ids(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    if isinstance(frame.index, pd.MultiIndex):
        raise InputError(
            f"{name} has an index of several levels; one column of sample ids is needed"
        )
    if len(frame) == 0 or frame.shape[1] == 0:
        raise InputError(f"{name} is empty: {len(frame)} rows, {frame.shape[1]} feature columns")
    ids = pd.Series(frame.index.to_numpy(dtype=object))
    missing = ids.isna() | (ids.astype(str).str.strip() == "")
    if missing.any():
        raise InputError(
            f"{name}: {int(missing.sum())} rows without an id, first at row {int(missing.argmax())}"
        )
    ids = ids.astype(str).str.strip()
    if ids.duplicated().any():
        repeated = sorted(set(ids[ids.duplicated()]))
        raise InputError(
            f"{name}: {len(repeated)} sample ids occur more than once: {shown(repeated)}; "
            "keep one row for each sample"
        )
    columns = frame.columns.astype(str)
    if columns.has_duplicates:
        repeated = sorted(set(columns[columns.duplicated()]))
        raise InputError(
            f"{name}: {len(repeated)} columns occur more than once: {shown(repeated)}; "
            "merge or rename them"
        )
    frame = frame.copy(deep=False)
    frame.index, frame.columns = pd.Index(ids, name="sample_id"), columns
    return frame


def _id_column(columns: Sequence[str]) -> str:
    return next((c for c in ID_COLUMNS if c in columns), columns[0])


def _read_parquet(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path) if path.is_dir() else _read_wide(path)
    carries_index = not isinstance(frame.index, pd.RangeIndex) or frame.index.name is not None
    if carries_index or frame.shape[1] == 0:
        return frame
    return frame.set_index(_id_column(list(frame.columns)))


def _read_wide(path: Path) -> pd.DataFrame:
    """`pd.read_parquet` in parts: its buffers for each column take several times a wide table."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        parts = [
            file.read(
                names[i : i + _COLUMNS_AT_ONCE], use_threads=False, use_pandas_metadata=True
            ).to_pandas(self_destruct=True)
            for i in range(0, max(1, len(names)), _COLUMNS_AT_ONCE)
        ]
    return parts[0] if len(parts) == 1 else pd.concat(parts, axis=1)


def _read_text(path: Path, sep: str) -> pd.DataFrame:
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rt", newline="", encoding="utf-8-sig") as lines:
        rows = csv.reader(lines, delimiter=sep)
        header, first = next(rows, []), next(rows, [])
    if not first:
        raise InputError(f"{path.name} is empty: a header and at least one row are needed")
    if len(first) == len(header) + 1:  # R's write.table leaves the id column unnamed
        header = ["sample_id", *header]
    if len(set(header)) < len(header):
        repeated = sorted(name for name, count in Counter(header).items() if count > 1)
        raise InputError(f"{path.name}: columns occur more than once: {shown(repeated)}")
    index = _id_column(header)
    return pd.read_csv(
        path, sep=sep, header=0, names=header, dtype={index: str}, index_col=index, low_memory=False
    )


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": _read_parquet,
    ".csv": lambda path: _read_text(path, ","),
    ".csv.gz": lambda path: _read_text(path, ","),
    ".tsv": lambda path: _read_text(path, "\t"),
    ".tsv.gz": lambda path: _read_text(path, "\t"),
}
"""Suffix of a file that holds one table -> its reader."""
