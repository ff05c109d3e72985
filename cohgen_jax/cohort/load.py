"""From a folder of tables to a `Cohort`, and back to disk.

load_cohort    aligned, split by patient, features filtered on train: to train and judge
cohort_from    the same of tables that are in memory
save_cohort    a cohort directory, which load_cohort reads back unchanged
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cohgen_jax.cohort.clean import cleaned, measured
from cohgen_jax.cohort.cohort import Cohort, Origin
from cohgen_jax.cohort.copies import without_copies
from cohgen_jax.cohort.kinds import (
    KINDS,
    Kind,
    asked_kinds,
    kind_of_table,
    kinds_of_features,
    max_missing_of,
)
from cohgen_jax.cohort.labels import sample_facts
from cohgen_jax.cohort.names import check_names
from cohgen_jax.cohort.read import SCHEMA_VERSION, RawTables, mark_unfinished, read_tables
from cohgen_jax.cohort.sides import choose_sides
from cohgen_jax.cohort.sparse import column_blocks
from cohgen_jax.errors import InputError, pair, shown


def load_cohort(
    path: str | Path,
    *,
    modalities: Sequence[str] | None = None,
    seed: int = 42,
    val_fraction: float = 0.07,
    test_fraction: float = 0.15,
    max_missing: float | None = None,
    kinds: Sequence[str] = (),
    layers: Sequence[str] = (),
    id_column: str | None = None,
    transpose: Sequence[str] = (),
    min_train: int = 12,
    earlier: pd.Series | None = None,
) -> Cohort:
    """Load, align, split and filter; `Cohort.notes` says what was done.

    Args:
        path: a folder of tables, a cohort directory, or a file of a suffix in `SOURCES`.
        modalities: names and order; by default every table that keeps half of its features under
            `max_missing`, alphabetically.
        seed: of the split, which is drawn by patient and stratified by cancer_type unless the
            facts have a column `split`; of val and test, what that does not name is drawn from
            its train.
        val_fraction, test_fraction: shares of the patients of each cancer type, drawn from those
            with every modality; where these are too few, of all with two modalities or more.
        max_missing: features missing in this share of the train samples, or more, are dropped;
            what is missing in fewer is imputed by the codec. By default by kind (`MAX_MISSING`).
        layers: MODALITY=LAYER, what to read of a .h5mu or .h5ad file instead of X.
        id_column: column of the sample ids, in the tables that have it.
        transpose: modalities whose tables are features x samples; "all", or "none" to take every
            table as it stands.
        kinds: MODALITY=KIND for those whose kind is not to be read off their values.
        min_train: fewest train patients that a modality may have beside another one; the default
            is what training asks for (`training.config.LEAST_PATIENTS`).
        earlier: side of the split by patient id, under the name of where it is from, where the
            facts have no column `split`; whom it does not name is drawn.

    Raises:
        InputError: naming the file, column or value and the mend.
    """
    raw = read_tables(
        path,
        modalities=modalities,
        layers=parse_layers(layers),
        id_column=id_column,
        transpose=transpose,
    )
    return cohort_from(
        raw,
        modalities=modalities,
        seed=seed,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        max_missing=max_missing,
        kinds=kinds,
        min_train=min_train,
        earlier=earlier,
    )


def cohort_from(
    raw: RawTables,
    *,
    modalities: Sequence[str] | None = None,
    seed: int = 42,
    val_fraction: float = 0.07,
    test_fraction: float = 0.15,
    max_missing: float | None = None,
    kinds: Sequence[str] = (),
    min_train: int = 12,
    earlier: pd.Series | None = None,
) -> Cohort:
    """The cohort of tables that were read; arguments as of `load_cohort`.

    modalities: None lets tables go that keep less than half of their features, else all are used.
    """
    widths = {m: table.shape[1] for m, table in raw.tables.items()}
    raw, kin = cleaned(raw)
    told: dict[str, Kind] = {**raw.kinds, **asked_kinds(kinds, raw.tables)}
    kind: dict[str, Kind] = {
        m: told[m] if m in told else kind_of_table(t) for m, t in raw.tables.items()
    }
    raw = measured(raw, kind)
    notes = list(raw.notes)
    share = {m: max_missing_of(kind[m], max_missing) for m in raw.tables}
    tables = raw.tables if modalities is not None else _worth_using(raw.tables, share, notes)
    tables = without_copies(tables, modalities is not None, notes)
    check_names(tables)
    _check_overlap(tables)
    ids = pd.Index(sorted(set().union(*(t.index for t in tables.values()))), name="sample_id")
    columns: dict[str, str] = {}
    samples = sample_facts(ids, raw.facts, raw.facts_source, notes, kin, columns)
    present = pd.DataFrame({m: ids.isin(t.index) for m, t in tables.items()}, index=ids)
    split = choose_sides(
        samples,
        present,
        raw.facts_source,
        notes,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        seed=seed,
        min_train=min_train,
        earlier=earlier,
    )

    filtered = {}
    for modality, table in tables.items():
        train = table.loc[table.index.isin(ids[split == "train"])]
        keep = usable_features(train, share[modality])
        filtered[modality] = _filtered(modality, table, keep, notes)
    kind = {m: kind[m] for m in filtered}
    notes += _kinds_told(filtered, kind)
    origins = {
        m: dataclasses.replace(raw.origins.get(m, Origin()), features=widths[m]) for m in filtered
    }
    if raw.facts is not None:
        origins["samples"] = raw.origins.get("samples", Origin(file=raw.facts_source))
    cohort = _cohort(raw, filtered, samples, split, kind, notes)
    return dataclasses.replace(cohort, origins=origins, label_columns=columns)


def parse_layers(settings: Sequence[str]) -> dict[str, str]:
    """Of MODALITY=LAYER, as `rna=counts`."""
    return dict(pair(s, f"layers: {s!r} is not MODALITY=LAYER") for s in settings)


def save_cohort(cohort: Cohort, path: str | Path) -> None:
    """Write the cohort directory: `<modality>.parquet`, `samples.parquet`, `cohort.json`."""
    path = Path(path)
    if path.is_dir() and any(path.iterdir()) and not (path / "cohort.json").exists():
        raise InputError(f"{path} has files that are no saved cohort: choose an empty directory")
    path.mkdir(parents=True, exist_ok=True)
    mark_unfinished(path)
    for modality in cohort.modalities:
        cohort.tables[modality].to_parquet(path / f"{modality}.parquet")
    cohort.samples.to_parquet(path / "samples.parquet")
    about = {
        "schema_version": SCHEMA_VERSION,
        "name": cohort.name,
        "modalities": list(cohort.modalities),
        "units": cohort.units,
        "kinds": cohort.kinds,
        "notes": list(cohort.notes),
    }
    # Written last: it vouches for the files that it names.
    (path / "cohort.json").write_text(json.dumps(about, indent=2) + "\n")


def usable_features(train: pd.DataFrame, max_missing: float) -> dict[str, np.ndarray]:
    """bool [F] each: features to "keep", and those "missing" too often or "constant" on train."""
    missing, constant = np.zeros((2, train.shape[1]), bool)
    for block, values in column_blocks(train):
        observed = ~np.isnan(values)
        missing[block] = ((~observed).mean(axis=0) >= max_missing) | ~observed.any(axis=0)
        low = np.min(values, axis=0, where=observed, initial=np.inf)
        high = np.max(values, axis=0, where=observed, initial=-np.inf)
        constant[block] = ~missing[block] & (low == high)
    return {"keep": ~missing & ~constant, "missing": missing, "constant": constant}


def _worth_using(
    tables: dict[str, pd.DataFrame], max_missing: Mapping[str, float], notes: list[str]
) -> dict[str, pd.DataFrame]:
    """The tables that keep half of their features: fewer are not that assay any more."""
    kept = {}
    for modality, table in tables.items():
        share = max_missing[modality]
        shares = [np.isnan(values).mean(axis=0) for _, values in column_blocks(table)]
        missing = int((np.concatenate(shares) >= share).sum()) if len(table) else table.shape[1]
        if missing <= table.shape[1] / 2:
            kept[modality] = table
            continue
        notes.append(
            f"{modality} was left out: {missing} of its {table.shape[1]} features are missing in "
            f"{share:.0%} or more of its samples; raise max_missing to include it."
        )
    return kept


def _kinds_told(tables: dict[str, pd.DataFrame], kinds: dict[str, Kind]) -> list[str]:
    """Which tables are of which kind, and the features that are of another."""
    of = {kind: [m for m in tables if kinds[m] == kind] for kind in KINDS}
    told = [f"{kind}: {', '.join(names)}" for kind, names in of.items() if names]
    notes = [f"Kinds of values: {'; '.join(told)} (--kinds MODALITY=KIND sets another)."]
    for modality, table in tables.items():
        by_feature = kinds_of_features(table, kinds[modality])
        others = [
            (c, k) for c, k in zip(table.columns, by_feature, strict=True) if k != kinds[modality]
        ]
        if others:
            named = shown([f"{column} ({kind})" for column, kind in others])
            notes.append(f"{modality}: {len(others)} features are of another kind: {named}.")
    return notes


def _cohort(
    raw: RawTables,
    tables: dict[str, pd.DataFrame],
    samples: pd.DataFrame,
    split: np.ndarray,
    kinds: dict[str, Kind],
    notes: list[str],
) -> Cohort:
    facts = {c: samples[c] for c in samples.columns if c != "split"}
    columns = {"patient_id": facts.pop("patient_id"), "split": split, **facts}
    return Cohort(
        name=raw.name,
        modalities=tuple(tables),
        tables={m: table.sort_index() for m, table in tables.items()},
        samples=pd.DataFrame(columns, index=samples.index),
        units={m: raw.units[m] for m in tables if m in raw.units},
        kinds=kinds,
        notes=tuple(dict.fromkeys(notes)),  # loading what was loaded repeats them
    )


def _check_overlap(tables: dict[str, pd.DataFrame]) -> None:
    if len(tables) < 2:
        raise InputError(
            f"a cohort needs two modalities or more that share samples; found {list(tables)}"
        )
    for name, table in tables.items():
        if not len(table):
            raise InputError(f"{name} has no sample with any value: leave it out")
        others = {n: t for n, t in tables.items() if n != name}
        if any(table.index.isin(t.index).any() for t in others.values()):
            continue
        other, first = next(iter(others.items()))
        if any(table.columns.isin(t.index).any() for t in others.values()):
            mend = "its columns are their samples: transpose it"
        else:
            mend = (
                f"its ids look like {table.index[0]!r}, those of {other} like {first.index[0]!r}; "
                "use the same sample ids in all tables, or leave it out"
            )
        raise InputError(f"{name} shares no sample with any other modality: {mend}")


def _filtered(
    modality: str, table: pd.DataFrame, keep: dict[str, np.ndarray], notes: list[str]
) -> pd.DataFrame:
    for reason, why in (("missing", "too many missing cells"), ("constant", "a constant value")):
        columns = table.columns[keep[reason]]
        if len(columns):
            notes.append(
                f"{modality}: {len(columns)} features with {why} in train were dropped: "
                f"{shown(columns)}."
            )
    if not keep["keep"].any():
        raise InputError(
            f"{modality} has no usable feature in train ({int(keep['missing'].sum())} with too "
            f"many missing cells, {int(keep['constant'].sum())} constant): raise max_missing or "
            "leave it out"
        )
    return table if keep["keep"].all() else table.loc[:, keep["keep"]]
