"""The kind of a table's values: what a cell of it could hold, hence what may be generated.

continuous  any number
counts      whole numbers from 0
binary      0 or 1
fraction    from 0 to 1
ordinal     grades: the whole numbers that occur, such as -2 .. 2
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import pandas as pd

from cohgen_jax.cohort.sparse import column_blocks, levels, levels_of_columns
from cohgen_jax.errors import InputError

Kind = Literal["continuous", "counts", "binary", "fraction", "ordinal"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WHOLE: Sequence[Kind] = ("binary", "counts", "ordinal")
"""Kinds of whole numbers."""
BOUNDS: Mapping[Kind, tuple[float, float]] = {
    "continuous": (-np.inf, np.inf),
    "counts": (0, np.inf),
    "binary": (0, 1),
    "fraction": (0, 1),
    "ordinal": (-np.inf, np.inf),
}
"""Between which the values lie."""
FEW_LEVELS = 7
"""Different whole numbers up to which they are grades rather than counts."""
MOST = 0.8
"""Share of the features that make a table's kind."""
CELLS = 1 << 24
"""Of a table that are looked at at once."""
MAX_MISSING: Mapping[Kind, float] = {
    "continuous": 0.7,
    "fraction": 0.7,
    "counts": 0.7,
    "binary": 0.9,
    "ordinal": 0.9,
}
"""Share of unknown cells from which a feature is dropped where nothing else is asked for. Panels
and studies that did not look leave most mutations unknown; what is known of them says enough."""


def kind_of(values: np.ndarray) -> Kind:
    """The narrowest kind that holds all known values [N] or [N, F], NaN where unknown."""
    known = ~np.isnan(values)
    low = np.min(values, where=known, initial=np.inf)
    high = np.max(values, where=known, initial=-np.inf)
    if low > high:
        return "continuous"
    parts = np.array_split(values, -(-values.size // CELLS))
    if not all(allowed(part, "ordinal").all() for part in parts):
        return "fraction" if low >= 0 and high <= 1 else "continuous"
    if low >= 0 and high <= 1:
        return "binary"
    many = high - low >= FEW_LEVELS and len(np.unique(values[known])) > FEW_LEVELS
    return "counts" if low >= 0 and many else "ordinal"


def kind_of_table(table: pd.DataFrame) -> Kind:
    """The kind that holds all of its values or, where that is none but continuous, the kind of
    those MOST features that share one."""
    kind = kind_of(levels(table))
    if kind != "continuous" or table.shape[1] == 1:
        return kind
    values = levels_of_columns(table)
    kinds = np.array([kind_of(column) for column in values])
    whole, fraction = np.isin(kinds, WHOLE), kinds == "fraction"
    if whole.mean() >= MOST:
        return kind_of(np.concatenate([values[f] for f in np.flatnonzero(whole)]))
    return "fraction" if fraction.mean() >= MOST else "continuous"


def kinds_of_features(table: pd.DataFrame, kind: Kind) -> list[Kind]:
    """Each feature's: the table's, but for whole numbers in a table of others, and for what that
    kind does not hold."""
    values = levels_of_columns(table)
    if kind not in ("continuous", "fraction") and all(allowed(v, kind).all() for v in values):
        return [kind] * len(values)
    kinds = []
    for column in values:
        seen = kind_of(column)
        follows = seen not in WHOLE if kind in ("continuous", "fraction") else True
        kinds.append(kind if follows and allowed(column, kind).all() else seen)
    return kinds


def max_missing_of(kind: Kind, asked: float | None) -> float:
    return MAX_MISSING[kind] if asked is None else asked


def asked_kinds(settings: Sequence[str], tables: Mapping[str, pd.DataFrame]) -> dict[str, Kind]:
    """Of MODALITY=KIND, as `mut=binary`, checked against the tables."""
    asked = parse_kinds(settings, tables)
    for modality, kind in asked.items():
        check_kind(modality, tables[modality], kind)
    return asked


def parse_kinds(settings: Sequence[str], modalities: Collection[str]) -> dict[str, Kind]:
    """Of MODALITY=KIND, as `mut=binary`."""
    asked = {}
    for setting in settings:
        modality, _, kind = setting.partition("=")
        if kind not in KINDS:
            raise InputError(f"kinds: {setting!r} is not MODALITY=KIND; kinds: {', '.join(KINDS)}")
        if modality not in modalities:
            raise InputError(
                f"kinds: unknown modality {modality!r}; there are {', '.join(modalities)}"
            )
        asked[modality] = kind
    return asked


def check_kind(modality: str, table: pd.DataFrame, kind: Kind) -> None:
    """Raises InputError for the first value that a table of this kind cannot hold."""
    number, first = 0, ""
    for block, values in column_blocks(table):
        wrong = ~allowed(values, kind)
        if wrong.any() and not number:
            row, column = np.argwhere(wrong)[0]
            first = (
                f"column {table.columns[block][column]!r}, row {table.index[row]!r} is "
                f"{values[row, column]:g}"
            )
        number += int(wrong.sum())
    if number:
        raise InputError(
            f"{modality} cannot be of kind {kind}: {first} ({number} such cells); its values are "
            f"{kind_of(levels(table))}"
        )


def nearest_allowed(values: np.ndarray, kinds: Sequence[Kind]) -> np.ndarray:
    """Values [..., F] brought to what features of these kinds [F] could hold."""
    if set(kinds) == {"continuous"}:
        return values
    whole = np.isin(kinds, WHOLE)
    values = np.where(whole, np.rint(values), values)
    return np.clip(values, *np.array([BOUNDS[kind] for kind in kinds], values.dtype).T)


def allowed(values: np.ndarray, kind: Kind) -> np.ndarray:
    """bool, of the shape of values: what a table of this kind could hold; NaN it can."""
    low, high = BOUNDS[kind]
    fits = (values >= low) & (values <= high)
    if kind in WHOLE:
        fits &= values == np.rint(values)
    return fits | np.isnan(values)
