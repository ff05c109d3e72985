"""Which column of a sheet says who its rows are of.

Plain   the index that the file carries, a column `sample_id` or `patient_id`, the first column
Else    where the plain one counts the rows, repeats ids, has none or matches nobody: the column
        that matches the ids of the other tables, or that is called as ids are
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.cohort.ids import barcode_patient, without_zeros
from cohgen_jax.cohort.sheets import Sheet
from cohgen_jax.cohort.spellings import ROW_NUMBERS, joined
from cohgen_jax.cohort.text import ID_NAMES
from cohgen_jax.errors import InputError, shown

ID_COLUMNS = ("sample_id", "patient_id")
ENOUGH = 0.5
"""Share of ids, of the fewer, that two tables of the same patients have in common."""
_LOOKED_AT = 60
"""Columns of text that may be ids, of a sheet."""
_COUNTING = ROW_NUMBERS | {"x"}
"""Names (`joined`) of columns that count rows, where ids are looked for: R writes X."""


class Candidate(NamedTuple):
    """A column (None: the index that the file carries) that may hold the ids."""

    column: str | None
    keys: frozenset[str]
    """Its ids as `key` has them."""
    unique: bool
    """Every row has an id of its own."""
    whole: bool
    """Whole numbers, which row numbers are too."""
    counts: bool
    """Row numbers: 0, 1, 2, ... or 1, 2, 3, ..., or whole numbers under the name of such."""

    def told(self) -> str:
        return "the index" if self.column is None else f"column {self.column!r}"


def key(name: str) -> str:
    """An id as it is compared here: the patient of a barcode, else without case and zeros."""
    return barcode_patient(name) or without_zeros(name)


def keys(names: Collection) -> frozenset[str]:
    return frozenset(key(str(name)) for name in names)


def share(one: Collection[str], other: Collection[str]) -> float:
    """Of the smaller of two sets of keys, how much the other one has."""
    fewer = min(len(one), len(other))
    return len(frozenset(one) & frozenset(other)) / fewer if fewer else 0.0


def candidates(sheet: Sheet) -> list[Candidate]:
    """The columns that may hold ids, the plain one first."""
    frame = sheet.frame
    columns = [] if frame.shape[1] == 0 else [str(c) for c in frame.columns]
    by_name = [c for c in ID_COLUMNS if c in columns]
    texts = [str(c) for c, t in frame.dtypes.items() if pd.api.types.is_string_dtype(t)]
    texts += [c for c in columns if joined(c) in ID_NAMES and c not in texts]
    ordered: list[str | None] = []
    if sheet.carries_ids:
        ordered += [None, *by_name]
        if frame.index.name is None and by_name and pd.api.types.is_integer_dtype(frame.index):
            ordered = [*by_name, None]  # rows of another frame, numbered
    else:
        ordered += [*by_name, *columns[:1]]
    ordered = list(dict.fromkeys([*ordered, *texts[:_LOOKED_AT]]))
    considered = [_candidate(sheet, column) for column in ordered]
    return [considered[0], *(c for c in considered[1:] if c.unique and _may_name(c))]


def choose(known: Sequence[Candidate], others: Sequence[Candidate], name: str) -> Candidate:
    """Of the `candidates` of a sheet the one that holds the ids, `others` being those of the other
    tables.

    Raises:
        InputError: several columns match the other tables alike.
    """
    plain = known[0]
    matched = {c.column: max((share(c.keys, o.keys) for o in _alike(c, others)), default=0.0)
               for c in known}  # fmt: skip
    named = plain.column in ID_COLUMNS
    good = plain.unique and not plain.counts and (named or not plain.whole)
    if good and (matched[plain.column] > 0 or max(matched.values()) < ENOUGH):
        return plain
    least = matched[plain.column] if plain.unique and not plain.counts else 0.0
    rest = [c for c in known[1:] if not c.counts and matched[c.column] >= max(ENOUGH, least)]
    nameless = plain.counts or (not plain.unique and not named)
    if not rest and nameless and not _tells_apart(others):
        rest = [c for c in known[1:] if not c.counts]
    if not rest:
        return plain
    best = max(matched[c.column] for c in rest)
    rest = [c for c in rest if matched[c.column] >= best - 0.02]
    rest = [c for c in rest if c.column is None or joined(c.column) in ID_NAMES] or rest
    if len(rest) > 1:
        same = {frozenset(c.keys) for c in rest}
        first = [c for c in rest if joined(c.column) in ("sampleid", "sample", "patientid")]
        if len(same) > 1 and len(first) != 1:
            raise InputError(
                f"{name}: its ids may be those of {shown([c.told() for c in rest])}: say which "
                f"with --id-column NAME (as --id-column {rest[0].column})"
            )
        rest = first or rest
    return rest[0]


def id_column_alone(sheet: Sheet, name: str) -> str | None:
    """The column of ids of a sheet without company."""
    return choose(candidates(sheet), (), name).column


def note_on(chosen: Candidate, plain: Candidate) -> str:
    """Why ids are not those of the plain column."""
    if plain.counts:
        why = "counts the rows"
    elif not plain.unique:
        why = "does not name every row once"
    else:
        why = "matches no other table as well"
    return f"ids are those of {chosen.told()}, for {plain.told()} {why}"


def _may_name(one: Candidate) -> bool:
    """Text, or numbers under a name of ids."""
    return one.column is None or not one.whole or joined(one.column) in ID_NAMES


def is_row_count(ids: pd.Series) -> bool:
    """Whether these are 0, 1, 2, ... or 1, 2, 3, ... in this order."""
    numbers = pd.to_numeric(ids, errors="coerce").to_numpy(float)
    if len(numbers) < 3 or np.isnan(numbers).any() or numbers[0] not in (0, 1):
        return False
    return bool((np.diff(numbers) == 1).all())


def ids_of(sheet: Sheet, one: Candidate) -> pd.Series:
    return _column(sheet, one.column)


def _column(sheet: Sheet, column: str | None) -> pd.Series:
    if column is None:
        return sheet.frame.index.to_series().reset_index(drop=True)
    return sheet.frame[column]


def _candidate(sheet: Sheet, column: str | None) -> Candidate:
    cells = _column(sheet, column)
    if isinstance(sheet.frame.index, pd.MultiIndex) and column is None:
        return Candidate(None, frozenset(), True, False, False)  # refused when it is used
    texts = cells.astype(str).str.strip()
    unique = bool(not cells.isna().any() and (texts != "").all() and not texts.duplicated().any())
    whole = bool(texts.str.fullmatch(r"\d+(\.0)?").all()) and len(texts) > 0
    called = joined(str(sheet.frame.index.name or "") if column is None else column)
    rows = called in _COUNTING or (is_row_count(texts) and called not in ID_NAMES)
    counts = whole and rows
    return Candidate(column, keys(texts[~cells.isna()]), unique, whole, counts)


def _alike(one: Candidate, others: Sequence[Candidate]) -> list[Candidate]:
    """Row numbers match those of any table: they speak for nothing."""
    return [o for o in others if o.unique and o.counts == one.counts]


def _tells_apart(others: Sequence[Candidate]) -> bool:
    return any(o.unique and not o.counts for o in others)
