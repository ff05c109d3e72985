"""What stands in a table of measurements and is none: labels, row numbers, summaries, counters.

Left out, and named     row numbers; samples called mean or total; counters of an aligner; a feature
                        that is the mean (sum, ...) of the others; labels beside many features or
                        numbered ones (an embedding)
Named, and left as is   labels among a few features of any names; features called mean, or without a
                        name
"""

import re
import warnings
from collections.abc import Callable, Collection, Sequence

import numpy as np
import pandas as pd

from cohgen_jax.cohort.sparse import column_blocks
from cohgen_jax.cohort.spellings import (
    COLUMNS,
    DAYS_OF,
    ROW_NUMBERS,
    TO_DEATH,
    TO_LAST_SEEN,
    joined,
)
from cohgen_jax.errors import shown

MANY = 20
"""Features among which a label is not taken for one more."""
LEAST_NUMBERED = 10
"""Rows from which 0, 1, 2, ... is a row number."""
_COUNTS_OF_SLIDES = [
    left + right
    for left in ("num", "n", "numberof", "no", "count", "total")
    for right in ("patches", "tiles", "slides", "cells", "spots", "regions", "instances")
]
LABELS = {
    *("label", "labels", "target", "targets", "class", "classlabel", "outcome", "groundtruth"),
    *("sex", "gender", "age", "ageatdiagnosis", "ageatindex", "ageyears", "patientage", "agedays"),
    *("diagnosisage", "ageatinitialpathologicdiagnosis", "yearofbirth", "yearofdiagnosis"),
    *("grade", "tumorgrade", "tumourgrade", "histologicgrade", "batch", "batchid", "plate", "fold"),
    *("patchcount", "tilecount", "slidecount", *_COUNTS_OF_SLIDES),
    *("sampleid", "caseid", "slideid", "donorid", "barcode", "died", "dead", "death", "pfi", "dfi"),
    *("pfitime", "dfitime", "dss", "dsstime", "pfs", "pfsmonths", "dfsmonths", "dfsstatus"),
    *(spelling for spellings in COLUMNS.values() for spelling in spellings),
    *(str(spelling) for unit in DAYS_OF.values() for spelling in unit[1:]),
    *(*TO_DEATH, *TO_LAST_SEEN),
}
"""Names (`joined`) of what is known about a patient or a file, rather than measured."""
_COORDINATES = {
    *("f", "feat", "feature", "features", "dim", "d", "e", "emb", "embed", "embedding", "x", "v"),
    *("vector", "vec", "z", "latent", "component", "pc", "wsi", "slide", "uni", "titan", "virchow"),
}
"""What coordinates of an embedding are called, but for their number."""
_COUNTERS = re.compile(
    r"(__)?(no_feature|ambiguous|too_low_aqual|not_aligned|alignment_not_unique)"
    r"|n_(unmapped|multimapping|nofeature|ambiguous)|unassigned_\w+",
    re.IGNORECASE,
)
_WITHOUT_NAME = re.compile(r"\?(\|.*)?|unnamed: \d+|nan|none|", re.IGNORECASE)
SUMMARIES: dict[str, Callable] = {
    **dict.fromkeys(("mean", "average", "avg", "rowmean", "rowmeans"), np.nanmean),
    **dict.fromkeys(("total", "sum", "grandtotal", "rowsum", "rowsums", "libsize"), np.nansum),
    "median": np.nanmedian,
    **dict.fromkeys(("std", "sd", "stdev"), lambda x, axis: np.nanstd(x, axis, ddof=1)),
    **dict.fromkeys(("var", "variance"), lambda x, axis: np.nanvar(x, axis, ddof=1)),
    **dict.fromkeys(("min", "minimum"), np.nanmin),
    **dict.fromkeys(("max", "maximum"), np.nanmax),
}
_NO_PATIENT = {name for name in SUMMARIES if name not in ("min", "max", "var")} | {"colmeans"}


def without_foreign(
    name: str, table: pd.DataFrame, notes: list[str], needed: Collection[str] = ()
) -> pd.DataFrame:
    """The table of a modality without what is surely no measurement; `notes` names that, and what
    may be none.

    table: float, rows in the order of the file; needed: features that are measurements.
    """
    spared = set(needed)
    columns = [c for c in table.columns if c not in spared]
    rows = [i for i in table.index if _sums_up_samples(i, table)]
    if rows and len(rows) < len(table):
        notes.append(
            f"{name}: {len(rows)} rows sum up the others and were left out: {shown(rows)}."
        )
        table = table.drop(index=rows)
    numbers = [c for c in _row_numbers(table) if c in columns]
    counters = [c for c in columns if _COUNTERS.fullmatch(c)]
    summaries = [c for c in columns if _sums_up_features(c, table)]
    _leave_out(notes, name, numbers, "row numbers")
    _leave_out(notes, name, counters, "what an aligner could not count")
    _leave_out(notes, name, summaries, "summaries of the other features")
    gone = {*numbers, *counters, *summaries}

    labels = [c for c in columns if c not in gone and joined(c) in LABELS]
    rest = [c for c in columns if c not in gone and c not in labels]
    if labels and rest and (len(rest) >= MANY or are_coordinates(rest)):
        _leave_out(notes, name, labels, "labels rather than measurements")
        gone |= set(labels)
    elif labels and rest:
        notes.append(
            f"{name}: {len(labels)} features are called as labels are ({shown(labels)}) and stay: "
            "what is known of a patient, rather than measured, belongs into samples."
        )
    doubtful = [c for c in rest if joined(c) in SUMMARIES and joined(c) not in ("max", "min")]
    nameless = [c for c in rest if _WITHOUT_NAME.fullmatch(c.strip())]
    for names, what in ((doubtful, "called as summaries are"), (nameless, "without a name")):
        if names:
            notes.append(
                f"{name}: {len(names)} features are {what} ({shown(names)}) and stay: remove them "
                "if they are no measurements."
            )
    return table.drop(columns=list(gone)) if gone and len(gone) < table.shape[1] else table


def is_no_feature(name: str) -> bool:
    """Whether a row of a table of genes is called as a counter of an aligner or a summary is."""
    return _COUNTERS.fullmatch(name.strip()) is not None or joined(name) in _NO_PATIENT


def are_coordinates(columns: Collection[str]) -> bool:
    """Whether the columns are called as the coordinates of an embedding are: 0, 1, 2 or dim_0."""
    numbered = numbered_columns(list(columns))
    stem = re.sub(r"\d+$", "", numbered[0]).lower().strip(" _-.") if numbered else None
    return len(numbered) >= max(3, 0.9 * len(columns)) and (
        stem is not None and (stem == "" or re.split(r"[ _.-]", stem)[-1] in _COORDINATES)
    )


def numbered_columns(columns: Sequence[str]) -> list[str]:
    """The largest set of columns that share a stem and differ in a number."""
    return max(_by_stem(columns).values(), key=len, default=[])


def numbered_stems(columns: Sequence[str]) -> list[str]:
    """The columns of every stem that is numbered several times (mean_0, mean_1, ..., sd_0, ...)."""
    several = {c for group in _by_stem(columns).values() if len(group) >= 3 for c in group}
    return [c for c in columns if c in several]


def _by_stem(columns: Sequence[str]) -> dict[str, list[str]]:
    by_stem: dict[str, list[str]] = {}
    for column in columns:
        if match := re.fullmatch(r"(.*?)(\d+)", str(column).strip()):
            by_stem.setdefault(match[1], []).append(column)
    return by_stem


def is_row_number(values: np.ndarray, named: bool = False) -> bool:
    """Whether values [N] count the rows, in whatever order; if `named` so, gaps are allowed."""
    if len(values) < LEAST_NUMBERED or not np.isfinite(values).all():
        return False
    if (values != np.rint(values)).any():
        return False
    steps = np.diff(values if named else np.sort(values))
    return bool((steps > 0).all() if named else (steps == 1).all())


def _row_numbers(table: pd.DataFrame) -> list[str]:
    numbers = [
        c
        for block, values in column_blocks(table)
        for c, x in zip(table.columns[block], values.T, strict=True)
        if is_row_number(x) or (joined(c) in ROW_NUMBERS and is_row_number(x, named=True))
    ]
    return numbers if len(numbers) < table.shape[1] / 2 else []  # else the table is of ranks


def _sums_up_samples(name: str, table: pd.DataFrame) -> bool:
    plain = joined(name)
    if plain in _NO_PATIENT:
        return True
    return plain in SUMMARIES and _agrees(SUMMARIES[plain], table.T, str(name))


def _sums_up_features(name: str, table: pd.DataFrame) -> bool:
    return joined(name) in SUMMARIES and _agrees(SUMMARIES[joined(name)], table, str(name))


def _agrees(summary: Callable, table: pd.DataFrame, column: str) -> bool:
    """Whether a column is what its name says of the others, other summaries aside."""
    others = [c for c in table.columns if joined(c) not in SUMMARIES]
    if len(others) < 2:
        return False
    given = table[column].to_numpy(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows without a value
        made = summary(table[others].to_numpy(float), axis=1)
    known = np.isfinite(given) & np.isfinite(made)
    return bool(known.any() and np.allclose(given[known], made[known], rtol=1e-3, atol=1e-3))


def _leave_out(notes: list[str], name: str, columns: Collection[str], what: str) -> None:
    if columns:
        notes.append(
            f"{name}: {len(columns)} columns are {what} and were left out: {shown(columns)} "
            "(rename what is a measurement all the same)."
        )
