"""Facts about samples under one set of names: patient, cancer type, stage, survival, split.

How columns and cells may be spelt is in `spellings`.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cohgen_jax.cohort import spellings
from cohgen_jax.cohort.cohort import SPLITS
from cohgen_jax.cohort.ids import (
    barcode_patient,
    barcodes_told,
    one_spelling,
    patients_of_ids,
    repeats_told,
    samples_within,
    without_zeros,
)
from cohgen_jax.cohort.missing import coded_missing
from cohgen_jax.cohort.tables import parse_numbers
from cohgen_jax.errors import InputError, shown

LONGEST_IN_MONTHS = 366
"""Days up to which a longest survival is rather one in months."""
LEAST_SURVIVAL = 20
"""Survival times that let one say so."""


def stage_number(stages: pd.Series) -> pd.Series:
    """Stage as 1.0 to 4.0, NaN where there is none; see `spellings.stage_of`."""
    numbers = [spellings.stage_of(s) for s in stages]
    return pd.Series(numbers, index=stages.index, name="stage", dtype=float)


def derive_patients(sample_ids: pd.Index, kin: Mapping[str, str] | None = None) -> pd.Series:
    """Patient of each sample: of a barcode its first fields, in whatever spelling, else the id.

    kin: ids that may be others in another spelling (`ids.Joined`): they have one patient.
    """
    patients = patients_of_ids(sample_ids, kin)
    return pd.Series(patients, index=sample_ids, dtype=object, name="patient_id")


def sample_facts(
    sample_ids: pd.Index,
    facts: pd.DataFrame | None,
    source: str,
    notes: list[str],
    kin: Mapping[str, str] | None = None,
    columns: dict[str, str] | None = None,
) -> pd.DataFrame:
    """`facts` aligned with the samples, with patient_id and the labels under their usual names.

    Args:
        sample_ids: the samples that have some assay [N].
        facts: table indexed by sample id, or by patient id; None if the cohort has none.
        source: name of the file of the facts, for messages.
        notes: told what was left out, and what is spelt in another way.
        kin: see `derive_patients`.
        columns: told label -> the column that it was read from.
    """
    patients = derive_patients(sample_ids, kin)
    notes += barcodes_told(list(sample_ids))
    if facts is None:
        notes += repeats_told(list(sample_ids), kin or {})
        return patients.to_frame()
    rows = _rows_of(sample_ids, patients, facts, source, notes)
    row_of = pd.Series([rows.get(i) for i in sample_ids], index=sample_ids, dtype=object)
    shared = row_of.notna() & row_of.duplicated(
        keep=False
    )  # a row of several samples is a patient's
    named = [barcode_patient(str(row)) or row for row in row_of]
    patients = patients.where(~shared, pd.Series(named, index=sample_ids, dtype=object))
    aligned = facts.reindex(row_of.to_numpy()).set_axis(sample_ids, axis=0)
    unused = int((~facts.index.isin(row_of)).sum())
    if len(rows) < len(sample_ids):
        notes.append(f"{len(sample_ids) - len(rows)} samples have no row in {source}.")
    if unused:
        notes.append(f"{unused} rows of {source} belong to no sample with data and were left out.")
    # Whatever a file format returns for an empty cell becomes NaN.
    aligned = aligned.where(aligned.notna(), np.nan)
    labelled = _named_labels(aligned, patients, source, notes, {} if columns is None else columns)
    if labelled["patient_id"].equals(patients):
        notes += repeats_told(list(sample_ids), kin or {})
    return labelled


def _rows_of(
    sample_ids: pd.Index, patients: pd.Series, facts: pd.DataFrame, source: str, notes: list[str]
) -> dict[str, str]:
    """Sample -> the row of the facts that it has, if any: that of the sample, else that of its
    patient, as it stands or in another spelling."""
    known = set(facts.index)
    rows: dict[str, str] = {i: i for i in sample_ids if i in known}
    if len(rows) < min(len(facts), len(sample_ids)):
        joined = one_spelling({source: facts.index, "the tables": sample_ids}, like="the tables")
        given = {new: old for old, new in joined.renamed.get(source, {}).items()}
        spelt = {i: given[i] for i in sample_ids if i not in rows and i in given}
        rows |= spelt
        notes += joined.notes if spelt else []
    # Patients of several samples are written once, by themselves.
    by_patient = {barcode_patient(i) or i: i for i in facts.index} | {i: i for i in facts.index}
    rows |= {
        i: by_patient[p]
        for i, p in zip(sample_ids, patients, strict=True)
        if i not in rows and p in by_patient
    }
    if not rows:
        rows = samples_within(list(sample_ids), list(facts.index))
        some = shown([f"{a!r} to {b!r}" for a, b in list(rows.items())[:3]])
        notes += [
            f"The rows of {source} are of patients, whose ids begin those of their samples: "
            f"{len(rows)} samples belong to {len(set(rows.values()))} patients ({some})."
        ] * bool(rows)
    if not rows:
        raise InputError(
            f"{source} has none of the samples of the tables: its ids look like "
            f"{facts.index[0]!r}, theirs like {sample_ids[0]!r}; use the same ids in both"
        )
    return rows


def _named_labels(
    facts: pd.DataFrame,
    patients: pd.Series,
    source: str,
    notes: list[str],
    spelt: dict[str, str],
) -> pd.DataFrame:
    columns = {str(c): facts[c] for c in facts.columns}
    column_of = _found_labels(columns, source, notes)
    named: dict[str, np.ndarray | pd.Series] = {
        "patient_id": _patients(columns, column_of, patients, notes)
    }
    if (column := column_of.get("cancer_type")) is not None:
        types = columns[column].to_numpy(dtype=object)
        named["cancer_type"] = np.array(
            [None if spellings.is_missing(t) else str(t).removeprefix("TCGA-") for t in types],
            dtype=object,
        )
    if (column := column_of.get("os_event")) is not None:
        cells = columns[column].to_numpy(dtype=object)
        named["os_event"] = _events(cells, facts.index, source, notes)
    days = _days(columns, column_of.get("os_days"), facts.index, source, notes)
    if days is not None:
        column, named["os_days"] = days
        column_of["os_days"] = column
    for label in ("split", "stage"):
        if label in column_of:
            named[label] = columns[column_of[label]]
    _tell_spellings(column_of, source, notes)
    spelt.update(column_of)
    rest = {c: columns[c] for c in columns if c not in column_of.values() and c not in named}
    order = [label for label in ("patient_id", "split", *_LABELS) if label in named]
    return pd.DataFrame({**{c: named[c] for c in order}, **rest}, index=facts.index)


_LABELS = ("cancer_type", "stage", "os_event", "os_days")


def _found_labels(
    columns: Mapping[str, pd.Series], source: str, notes: list[str]
) -> dict[str, str]:
    """Label -> the column that is read as it. What is not called just so has to look like it."""
    column_of: dict[str, str] = {}
    for label in ("patient_id", "split", *_LABELS):
        for column in spellings.columns_called(label, columns):
            if column in column_of.values():
                continue
            usual = column if label in ("patient_id", "split") else column.lower()
            why = "" if usual == label else _unlike(label, columns[column])
            if not why:
                column_of[label] = column
                break
            notes.append(
                f"{source}: {column} was not read as {label}, for {why}; it stays the column "
                f"{column}."
            )
    return column_of


def _unlike(label: str, cells: pd.Series) -> str:
    """Why a column cannot be a label, for all its name; empty if it can."""
    known = [c for c in cells if not spellings.is_missing(c)]
    if label in ("patient_id", "split", "stage", "os_days") and not known:
        return "nothing is known in it"
    if label == "os_event":
        given = np.array(known, dtype=object)
        bad = _event_numbers(given)[1]
        if bad.any():
            # OS may as well be the time, or a code: only what is plainly yes or no is the event.
            return f"it is not 0 (alive) or 1 (died) everywhere (as {str(given[bad][0])!r})"
    if label == "split":
        odd = [c for c in known if not spellings.side_of(c)]
        return f"{str(odd[0])!r} is none of {', '.join(SPLITS)}" if odd else ""
    if label == "stage":
        odd = [c for c in known if np.isnan(spellings.stage_of(c))]
        return f"most of it is no stage (as {str(odd[0])!r})" if 2 * len(odd) > len(known) else ""
    return ""


def _patients(
    columns: Mapping[str, pd.Series],
    column_of: Mapping[str, str],
    patients: pd.Series,
    notes: list[str],
) -> np.ndarray:
    """Patient of each sample [N]: as given, else as its id says; one spelling for each."""
    if "patient_id" not in column_of:
        return patients.to_numpy(dtype=object)
    given = columns[column_of["patient_id"]].to_numpy(dtype=object)
    missing = np.array([spellings.is_missing(p) for p in given])
    names = np.where(missing, patients, given).astype(str).astype(object)
    names = np.array([name.strip() for name in names], dtype=object)
    spelt: dict[str, dict[str, int]] = {}
    for name in names:
        counts = spelt.setdefault(barcode_patient(name) or without_zeros(name), {})
        counts[name] = counts.get(name, 0) + 1
    usual = {
        other: barcode_patient(other) or max(counts, key=lambda n: (counts[n], len(n), n))
        for counts in spelt.values()
        if len(counts) > 1
        for other in counts
    }
    changed = {a: b for a, b in usual.items() if a != b}
    if changed:
        some = [f"{a!r} is {b!r}" for a, b in list(changed.items())[:3]]
        notes.append(
            f"{len(changed)} patient ids are spelt in another way than for other samples and count "
            f"as the same patient ({', '.join(some)})."
        )
    return np.array([changed.get(name, name) for name in names], dtype=object)


def _days(
    columns: Mapping[str, pd.Series],
    column: str | None,
    ids: pd.Index,
    source: str,
    notes: list[str],
) -> tuple[str, np.ndarray] | None:
    """The column of survival times, and days of each sample: from days, months or years, or from
    the two columns of the GDC, days to death and to the last time seen."""
    if column is not None:
        days = _durations(columns[column].to_numpy(dtype=object), 1.0, ids, source, notes)
        longest = np.nanmax(days, initial=0)
        if (~np.isnan(days)).sum() >= LEAST_SURVIVAL and 0 < longest <= LONGEST_IN_MONTHS:
            notes.append(
                f"{source}: {column} is read as days, of which the longest are {longest:g}: if "
                "these are months or years, call the column os_months or os_years."
            )
        return column, days
    for unit, (factor, *_) in spellings.DAYS_OF.items():
        for other in spellings.columns_of_unit(unit, columns):
            cells = columns[other].to_numpy(dtype=object)
            notes.append(f"{source}: os_days was made of {other}, in {unit} of {factor:g} days.")
            return other, _durations(cells, float(factor), ids, source, notes)
    ends = [spellings.columns_of(s, columns) for s in (spellings.TO_DEATH, spellings.TO_LAST_SEEN)]
    if all(ends):
        dead, seen = (
            _durations(columns[end[0]].to_numpy(dtype=object), 1.0, ids, source, notes)
            for end in ends
        )
        notes.append(
            f"{source}: os_days was made of {ends[0][0]} and, where that is not known, "
            f"{ends[1][0]}."
        )
        return "", np.where(np.isnan(dead), seen, dead)
    return None


def _durations(
    given: np.ndarray, factor: float, ids: pd.Index, source: str, notes: list[str]
) -> np.ndarray:
    """Survival times [N] in days, NaN where missing; `factor` days are one of theirs."""
    in_words = np.array([spellings.duration(c) for c in given], dtype=object)
    numbers, bad = parse_numbers(in_words)
    days_said = [isinstance(c, str) and any(map(str.isalpha, c)) for c in given]
    coded = coded_missing(numbers) & (numbers < 0) & ~bad
    bad |= ((numbers < 0) | np.isinf(numbers)) & ~coded
    _refuse(bad, given, ids, f"{source}, os_days", "days, not negative")
    _tell_codes(coded, given, f"{source}, os_days", notes)
    return np.where(coded, np.nan, numbers * np.where(days_said, 1.0, factor)).astype(np.float32)


def _events(given: np.ndarray, ids: pd.Index, source: str, notes: list[str]) -> np.ndarray:
    numbers, bad = _event_numbers(given)
    coded = coded_missing(numbers) & (numbers < 0)
    bad &= ~coded
    _refuse(bad, given, ids, f"{source}, os_event", "0 (alive) or 1 (died)")
    _tell_codes(coded, given, f"{source}, os_event", notes)
    return np.where(coded, np.nan, numbers).astype(np.float32)


def _refuse(bad: np.ndarray, given: np.ndarray, ids: pd.Index, where: str, wanted: str) -> None:
    if bad.any():
        first = [f"{i!r} ({str(c)!r})" for i, c in zip(ids[bad], given[bad], strict=True)]
        raise InputError(
            f"{where}: must be {wanted}; {int(bad.sum())} cells are not, first rows {shown(first)}"
        )


def _tell_codes(coded: np.ndarray, given: np.ndarray, where: str, notes: list[str]) -> None:
    if coded.any():
        written = ", ".join(dict.fromkeys(f"{float(c):g}" for c in given[coded]))
        notes.append(f"{where}: {int(coded.sum())} cells hold {written} and count as missing.")


def _event_numbers(given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells [N], words among them, as 0 or 1 [N], and which hold something else: bool [N]."""
    words = [spellings.event(c) for c in given]
    numbers, bad = parse_numbers(np.array(words, dtype=object))
    return numbers, bad | (~np.isnan(numbers) & (numbers != 0) & (numbers != 1))


def _tell_spellings(column_of: Mapping[str, str], source: str, notes: list[str]) -> None:
    """Which columns were taken for which labels, where they are called otherwise."""
    told = [
        f"{label} from {column}" for label, column in column_of.items() if column not in ("", label)
    ]
    if told:
        notes.append(f"{source}: read {', '.join(told)}.")
