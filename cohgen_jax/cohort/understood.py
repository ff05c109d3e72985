"""What was understood of a cohort, in tables that a person can check before anything is trained.

A line a table (file, which way round, id column, patients, features, kind, missing cells, overlap,
sides of the split), a line a label (the column that it was read from, its values), and the notes:
what was changed or left out, and why. A note that is a `Doubt` would spoil results if not meant.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd

from cohgen_jax.cohort.cohort import SET_ASIDE, SPLITS, Cohort, Origin
from cohgen_jax.errors import InputError


class Doubt(str):
    """A note on what would spoil results if it is not meant."""


_SPELT_OUT = 6
"""Values of a label that are named one by one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableUnderstood:
    """One modality."""

    modality: str
    file: str
    orientation: str
    """Where the samples go: "down" or "across"; empty where no file says."""
    id_column: str
    patients: int
    features: int
    features_read: int
    """Of the file, before what is no feature, too often missing or constant was left out."""
    kind: str
    missing: float
    """Share of the cells of those who have the assay."""
    shared: dict[str, int]
    """Other modality -> patients who have both in one sample."""
    sides: dict[str, int]
    """Side of the split -> patients who have the modality."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelUnderstood:
    """One column of what is known of the patients."""

    label: str
    column: str
    """As the file spells it; empty where it was made of something else."""
    known: int
    """Samples."""
    values: str
    """The values and how many samples have each, or lowest, median and highest."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Understood:
    """Everything that `cohgen check` says, and that a run keeps as understood.json."""

    cohort: str
    samples: int
    patients: int
    complete: int
    """Patients with every modality in one sample."""
    sides: dict[str, int]
    """Side of the split -> patients."""
    tables: tuple[TableUnderstood, ...]
    labels: tuple[LabelUnderstood, ...]
    labels_file: str
    labels_id_column: str
    notes: tuple[str, ...]
    doubts: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, about: Mapping[str, Any]) -> Self:
        try:
            return cls(
                **{
                    **about,
                    "tables": tuple(TableUnderstood(**table) for table in about["tables"]),
                    "labels": tuple(LabelUnderstood(**label) for label in about["labels"]),
                    "notes": tuple(about["notes"]),
                    "doubts": tuple(about["doubts"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise InputError(
                f"understood.json is not of this version ({error}): --resume writes it again"
            ) from error

    def of_tables(self) -> pd.DataFrame:
        """A row a table, in words."""
        rows = []
        for table in self.tables:
            dropped = table.features_read > table.features
            features = f"{table.features} of {table.features_read}" if dropped else table.features
            row = {
                "table": table.modality,
                "file": table.file,
                "samples go": table.orientation,
                "id column": table.id_column,
                "patients": table.patients,
                "features": features,
                "kind": table.kind,
                "missing": f"{table.missing:.1%}",
                "patients shared with": ", ".join(f"{m} {n}" for m, n in table.shared.items()),
            }
            rows.append(row | {f"in {side}": n for side, n in table.sides.items()})
        frame = pd.DataFrame(rows)
        return frame.loc[:, (frame != "").any()]

    def of_labels(self) -> pd.DataFrame:
        """A row a label, in words."""
        rows = [
            {"label": x.label, "read from": x.column, "samples": x.known, "values": x.values}
            for x in self.labels
        ]
        return pd.DataFrame(rows, columns=["label", "read from", "samples", "values"])

    def text(self) -> str:
        """Both tables and what stands above them, for a terminal."""
        sides = ", ".join(f"{n} {side}" for side, n in self.sides.items())
        told = [
            f"{self.cohort}: {self.samples} samples of {self.patients} patients, {self.complete} "
            f"of them with every modality; split: {sides} patients",
            "",
            shown_frame(self.of_tables()),
        ]
        if self.labels:
            ids = f", ids in {self.labels_id_column}" if self.labels_id_column else ""
            where = [f"labels of {self.labels_file}{ids}"] if self.labels_file else []
            told += ["", *where, shown_frame(self.of_labels())]
        return "\n".join(told)


def understood(cohort: Cohort) -> Understood:
    """What there is to say of a cohort, wherever it came from."""
    patients = cohort.samples["patient_id"].to_numpy()
    split = cohort.samples["split"].to_numpy()
    sides = [side for side in (*SPLITS, SET_ASIDE) if side in SPLITS or (split == side).any()]

    def count(rows: np.ndarray) -> int:
        return len(set(patients[rows]))

    def by_side(rows: np.ndarray) -> dict[str, int]:
        return {side: count(rows & (split == side)) for side in sides}

    has = dict(zip(cohort.modalities, cohort.present.T, strict=True))
    tables = []
    for modality in cohort.modalities:
        table, origin = cohort.tables[modality], cohort.origins.get(modality, Origin())
        tables.append(
            TableUnderstood(
                modality=modality,
                file=origin.file,
                orientation=origin.orientation,
                id_column=origin.id_column,
                patients=count(has[modality]),
                features=table.shape[1],
                features_read=origin.features or table.shape[1],
                kind=cohort.kinds[modality],
                missing=float(table.isna().to_numpy().mean()) if table.size else 0.0,
                shared={m: count(has[modality] & has[m]) for m in has if m != modality},
                sides=by_side(has[modality]),
            )
        )
    labels = [
        LabelUnderstood(
            label=str(label),
            column=cohort.label_columns.get(str(label), str(label)),
            known=int(cohort.samples[label].notna().sum()),
            values=_values(cohort.samples[label]),
        )
        for label in cohort.samples.columns
        if label not in ("patient_id", "split") or label in cohort.label_columns
    ]
    everybody: np.ndarray = np.ones(len(patients), bool)
    facts = cohort.origins.get("samples", Origin())
    return Understood(
        cohort=cohort.name,
        samples=len(patients),
        patients=count(everybody),
        complete=count(np.asarray(cohort.present.all(axis=1))),
        sides=by_side(everybody),
        tables=tuple(tables),
        labels=tuple(labels),
        labels_file=facts.file,
        labels_id_column=facts.id_column,
        notes=tuple(note for note in cohort.notes if not isinstance(note, Doubt)),
        doubts=tuple(str(note) for note in cohort.notes if isinstance(note, Doubt)),
    )


def _values(column: pd.Series) -> str:
    known = column.dropna()
    if not len(known):
        return ""
    counts = known.astype(str).value_counts()
    numbers = pd.api.types.is_numeric_dtype(known) and not pd.api.types.is_bool_dtype(known)
    if numbers and len(counts) > _SPELT_OUT:
        return f"{known.min():g} to {known.max():g}, median {known.median():g}"
    if not numbers and len(counts) > max(_SPELT_OUT, len(known) / 4):
        return f"{len(counts)} different ones, {known.iloc[0]} the first"
    if numbers:
        counts = known.value_counts().sort_index()
        named = [f"{value:g} ({n})" for value, n in counts.items()]
    else:
        named = [f"{value} ({n})" for value, n in counts.head(_SPELT_OUT).items()]
    rest = len(counts) - len(named)
    return ", ".join(named) + (f" and {rest} more" if rest else "")


def shown_frame(frame: pd.DataFrame) -> str:
    """The frame with its words to the left and its numbers to the right."""
    cells = frame.astype(str)
    columns = []
    for name in frame:
        lines = [str(name), *cells[name]]
        width = max(map(len, lines))
        right = pd.api.types.is_numeric_dtype(frame[name]) or name in ("features", "missing")
        columns.append([line.rjust(width) if right else line.ljust(width) for line in lines])
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))
