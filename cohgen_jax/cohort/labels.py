"""Facts about samples under one set of names: patient, cancer type, stage, survival, split."""

import re

import numpy as np
import pandas as pd

from cohgen_jax.cohort.cohort import SPLITS
from cohgen_jax.cohort.tables import shown
from cohgen_jax.errors import InputError

_ALIASES = {
    "cancer_type": ("cancer_type", "cancertype", "project"),
    "stage": ("stage",),
    "os_event": ("os_event", "os"),
    "os_days": ("os_days", "os.time"),
}
_TCGA_BARCODE = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}(-|$)")
_STAGE = re.compile(r"^(?:stage)?\s*(iv|iii|ii|i|[1-4])(?:[abc]\d?)?$")
_ROMAN = {"i": 1.0, "ii": 2.0, "iii": 3.0, "iv": 4.0}


def stage_number(stages: pd.Series) -> pd.Series:
    """Stage as 1.0 to 4.0: "III", "Stage IIIA", 3 and "3" are 3.0; anything else is NaN."""

    def number(stage) -> float:
        text = "" if pd.isna(stage) else str(stage).strip().lower().removesuffix(".0")
        match = _STAGE.match(text)
        return np.nan if match is None else _ROMAN.get(match[1]) or float(match[1])

    return pd.Series([number(s) for s in stages], index=stages.index, name="stage", dtype=float)


def derive_patients(sample_ids: pd.Index) -> pd.Series:
    """Patient of each sample: the first 12 characters if all ids are TCGA barcodes, else the id."""
    ids = pd.Series(sample_ids, index=sample_ids, dtype=object, name="patient_id")
    if ids.map(lambda i: bool(_TCGA_BARCODE.match(i))).all():
        return ids.str[:12]
    return ids


def sample_facts(sample_ids: pd.Index, facts: pd.DataFrame | None, source: str, notes: list[str]):
    """`facts` aligned with the samples, with patient_id and the labels under their usual names.

    Args:
        sample_ids: the samples that have some assay [N].
        facts: table indexed by sample id, or by patient id; None if the cohort has none.
        source: name of the file of the facts, for messages.
        notes: told what was left out.
    """
    patients = derive_patients(sample_ids)
    if facts is None:
        return patients.to_frame()
    if facts.index.isin(sample_ids).any():
        aligned = facts.reindex(sample_ids)
        known = sample_ids.isin(facts.index)
        unused = int((~facts.index.isin(sample_ids)).sum())
    elif facts.index.isin(patients).any():
        aligned = facts.reindex(patients.to_numpy()).set_axis(sample_ids, axis=0)
        known = patients.isin(facts.index).to_numpy()
        unused = int((~facts.index.isin(patients)).sum())
    else:
        raise InputError(
            f"{source} has none of the samples of the tables: its ids look like "
            f"{facts.index[0]!r}, theirs like {sample_ids[0]!r}; use the same ids in both"
        )
    if not known.all():
        notes.append(f"{int((~known).sum())} samples have no row in {source}.")
    if unused:
        notes.append(f"{unused} rows of {source} belong to no sample with data and were left out.")
    return _named_labels(aligned, patients, source)


def _named_labels(facts: pd.DataFrame, patients: pd.Series, source: str) -> pd.DataFrame:
    by_lower = {str(c).lower(): c for c in reversed(facts.columns)}
    found = {
        name: next((by_lower[a] for a in aliases if a in by_lower), None)
        for name, aliases in _ALIASES.items()
    }
    facts = facts.rename(columns={old: new for new, old in found.items() if old is not None})
    if "patient_id" in facts.columns:
        own = facts["patient_id"].astype(object)
        facts["patient_id"] = own.where(own.notna(), patients).astype(str)
    else:
        facts.insert(0, "patient_id", patients)
    if "cancer_type" in facts.columns:
        names = facts["cancer_type"].astype(object)
        facts["cancer_type"] = names.where(
            names.isna(), names.astype(str).str.removeprefix("TCGA-")
        )
    for column in ("os_event", "os_days"):
        if column in facts.columns:
            facts[column] = _survival_numbers(facts[column], column, source)
    leading = [c for c in ("patient_id", "split", *_ALIASES) if c in facts.columns]
    return facts[[*leading, *(c for c in facts.columns if c not in leading)]]


def _survival_numbers(cells: pd.Series, column: str, source: str) -> pd.Series:
    numbers = pd.to_numeric(cells.astype(object), errors="coerce").astype(float)
    bad = numbers.isna() & cells.notna()
    bad |= ~numbers.isin([0, 1]) & numbers.notna() if column == "os_event" else numbers < 0
    if bad.any():
        wanted = "0 (alive) or 1 (died)" if column == "os_event" else "days, not negative"
        raise InputError(
            f"{source}, {column}: must be {wanted}; {int(bad.sum())} cells are not, first rows "
            f"{shown([f'{i!r} ({cells[i]!r})' for i in cells.index[bad]])}"
        )
    return numbers.astype(np.float32)


def given_split(samples: pd.DataFrame, source: str) -> pd.Series:
    """The split column of the facts, checked: every sample has a side, every patient only one."""
    names = {s: s for s in SPLITS} | {"validation": "val", "valid": "val", "training": "train"}
    given = samples["split"].astype(object)
    split = given.map(lambda s: names.get(str(s).strip().lower()))
    if split.isna().any():
        first = split.index[split.isna()][0]
        raise InputError(
            f"{source}, column 'split': {int(split.isna().sum())} samples have none of "
            f"{', '.join(SPLITS)}, first {first!r} ({given[first]!r}); give every sample one, or "
            "remove the column to have the split drawn"
        )
    sides = split.groupby(samples["patient_id"]).nunique()
    if (sides > 1).any():
        torn = list(sides.index[sides > 1])
        raise InputError(
            f"{source}, column 'split': {len(torn)} patients have samples on several sides: "
            f"{shown(torn)}; put all samples of a patient on one side"
        )
    return split
