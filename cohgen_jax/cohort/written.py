"""How numbers are written: 1.5 or 1,5; 1234, 1,234 or 1.234.

A comma decides what it is where the cells prove it: "0,5" or "1,25" is a fraction, "1,234,567" and
"1,234.5" are thousands, and so is "1,234" beside whole numbers that all end below 1000. What proves
nothing ("1,234" and "5,678" alone) is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import pandas as pd

from cohgen_jax.errors import InputError, shown

_COMMA = r"[+-]?(?:\d[\d.]*)?,\d[\d.,]*(?:[eE][+-]?\d+)?"
"""Text that may be a number with a comma in it."""
_COMMA_GROUPS = r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?(?:[eE][+-]?\d+)?"
_COMMA_FRACTION = r"[+-]?(?:\d+|[1-9]\d{0,2}(?:\.\d{3})+)?,\d+(?:[eE][+-]?\d+)?"
_DOT_GROUPS = r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+"
_WHOLE = r"[+-]?\d+"
LEAST_GROUPED = 50
"""Cells that all end in a dot and three digits, from which that is no accident."""


class Style(NamedTuple):
    """As `pandas.read_csv` takes it."""

    decimal: str = "."
    thousands: str | None = None

    def told(self) -> str:
        words = [f"decimal {'comma' if self.decimal == ',' else 'point'}"]
        if self.thousands:
            words.append(f"thousands separated by {'commas' if self.thousands == ',' else 'dots'}")
        return "numbers are written with " + " and ".join(words)


PLAIN = Style()


def with_commas(columns: Collection[pd.Series]) -> bool:
    """Whether a column of text holds nothing but numbers, some of them with a comma."""
    return any(len(_numbers_with_commas(column)) for column in columns)


def style_of(columns: Collection[pd.Series], name: str) -> Style:
    """How the numbers of these columns of text are written; `name` is the file, for messages.

    Raises:
        InputError: the commas, or dots, may be either.
    """
    commas = pd.concat([_numbers_with_commas(c) for c in columns] or [pd.Series(dtype=object)])
    cells = pd.concat([_texts(c) for c in columns] or [pd.Series(dtype=object)])
    if not len(commas):
        return _style_of_dots(cells, name)
    groups = commas.str.fullmatch(_COMMA_GROUPS)
    fractions = commas.str.fullmatch(_COMMA_FRACTION)
    if not groups.all() and fractions.all():
        return Style(",", "." if _dots_are_groups(cells, commas, name) else None)
    if groups.all():
        proven = commas.str.count(",").gt(1) | commas.str.contains(".", regex=False)
        whole = pd.to_numeric(cells[cells.str.fullmatch(_WHOLE)]).abs()
        if proven.any() or (len(whole) and (whole < 1000).all()):
            return Style(".", ",")
    odd = commas[~fractions] if (~fractions).any() else commas
    raise InputError(
        f"{name}: the commas of its numbers may separate thousands or decimals ("
        f"{shown(list(odd.unique()))}): write the numbers without thousands separators and with a "
        "decimal point"
    )


def _texts(column: pd.Series) -> pd.Series:
    return column.dropna().astype(str).str.strip()


def _numbers_with_commas(column: pd.Series) -> pd.Series:
    """Its cells with a comma, if it holds nothing else than numbers; none otherwise."""
    cells = _texts(column)
    commas = cells[cells.str.contains(",", regex=False)]
    if not len(commas) or not commas.str.fullmatch(_COMMA).all():
        return commas.iloc[:0]
    either = commas.str.fullmatch(_COMMA_GROUPS) | commas.str.fullmatch(_COMMA_FRACTION)
    others = pd.to_numeric(cells[~cells.index.isin(commas.index)], errors="coerce")
    return commas if either.all() and not others.isna().any() else commas.iloc[:0]


def _dots_are_groups(cells: pd.Series, commas: pd.Series, name: str) -> bool:
    """Whether dots separate thousands in a file of decimal commas.

    Raises:
        InputError: some of its numbers have a decimal point instead.
    """
    dotted = cells[cells.str.contains(".", regex=False) & cells.str.fullmatch(r"[+-]?[\d.,eE+-]+")]
    point = dotted[~dotted.str.split(",").str[0].str.fullmatch(_DOT_GROUPS)]
    if len(point):
        raise InputError(
            f"{name}: numbers with a decimal comma (as {commas.iloc[0]!r}) and with a decimal "
            f"point (as {point.iloc[0]!r}) stand together: write all of them in one way"
        )
    return bool(len(dotted))


def _style_of_dots(cells: pd.Series, name: str) -> Style:
    """Of numbers without commas: 12.345 is a fraction, unless every dot looks like a thousand."""
    if cells.str.fullmatch(r"[+-]?[1-9]\d{0,2}(?:\.\d{3}){2,}").any():
        return Style(",", ".")
    dotted = cells[cells.str.contains(".", regex=False) & cells.str.fullmatch(r"[+-]?[\d.]+")]
    whole = pd.to_numeric(cells[cells.str.fullmatch(_WHOLE)]).abs()
    if len(dotted) < LEAST_GROUPED or not len(whole) or (whole >= 1000).any():
        return PLAIN
    if not dotted.str.fullmatch(_DOT_GROUPS).all():
        return PLAIN
    raise InputError(
        f"{name}: all dots of its numbers are followed by three digits, and its whole numbers end "
        f"below 1000: {dotted.iloc[0]} may be {dotted.iloc[0].replace('.', '')} or a fraction; "
        "write the numbers without thousands separators, or fractions with all their digits"
    )
