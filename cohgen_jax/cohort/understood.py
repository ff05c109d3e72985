"""What was understood of the files of a cohort: a line a table, the labels, and who is where.

`cohgen check` prints it, training begins with it, and a run keeps it as understood.json.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cohgen_jax.cohort.kinds import Kind, kind_of_table
from cohgen_jax.cohort.spellings import COLUMNS, DAYS_OF, columns_called, columns_of_unit

if TYPE_CHECKING:
    from cohgen_jax.cohort.cohort import Cohort
    from cohgen_jax.cohort.read import RawTables


class Doubt(str):
    """A note on what would spoil results if it is not meant."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableRead:
    """One table as it was understood."""

    modality: str
    file: str
    samples: str
    """Where they go: "down", or "across" (the table was transposed)."""
    id_column: str
    patients: int
    features: int
    kind: Kind
    missing: float
    """Share of its cells without a value."""
    shared: int
    """Its patients that another table has, too."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FactsRead:
    """The table of facts about samples as it was understood."""

    file: str
    id_column: str
    labels: Mapping[str, str]
    """Label -> how its column is called in the file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Understood:
    tables: tuple[TableRead, ...]
    facts: FactsRead | None = None


def understand(
    raw: RawTables,
    tables: Mapping[str, pd.DataFrame],
    kinds: Mapping[str, Kind],
    samples: pd.DataFrame | None = None,
) -> Understood:
    """Of what was read, and the tables that were made of it.

    samples: facts under their usual names, by which patients are counted and labels are known.
    """

    def patients(table: pd.DataFrame) -> set:
        return set(table.index if samples is None else samples["patient_id"].loc[table.index])

    who = {m: patients(table) for m, table in tables.items()}
    read = []
    for modality, table in tables.items():
        reading = raw.readings.get(modality)
        others = set().union(*(w for m, w in who.items() if m != modality))
        read.append(
            TableRead(
                modality=modality,
                file=reading.file if reading else raw.name,
                samples=reading.samples if reading else "down",
                id_column=reading.id_column if reading else "index",
                patients=len(who[modality]),
                features=table.shape[1],
                kind=kinds.get(modality) or kind_of_table(table),
                missing=round(float(np.mean([table[c].isna().mean() for c in table])), 4),
                shared=len(who[modality] & others),
            )
        )
    return Understood(tables=tuple(read), facts=_facts(raw, samples))


def as_table(understood: Understood) -> pd.DataFrame:
    """A row a table, in words for people."""
    rows = [
        {
            "table": t.modality,
            "file": t.file,
            "samples": "down" if t.samples == "down" else "across (transposed)",
            "ids": t.id_column,
            "patients": t.patients,
            "features": t.features,
            "kind": t.kind,
            "missing": f"{t.missing:.1%}",
            "in others too": t.shared,
        }
        for t in understood.tables
    ]
    return pd.DataFrame(rows)


def lines(understood: Understood | None, samples: pd.DataFrame | None = None) -> list[str]:
    """The table, the labels and the split as text; `samples` is that of a cohort."""
    if understood is None:
        return []
    told = as_table(understood).to_string(index=False).splitlines()
    if understood.facts is not None:
        labels = [
            label if label == column else f"{label} ({column})"
            for label, column in understood.facts.labels.items()
        ]
        told.append(
            f"facts: {understood.facts.file}, ids {understood.facts.id_column}, labels "
            f"{', '.join(labels) or 'none'}"
        )
    if samples is not None:
        sides = samples.groupby("split", sort=False)["patient_id"].nunique()
        told.append(f"patients: {', '.join(f'{side} {n}' for side, n in sides.items())}")
    return told


def as_json(cohort: Cohort) -> dict[str, Any]:
    """What understood.json holds."""
    told = dataclasses.asdict(cohort.understood) if cohort.understood else {"tables": []}
    sides = cohort.samples.groupby("split", sort=False)["patient_id"].nunique()
    doubts = doubts_of(cohort.notes)
    return {
        **told,
        "split": {str(side): int(n) for side, n in sides.items()},
        "doubts": doubts,
        "notes": [note for note in cohort.notes if note not in doubts],
    }


def doubts_of(notes: Sequence[str]) -> list[str]:
    return [note for note in notes if isinstance(note, Doubt)]


def _facts(raw: RawTables, samples: pd.DataFrame | None) -> FactsRead | None:
    if raw.facts is None:
        return None
    reading, labels = raw.readings.get(""), {}
    for label in COLUMNS:
        if samples is not None and label not in samples:
            continue  # as an OS that is no event
        called = columns_called(label, raw.facts.columns)
        if label == "os_days" and not called:
            called = [c for unit in DAYS_OF for c in columns_of_unit(unit, raw.facts.columns)]
        if called:
            labels[label] = str(called[0])
    return FactsRead(
        file=raw.facts_source,
        id_column=reading.id_column if reading else "index",
        labels=labels,
    )
