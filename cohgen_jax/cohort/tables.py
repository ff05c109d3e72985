"""Reading one table of numbers: samples down, features across.

A table is Parquet, Feather, Excel or text (`text.py`; also compressed), or a folder of parts whose
name ends so, as Spark and dask write them. Its row ids are the index that the file carries,
else the column `sample_id` or `patient_id`, else the first column, unless that counts the rows and
another one has the ids (`idcolumns.py`). Everything that would later surface as a puzzling number
is an `InputError` here, naming file, column and row.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from cohgen_jax.cohort.idcolumns import ID_COLUMNS, id_column_alone
from cohgen_jax.cohort.sheets import Sheet
from cohgen_jax.cohort.spellings import is_missing
from cohgen_jax.cohort.text import OPENERS, read_text
from cohgen_jax.errors import InputError, need, shown, unreadable

COMPANIONS = ("mean", "sd", "low", "high")
"""What is written beside a generated table: <modality>_mean and the others, as far as there are."""
DRAW = "draw"
"""Column of a generated table that numbers the draws of a patient."""
_COLUMNS_AT_ONCE = 2048


def table_name(path: Path) -> str | None:
    """`rna` of `rna.tsv.gz`; None when the suffix is not that of a table."""
    suffix = table_suffix(path)
    return None if suffix is None else path.name[: -len(suffix)]


def table_suffix(path: Path) -> str | None:
    """`.tsv.gz` of `rna.tsv.gz`; None when that is not one of a table."""
    name = path.name.lower()
    known = (s for s in READERS if name.endswith(s) and len(name) > len(s))
    return max(known, key=len, default=None)


def read_table(path: Path) -> pd.DataFrame:
    """One table as it stands in the file, cells of any type, indexed by unique string ids.

    Raises InputError for a file that is empty, unreadable, without rows or columns, or whose ids
    or column names repeat; FileNotFoundError when there is no such file.
    """
    sheet = read_sheet(path)
    if sheet.doubt:
        raise InputError(sheet.doubt)
    return indexed(sheet, id_column_alone(sheet, Path(path).name), Path(path).name)


def read_sheet(path: Path) -> Sheet:
    """The cells of a file. Raises as `read_table` does, but for what is wrong with ids."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such table: {path}")
    suffix = table_suffix(path)
    if suffix is None and not path.is_dir():
        raise InputError(f"{path.name}: not a table; known suffixes are {KNOWN}")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path.name} is an empty file: write it again or remove it")
    reader = READERS.get(suffix or "", _read_parts)
    try:
        return _read_parts(path) if path.is_dir() else reader(path)
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path.name} cannot be read: it is not in UTF-8 (byte "
            f"{error.object[error.start]:#x}); "
            'save it in that encoding (in Excel "CSV UTF-8")'
        ) from error
    except Exception as error:  # of pandas, Arrow, zlib and others
        raise unreadable(path.name, error) from error


def indexed(sheet: Sheet, column: str | None, name: str) -> pd.DataFrame:
    """The cells under the ids of a column, or of the index that the file carries (None)."""
    frame = sheet.frame
    if column is not None and frame.shape[1]:
        frame = frame.set_index(column)
    return _with_clean_ids(frame, name)


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


def _sheet(frame: pd.DataFrame) -> Sheet:
    carries = not isinstance(frame.index, pd.RangeIndex) or frame.index.name is not None
    return Sheet(frame, carries or frame.shape[1] == 0)


def _read_parts(path: Path) -> Sheet:
    """A folder of parts, as Spark and dask write them; they must have the same columns."""
    files = sorted(f for f in path.rglob("*") if f.is_file() and f.name[0] not in "._")
    if not files:
        raise InputError(f"{path.name} is a folder without parts: write it again or remove it")
    if any(f.parent != path for f in files):  # partitioned by a column, which is in their names
        return _sheet(pd.read_parquet(path))
    foreign = [f.name for f in files if table_suffix(f) is None]
    if foreign:
        raise InputError(f"{path.name} holds other files beside its parts: {shown(foreign)}")
    parts = [read_sheet(f) for f in files]
    for file, part in zip(files, parts, strict=True):
        if list(part.frame.columns) != list(parts[0].frame.columns):
            odd = part.frame.columns.symmetric_difference(parts[0].frame.columns)
            raise InputError(
                f"{path.name}: its parts {files[0].name} and {file.name} have other columns "
                f"({shown(list(odd)) or 'in another order'}): they are no parts of one table"
            )
    carries = parts[0].carries_ids
    frame = pd.concat([part.frame for part in parts], ignore_index=not carries)
    return Sheet(frame, carries, notes=(f"{len(parts)} parts were put together", *parts[0].notes))


def _read_parquet_file(path: Path) -> Sheet:
    return _sheet(_read_wide(path))


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


def _read_excel(path: Path) -> Sheet:
    need(path.name, "excel", "openpyxl")
    if not zipfile.is_zipfile(path):
        raise InputError(
            f"{path.name} cannot be read: it is not what Excel writes; known suffixes are {KNOWN}"
        )
    sheets = pd.read_excel(path, sheet_name=None, engine="openpyxl", header=None, dtype=object)
    filled = {name: cells for name, cells in sheets.items() if cells.notna().any(axis=None)}
    if len(filled) != 1:
        raise InputError(
            f"{path.name} has {len(filled)} sheets with cells ({shown(list(filled))}): save the "
            "one that is meant as a file of its own"
        )
    cells = next(iter(filled.values())).dropna(axis=1, how="all").dropna(axis=0, how="all")
    known = cells.notna().sum(axis=1).to_numpy()
    titles = int(np.argmax(known > 1)) if known.max() > 2 else 0  # lines of one cell above
    header, cells = cells.iloc[titles], cells.iloc[titles + 1 :]
    names = ["" if pd.isna(name) else str(name) for name in header]
    if len(set(names)) < len(names):
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"{path.name}: columns occur more than once: {shown(repeated)}")
    frame = cells.set_axis(names, axis=1).reset_index(drop=True).infer_objects()
    return Sheet(frame, notes=(f"the first {titles} lines are titles",) if titles else ())


def _of_text(usual: str | None) -> Callable[[Path], Sheet]:
    return lambda path: read_text(path, usual)


_TEXTS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".gct": "\t", ".txt": None}
READERS: dict[str, Callable[[Path], Sheet]] = {
    ".parquet": _read_parquet_file,
    **{suffix + packed: _of_text(sep) for suffix, sep in _TEXTS.items() for packed in OPENERS},
    ".pq": _read_parquet_file,
    ".feather": lambda path: _sheet(pd.read_feather(path)),
    ".arrow": lambda path: _sheet(pd.read_feather(path)),
    ".xlsx": _read_excel,
}
"""Suffix of a file that holds one table -> its reader."""
KNOWN = ".parquet, .feather, .xlsx, .csv, .tsv, .txt, .gct; those of text also with .gz or .zip"
LOOSE = (*(f".txt{packed}" for packed in OPENERS), ".xlsx")
"""Suffixes of tables and of much else: what is no table there is no error."""
