"""Every target from every subset of sources, by every method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cohgen_jax.evaluation.fullest import in_words, of_fullest
from cohgen_jax.evaluation.summary import in_units, lead
from cohgen_jax.figures.dots import IDEALS, SCORE_LABELS, score_dots, subsets_in_order
from cohgen_jax.figures.style import method_label, save
from cohgen_jax.report.files import RunFiles
from cohgen_jax.report.interactive import dots, layout
from cohgen_jax.report.page import Block, Heading, Picture, Plot, Table, Text

SCORES = (
    *("units_crps", "units_r2", "units_corr", "units_variance_ratio", "units_coverage80"),
    *("units_structure_slope", "units_pearson_pooled"),
    *("energy_score", "r2_inf", "spread_error", "coverage80", "r2", "mse", "cosine_distance"),
)
"""In units of the tables first, then of latents."""


def blocks(run: RunFiles) -> list[Block]:
    conditions = run.table("fidelity")
    if conditions is None:
        return []
    used = conditions.query("num_sources > 0")
    num = len(used.groupby(["target", "sources"]))
    units = in_units(used)
    methods = list(dict.fromkeys(used["method"]))
    parts: list[Block] = [
        Text.of(
            f"{num} conditions: each of {used['target'].nunique()} targets from every subset of "
            f"the other modalities, by {len(methods)} methods on the same {run.evaluated}. "
            "A good model lies to the right of every baseline in R², to the left in CRPS and "
            "energy score, and on the line in the calibration scores. Click a method in the legend "
            "to hide it."
        ),
        Plot(*_by_subset(run, used, methods)),
        *([_picture(run, used, "units_crps")] if units else []),
        _picture(run, used, "energy_score"),
        *_paired(run),
        *_by_label(run, methods),
        Heading("Every number"),
        *(
            Table(
                wide(used, score, methods),
                f"{SCORE_LABELS[score]}: every target and subset, a column a method",
                open=score == lead(used),
                file="metrics/fidelity.csv",
            )
            for score in ("units_crps", "units_r2", "energy_score", "r2_inf")
            if units or not score.startswith("units_")
        ),
        Table(conditions, "Every condition", file="metrics/fidelity.csv"),
    ]
    by_label = run.table("fidelity_by_cancer_type")
    if by_label is not None:
        full = of_fullest(by_label, run.fullest).reset_index(drop=True)
        parts.append(
            Table(
                full,
                f"By cancer type, {in_words(run.fullest, run.modalities)}",
                file="metrics/fidelity_by_cancer_type.csv",
            )
        )
    return parts


def wide(table: pd.DataFrame, score: str, methods: list[str]) -> pd.DataFrame:
    """One score of every condition: a row a target and subset of sources, a column a method."""
    key = ["target", "sources", "num_sources", "n"]
    values = table.pivot(index=key, columns="method", values=score)[methods].reset_index()
    order = table[key].drop_duplicates()
    return order.merge(values, on=key).rename(columns={m: method_label(m) for m in methods})


def _by_subset(run: RunFiles, table: pd.DataFrame, methods: list[str]):
    """Arguments of a Plot: score against subset, a selector each for target and score."""
    shown = "units_r2" if in_units(table) else "r2_inf"
    picture = Picture(
        save(score_dots(table, run.modalities, shown), run.path / "figures" / shown),
        f"Scores of every subset of sources (rows) on {run.evaluated}.",
        f"{SCORE_LABELS[shown]} of every method, for every target and subset of sources; the "
        "numbers are in the table 'Every condition'.",
    )
    scores = [score for score in SCORES if score in table and table[score].count()]
    traces = []
    for target in dict.fromkeys(table["target"]):
        of_target = table.query("target == @target")
        for score in scores:
            for method in methods:
                rows = of_target[of_target["method"] == method].set_index("sources")
                rows = rows.reindex([s for s in subsets_in_order(of_target) if s in rows.index])
                if rows.empty:
                    continue
                trace = dots(
                    method,
                    methods,
                    rows[score],
                    rows.index,
                    meta={"target": target, "score": SCORE_LABELS[score]},
                    hovertemplate="%{x:.3f}<br>from %{y}",
                )
                if f"{score}_se" in rows:
                    trace["error_x"] = {
                        "array": rows[f"{score}_se"].tolist(),
                        "thickness": 1,
                        "width": 0,
                        "color": trace["marker"]["color"],
                    }
                traces.append(trace)
    num = table.groupby("target")["sources"].nunique().max()
    axes = layout(
        height=150 + 30 * int(num), x="", y="", yaxis={"autorange": "reversed", "type": "category"}
    )
    changes = {}
    for score in scores:
        change: dict[str, Any] = {
            "xaxis": {**axes["xaxis"], "title": {"text": SCORE_LABELS[score]}}
        }
        if score in IDEALS:
            change["shapes"] = [_line(IDEALS[score])]
        changes["score", SCORE_LABELS[score]] = change
    return traces, axes, picture, changes


def _line(x: float) -> dict:
    return {
        **{"type": "line", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1},
        **{"line": {"color": "#444444", "width": 1}, "layer": "below"},
    }


PICTURES = {
    "units_crps": "CRPS of the draws in units of the tables: accuracy and spread together, lower "
    "is better.",
    "energy_score": "Energy score of the draws' latents: accuracy and spread together, lower is "
    "better.",
}


def _picture(run: RunFiles, table: pd.DataFrame, score: str) -> Picture:
    return Picture(
        save(score_dots(table, run.modalities, score), run.path / "figures" / score),
        PICTURES[score],
        f"{SCORE_LABELS[score]} of every method, for every target and subset of sources.",
        print_only=True,
    )


def _paired(run: RunFiles) -> list[Block]:
    """Models against baselines from all sources, patient by patient."""
    table = run.table("against_baselines")
    if table is None:
        return []
    differences = of_fullest(table, run.fullest).drop(columns=["sources", "num_sources"])
    if differences.empty:
        return []
    score = SCORE_LABELS[str(differences["score"].iloc[0])]
    shown = differences.drop(columns="score").reset_index(drop=True)
    for column in ("method", "baseline"):
        shown[column] = shown[column].map(method_label)
    return [
        Heading("Against baselines, patient by patient"),
        Text.of(
            f"{score}, {in_words(run.fullest, run.modalities)}: the difference between a model and "
            "a baseline on each patient, its mean (negative: the model is better) and the standard "
            "error of this mean. Better and worse are by more than two standard errors."
        ),
        Table(shown, "Models against baselines", file="metrics/against_baselines.csv", open=True),
    ]


def _by_label(run: RunFiles, methods: list[str]) -> list[Block]:
    """R2 within cancer types from the fullest sources."""
    table = run.table("fidelity_by_cancer_type")
    if table is None:
        return []
    table = of_fullest(table, run.fullest)
    if table.empty:
        return []
    from cohgen_jax.figures.curves import label_dots

    still = Picture(
        save(label_dots(table, run.modalities), run.path / "figures" / "by_cancer_type"),
        "R² of the posterior mean within each cancer type, about the mean of all patients, "
        f"{in_words(run.fullest, run.modalities)}; in brackets the number of {run.evaluated}. "
        "Small groups are uncertain.",
        "R² of the posterior mean by cancer type for every target and method.",
    )
    sizes = table.drop_duplicates("label").sort_values("n", ascending=False).set_index("label")["n"]
    traces = []
    for target in dict.fromkeys(table["target"]):
        of_target = table.query("target == @target")
        for method in methods:
            rows = of_target[of_target["method"] == method].set_index("label").reindex(sizes.index)
            names = [f"{label} ({n})" for label, n in sizes.items()]
            keep = rows["r2_inf"].notna().to_numpy()
            if keep.any():
                traces.append(
                    dots(
                        method,
                        methods,
                        rows["r2_inf"][keep],
                        np.array(names)[keep],
                        meta={"target": target},
                        hovertemplate="R² %{x:.3f}<br>%{y}",
                    )
                )
    axes = layout(
        height=150 + 26 * len(sizes),
        x=SCORE_LABELS["r2_inf"],
        y="",
        yaxis={"autorange": "reversed", "type": "category"},
    )
    return [Heading("By cancer type"), Plot(traces, axes, still)]
