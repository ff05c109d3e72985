"""From a folder of tables to a `Cohort`, in three steps that can also be called by themselves.

    read_tables   files -> RawTables: numeric tables and the facts about samples, nothing fitted
    load_cohort   RawTables -> Cohort: aligned, split by patient, features filtered on train
    save_cohort   Cohort -> a cohort directory, which load_cohort reads back unchanged

A folder holds one table a modality (`rna.parquet`, `cna.csv`, `rppa.tsv.gz`, ...) and, optionally,
`samples.*` or `clinical.*` with the facts about samples. A cohort directory holds `cohort.json`
besides, which names its modalities.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.cohort.cohort import SPLITS, Cohort
from cohgen_jax.cohort.labels import given_split, sample_facts
from cohgen_jax.cohort.split import patient_split
from cohgen_jax.cohort.tables import numeric, read_table, shown, table_name
from cohgen_jax.errors import InputError

SCHEMA_VERSION = 1
FACTS = ("samples", "clinical")
"""Tables that hold facts about samples, not measurements; the first found is used."""


class RawTables(NamedTuple):
    """What the files say, before anything is split or filtered."""

    tables: dict[str, pd.DataFrame]  # modality -> float32 values, index sample_id
    facts: pd.DataFrame | None  # any columns, index sample_id or patient id
    facts_source: str  # file that the facts came from, for messages
    units: dict[str, str]
    notes: tuple[str, ...]


SOURCES: dict[str, Callable[[Path], RawTables]] = {}
"""Suffix of a file that holds a whole cohort -> its reader."""


def read_tables(path: str | Path, *, modalities: Sequence[str] | None = None) -> RawTables:
    """The tables of a folder as numbers, without split or filter: for patients never seen.

    Args:
        path: a folder of tables, a cohort directory, or a file of a suffix in `SOURCES`.
        modalities: the tables wanted, in this order; all of them by default, alphabetically.
    """
    path = Path(path)
    reader = SOURCES.get(path.suffix.lower())
    if reader is not None and path.is_file():
        raw = reader(path)
        tables = _chosen(raw.tables, modalities, path)
        return raw._replace(tables={m: raw.tables[m] for m in tables})
    if not path.exists():
        raise FileNotFoundError(f"no such cohort: {path}")
    if not path.is_dir():
        raise InputError(f"{path.name}: a cohort is a folder of tables, one file a modality")
    return _read_folder(path, modalities)


def load_cohort(
    path: str | Path,
    *,
    modalities: Sequence[str] | None = None,
    seed: int = 42,
    val_fraction: float = 0.07,
    test_fraction: float = 0.15,
    max_missing: float = 0.10,
    min_train: int = 64,
) -> Cohort:
    """Load, align, split and filter; `Cohort.notes` says what was done.

    Args:
        path: a folder of tables, a cohort directory, or a file of a suffix in `SOURCES`.
        modalities: names and order; by default every table that keeps half of its features under
            `max_missing`, alphabetically.
        seed: of the split, which is drawn by patient and stratified by cancer_type unless the
            facts have a column `split`.
        val_fraction, test_fraction: shares of the patients of each cancer type, drawn from those
            with every modality.
        max_missing: features missing in this share of the train samples, or more, are dropped.
        min_train: fewest train patients that a modality may have; a batch.

    Raises:
        InputError: naming the file, column or value and the mend.
    """
    raw = read_tables(path, modalities=modalities)
    notes = list(raw.notes)
    tables = {}
    for modality, table in raw.tables.items():
        table = _without_empty_rows(modality, table, notes)
        missing = int((table.isna().mean() >= max_missing).sum()) if len(table) else table.shape[1]
        # What is left when most features go is not that assay any more: only on request.
        if modalities is None and missing > table.shape[1] / 2:
            notes.append(
                f"{modality} was left out: {missing} of its {table.shape[1]} features are missing "
                f"in {max_missing:.0%} or more of its samples; raise max_missing to include it."
            )
        else:
            tables[modality] = table
    _check_overlap(tables)

    ids = pd.Index(sorted(set().union(*(t.index for t in tables.values()))), name="sample_id")
    samples = sample_facts(ids, raw.facts, raw.facts_source, notes)
    complete = np.logical_and.reduce([ids.isin(t.index) for t in tables.values()])
    if "split" in samples.columns:
        split = given_split(samples, raw.facts_source)
        notes.append(f"The split is the one given in {raw.facts_source}.")
    else:
        strata = samples.get("cancer_type", pd.Series("all", index=ids))
        split = patient_split(
            samples["patient_id"],
            strata,
            complete,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            seed=seed,
        )
        notes.append(_split_note(samples, split, val_fraction, test_fraction, seed))
    samples.insert(1, "split", samples.pop("split") if "split" in samples else split)
    samples["split"] = split.astype(str)

    _check_splits(samples, complete)
    train = ids[samples["split"] == "train"]
    for modality, table in tables.items():
        in_train = table.index[table.index.isin(train)]
        patients = samples.loc[in_train, "patient_id"].nunique()
        if patients < min_train:
            raise InputError(
                f"{modality} is present for {patients} patients in train, fewer than a batch of "
                f"{min_train}: leave it out (modalities=...), add patients, or lower min_train"
            )
        keep = usable_features(table.loc[in_train], max_missing)
        tables[modality] = _filtered(modality, table.sort_index(), keep, notes)
    return Cohort(
        name=Path(path).stem,
        modalities=tuple(tables),
        tables=tables,
        samples=samples,
        units={m: raw.units[m] for m in tables if m in raw.units},
        notes=tuple(notes),
    )


def save_cohort(cohort: Cohort, path: str | Path) -> None:
    """Write the cohort directory: `<modality>.parquet`, `samples.parquet`, `cohort.json`."""
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    for modality in cohort.modalities:
        cohort.tables[modality].to_parquet(path / f"{modality}.parquet")
    cohort.samples.to_parquet(path / "samples.parquet")
    about = {
        "schema_version": SCHEMA_VERSION,
        "name": cohort.name,
        "modalities": list(cohort.modalities),
        "units": cohort.units,
        "notes": list(cohort.notes),
    }
    # Written last, so that a directory that was cut short is not taken for a whole one.
    (path / "cohort.json").write_text(json.dumps(about, indent=2) + "\n")


def usable_features(train: pd.DataFrame, max_missing: float) -> dict[str, np.ndarray]:
    """bool [F] each: features to "keep", and those "missing" too often or "constant" on train."""
    values = train.to_numpy(dtype=np.float32)
    observed = ~np.isnan(values)
    missing = (1 - observed.mean(axis=0) >= max_missing) | ~observed.any(axis=0)
    low = np.min(values, axis=0, where=observed, initial=np.inf)
    high = np.max(values, axis=0, where=observed, initial=-np.inf)
    constant = ~missing & (low == high)
    return {"keep": ~missing & ~constant, "missing": missing, "constant": constant}


def _read_folder(path: Path, modalities: Sequence[str] | None) -> RawTables:
    files, notes = _table_files(path)
    about = _read_about(path)
    facts_files = [files.pop(name) for name in FACTS if name in files]
    if len(facts_files) > 1:
        notes.append(f"{facts_files[1].name} was not read: {facts_files[0].name} was.")
    if about is not None and modalities is None:
        modalities = about["modalities"]
    chosen = _chosen(files, modalities, path)
    frames = {name: read_table(files[name]) for name in chosen}
    if modalities is None:
        for name in _annotations(frames):
            del frames[name]
            notes.append(
                f"{files[name].name} was not read as a modality: its rows are features of "
                "another table, so it describes features, not samples."
            )
    return RawTables(
        tables={name: numeric(frame, files[name].name) for name, frame in frames.items()},
        facts=read_table(facts_files[0]) if facts_files else None,
        facts_source=facts_files[0].name if facts_files else "",
        units=dict(about["units"]) if about is not None else {},
        notes=tuple(notes),
    )


def _table_files(path: Path) -> tuple[dict[str, Path], list[str]]:
    files: dict[str, Path] = {}
    others = []
    for file in sorted(f for f in path.iterdir() if f.is_file() and not f.name.startswith(".")):
        name = table_name(file)
        if name is None:
            others += [file.name] if file.name != "cohort.json" else []
        elif name in files:
            raise InputError(
                f"{files[name].name} and {file.name} are both the table {name!r}: remove one"
            )
        else:
            files[name] = file
    notes = [f"Not tables, left alone: {shown(others)}."] if others else []
    return files, notes


def _read_about(path: Path) -> dict | None:
    file = path / "cohort.json"
    if not file.exists():
        return None
    try:
        about = json.loads(file.read_text())
        version, _, _ = about["schema_version"], about["modalities"], about["units"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is not a cohort description: save the cohort again") from error
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{file} has schema version {version!r}, this program reads {SCHEMA_VERSION}: "
            "save the cohort again with this version"
        )
    return about


def _chosen(known, modalities: Sequence[str] | None, path: Path) -> list[str]:
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


def _annotations(frames: dict[str, pd.DataFrame]) -> list[str]:
    """Tables most of whose row ids are column names of another table."""
    return [
        name
        for name, frame in frames.items()
        if any(
            frame.index.isin(other.columns).mean() > 0.5 for n, other in frames.items() if n != name
        )
        and not any(frame.index.isin(o.index).any() for n, o in frames.items() if n != name)
    ]


def _without_empty_rows(modality: str, table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    empty = table.isna().all(axis=1)
    if empty.any():
        notes.append(f"{modality}: {int(empty.sum())} rows without a value count as no assay.")
    return table[~empty]


def _check_overlap(tables: dict[str, pd.DataFrame]) -> None:
    if len(tables) < 2:
        raise InputError(
            f"a cohort needs two modalities or more that share samples; found {list(tables)}"
        )
    for name, table in tables.items():
        others = {n: t for n, t in tables.items() if n != name}
        if any(table.index.isin(t.index).any() for t in others.values()):
            continue
        other, first = next(iter(others.items()))
        if len(table) and any(table.columns.isin(t.index).any() for t in others.values()):
            mend = "its columns are their samples: transpose it"
        else:
            ids = f"{table.index[0]!r}" if len(table) else "(none)"
            mend = (
                f"its ids look like {ids}, those of {other} like {first.index[0]!r}; use the same "
                "sample ids in all tables, or leave it out"
            )
        raise InputError(f"{name} shares no sample with any other modality: {mend}")


def _check_splits(samples: pd.DataFrame, complete: np.ndarray) -> None:
    for split in SPLITS[1:]:
        if not (complete & (samples["split"] == split).to_numpy()).any():
            raise InputError(
                f"{split} has no sample with every modality ({int(complete.sum())} samples have): "
                f"raise {split}_fraction, leave out the modality that is missing most, or give a "
                "column 'split' in samples"
            )


def _split_note(samples, split, val_fraction, test_fraction, seed) -> str:
    by = "each cancer type" if "cancer_type" in samples else "the cohort, which has no cancer_type"
    patients = split.groupby(samples["patient_id"]).first().value_counts()
    counts = ", ".join(f"{int(patients.get(s, 0))} {s}" for s in SPLITS)
    return (
        f"The split was drawn by patient (seed {seed}): of {by}, {val_fraction:.0%} to val and "
        f"{test_fraction:.0%} to test from the patients with every modality; {counts} patients."
    )


def _filtered(modality, table: pd.DataFrame, keep: dict[str, np.ndarray], notes: list[str]):
    for reason, why in (("missing", "too many missing cells"), ("constant", "a constant value")):
        columns = table.columns[keep[reason]]
        if len(columns):
            notes.append(
                f"{modality}: {len(columns)} features with {why} in train were dropped: "
                f"{shown(columns)}."
            )
    if not keep["keep"].any():
        raise InputError(
            f"{modality} has no usable feature in train ({int(keep['missing'].sum())} with too many "
            f"missing cells, {int(keep['constant'].sum())} constant): raise max_missing or leave "
            "it out"
        )
    return table.loc[:, keep["keep"]]
