"""One table of spellings: how files write the names of labels, yes and no, a stage, and nothing.

Every reader of facts takes its words from here, so that a cell means the same wherever it is read.
"""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

UNKNOWN = "unknown"
_SAYS_NOTHING = (
    *("not available", "not reported", "not applicable", "not evaluated", "not recorded"),
    *("not determined", "not allowed to collect", "not known", "missing", "na", "n/a", UNKNOWN),
)
MISSING = (
    {"", "n.a.", "nan", "<na>", "#n/a", "null", "-", "--", "---", "'-", "'--", "?", "."}
    | {"[discrepancy]", "[completed]"}
    | {
        left + word.replace(" ", gap) + right
        for word in _SAYS_NOTHING
        for gap in (" ", "_")
        for left, right in (("", ""), ("[", "]"), ("<", ">"), ("(", ")"))
    }
)
"""Cells that say that nothing is known, in lower case (`is_missing`)."""

CODES = frozenset(
    (
        *(-9.0, -99.0, -999.0, -9999.0, -99999.0, -999999.0, -9999999.0, -99.9, -999.9, -999.99),
        *(-888.0, -8888.0, -77777.0, -32768.0, -2147483648.0, -1e10, -1e20, -1e30, -1e35, -1e37),
        *(999.0, 9999.0, 99999.0, 999999.0, 9999999.0, 999.9, 999.99, 9999.99, 2147483647.0),
        *(1e10, 1e15, 1e20, 1e30, 1e32, 1e35, 1e36, 1e37, 1e38, 9.96921e36, -3.4028235e38),
        3.4028235e38,
    )
)
"""Numbers that programs write for a value that is not there, where they lie far from the others."""

_EVENTS = {
    **dict.fromkeys(("true", "yes", "y", "dead", "died", "death", "deceased", "event"), 1.0),
    **dict.fromkeys(("false", "no", "n", "alive", "living", "censored"), 0.0),
}
_CODED_EVENT = re.compile(r"([01])(?:\.0)?\s*[:=-]\s*([a-z].*)")  # cBioPortal's 1:DECEASED

_STAGE = re.compile(
    r"(?:(?:ajcc|uicc|figo|pathologic(?:al)?|clinical|tumou?r)\s+)*(?:stage|st\.)?[\s:_-]*[pc]?"
    r"(0|is\b|in situ|iv|iii|ii|i|[1-4])(?:[abces]\d?|is|\.0)?(?:$|[\s/(,;+-].*)"
)
_STAGES = {"0": 1.0, "is": 1.0, "in situ": 1.0, "i": 1.0, "ii": 2.0, "iii": 3.0, "iv": 4.0}

_WORDS_OF_SIDES = {
    "train": ("train", "training", "trn", "tr"),
    "val": ("val", "valid", "validate", "validation", "dev", "devel", "development", "tuning"),
    "test": ("test", "testing", "tst", "te", "heldout", "holdout", "heldouttest", "holdouttest"),
    "ood": ("ood",),
}
_SIDES = {word: side for side, words in _WORDS_OF_SIDES.items() for word in words}
_SET = re.compile("(sets?|splits?|data|cohort|samples?|patients?)$")

COLUMNS: dict[str, tuple[str, ...]] = {
    "patient_id": (
        *("patientid", "patient", "patientbarcode", "bcrpatientbarcode", "patientidentifier"),
        *("subjectid", "participantid", "casesubmitterid"),
    ),
    "split": ("split", "datasplit", "datasetsplit", "splits"),
    "cancer_type": (
        *("cancertype", "cancertypeacronym", "cancertypeabbreviation", "tumortype", "tumourtype"),
        *("project", "projectid"),
    ),
    "stage": (
        *("stage", "ajccpathologicstage", "ajccpathologictumorstage", "ajccstage", "tumorstage"),
        *("tumourstage", "pathologicstage", "pathologicalstage", "stagepathologic", "figostage"),
        *("cancerstage", "diseasestage", "ajccclinicalstage", "clinicalstage"),
    ),
    "os_event": (
        *("osevent", "os", "osstatus", "overallsurvivalstatus", "overallsurvivalevent"),
        *("overallsurvival", "vitalstatus", "survivalstatus"),
    ),
    "os_days": (
        *("osdays", "ostime", "ostimedays", "osindays", "overallsurvivaldays", "survivaldays"),
        "survivaltimedays",
    ),
}
"""Label -> how its column is spelt (`joined`), the preferred first."""
DAYS_OF = {
    "months": (
        30.4375,
        *("osmonths", "ostimemonths", "osinmonths", "overallsurvivalmonths", "survivalmonths"),
        *("survivaltimemonths", "osmonth"),
    ),
    "years": (
        365.25,
        *("osyears", "ostimeyears", "osinyears", "overallsurvivalyears", "survivalyears"),
        *("survivaltimeyears", "osyear"),
    ),
}
"""Unit of a survival time -> its days, then how such columns are spelt."""
TO_DEATH = ("daystodeath",)
TO_LAST_SEEN = ("daystolastfollowup", "daystolastknownalive", "daystolastcontact")
"""The two columns of the GDC that together are os_days."""
_GDC_PARTS = ("diagnoses", "demographic", "samples", "followups", "exposures")
_DURATION = re.compile(
    r"([0-9.,]+)\s*(d|days?|w|weeks?|m|mo|mos|months?|y|yr|yrs|years?)\.?", re.IGNORECASE
)
_DAYS = {"d": 1.0, "w": 7.0, "m": 30.4375, "y": 365.25}
ROW_NUMBERS = {"", "index", "unnamed0", "level0", "rowid", "rownumber", "rownum", "rownames"}
"""Names (`joined`) of columns that number the rows."""


def joined(name: object) -> str:
    """cancertype of "Cancer Type"; of a column of the GDC, as stage.diagnoses, without its part."""
    words = re.sub(r"[^a-z0-9]+", "_", str(name).lower()).strip("_").split("_")
    return "".join(words[:-1] if len(words) > 1 and words[-1] in _GDC_PARTS else words)


def columns_called(label: str, columns: Iterable[object]) -> list[Any]:
    """The columns that spell a label of `COLUMNS`, the preferred first: its own name before all."""
    return _spelt(COLUMNS[label], columns, label)


def columns_of_unit(unit: str, columns: Iterable[object]) -> list[Any]:
    """The columns of survival times of a unit of `DAYS_OF`."""
    return _spelt(DAYS_OF[unit][1:], columns)


def columns_of(spellings: Iterable[Any], columns: Iterable[object]) -> list[Any]:
    """The columns of these spellings (`joined`), the preferred first."""
    return _spelt(spellings, columns)


def _spelt(spellings: Iterable[Any], columns: Iterable[object], label: str = "") -> list[Any]:
    columns = list(columns)
    order = {spelling: k for k, spelling in enumerate(spellings)}
    named = [c for c in columns if joined(c) in order]
    return sorted(named, key=lambda c: (c != label, str(c).lower() != label, order[joined(c)]))


def is_missing(cell: Any) -> bool:
    """Whether a cell of any type says that nothing is known."""
    if isinstance(cell, str):
        return cell.strip().casefold() in MISSING
    return bool(pd.api.types.is_scalar(cell) and pd.isna(cell))


def side_of(cell: Any) -> str:
    """The side of a split that a word names, "" for none: case, spaces, hyphens and a trailing
    "set" are nothing ("Held-out set" is test)."""
    if not isinstance(cell, str) or any(map(str.isdigit, cell)):  # fold 1, train2
        return ""
    word = re.sub("[^a-z]+", "", cell.lower())
    return _SIDES.get(word) or _SIDES.get(_SET.sub("", word), "")


def event(cell: Any) -> Any:
    """0.0 (alive) or 1.0 (died) for the words and codes that say so, else the cell as it is."""
    if not isinstance(cell, str):
        return cell
    word = cell.strip().casefold()
    coded = _CODED_EVENT.fullmatch(word)
    if coded is None:
        return _EVENTS.get(word, cell)
    contradicted = _EVENTS.get(coded[2], float(coded[1])) != float(coded[1])
    return cell if contradicted else float(coded[1])


def duration(cell: Any) -> Any:
    """Days of "14 months" or "1,200 d"; else the cell as it is."""
    if not isinstance(cell, str):
        return cell
    match = _DURATION.fullmatch(cell.strip())
    number = match[1] if match else cell.strip()
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", number):  # these commas are no decimal commas
        number = number.replace(",", "")
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", number):
        return cell
    return float(number) * (_DAYS[match[2][0].lower()] if match else 1.0)


def stage_of(cell: Any) -> float:
    """Stage as 1.0 to 4.0, NaN where there is none: "Stage IIIA", "III", 3 and "3" are 3.0.

    Stages 0 and IS (in situ) count as I, and of several the first counts ("I/II NOS" is 1.0), as in
    the published preparation (doi 10.1371/journal.pcbi.1013455).
    """
    if is_missing(cell):
        return np.nan
    match = _STAGE.fullmatch(str(cell).strip().casefold())
    return np.nan if match is None else _STAGES.get(match[1]) or float(match[1])
