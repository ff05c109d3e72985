"""One self-contained HTML page of a run: opens without a network, prints, can be mailed."""

import base64
import datetime
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cohgen_jax.evaluation.summary import summarise

MAX_ROWS = 400
"""Longer tables are cut in the page; their files are complete."""

MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}

GLOSSARY = {
    "r2_inf": (
        "R² of the posterior mean: the share of variation between patients that the average of "
        "very many draws explains. 1 is perfect; 0 is no better than one constant for everyone."
    ),
    "r2, mse, cosine_distance": (
        "The same kinds of error for a single draw. A draw carries the uncertainty that the "
        "sources leave, so honest draws score lower than their mean, and below zero where the "
        "sources say little. Columns ending in _sd: standard deviation over repeated draws. "
        "Columns ending in _mean: of the average of the draws made."
    ),
    "energy_score": (
        "Scores the draws as a forecast, accuracy and spread together; lower is better, and only "
        "the true distribution has the lowest expected score. Fair in the number of draws. "
        "energy_score_se: its standard error over patients."
    ),
    "spread_error": (
        "Standard deviation of the draws over the error of their mean. 1 is calibrated; below 1 "
        "the draws are too sure of themselves, above 1 too unsure."
    ),
    "crps, variogram_score": (
        "Proper scores like the energy score, lower is better: of each feature alone, and of how "
        "features differ from each other (which sees lost dependence between them)."
    ),
    "spread, error": (
        "Root mean square standard deviation of the draws (sharpness), and root mean square error "
        "of their mean with the noise of finitely many draws removed."
    ),
    "calibration_error": (
        "Mean difference between the coverage that central intervals promise and keep, over levels."
    ),
    "coverage80": ("How often the truth lies inside the middle 80 % of the draws; should be 0.80."),
    "disagreement": (
        "1 - mean cosine between the predictions of the single-condition denoisers, averaged over "
        "the steps: 0 when the sources tell the same story. Not defined for methods without an "
        "ensemble."
    ),
    "precision, recall, f1, density, manifold_coverage": (
        "Are generated samples where real ones are (precision, density), and everywhere they are "
        "(recall, coverage)? 1 is best; density may exceed 1. One draw a patient."
    ),
    "energy_global, energy_local, energy_balanced, pointwise_global, pointwise_local, "
    "pointwise_balanced": (
        "Distances between the generated set and the real set, as a whole (global), in the "
        "neighbourhood of each patient (local), and their product (balanced); 0 is identical."
    ),
    "ridge, kernel_ridge, nearest, gaussian": (
        "Baselines fitted on the same split: linear regression, regression with a Gaussian "
        "kernel, values of similar patients, and a Gaussian of all modalities conditioned on the "
        "sources. A model below them has learnt less than they."
    ),
}


def write_report(
    run_dir: Path,
    *,
    title: str,
    tables: Mapping[str, pd.DataFrame],
    figures: Sequence[tuple[Path, str]] = (),
    metadata: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write `run_dir`/report.html and return its path.

    Args:
      tables: heading -> table, shown in order; the first with the columns of
        `evaluate(...).conditions` also gives the summary on top.
      figures: (SVG or PNG file, caption); embedded.
      metadata: what made the run: configuration, seed, versions, durations.
      notes: plain sentences, shown below the summary (what the loader did, warnings).
    """
    import jinja2

    source = importlib.resources.files("cohgen_jax.evaluation").joinpath("report.html.j2")
    template = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).from_string(source.read_text())
    needed = {"target", "method", "num_sources", "r2_inf", "energy_score"}
    scored = next((t for t in tables.values() if needed <= set(t.columns)), None)
    page = template.render(
        title=title,
        written=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=None if scored is None else _summary(scored),
        notes=list(notes),
        figures=[(_data_uri(path), caption) for path, caption in figures],
        tables=[
            (name, len(table), _html_table(table.head(MAX_ROWS))) for name, table in tables.items()
        ],
        max_rows=MAX_ROWS,
        glossary=GLOSSARY,
        metadata={name: _text(value) for name, value in (metadata or {}).items()},
    )
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _summary(conditions: pd.DataFrame) -> dict[str, Any]:
    """Methods and, for each target, one cell a method (None where it was not run)."""
    table = summarise(conditions)
    methods = list(dict.fromkeys(table["method"]))
    rows = []
    for target, own in table.groupby("target", sort=False):
        cells = {row["method"]: row for row in own.to_dict("records")}
        rows.append((target, own["n"].max(), [cells.get(method) for method in methods]))
    return {"methods": methods, "rows": rows}


def _data_uri(path: Path) -> str:
    """The file inside the page; an image of its own, so that ids of two SVGs never collide."""
    if path.suffix not in MEDIA_TYPES:
        raise ValueError(f"{path}: a report embeds {' and '.join(MEDIA_TYPES)} files only")
    encoded = base64.b64encode(path.read_bytes()).decode()
    return f"data:{MEDIA_TYPES[path.suffix]};base64,{encoded}"


def _html_table(table: pd.DataFrame) -> str:
    if not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index()
    return table.to_html(index=False, border=0, na_rep="", float_format=lambda x: f"{x:.4g}")


def _text(value: Any) -> str:
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, indent=2, default=str)
    return str(value)
