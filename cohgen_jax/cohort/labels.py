"""Facts about samples under one set of names: patient, cancer type, stage, survival, split."""

import re

import numpy as np
import pandas as pd

from cohgen_jax.cohort.cohort import SPLITS
from cohgen_jax.cohort.tables import parse_numbers, shown
from cohgen_jax.errors import InputError

_ALIASES = {
    "cancer_type": ("cancer_type", "cancertype", "project"),
    "stage": ("stage",),
    "os_event": ("os_event", "os"),
    "os_days": ("os_days", "os.time"),
}
_EVENTS = {
    **dict.fromkeys(("true", "yes", "dead", "died", "deceased"), 1.0),
    **dict.fromkeys(("false", "no", "alive", "living"), 0.0),
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
    if all(_TCGA_BARCODE.match(i) for i in ids):
        return ids.str[:12]
    return ids


def sample_facts(
    sample_ids: pd.Index, facts: pd.DataFrame | None, source: str, notes: list[str]
) -> pd.DataFrame:
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
    # Whatever a file format returns for an empty cell becomes NaN.
    return _named_labels(aligned.where(aligned.notna(), np.nan), patients, source, notes)


def _named_labels(
    facts: pd.DataFrame, patients: pd.Series, source: str, notes: list[str]
) -> pd.DataFrame:
    by_lower = {str(c).lower(): c for c in reversed(facts.columns)}
    found = {
        name: next((by_lower[a] for a in aliases if a in by_lower), None)
        for name, aliases in _ALIASES.items()
    }
    event = found["os_event"]
    if event is not None and str(event).lower() != "os_event":
        # OS may as well be the time, or a code: only what is plainly yes or no is the event.
        given = facts[event].to_numpy(dtype=object)
        bad = _event_numbers(given)[1]
        if bad.any():
            found["os_event"] = None
            notes.append(
                f"{source}: {event} was not read as os_event, for it is not 0 (alive) or 1 (died) "
                f"everywhere (as {str(given[bad][0])!r}); it stays the column {event}."
            )
    facts = facts.rename(columns={old: new for new, old in found.items() if old is not None})
    columns = {str(c): facts[c] for c in facts.columns}
    own = columns.pop("patient_id", patients).to_numpy(dtype=object)
    named = {"patient_id": np.where(pd.isna(own), patients, own).astype(str).astype(object)}
    if "cancer_type" in columns:
        types = columns["cancer_type"].to_numpy(dtype=object)
        named["cancer_type"] = np.array(
            [None if pd.isna(t) else str(t).removeprefix("TCGA-") for t in types], dtype=object
        )
    for column in ("os_event", "os_days"):
        if column in columns:
            named[column] = _survival_numbers(
                columns[column].to_numpy(dtype=object), facts.index, column, source
            )
    leading = ("patient_id", "split", *_ALIASES)
    order = [c for c in leading if c in columns or c in named]
    order += [c for c in columns if c not in leading]
    return pd.DataFrame({c: named.get(c, columns.get(c)) for c in order}, index=facts.index)


def _survival_numbers(given: np.ndarray, ids: pd.Index, column: str, source: str) -> np.ndarray:
    if column == "os_event":
        numbers, bad = _event_numbers(given)
    else:
        numbers, bad = parse_numbers(given)
        bad |= (numbers < 0) | np.isinf(numbers)
    if bad.any():
        wanted = "0 (alive) or 1 (died)" if column == "os_event" else "days, not negative"
        first = [f"{i!r} ({str(c)!r})" for i, c in zip(ids[bad], given[bad], strict=True)]
        raise InputError(
            f"{source}, {column}: must be {wanted}; {int(bad.sum())} cells are not, first rows "
            f"{shown(first)}"
        )
    return numbers.astype(np.float32)


def _event_numbers(given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells [N], words among them, as 0 or 1 [N], and which hold something else: bool [N]."""
    words = [_EVENTS.get(c.strip().lower(), c) if isinstance(c, str) else c for c in given]
    numbers, bad = parse_numbers(np.array(words, dtype=object))
    return numbers, bad | (~np.isnan(numbers) & (numbers != 0) & (numbers != 1))


def given_split(samples: pd.DataFrame, source: str) -> np.ndarray:
    """The split column of the facts [N], checked: each sample has a side, each patient only one,
    and there is somebody to train on."""
    names = {s: s for s in SPLITS} | {"validation": "val", "valid": "val", "training": "train"}
    given = samples["split"].to_numpy(dtype=object)
    split = np.array([names.get(str(s).strip().lower(), "") for s in given], dtype=object)
    if (split == "").any():
        first = int(np.argmax(split == ""))
        raise InputError(
            f"{source}, column 'split': {int((split == '').sum())} samples have none of "
            f"{', '.join(SPLITS)}, first {samples.index[first]!r} ({str(given[first])!r}); give "
            "every sample one, or remove the column to have the split drawn"
        )
    sides: dict[str, set[str]] = {}
    for patient, side in zip(samples["patient_id"], split, strict=True):
        sides.setdefault(patient, set()).add(side)
    torn = [patient for patient, found in sides.items() if len(found) > 1]
    if torn:
        raise InputError(
            f"{source}, column 'split': {len(torn)} patients have samples on several sides: "
            f"{shown(torn)}; put all samples of a patient on one side"
        )
    if not (split == "train").any():
        raise InputError(
            f"{source}, column 'split': nobody is in train, of {len(split)} samples; name most of "
            "them train, or remove the column to have the split drawn"
        )
    return split
