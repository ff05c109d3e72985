"""Covariates: columns of the samples table that every model knows besides the assays.

Categorical  one column a level, 0/1, and one for "unknown": exactly one of them is 1
Numeric      (x - mean) / sd of train, 0 where unknown, and one 0/1 column for "unknown"
Axes         N samples, Q encoded columns, float32

"unknown" always has its column, so that a model trained with covariates hidden at random
(`Covariates.unknown`, `Covariates.owner`) knows what to do without them.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cohgen_jax.cohort.missing import coded_missing
from cohgen_jax.cohort.spellings import UNKNOWN, is_missing
from cohgen_jax.cohort.tables import parse_numbers
from cohgen_jax.errors import InputError, pair, shown

MIN_PATIENTS = 5
"""Training patients that a level, or the numbers of a column, must have to be learnt from."""
MAX_LEVELS = 64
"""More levels than this, or than half of the patients, are free text or ids."""
NUMERIC_SHARE = 0.9
"""Share of the cells of text that must be numbers for the column to be one (ages have ">89")."""
DEFAULTS = {
    "cancer type": "cancertype cancertypeacronym cancertypeabbreviation tumortype tumourtype "
    "project projectid",
    "sex": "sex gender biologicalsex patientsex genderdemographic",
    "age": "age ageyears agedemographic ageatindex ageatindexdemographic patientage diagnosisage "
    "ageatdiagnosis ageatinitialpathologicdiagnosis ageatdiagnosisdiagnoses",
}
"""What is taken unless told otherwise -> its spellings, the preferred first (`_joined`)."""

_FAMILIES = {what: names.split() for what, names in DEFAULTS.items()}
_DATE = re.compile(
    r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3(\d{2}|\d{4}))([T ]\d.*)?"
)
_BOOKKEEPING = {"patientid", "sampleid", "split"}
_SURVIVAL = re.compile(
    r"(os|pfi|pfs|dss|dfi|dfs|efs|rfs)(_.*|$)|(.*_)?"
    r"(died|dead|death|alive|deceased|survival|survived|event|censored)(_.*|$)"
    r"|.*(vital_status|follow_?up|last_contact|(disease|progress|progression|event|relapse)_free).*"
)


@dataclasses.dataclass(frozen=True)
class Categorical:
    """One-hot of the levels that training knows, and of "unknown". Case does not matter."""

    name: str
    levels: tuple[str, ...]
    rare: tuple[str, ...] = ()
    """Levels of fewer than MIN_PATIENTS training patients, which count as unknown."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}={level}" for level in (*self.levels, UNKNOWN))

    def encode(self, texts: Sequence[str], notes: list[str]) -> np.ndarray:
        """Cells as `_texts` gives them -> float32 [N, levels + 1]."""
        where = {level.casefold(): k for k, level in enumerate(self.levels)}
        told = {"", *where, *(level.casefold() for level in self.rare)}
        strange = [text for text in texts if text.casefold() not in told]
        _tell(notes, self.name, strange, len(texts), "not seen in training")
        hot = [where.get(text.casefold(), len(where)) for text in texts]
        return np.eye(len(where) + 1, dtype=np.float32)[np.array(hot, dtype=int)]

    def value(self, text: str) -> str:
        """The level meant by a setting."""
        for level in self.levels:
            if level.casefold() == text.casefold():
                return level
        rare = text.casefold() in (level.casefold() for level in self.rare)
        why = f"too few training patients (below {MIN_PATIENTS})" if rare else "no training patient"
        raise InputError(
            f"{self.name}={text}: {why} had it; known are {', '.join(self.levels)} and {UNKNOWN}"
        )


@dataclasses.dataclass(frozen=True)
class Numeric:
    """A number in standard deviations of train, and whether it is unknown."""

    name: str
    mean: float
    sd: float
    low: float
    high: float
    """Range in train. A number further out than the width of this range counts as unknown: it has
    another unit, or is one that no model can say anything about."""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, f"{self.name}={UNKNOWN}")

    def encode(self, texts: Sequence[str], notes: list[str]) -> np.ndarray:
        """Cells as `_texts` gives them -> float32 [N, 2]."""
        x, bad = _finite(texts)
        far = np.abs(x - (self.low + self.high) / 2) > 1.5 * (self.high - self.low)
        given = np.array(texts, dtype=object)
        span = f"{self.low:g} to {self.high:g} in training"
        _tell(notes, self.name, given[bad], len(texts), "no number")
        _tell(notes, self.name, given[far], len(texts), f"far from the {span}, check the unit")
        x[far] = np.nan
        outside = (x < self.low) | (x > self.high)
        if outside.sum() > max(1, (~np.isnan(x)).sum() / 2):
            notes.append(f"{self.name}: most numbers lie outside the {span}; check the unit.")
        known = ~np.isnan(x)
        z = np.where(known, (x - self.mean) / self.sd, 0.0)
        return np.stack([z, ~known], axis=1).astype(np.float32)

    def value(self, text: str) -> float:
        """The number meant by a setting."""
        notes: list[str] = []
        if self.encode([text], notes)[0, 1]:
            raise InputError(
                f"{self.name}={text}: a number like those of training is needed "
                f"({self.low:g} to {self.high:g}), or {UNKNOWN}"
            )
        return float(text)


_KINDS = {"categorical": Categorical, "numeric": Numeric}


@dataclasses.dataclass(frozen=True)
class Covariates:
    """How the columns are encoded; fitted on train by `fit_covariates`."""

    columns: tuple[Categorical | Numeric, ...] = ()
    notes: tuple[str, ...] = ()
    """What was folded or left out in fitting, in plain sentences."""

    @property
    def names(self) -> tuple[str, ...]:
        """Encoded columns [Q], as cancer_type=LUSC, cancer_type=unknown, age, age=unknown."""
        return tuple(name for column in self.columns for name in column.names)

    @property
    def width(self) -> int:
        """Q; 0 without covariates."""
        return len(self.names)

    @property
    def owner(self) -> np.ndarray:
        """int [Q]: position in `columns` of the column that each encoded one belongs to."""
        return np.repeat(np.arange(len(self.columns)), [len(c.names) for c in self.columns])

    @property
    def unknown(self) -> np.ndarray:
        """float32 [Q]: a patient of whom nothing is known."""
        empty = [column.encode([""], [])[0] for column in self.columns]
        return np.concatenate([np.zeros(0, np.float32), *empty])

    def encode(self, samples: pd.DataFrame, notes: list[str]) -> np.ndarray:
        """Facts about any samples -> float32 [N, Q].

        A column is found in any case, or under another spelling of `DEFAULTS`. What the table
        lacks, training never saw, or is no number, counts as unknown, and `notes` is told.
        """
        encoded = [np.zeros((len(samples), 0), np.float32)]
        names, absent = {column.name for column in self.columns}, []
        for column in self.columns:
            free = [c for c in samples.columns if c == column.name or c not in names]
            header = _find(free, column.name)
            if header is None:
                absent.append(column.name)
                texts = [""] * len(samples)
            else:
                texts = _texts(samples[header])
                if _joined(header) != _joined(column.name):
                    notes.append(f"{column.name} was read from the column {header!r}.")
            encoded.append(column.encode(texts, notes))
        if absent:
            notes.append(f"The samples have no {', '.join(absent)}: unknown for everybody.")
        return np.concatenate(encoded, axis=1)

    def to_json(self) -> dict[str, Any]:
        kinds = {cls: kind for kind, cls in _KINDS.items()}
        columns = [{"kind": kinds[type(c)], **dataclasses.asdict(c)} for c in self.columns]
        for column in columns:
            column.update({k: list(v) for k, v in column.items() if isinstance(v, tuple)})
        return {"columns": columns, "notes": list(self.notes)}

    @staticmethod
    def from_json(saved: dict[str, Any]) -> Covariates:
        try:
            columns = []
            for column in saved["columns"]:
                given = {k: tuple(v) if isinstance(v, list) else v for k, v in column.items()}
                columns.append(
                    _KINDS[column["kind"]](**{k: given[k] for k in given if k != "kind"})
                )
            return Covariates(tuple(columns), tuple(saved["notes"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"not the covariates of a run, or of another version: {error}"
            ) from error


def fit_covariates(samples_train: pd.DataFrame, columns: Sequence[str]) -> Covariates:
    """The encoding of `columns`, learnt from the training samples; what was left out is in `notes`.

    A column is categorical if its dtype is, if it has two values or fewer, or if its cells are not
    numbers; else numeric. Patients are counted by `patient_id`, by sample where that is absent.

    Raises:
      InputError: a column that is not there, has no value, holds dates, or looks like an id.
    """
    fitted, notes = [], []
    for name in columns:
        if name not in samples_train:
            raise InputError(f"the samples have no column {name!r} to use as a covariate")
        column = _fit(samples_train, name, notes)
        fitted += [] if column is None else [column]
    return Covariates(tuple(fitted), tuple(notes))


def choose_covariates(
    samples: pd.DataFrame, wanted: tuple[str, ...] | None
) -> tuple[tuple[str, ...], list[str]]:
    """Columns of the training `samples` to use as covariates, as spelt there, and notes.

    Args:
        samples: facts about the training samples.
        wanted: None takes what there is of `DEFAULTS` and can be learnt from; ("none",) nothing;
            else names, in any case.

    Raises:
      InputError: a column that is not there, that keeps the books (patient_id, split), or that says
        how the patient fared.
    """
    if wanted is None:
        return _defaults(samples)
    if [w.casefold() for w in wanted] in ([], ["none"]):
        return (), []
    taken = dict.fromkeys(_named(samples, name) for name in wanted)
    usual = [spelling for spellings in _FAMILIES.values() for spelling in spellings]
    labels = [name for name in taken if _joined(name) not in usual]
    notes = [f"Every model knows {', '.join(taken)}."]
    if labels:
        notes.append(
            f"What is generated then carries {', '.join(labels)}: an analysis that predicts "
            "that from generated assays is circular."
        )
    return tuple(taken), notes


def with_values(
    samples: pd.DataFrame, settings: Sequence[str], covariates: Covariates
) -> pd.DataFrame:
    """Counterfactuals: the samples with COLUMN=VALUE, as cancer_type=LUSC, set for everybody.

    `COLUMN=unknown` hides the column. The table given is left as it is.

    Raises:
      InputError: a setting that is none, a column that is no covariate or is set twice, a level
        that training does not know, or no number like those of training.
    """
    known = {column.name: column for column in covariates.columns}
    values: dict[str, Any] = {}
    for setting in settings:
        refusal = f"{setting!r} is not like cancer_type=LUSC"
        name, text = (part.strip() for part in pair(setting, refusal))
        covariate = _find(known, name)
        if covariate is None:
            have = ", ".join(known) or "none at all"
            raise InputError(f"{setting}: {name} is no covariate of the models; they have {have}")
        if covariate in values:
            raise InputError(f"{setting}: {covariate} is set twice")
        values[covariate] = None if text.casefold() == UNKNOWN else known[covariate].value(text)
    return samples.assign(**values)


def _defaults(samples: pd.DataFrame) -> tuple[tuple[str, ...], list[str]]:
    taken, notes = [], []
    for spellings in _FAMILIES.values():
        name = _find(samples.columns, spellings[0])
        if name is None:
            continue
        try:
            taken += [] if _fit(samples, name, why := []) is None else [name]
            notes += [] if name in taken else why
        except InputError as error:
            notes.append(f"Left out: {error}.")
    if taken:
        notes.insert(
            0,
            f"Every model knows {', '.join(taken)} of each patient (--covariates none switches "
            "this off, or name other columns).",
        )
    return tuple(taken), notes


def _named(samples: pd.DataFrame, name: str) -> str:
    """The column that an explicit name means."""
    if name.casefold() == "none":
        raise InputError("covariates: 'none' cannot be joined with the names of columns")
    if _joined(name) in _BOOKKEEPING:
        raise InputError(f"covariates: {name} keeps the books and says nothing about a patient")
    if _SURVIVAL.fullmatch(_plain(name)):
        raise InputError(
            f"covariates: {name} says how the patient fared, after the fact: nobody knows it when "
            "assays are generated, and analyses of survival would find it in them"
        )
    header = _find(samples.columns, name)
    if header is None:
        known = [str(c) for c in samples.columns if _joined(c) not in _BOOKKEEPING]
        known = [c for c in known if not _SURVIVAL.fullmatch(_plain(c))]
        raise InputError(
            f"covariates: the samples have no column {name!r}; they have "
            f"{', '.join(known) or 'none that can be one'}"
        )
    return header


def _fit(samples: pd.DataFrame, name: str, notes: list[str]) -> Categorical | Numeric | None:
    """One column, or None with a note if there is nothing to learn from it."""
    texts = np.array(_texts(samples[name]), dtype=object)
    known = texts != ""
    if not known.any():
        raise InputError(f"{name}: no training patient has a value; leave it out of the covariates")
    if _are_dates(samples[name], texts[known]):
        raise InputError(
            f"{name}: dates are no covariate as they stand; give a number (an age, days since "
            "diagnosis), or leave it out"
        )
    ids = samples.get("patient_id", samples.index)
    patients = np.asarray(ids, dtype=object)[known]
    patients_of: dict[str, set] = {}
    spelt: dict[str, collections.Counter] = {}
    for text, patient in zip(texts[known], patients, strict=True):
        patients_of.setdefault(text.casefold(), set()).add(patient)
        spelt.setdefault(text.casefold(), collections.Counter())[text] += 1
    x, bad = _finite(texts[known])
    is_number = len(np.unique(x[~bad])) > 2 and bad.mean() <= 1 - NUMERIC_SHARE
    if is_number and not isinstance(samples[name].dtype, pd.CategoricalDtype):
        bad |= (coded := coded_missing(x) & ~bad)
        if coded.any():
            codes = ", ".join(f"{v:g}" for v in np.unique(x[coded]))
            notes.append(f"{name}: {int(coded.sum())} cells hold {codes} and count as unknown.")
        return _fit_numbers(name, x[~bad], patients[~bad], notes)
    if len(spelt) > MAX_LEVELS or len(spelt) > max(MIN_PATIENTS, len(set(patients)) / 2):
        raise InputError(
            f"{name}: {len(spelt)} different values in {len(set(patients))} training patients look "
            f"like ids or free text; merge them into {MAX_LEVELS} or fewer, or leave it out"
        )
    spelling = {key: min(counts, key=lambda s: (-counts[s], s)) for key, counts in spelt.items()}
    levels = [spelling[k] for k in sorted(spelt) if len(patients_of[k]) >= MIN_PATIENTS]
    folded = [k for k in sorted(spelt) if len(patients_of[k]) < MIN_PATIENTS]
    others = set().union(*(patients_of[k] for k in folded))
    if len(levels) + (len(others) >= MIN_PATIENTS) < 2:
        notes.append(
            f"{name} was left out of the covariates: "
            + (f"{levels[0]!r} for all" if levels else "no value is had by enough")
            + f" training patients{f', but for {len(others)}' if levels and others else ''}."
        )
        return None
    rare = tuple(spelling[k] for k in folded)
    if rare:
        notes.append(
            f"{name}: values that fewer than {MIN_PATIENTS} training patients have count as "
            f"unknown: {shown(rare)}."
        )
    return Categorical(name, tuple(levels), rare)


def _fit_numbers(
    name: str, x: np.ndarray, patients: np.ndarray, notes: list[str]
) -> Numeric | None:
    if len(set(patients)) >= MIN_PATIENTS:
        return Numeric(name, float(x.mean()), float(x.std()), float(x.min()), float(x.max()))
    notes.append(
        f"{name} was left out of the covariates: known for {len(set(patients))} training patients, "
        f"fewer than {MIN_PATIENTS}."
    )
    return None


def _texts(cells: pd.Series) -> list[str]:
    """Cells of any type as text, "" where missing; 1.0 and "1.0" are "1", True is "true"."""

    def text(cell: Any) -> str:
        if pd.api.types.is_scalar(cell) and pd.isna(cell):
            return ""
        spelt = str(cell).strip()
        if isinstance(cell, bool | np.bool_):
            spelt = spelt.lower()
        return "" if is_missing(spelt) else re.sub(r"^([+-]?\d+)\.0+$", r"\1", spelt)

    return [text(cell) for cell in cells]


def _finite(texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """float64 [N], NaN where missing or no number, and bool [N] those that are no number."""
    x, bad = parse_numbers(np.array(list(texts), dtype=object))
    bad |= np.abs(x) > np.finfo(np.float32).max
    return np.where(bad, np.nan, x), bad


def _are_dates(cells: pd.Series, texts: np.ndarray) -> bool:
    kinds = (datetime.date, datetime.time, datetime.timedelta, np.datetime64, pd.Period)
    if cells.dtype.kind in "mM" or any(isinstance(cell, kinds) for cell in cells.dropna()):
        return True
    return sum(_DATE.fullmatch(text) is not None for text in texts) > len(texts) / 2


def _tell(
    notes: list[str], name: str, cells: Collection[str] | np.ndarray, total: int, what: str
) -> None:
    if len(cells):
        examples = ", ".join(repr(cell) for cell in list(dict.fromkeys(cells))[:3])
        notes.append(
            f"{name} counts as unknown for {len(cells)} of {total} samples: {what} ({examples})."
        )


def _plain(name: object) -> str:
    """os_time of "OS.time"."""
    return re.sub(r"[^a-z0-9]+", "_", str(name).lower()).strip("_")


def _joined(name: object) -> str:
    """cancertype of "Cancer Type"."""
    return _plain(name).replace("_", "")


def _find(columns: Iterable[str], name: str) -> str | None:
    """The column of this name: as it stands, in another case, or another spelling of a default."""
    by_joined: dict[str, str] = {}
    for column in columns:
        if column == name:
            return column
        by_joined.setdefault(_joined(column), column)
    family = next((f for f in _FAMILIES.values() if _joined(name) in f), [])
    spellings = (_joined(name), *family)
    return next((by_joined[s] for s in spellings if s in by_joined), None)
