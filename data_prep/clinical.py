"""Clinical and survival tables: sparse and constant columns out, values to common codes.

Source: the published preparation (doi 10.1371/journal.pcbi.1013455); the mapping of each column
is stated at its function. Words for nothing, for death and for a stage are those of
`cohgen_jax.cohort.spellings`, as for every cohort.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cohgen_jax.cohort import spellings
from cohgen_jax.cohort.labels import stage_number
from cohgen_jax.cohort.tables import parse_numbers
from data_prep.barcodes import usual_spelling

COLUMNS = {
    "gender": "gender.demographic",
    "vital_status": "vital_status.demographic",
    "age": "age_at_index.demographic",
    "ajcc_pathologic_stage": "ajcc_pathologic_stage.diagnoses",
    "diagnosis": "primary_diagnosis.diagnoses",
    "ajcc_pathologic_t": "ajcc_pathologic_t.diagnoses",
    "ajcc_pathologic_n": "ajcc_pathologic_n.diagnoses",
    "ajcc_pathologic_m": "ajcc_pathologic_m.diagnoses",
    "tissue_type": "tissue_type.samples",
}
"""Name in the reduced table -> column of the GDC clinical table."""

ONE_GENDER = {
    **dict.fromkeys(("OV", "UCEC", "CESC"), "female"),
    **dict.fromkeys(("PRAD", "TGCT"), "male"),
}
"""Cancer types whose organ tells the gender where it is not given."""

RARE_DIAGNOSIS = 600


def informative(table: pd.DataFrame) -> pd.DataFrame:
    """Without columns present in fewer than half of the rows, and without constant columns."""
    present = table.notna().sum() >= 0.5 * len(table)
    table = table.loc[:, present]
    return table.loc[:, table.nunique(dropna=True) != 1]


def merge_clinical(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Project tables (first column `sample`) -> one, index `sample_id`, plus `project`.

    Columns are judged per project and once more after merging; `project` is kept aside of that.
    """
    parts, project_of = [], {}
    for project, table in tables.items():
        index = pd.Index(usual_spelling(table["sample"]), name="sample_id")
        parts.append(informative(table.drop(columns="sample").set_axis(index)))
        project_of.update(dict.fromkeys(index, project))
    merged = pd.concat(parts, join="outer") if parts else pd.DataFrame()
    merged = informative(merged.loc[~merged.index.duplicated()])
    return merged.assign(project=[project_of[s] for s in merged.index])


def tumour_extent(t: pd.Series) -> pd.Series:
    """AJCC T -> 1 (Tis, T0, T1*), 2 (T2*), 3 (T3*, T4*); TX is missing."""
    code = t.astype("object").str.extract(r"^[a-z]*T(is|[0-4])", expand=False)
    return code.map({"is": 1.0, "0": 1.0, "1": 1.0, "2": 2.0, "3": 3.0, "4": 3.0})


def lymph_nodes(n: pd.Series) -> pd.Series:
    """AJCC N -> 0 (N0*), 1 (N1*), 2 (N2*, N3*); NX is missing."""
    code = n.astype("object").str.extract(r"^[a-z]*N([0-3])", expand=False)
    return code.map({"0": 0.0, "1": 1.0, "2": 2.0, "3": 2.0})


def metastasis(m: pd.Series) -> pd.Series:
    """AJCC M -> "M0" (M0, cM0 (i+)), "M1" (M1*); MX is missing."""
    code = m.astype("object").str.extract(r"^[a-z]*M([01])", expand=False)
    return code.map({"0": "M0", "1": "M1"})


def fold_rare(diagnosis: pd.Series, counted: pd.Series, fewer_than: int) -> pd.Series:
    """Diagnoses counted fewer than `fewer_than` times become "Other".

    Args:
        counted: what is counted within a diagnosis, e.g. patient ids (each once).
    """
    units: dict[str, set] = {}
    for name, unit in zip(diagnosis, counted, strict=True):
        units.setdefault(name, set()).add(unit)
    rare = [name for name, seen in units.items() if len(seen) < fewer_than and pd.notna(name)]
    return diagnosis.where(~diagnosis.isin(rare), "Other")


def reduce_clinical(
    merged: pd.DataFrame,
    cancer_type: Mapping[str, str],
    *,
    rare_diagnosis: int = RARE_DIAGNOSIS,
    count_as: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The clean clinical table of the samples in `cancer_type`, in the order of `merged`.

    Args:
        merged: output of `merge_clinical`.
        cancer_type: sample id -> cancer type; other samples are left out.
        rare_diagnosis: diagnoses with fewer patients than this become "Other".
        count_as: for every row of `merged`, the unit counted for that (patient ids); each row
            counts for itself when None.
    Returns:
        index sample_id; columns cancertype and the keys of COLUMNS.
    """
    unit = pd.Series(merged.index if count_as is None else list(count_as), index=merged.index)
    table = merged.loc[merged.index.isin(list(cancer_type))]
    unit = unit.loc[table.index]
    raw = {name: _column(table, source) for name, source in COLUMNS.items()}
    out = pd.DataFrame({"cancertype": [cancer_type[s] for s in table.index]}, index=table.index)
    organ = pd.Series(
        [ONE_GENDER.get(kind) for kind in out["cancertype"]], index=out.index, dtype=object
    )
    out["gender"] = raw["gender"].where(raw["gender"].notna(), organ)
    out["vital_status"] = raw["vital_status"]
    out["age"] = pd.to_numeric(raw["age"], errors="coerce")
    out["ajcc_pathologic_stage"] = stage_number(raw["ajcc_pathologic_stage"])
    out["diagnosis"] = fold_rare(raw["diagnosis"], unit, rare_diagnosis)
    out["ajcc_pathologic_t"] = tumour_extent(raw["ajcc_pathologic_t"])
    out["ajcc_pathologic_n"] = lymph_nodes(raw["ajcc_pathologic_n"])
    out["ajcc_pathologic_m"] = metastasis(raw["ajcc_pathologic_m"])
    out["tissue_type"] = raw["tissue_type"]
    return out


def _column(table: pd.DataFrame, source: str) -> pd.Series:
    """A clinical column as objects; all missing when the merge had dropped it."""
    if source not in table:
        return pd.Series(np.nan, index=table.index, dtype="object")
    column = pd.Series(table[source].to_numpy(dtype=object), index=table.index)
    return column.mask(column.map(spellings.is_missing).astype(bool))


def _numbers(cells: pd.Series, read: Callable[[Any], Any]) -> np.ndarray:
    """float64 [N] of cells that `read` makes numbers of, NaN where they are none."""
    return parse_numbers(np.array([read(cell) for cell in cells], dtype=object))[0]


def merge_survival(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Project survival tables -> index sample_id, os_event (0/1), os_days; unknown rows are out."""
    parts = [
        pd.DataFrame(
            {
                "os_event": _numbers(t["OS"], spellings.event),
                "os_days": _numbers(t["OS.time"], spellings.duration),
            },
            index=pd.Index(usual_spelling(t["sample"]), name="sample_id"),
        )
        for t in tables.values()
    ]
    if not parts:
        return pd.DataFrame(
            {"os_event": [], "os_days": []}, index=pd.Index([], name="sample_id"), dtype=np.float64
        )
    merged = pd.concat(parts)
    return merged.loc[~merged.index.duplicated()].dropna(how="all")
