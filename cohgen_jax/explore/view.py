"""What the page is told of a patient, as plain lists and numbers.

Axis: F features of one modality, columns of its table; every list of values has that length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cohgen_jax.cohort.covariates import Categorical, Covariates
from cohgen_jax.cohort.kinds import WHOLE
from cohgen_jax.cohort.spellings import UNKNOWN
from cohgen_jax.explore.explorer import Explorer
from cohgen_jax.explore.neighbours import natural, neighbours
from cohgen_jax.explore.usual import deviation
from cohgen_jax.runs.patients import Patients, with_settings
from cohgen_jax.runs.typicality import ATYPICAL, typicality

HIDDEN = ("split", "patient_id")
"""Columns of the samples table that are told in another place, or not at all."""


def view(explorer: Explorer, patient: Patients, settings: Mapping[str, str] = {}) -> dict[str, Any]:
    """Measured and generated values of one patient, and what else the page shows.

    Args:
      patient: of N = 1.
      settings: covariate -> value; the patient is then generated as if they were so as well, with
        the same noise.

    Raises:
      InputError: nothing to generate from, or settings that the run does not know.
    """
    run = explorer.run
    asked = [f"{name}={value}" for name, value in settings.items()]
    changed = with_settings(run, patient, asked) if asked else None  # refused before any work
    made = explorer.generated(patient)
    as_if = explorer.generated(changed) if changed else None
    told, typical = told_covariates(run.covariates, patient.z), _typicality(explorer, patient)
    return {
        "id": str(patient.ids[0]),
        "side": _side(explorer, patient),
        "facts": _facts(patient, told),
        "covariates": _choices(run.covariates, told),
        "settings": dict(settings),
        "modalities": [
            {**_modality(explorer, patient, m, made, as_if), "typicality": typical[m]}
            for m in range(len(run.modalities))
        ],
        "neighbours": _neighbours(explorer, patient),
    }


def maps(explorer: Explorer) -> dict[str, Any]:
    """Modality -> where the run's patients lie: ids, cancer types, x, y, labels of the axes."""
    run, found = explorer.run, {}
    types = run.samples.get("cancer_type", pd.Series("", run.samples.index))
    for name, fitted in explorer.maps.items():
        m = run.index(name)
        rows = np.flatnonzero(run.latents.present[:, m])
        x, y = fitted.place(natural(run, run.latents.z[rows])[:, m]).T
        found[name] = {
            "ids": [str(i) for i in run.samples.index[rows]],
            "types": [text(t) or UNKNOWN for t in types.iloc[rows]],
            "x": numbers(x),
            "y": numbers(y),
            "labels": list(fitted.labels),
        }
    return found


def patients_listed(explorer: Explorer) -> list[dict[str, str]]:
    """Every sample of the run: id, side of the split, cancer type."""
    samples = explorer.run.samples
    types = samples.get("cancer_type", pd.Series("", samples.index))
    return [
        {"id": str(i), "side": str(side), "type": text(kind)}
        for i, side, kind in zip(samples.index, samples["split"], types, strict=True)
    ]


def told_covariates(covariates: Covariates, z: np.ndarray) -> dict[str, str]:
    """Covariate -> what the models are told of it, from latents [1, M + 1, D] of a patient."""
    told, at = {}, 0
    for column in covariates.columns:
        own = z[0, -1, at : at + len(column.names)]
        at += len(column.names)
        if own[-1] > 0.5:
            told[column.name] = UNKNOWN
        elif isinstance(column, Categorical):
            told[column.name] = column.levels[int(np.argmax(own))]
        else:
            told[column.name] = f"{own[0] * column.sd + column.mean:.4g}"
    return told


def numbers(values: np.ndarray | Sequence[float]) -> list[float | None]:
    """For JSON: five significant digits, None for what is not known."""
    return [float(f"{v:.5g}") if math.isfinite(v) else None for v in np.asarray(values, float)]


def text(cell: Any) -> str:
    """A cell of the samples table; empty where it is missing."""
    if cell is None or (pd.api.types.is_scalar(cell) and pd.isna(cell)):
        return ""
    return f"{cell:g}" if isinstance(cell, float | np.floating) else str(cell)


def _side(explorer: Explorer, patient: Patients) -> str:
    """Of the split; empty for a new patient."""
    samples = explorer.run.samples
    known = patient.told_by == "samples" and patient.ids[0] in samples.index
    return str(samples.at[patient.ids[0], "split"]) if known else ""


def _facts(patient: Patients, told: Mapping[str, str]) -> list[list[str]]:
    """What is known of the patient beside the assays; covariates as the models are told them."""
    row = patient.facts(lambda note: None).iloc[0]
    own = {str(name): text(cell) for name, cell in row.items() if name not in HIDDEN}
    return [[name, value] for name, value in {**own, **told}.items() if value]


def _choices(covariates: Covariates, told: Mapping[str, str]) -> list[dict[str, Any]]:
    found = []
    for column in covariates.columns:
        known: dict[str, Any] = {"name": column.name, "told": told[column.name]}
        if isinstance(column, Categorical):
            known["levels"] = [*column.levels, UNKNOWN]
        else:
            known["range"] = numbers([column.low, column.high])
        found.append(known)
    return found


def _modality(
    explorer: Explorer,
    patient: Patients,
    m: int,
    made: Mapping[str, pd.DataFrame],
    as_if: Mapping[str, pd.DataFrame] | None,
) -> dict[str, Any]:
    """One modality; what was not measured, or cannot be generated, is None in every place."""
    name = explorer.run.modalities[m]
    codec, usual = explorer.run.codecs[name], explorer.usual[name]
    features = list(codec.features)
    unknown = np.full(len(features), np.nan)
    table = patient.tables[name]
    measured = table[features].iloc[0].to_numpy(float) if len(table) else unknown
    values = _values(made, name, unknown)
    whole = np.isin(codec.kinds, WHOLE)
    off = deviation(measured, values["mean"], values["sd"], usual, whole)
    unusual = deviation(values["mean"], usual.centre, usual.half_width, usual, whole)
    found = {
        "name": name,
        "unit": explorer.units.get(name, ""),
        "present": bool(patient.present[0, m]),
        "generated": f"{name}_mean" in made,
        **_certainty(made["disagreement"], name),
        "features": features,
        "kinds": list(codec.kinds),
        "measured": numbers(measured),
        **{key: numbers(own) for key, own in values.items()},
        "usual": numbers(usual.centre),
        "usual_low": numbers(usual.low),
        "usual_high": numbers(usual.high),
        "inside": _inside(measured, values, np.array(codec.kinds) == "binary"),
        "order": _order(off if np.isfinite(off).any() else unusual),
        "by_unusual": _order(unusual),
    }
    if as_if is not None and f"{name}_mean" in as_if:
        other = _values(as_if, name, unknown)
        found["as_if"] = {key: numbers(own) for key, own in other.items()}
        found["by_change"] = _order(
            deviation(other["mean"], values["mean"], values["sd"], usual, whole)
        )
    return found


def _values(made: Mapping[str, pd.DataFrame], name: str, unknown: np.ndarray) -> dict[str, Any]:
    parts = ("mean", "sd", "low", "high")
    own = {part: made.get(f"{name}_{part}") for part in parts}
    return {k: unknown if t is None else t.iloc[0].to_numpy(float) for k, t in own.items()}


def _certainty(table: pd.DataFrame, name: str) -> dict[str, Any]:
    """What disagreement.csv says of a modality of one patient."""
    own = table[table["modality"] == name]
    if not len(own):
        return {"sources": ""}
    row = own.iloc[0]
    known = ("disagreement", "spread_rank", "expected_error")
    found: dict[str, Any] = {k: numbers([row[k]])[0] for k in known if k in row}
    if "flagged" in row:
        found["flagged"] = bool(row["flagged"])
    return {"sources": str(row["sources"]), **found}


def _typicality(explorer: Explorer, patient: Patients) -> list[dict[str, Any] | None]:
    """Of each measured assay; None where there is none, or in training patients, by whom it is
    judged what is usual."""
    run = explorer.run
    if _side(explorer, patient) == "train":
        return [None] * len(run.modalities)
    p = typicality(run, patient.z, patient.present, patient.residual)[0]
    return [
        {"p": own, "unusual": own <= ATYPICAL} if own is not None else None for own in numbers(p)
    ]


def _inside(
    measured: np.ndarray, values: Mapping[str, np.ndarray], binary: np.ndarray
) -> dict[str, int] | None:
    """How many measured values lie in their intervals, of features that have proper ones."""
    known = np.isfinite(measured) & np.isfinite(values["low"]) & ~binary
    if not known.any():
        return None
    within = (measured >= values["low"]) & (measured <= values["high"])
    return {"inside": int((within & known).sum()), "of": int(known.sum())}


def _order(off: np.ndarray) -> list[int]:
    """Features, those furthest off first, unknown ones last."""
    size = np.where(np.isfinite(off), -np.abs(off), np.inf)
    return np.argsort(size, kind="stable").tolist()


def _neighbours(explorer: Explorer, patient: Patients) -> dict[str, Any] | None:
    """The nearest patients, and where on the maps the patient lies; None without patients."""
    run = explorer.run
    if not explorer.has_patients:
        return None
    table = neighbours(run, patient)
    places = {}
    for name, fitted in explorer.maps.items():
        if patient.present[0, m := run.index(name)]:
            places[name] = numbers(fitted.place(natural(run, patient.z)[:, m])[0])
    rows = [
        {
            "id": str(i),
            "distance": numbers([row["distance"]])[0],
            "shared": row["shared"],
            "side": text(row.get("split")),
            "type": text(row.get("cancer_type")),
        }
        for i, row in table.iterrows()
    ]
    return {"rows": rows, "places": places}
