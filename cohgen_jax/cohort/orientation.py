"""Which way round each table of a folder lies, and which column has its ids.

Samples go down and features across, unless something says otherwise. In this order:

asked      `--transpose`, `--id-column`
declared   by the file (GCT), or by the features that a run knows
sure       the samples table has the names of one axis; barcodes, Ensembl ids, probes, well-known
           genes (`idlike.py`)
shared     the names of one axis are those of the samples of the other tables
hinted     the header of the ids (`gene`), names such as gene_12 and patient07

What leaves two readings is refused, with both of them and the option that settles it; every reading
but the plain one is noted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.cohort.cohort import Origin
from cohgen_jax.cohort.idcolumns import (
    ENOUGH,
    Candidate,
    candidates,
    choose,
    ids_of,
    is_row_count,
    key,
    keys,
    note_on,
    share,
)
from cohgen_jax.cohort.idlike import Look, header_says, look
from cohgen_jax.cohort.sheets import Sheet
from cohgen_jax.cohort.spellings import joined
from cohgen_jax.cohort.tables import indexed, numeric
from cohgen_jax.cohort.understood import Doubt
from cohgen_jax.errors import InputError, shown

Axis = Literal["down", "across"]
"""Where the samples go."""
_ABOUT_FEATURES = {
    *("entrezgeneid", "entrezid", "entrez", "start", "end", "chromstart", "chromend", "length"),
    *("genelength", "chr", "chrom", "chromosome", "strand", "position", "pos", "exonlength"),
    *("description", "cytoband", "score", "genomiclocation", "map", "band"),
}
"""Names (`joined`) of columns that describe features beside the values of samples."""


class Reading(NamedTuple):
    """How a sheet is read as a table of samples x features."""

    file: str
    samples: Axis = "down"
    column: str | None = None
    """Where the names going down are; None for the index that the file carries."""
    left_out: tuple[str, ...] = ()
    """Columns beside the names that describe features."""
    notes: tuple[str, ...] = ()
    doubt: str = ""
    """Why it should not be trained on as it stands."""

    @property
    def id_column(self) -> str:
        """In words, where the ids of samples are."""
        if self.samples == "across":
            return "header"
        return "index" if self.column is None else self.column or "first column (no name)"

    @property
    def origin(self) -> Origin:
        return Origin(file=self.file, orientation=self.samples, id_column=self.id_column)


class _Axes(NamedTuple):
    """The names of both axes of a sheet."""

    rows: list[Candidate]
    columns: frozenset[str]  # keys of the columns that hold numbers
    look_rows: Look
    look_columns: Look
    header: str  # what the name of the ids says that rows are
    first_row: str

    @property
    def named(self) -> list[Candidate]:
        """The candidates that do more than count rows, the plain one even if it repeats some; where
        there are none, that."""
        more = [c for k, c in enumerate(self.rows) if (c.unique or k == 0) and not c.counts]
        return more or self.rows[:1]

    def rows_share(self, other: Collection[str]) -> float:
        return max((share(c.keys, other) for c in self.named), default=0.0)


def read_readings(
    sheets: Mapping[str, Sheet],
    files: Mapping[str, str],
    facts: Sheet | None = None,
    *,
    id_column: str | None = None,
    transpose: Sequence[str] = (),
    features: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> dict[str, Reading]:
    """How to read each sheet, and the facts under the name "".

    Args:
        files: name of each sheet, and of the facts ("") -> its file, for messages.
        id_column: column of ids, of the tables that have it.
        transpose: sheets whose samples go across; "all", or "none" for none but those that say so
            themselves; the others are decided upon.
        features: sheet -> features that the table should have, where they are known.

    Raises:
        InputError: two readings are possible, or an option names what is not there.
    """
    _check_asked(sheets, facts, id_column, transpose)
    axes = {name: _axes(sheet) for name, sheet in sheets.items()}
    known = candidates(facts) if facts is not None else []
    samples: dict[str, Axis | None] = {
        name: _asked(name, sheet, axes[name], transpose, features.get(name))
        for name, sheet in sheets.items()
    }
    if "none" not in transpose:
        samples = _decided(samples, axes, known, files)
    down: dict[str, Axis] = {
        name: "across" if where == "across" else "down" for name, where in samples.items()
    }
    readings = {}
    for name, sheet in sheets.items():
        others = [*known, *_samples_of(axes, down, name)]
        if down[name] == "across":
            asked = name in transpose or "all" in transpose
            declared = sheet.features_down or asked or name in features
            if not declared:
                _refuse_contradiction(name, axes[name])
            readings[name] = _across(sheet, files[name], axes[name], others)
        else:
            readings[name] = _down(sheet, files[name], axes[name].rows, others, id_column)
            if "none" not in transpose and name not in features:
                readings[name] = _doubted(readings[name], name, axes[name], down, axes)
                if samples[name] is None and _both_shared(name, axes):
                    readings[name] = _undecided(readings[name], axes[name])
    if facts is not None:
        others = _samples_of(axes, down, None)
        readings[""] = _down(facts, files[""], known, others, id_column)
    return readings


def table_of(sheet: Sheet, reading: Reading) -> pd.DataFrame:
    """The sheet as samples x features, cells of any type, indexed by unique string ids."""
    frame = sheet.frame.drop(columns=list(reading.left_out))
    if reading.samples == "down":
        return indexed(sheet._replace(frame=frame), reading.column, reading.file)
    names = frame.index if reading.column is None else frame[reading.column]
    texts = pd.Series(np.asarray(names, dtype=object)).astype(str).str.strip()
    if texts.duplicated().any():
        repeated = sorted(set(texts[texts.duplicated()]))
        raise InputError(
            f"{reading.file}: {len(repeated)} features occur more than once: {shown(repeated)}; "
            "merge or rename them"
        )
    table = indexed(sheet._replace(frame=frame), reading.column, reading.file)
    table = numeric(table, reading.file).T
    table.index = pd.Index(table.index.astype(str).str.strip(), name="sample_id", dtype=object)
    table.columns = pd.Index(table.columns, name=None, dtype=object)
    return table


# ---- where samples go -------------------------------------------------------------------------


def _asked(
    name: str,
    sheet: Sheet,
    axes: _Axes,
    transpose: Sequence[str],
    features: Collection[str] | None,
) -> Axis | None:
    """What is asked for or declared, None where it is neither."""
    if name in transpose or "all" in transpose:
        return "across"
    if sheet.features_down:
        return "across"
    if "none" in transpose:
        return "down"
    if features is not None:
        known = keys(features)
        rows = axes.rows_share(known)
        return "across" if rows > ENOUGH and rows > share(axes.columns, known) else "down"
    return None


def _decided(
    samples: dict[str, Axis | None],
    axes: dict[str, _Axes],
    facts: list[Candidate],
    files: Mapping[str, str],
) -> dict[str, Axis | None]:
    """Where samples go in the sheets of which nobody said so; None where nothing speaks at all."""
    told = [c.keys for c in facts if c.unique and not c.counts]
    given = samples
    samples = {name: where or _sure(axes[name], told) for name, where in samples.items()}
    # Names that are nobody's samples, as those of a table about genes, are no samples.
    samples = {
        name: where if given[name] or where == "down" or _somebodys(name, axes, told) else None
        for name, where in samples.items()
    }
    patients = [
        axes[name].columns if where == "across" else c.keys
        for name, where in samples.items()
        for c in (axes[name].named if where == "down" else axes[name].rows[:1])
        if where is not None
    ]
    if patients or told:
        for name, table in axes.items():
            if samples[name] is None:
                rows = max((table.rows_share(p) for p in [*patients, *told]), default=0.0)
                columns = max((share(table.columns, p) for p in [*patients, *told]), default=0.0)
                samples[name] = "across" if columns >= ENOUGH > rows else None
        return samples
    return _among_themselves(samples, axes, files)


def _sure(table: _Axes, told: list[frozenset[str]]) -> Axis | None:
    rows, columns = table.look_rows, table.look_columns
    down = any(table.rows_share(t) >= ENOUGH for t in told) or _is(rows, "samples")
    across = any(share(table.columns, t) >= ENOUGH for t in told) or _is(columns, "samples")
    if down == across and _is(rows, "features") != _is(columns, "features"):
        down, across = _is(columns, "features"), _is(rows, "features")
    return None if down == across else "down" if down else "across"


def _is(names: Look, of: str) -> bool:
    return names.sure and names.of == of


def _somebodys(name: str, axes: dict[str, _Axes], told: list[frozenset[str]]) -> bool:
    """Whether the columns of a sheet are names that the facts or another sheet have, too."""
    columns = axes[name].columns
    others = [a for other, a in axes.items() if other != name]
    if not others and not told:
        return True
    return any(share(columns, t) >= ENOUGH for t in told) or any(
        share(columns, a.columns) >= ENOUGH or a.rows_share(columns) >= ENOUGH for a in others
    )


def _among_themselves(
    samples: dict[str, Axis | None], axes: dict[str, _Axes], files: Mapping[str, str]
) -> dict[str, Axis | None]:
    """Where nothing is known of any name but who shares it."""
    names = list(axes)
    # Sheets whose rows are samples if those of `name` go across.
    crossing = {
        a: [b for b in names if b != a and axes[b].rows_share(axes[a].columns) >= ENOUGH]
        for a in names
    }
    beside = {
        a: [b for b in names if b != a and any(axes[b].rows_share(c.keys) >= ENOUGH
                                               for c in axes[a].named)]
        for a in names
    }  # fmt: skip
    parallel = {
        a: [b for b in names if b != a and share(axes[a].columns, axes[b].columns) >= ENOUGH]
        for a in names
    }
    for name in names:
        for other in crossing[name]:
            if name in crossing[other] and not (beside[name] or beside[other]):
                hints = [n for n in (name, other) if _hinted(axes[n]) == "across"]
                if len(hints) != 1:
                    raise InputError(
                        f"{name} and {other} lie differently: the rows of either are the columns "
                        f"of the other. If samples go down in {other}, use --transpose {name}; if "
                        f"they do in {name}, --transpose {other}"
                    )
                samples[hints[0]] = "across"
                return samples
        if not beside[name] and (crossing[name] or parallel[name]):
            samples[name] = "across"
        elif beside[name] and parallel[name]:
            hint = _hinted(axes[name])
            if hint == "across":
                samples[name] = "across"
            elif hint == "either":
                raise _either(name, files[name], axes[name])
    return samples


def _hinted(table: _Axes) -> Literal["across", "either", ""]:
    """What header and names hint at where both axes are shared with other tables."""
    rows, columns = table.look_rows.of, table.look_columns.of
    if table.header == "samples" or rows == "samples" or columns == "features":
        return "either" if table.header == "features" else ""
    signs = (table.header == "features") + (rows == "features") + (columns == "samples")
    return "across" if signs >= 2 else "either" if signs else ""


def _either(name: str, file: str, table: _Axes) -> InputError:
    rows, columns = table.look_rows.example, table.look_columns.example
    return InputError(
        f"{file}: either its rows{f' (as {rows})' if rows else ''} or its columns"
        f"{f' (as {columns})' if columns else ''} may be the samples, and other tables share both: "
        f"--transpose {name} takes the columns for samples, --transpose none the rows"
    )


def _both_shared(name: str, axes: dict[str, _Axes]) -> bool:
    """Whether other tables have the names of both axes, and none of them looks like anything."""
    table = axes[name]
    others = [a for other, a in axes.items() if other != name]
    said = bool(table.header == "samples" or table.look_rows.of or table.look_columns.of)
    rows = (a.rows_share(c.keys) >= ENOUGH for a in others for c in table.named)
    return not said and any(rows) and any(share(table.columns, a.columns) >= ENOUGH for a in others)


def _undecided(reading: Reading, table: _Axes) -> Reading:
    note = (
        f"{reading.file}: other tables share its rows and its columns; its rows (as "
        f"{table.first_row}) are taken for samples, and --transpose all takes the columns."
    )
    return reading._replace(notes=(*reading.notes, note))


def _refuse_contradiction(name: str, table: _Axes) -> None:
    if table.header == "samples":
        raise InputError(
            f"{name} shares no sample with any other modality: its columns are their samples: "
            f"transpose it (--transpose {name}), though its header calls the rows samples"
        )


def _doubted(
    reading: Reading, name: str, table: _Axes, down: Mapping[str, Axis], axes: dict[str, _Axes]
) -> Reading:
    """A table whose rows are surely features, and whose columns are nobody's samples."""
    if not _is(table.look_rows, "features") or _is(table.look_columns, "features"):
        return reading
    return reading._replace(
        doubt=f"{reading.file}: its rows look like features (as {table.look_rows.example}), and no "
        f"other table has its columns for samples: --transpose {name} takes the columns for "
        "samples, --transpose none the rows"
    )


# ---- where the names are ----------------------------------------------------------------------


def _down(
    sheet: Sheet,
    file: str,
    rows: Sequence[Candidate],
    others: Sequence[Candidate],
    asked: str | None,
) -> Reading:
    notes = [f"{file}: {note}." for note in sheet.notes]
    if asked is not None and asked in sheet.frame.columns:
        return Reading(file, "down", asked, notes=tuple(notes))
    chosen, plain = choose(rows, others, file), rows[0]
    if chosen.column != plain.column:
        notes.append(f"{file}: {note_on(chosen, plain)}.")
    elif chosen.counts and is_row_count(ids_of(sheet, chosen)):
        notes.append(
            Doubt(
                f"{file}: its ids are row numbers, and it has no others: tables are joined row by "
                "row. If their rows are not of the same samples, give all of them a column of ids."
            )
        )
    return Reading(file, "down", chosen.column, notes=tuple(notes))


def _across(sheet: Sheet, file: str, table: _Axes, others: Sequence[Candidate]) -> Reading:
    named = [c for c in table.rows if not c.counts] or table.rows
    chosen = next((c for c in named if c.unique and c.column is not None
                   and header_says(c.column) == "features"), named[0])  # fmt: skip
    known = frozenset().union(*(o.keys for o in others)) if others else frozenset()
    about = [
        str(column)
        for column, dtype in sheet.frame.dtypes.items()
        if column != chosen.column
        and key(str(column)) not in known
        and (not pd.api.types.is_numeric_dtype(dtype) or joined(column) in _ABOUT_FEATURES
             or any(column == c.column for c in table.rows))
    ]  # fmt: skip
    columns = [str(c) for c in sheet.frame.columns if c != chosen.column and c not in about]
    notes = [f"{file}: {note}." for note in sheet.notes]
    first = sheet.frame[chosen.column].iloc[0] if chosen.column is not None else "its index"
    notes.append(
        f"{file} was transposed: its columns are samples (as {shown(columns[:1])}), its rows "
        f"features (as {first})."
    )
    if about:
        notes.append(f"{file}: columns about features were left out: {shown(about)}.")
    return Reading(file, "across", chosen.column, tuple(about), tuple(notes))


def _axes(sheet: Sheet) -> _Axes:
    rows = candidates(sheet)
    first = next((c for c in rows if c.unique and not c.counts), rows[0])
    frame = sheet.frame
    names = frame.index if first.column is None else frame[first.column]
    columns = [
        str(c)
        for c, dtype in frame.dtypes.items()
        if c != first.column and (pd.api.types.is_numeric_dtype(dtype))
    ]
    columns = columns or [str(c) for c in frame.columns if c != first.column]
    header = header_says(str(frame.index.name or "") if first.column is None else first.column)
    texts = [str(n) for n in names]
    return _Axes(rows, keys(columns), look(texts), look(columns), header, texts[0] if texts else "")


def _samples_of(
    axes: dict[str, _Axes], down: Mapping[str, Axis], name: str | None
) -> list[Candidate]:
    """What may be the ids of the other sheets."""
    return [
        candidate
        for other, table in axes.items()
        if other != name
        for candidate in (
            table.rows
            if down[other] == "down"
            else [Candidate(None, table.columns, True, False, False)]
        )
    ]


def _check_asked(
    sheets: Mapping[str, Sheet],
    facts: Sheet | None,
    id_column: str | None,
    transpose: Sequence[str],
) -> None:
    unknown = [m for m in transpose if m not in sheets and m not in ("all", "none")]
    if unknown:
        raise InputError(
            f"transpose: unknown modality {shown(unknown)}; known: {', '.join(sheets)} (or all, or "
            "none)"
        )
    if len(transpose) > 1 and {"all", "none"} & set(transpose):
        raise InputError("transpose: all, none, or names of modalities")
    every = [*sheets.values(), *([facts] if facts is not None else [])]
    if id_column is not None and not any(id_column in s.frame.columns for s in every):
        columns = dict.fromkeys(str(c) for s in every for c in list(s.frame.columns)[:3])
        raise InputError(
            f"id_column: no table has a column {id_column!r}; their first are {shown(columns)}"
        )
