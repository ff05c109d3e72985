"""Slide vectors that someone computed already: TRIDENT `.h5` files or a table.

    folder of .h5   dataset `features`: [D] a slide vector, or [N, D] patch vectors to be pooled
    table           one row a slide: an id column, then D numeric columns or one column of lists;
                    of numbered columns (0, 1, ... or f_0, f_1, ...) these alone, else all that are
                    not called as labels or row numbers are. What is left out is named

A file that cannot be used is skipped, counted and reported with the reason; the run goes on.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.cohort.foreign import LABELS, is_row_number, numbered_stems
from cohgen_jax.cohort.spellings import joined
from cohgen_jax.cohort.tables import parse_numbers
from cohgen_jax.errors import InputError, unreadable
from data_prep.barcodes import first_fields, without_vial

ID_COLUMNS = ("slide_id", "slide", "filename", "file_name", "name", "sample_id", "sample")
VECTOR_COLUMNS = ("embedding", "embeddings", "features", "vector")


class SlideVectors(NamedTuple):
    """table: float32 [slides, D], index slide_id; skipped: (file or slide, reason); left_out:
    columns of a table that are no part of the vectors."""

    table: pd.DataFrame
    skipped: list[tuple[str, str]]
    left_out: Sequence[str] = ()


def mean_pool(patches: np.ndarray) -> np.ndarray:
    """Patch vectors [N, D] -> [D], their mean."""
    return patches.mean(axis=0)


def statistics_pool(patches: np.ndarray) -> np.ndarray:
    """Patch vectors [N, D] -> [4 D]: mean, standard deviation, first and ninth decile."""
    deciles = np.quantile(patches, (0.1, 0.9), axis=0)
    return np.concatenate([patches.mean(axis=0), patches.std(axis=0), *deciles])


POOLINGS: dict[str, Callable[[np.ndarray], np.ndarray] | None] = {
    "mean": mean_pool,
    "statistics": statistics_pool,
    "none": None,
}
"""How [N, D] patch features become a slide vector; "none" skips them, as published."""


def h5_files(folder: Path, listing_order: bool = False) -> list[Path]:
    """The `.h5` files of a folder by name, or in the order in which the file system lists them.

    The published code kept a sample's first slide in listing order, which is the same for one
    folder on one disk but may differ between copies; nothing else here depends on it.
    """
    files = [path for path in folder.iterdir() if path.suffix == ".h5"]
    return files if listing_order else sorted(files)


def read_slide_vectors(
    path: Path, pooling: str = "mean", listing_order: bool = False, progress=lambda x: x
) -> SlideVectors:
    """Slide vectors from a folder of `.h5` files or from a Parquet/CSV/TSV table.

    Args:
        pooling: a key of POOLINGS, for `.h5` files that hold patch features.
        listing_order: see `h5_files`; tables keep the order of their rows.
        progress: wraps the list of files (tqdm).
    """
    if not path.exists():
        raise FileNotFoundError(f"no such slide features: {path}")
    if path.is_dir():
        files = h5_files(path, listing_order)
        if not files:
            raise InputError(f"{path} has no .h5 files; give a TRIDENT feature folder or a table")
        return _from_h5(files, pooling, progress)
    if path.suffix == ".h5":
        return _from_h5([path], pooling, progress)
    return _from_table(path)


def _from_h5(files: Sequence[Path], pooling: str, progress) -> SlideVectors:
    vectors: dict[str, np.ndarray] = {}
    skipped: list[tuple[str, str]] = []
    for file in progress(files):
        try:
            vectors[file.stem] = _checked(read_h5(file, pooling))
        except (OSError, ValueError) as error:
            skipped.append((file.name, str(error)))
    return _same_width(vectors, skipped)


def read_h5(file: Path, pooling: str = "mean") -> np.ndarray:
    """The slide vector [D] of one TRIDENT file; `ValueError` with the reason if it has none."""
    import h5py

    try:
        with h5py.File(file, "r") as f:
            if "features" not in f or not isinstance(f["features"], h5py.Dataset):
                raise ValueError(f"no dataset 'features' (found: {', '.join(f) or 'nothing'})")
            features = np.asarray(f["features"])
    except ValueError:
        raise
    except Exception as error:  # HDF5 tells of damage by errors of many types
        raise ValueError(f"not a readable HDF5 file ({error})") from error
    if not np.issubdtype(features.dtype, np.number):
        raise ValueError(f"'features' are {features.dtype}, not numbers")
    if features.size == 0:
        raise ValueError(f"'features' are empty, shape {features.shape}")
    if features.ndim == 1:
        return features.astype(np.float32)
    pool = POOLINGS[pooling]
    if features.ndim != 2 or pool is None:
        raise ValueError(
            f"'features' have shape {features.shape}, expected a slide vector (D,)"
            + ("" if pool is None else " or patch features (N, D)")
        )
    return pool(features.astype(np.float64)).astype(np.float32)


def _checked(vector: np.ndarray) -> np.ndarray:
    if not np.isfinite(vector).all():
        raise ValueError(f"{int((~np.isfinite(vector)).sum())} of the features are not finite")
    return vector


def _frame(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.name.endswith((".csv", ".csv.gz")):
            return pd.read_csv(path)
        if path.name.endswith((".tsv", ".tsv.gz")):
            return pd.read_csv(path, sep="\t")
    except Exception as error:  # of several libraries
        raise unreadable(path, error) from error
    raise InputError(f"{path}: expected a folder of .h5 files or a .parquet, .csv or .tsv table")


def _from_table(path: Path) -> SlideVectors:
    frame = _frame(path)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    known = {str(c).lower(): c for c in reversed(frame.columns)}
    id_column = next((known[c] for c in ID_COLUMNS if c in known), None)
    if id_column is None:
        id_column = frame.columns[0]
        if pd.api.types.is_numeric_dtype(frame[id_column]):
            raise InputError(
                f"{path}: no column of slide ids; expected one of {', '.join(ID_COLUMNS)}"
            )
    # A slide's id is its file name without folder and ending; barcodes have no other dot but one.
    names = [
        Path(str(i)).name.removesuffix(".h5").removesuffix(".svs").removesuffix(".pt")
        for i in frame[id_column]
    ]
    column = next((known[c] for c in VECTOR_COLUMNS if c in known), None)
    if column is not None and not pd.api.types.is_numeric_dtype(frame[column]):
        kept = [column]
        cells = [np.atleast_1d(np.asarray(v, dtype=np.float32)) for v in frame[column]]
    else:
        numbers = _coordinates(frame.drop(columns=[id_column]))
        if numbers.empty:
            raise InputError(f"{path}: no numeric columns beside the ids {id_column!r}")
        kept, cells = list(numbers.columns), list(numbers.to_numpy(np.float32))
    left_out = [str(c) for c in frame.columns if c not in (id_column, *kept)]
    vectors: dict[str, np.ndarray] = {}
    skipped: list[tuple[str, str]] = []
    for name, cell in zip(names, cells, strict=True):
        if name in vectors:
            skipped.append((name, "listed twice; the first row was kept"))
        elif cell.size == 0 or not np.isfinite(cell).all():
            skipped.append((name, "empty or not finite"))
        else:
            vectors[name] = cell
    return _same_width(vectors, skipped)._replace(left_out=left_out)


def _coordinates(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of numbers that are the coordinates of a vector."""
    parsed = {}
    for column in frame.columns:
        if pd.api.types.is_bool_dtype(frame[column]):
            continue
        if pd.api.types.is_numeric_dtype(frame[column]):
            parsed[column] = frame[column].to_numpy(np.float64, na_value=np.nan)
            continue
        numbers, bad = parse_numbers(frame[column].to_numpy(dtype=object))
        if not bad.any() and not np.isnan(numbers).all():
            parsed[column] = numbers
    numbered = numbered_stems(list(parsed))
    if not numbered:
        numbered = [
            column
            for column, values in parsed.items()
            if joined(column) not in LABELS and not is_row_number(values)
        ]
    return pd.DataFrame({column: parsed[column] for column in numbered}, index=frame.index)


def _same_width(vectors: dict[str, np.ndarray], skipped: list[tuple[str, str]]) -> SlideVectors:
    """Keeps the vectors of the most common width; others come from another encoder."""
    if not vectors:
        reasons = "; ".join(f"{n}: {r}" for n, r in skipped[:3])
        raise InputError(f"no usable slide vector ({len(skipped)} skipped: {reasons})")
    width = Counter(len(v) for v in vectors.values()).most_common(1)[0][0]
    for name in [n for n, v in vectors.items() if len(v) != width]:
        skipped.append((name, f"{len(vectors.pop(name))} features, the other slides have {width}"))
    table = pd.DataFrame(
        np.stack(list(vectors.values())),
        index=pd.Index(list(vectors), name="slide_id"),
        columns=[str(i) for i in range(width)],
    )
    return SlideVectors(table, sorted(skipped))


def slide_samples(slide_ids: Sequence[str]) -> list[str]:
    """Sample of every slide: the first four barcode fields without the vial letter."""
    return without_vial(first_fields(slide_ids))


def sample_vectors(slides: pd.DataFrame, how: str = "mean") -> pd.DataFrame:
    """Slides [slides, D] -> samples, columns slide_id, then the vector; sorted by sample_id.

    Args:
        how: "mean" averages the slides of a sample (slide_id is the first of them);
            "first" keeps the first in the order of `slides`.
    """
    if how not in ("mean", "first"):
        raise InputError(f"unknown way to join slides {how!r}: mean or first")
    sample = pd.Index(slide_samples(list(slides.index)), name="sample_id")
    first = pd.DataFrame({"slide_id": slides.index}, index=sample)
    first = first.loc[~sample.duplicated()].sort_index()
    if how == "mean":
        vectors = slides.set_axis(sample, axis=0).groupby(level=0).mean()
    else:
        vectors = slides.set_axis(sample, axis=0).loc[~sample.duplicated()].sort_index()
    return first.join(vectors)
