"""Reading a folder of tables: numbers, facts about samples, nothing split or fitted.

A folder holds one table a modality (`rna.parquet`, `cna.csv`, `rppa.tsv.gz`, ...) and, optionally,
`samples.*` or `clinical.*` with the facts about samples. A cohort directory holds `cohort.json`
besides, which names its modalities.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.cohort.cohort import Origin
from cohgen_jax.cohort.folder import FACTS, is_loose, table_files
from cohgen_jax.cohort.kinds import KINDS, Kind
from cohgen_jax.cohort.orientation import Reading, read_readings, table_of
from cohgen_jax.cohort.sheets import Sheet
from cohgen_jax.cohort.sparse import row_blocks
from cohgen_jax.cohort.tables import numeric, read_sheet
from cohgen_jax.cohort.unchanged import unchanged
from cohgen_jax.cohort.understood import Doubt
from cohgen_jax.errors import InputError, shown

SCHEMA_VERSION = 1


class RawTables(NamedTuple):
    """What the files say, before anything is split or filtered."""

    name: str
    tables: dict[str, pd.DataFrame]  # modality -> float32 values, index sample_id
    facts: pd.DataFrame | None  # any columns, index sample_id or patient id
    facts_source: str  # file that the facts came from, for messages
    units: dict[str, str]
    notes: tuple[str, ...]
    kinds: Mapping[str, Kind] = MappingProxyType({})  # where the files say it
    origins: Mapping[str, Origin] = MappingProxyType({})
    """Modality, and "samples" for the facts -> where its table came from."""


SOURCES: dict[str, Callable[..., RawTables]] = {}
"""Suffix of a file that holds a whole cohort -> its reader, of the file, the layers wanted by
modality, and whether these modalities may be absent (lenient); it need not drop empty rows."""


def read_tables(
    path: str | Path,
    *,
    modalities: Sequence[str] | None = None,
    layers: Mapping[str, str] = MappingProxyType({}),
    lenient: bool = False,
    id_column: str | None = None,
    transpose: Sequence[str] = (),
    features: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> RawTables:
    """The tables of a folder as numbers; a row without any value is left out (assay not done).

    Args:
        path: a folder of tables, a cohort directory, or a file of a suffix in `SOURCES`.
        modalities: the tables wanted, in this order; all of them by default, alphabetically.
        layers: modality -> layer, of a file that has layers.
        lenient: whether modalities that `layers` names may be absent.
        id_column, transpose, features: as of `orientation.read_readings`, of a folder of tables.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such cohort: {path}")
    reader = SOURCES.get(path.suffix.lower())
    if path.is_dir():
        if layers:
            raise InputError(f"{path} is a folder of tables: only .h5mu and .h5ad have layers")
        raw = _read_folder(
            path, modalities, id_column=id_column, transpose=transpose, features=features
        )
    elif reader is not None:
        with unchanged([path]):
            raw = reader(path, layers, lenient=lenient)
        chosen = choose(raw.tables, modalities, path)
        raw = raw._replace(tables={m: raw.tables[m] for m in chosen})
    else:
        raise InputError(f"{path.name}: a cohort is a folder of tables, one file a modality")
    return without_empty_rows(raw)


def without_empty_rows(raw: RawTables) -> RawTables:
    """The tables without rows that have no value at all (assay not done), which is noted."""
    notes = list(raw.notes)
    tables = {m: _without_empty_rows(m, table, notes) for m, table in raw.tables.items()}
    return raw._replace(tables=tables, notes=tuple(notes))


def raw_tables(frames: Mapping[str, pd.DataFrame]) -> RawTables:
    """Tables in memory as `read_tables` gives those of a folder: a frame a modality, index sample
    id; a frame `samples` or `clinical` says what else is known of the patients."""
    facts = {name: frame for name, frame in frames.items() if name in FACTS}
    tables = {}
    for name, frame in frames.items():
        if name in FACTS:
            continue
        if not isinstance(frame, pd.DataFrame):
            raise InputError(f"{name}: expected a pandas DataFrame, got {type(frame).__name__}")
        table = frame.set_axis(pd.Index(frame.index.astype(str), name="sample_id", dtype=object))
        table = table.set_axis(pd.Index(frame.columns.astype(str), dtype=object), axis=1)
        for axis, what in ((table.index, "sample"), (table.columns, "feature")):
            if axis.has_duplicates:
                again = axis[axis.duplicated()][0]
                raise InputError(f"{name}: {what} {again!r} occurs more than once")
        tables[name] = numeric(table, name)
    source = next(iter(facts), "")
    told = None if not facts else facts[source].set_axis(facts[source].index.astype(str))
    return without_empty_rows(RawTables("", tables, told, source, {}, ()))


def choose(known: Collection[str], modalities: Sequence[str] | None, path: Path) -> list[str]:
    """The modalities wanted, checked against those there are."""
    if not known:
        raise InputError(f"{path} has no tables (.parquet, .csv, .tsv), one file a modality")
    if modalities is None:
        return list(known)
    unknown = [m for m in modalities if m not in known]
    if unknown:
        raise InputError(f"unknown modality {shown(unknown)}; known: {', '.join(known)}")
    if len(set(modalities)) < len(modalities):
        raise InputError(f"modalities {list(modalities)} names one twice")
    return list(modalities)


def _read_folder(path: Path, modalities: Sequence[str] | None, **asked: Any) -> RawTables:
    files, notes = table_files(path)
    about = read_about(path)
    facts_files = [files.pop(name) for name in FACTS if name in files]
    if len(facts_files) > 1:
        notes.append(f"{facts_files[1].name} was not read: {facts_files[0].name} was.")
    named = modalities is not None or about is not None
    if about is not None and modalities is None:
        modalities = about["modalities"]
    chosen = choose(files, modalities, path)
    sheets: dict[str, Sheet] = {}
    with unchanged([*(files[name] for name in chosen), *facts_files[:1]]):
        for name in chosen:
            try:
                sheets[name] = read_sheet(files[name])
                if sheets[name].doubt:
                    raise InputError(sheets[name].doubt)
            except InputError as error:
                if named or not is_loose(files[name]):
                    raise
                notes.append(Doubt(f"{files[name].name} was not read: {error}."))
        facts = read_sheet(facts_files[0]) if facts_files else None
    names = {name: files[name].name for name in sheets}
    if facts_files:
        names[""] = facts_files[0].name
    readings = read_readings(sheets, names, facts, **asked)
    told = table_of(facts, readings[""]) if facts is not None else None
    frames = {name: table_of(sheets.pop(name), readings[name]) for name in list(sheets)}
    if not named:
        for name, why in _no_modalities(frames, files, readings).items():
            del frames[name]
            notes.append(f"{files[name].name} was not read as a modality: {why}.")
    for name in frames:
        if readings[name].doubt:
            raise InputError(readings[name].doubt)
    notes += [n for name in (*frames, "") if name in readings for n in readings[name].notes]
    return RawTables(
        name=about["name"] if about is not None else path.resolve().name,
        # One by one, each letting go of the frame that it was read into.
        tables={name: numeric(frames.pop(name), names[name]) for name in list(frames)},
        facts=told,
        facts_source=names.get("", ""),
        units=dict(about["units"]) if about is not None else {},
        notes=(*(about["notes"] if about is not None else ()), *notes),
        kinds={m: k for m, k in about.get("kinds", {}).items() if m in chosen} if about else {},
        origins={name or "samples": reading.origin for name, reading in readings.items()},
    )


def facts_of_folder(
    path: Path, sample_ids: Callable[[], pd.Index]
) -> tuple[pd.DataFrame, str] | None:
    """The facts that a folder has of these samples, as `RawTables` has them, and their file."""
    files, _ = table_files(path)
    file = next((files[name] for name in FACTS if name in files), None)
    if file is None:
        return None
    with unchanged([file]):
        facts = read_sheet(file)
    samples = Sheet(pd.DataFrame({"value": 0.0}, sample_ids()), carries_ids=True)
    names = {"": file.name, "tables": "the tables"}
    reading = read_readings({"tables": samples}, names, facts, transpose=["none"])[""]
    return table_of(facts, reading), file.name


def mark_unfinished(path: Path) -> None:
    """Until cohort.json is written again, last, the folder is refused: its tables may be of two
    cohorts, and without cohort.json it would be read as anybody's folder of tables."""
    (path / "cohort.json").write_text('{"unfinished": true}\n')


def read_about(path: Path) -> dict | None:
    file = path / "cohort.json"
    if not file.exists():
        return None
    try:
        about = json.loads(file.read_text())
        version = about["schema_version"]
        if not {"name", "modalities", "units", "notes"} <= about.keys():
            raise KeyError("modalities")
        if not {*about.get("kinds", {}).values()} <= {*KINDS}:
            raise KeyError("kinds")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file} is not a cohort description, or {path.name} was not written to its end: save "
            "or build the cohort again"
        ) from error
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{file} has schema version {version!r}, this program reads {SCHEMA_VERSION}: "
            "save the cohort again with this version"
        )
    return about


def _no_modalities(
    frames: dict[str, pd.DataFrame], files: Mapping[str, Path], readings: Mapping[str, Reading]
) -> dict[str, str]:
    """Tables that are none of samples -> why: most of their row ids are column names of another
    table, or the file may be of anything, and nobody else has its ids."""
    found = {}
    for name, frame in frames.items():
        others = [other for n, other in frames.items() if n != name]
        turned = readings[name].samples == "across"  # which was decided, or asked for
        if turned or any(frame.index.isin(o.index).any() for o in others):
            continue
        if any(frame.index.isin(o.columns).mean() > 0.5 for o in others):
            found[name] = (
                "its rows are features of another table, so it describes features, not samples"
            )
        elif is_loose(files[name]) and len(others) > 1:
            found[name] = f"no other table has its ids (as {frame.index[0]!r})"
    return found


def _without_empty_rows(modality: str, table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    empty = np.zeros(len(table), bool)
    for own, values in row_blocks(table):
        empty[own] = np.isnan(values).all(axis=1)
    if not empty.any():
        return table
    notes.append(f"{modality}: {int(empty.sum())} rows without a value count as no assay.")
    return table.loc[~empty]
