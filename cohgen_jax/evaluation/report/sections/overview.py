"""What can be generated from which, how well beside baselines, how honest: one screen."""

from __future__ import annotations

import pandas as pd

from cohgen_jax.evaluation.baselines import BASELINES, OPTIONAL
from cohgen_jax.evaluation.report.files import VALIDATION, RunFiles
from cohgen_jax.evaluation.report.page import Block, Cell, Grid, Text, percent
from cohgen_jax.evaluation.style import method_label
from cohgen_jax.evaluation.summary import summarise

REFERENCES = (*BASELINES, *OPTIONAL, "mean")
"""What the models are judged beside."""
FITTED = (
    "Of validation patients: weights, the consensus and the calibration were chosen on these "
    "patients, so scores are better than new patients will have. "
    "evaluate.py --split test scores patients whom nothing was fitted to."
)


def blocks(run: RunFiles) -> list[Block]:
    conditions = run.table("fidelity")
    if conditions is None:
        return []
    summary = summarise(conditions)
    models = [m for m in dict.fromkeys(summary["method"]) if m not in REFERENCES]
    headline, *by_target = verdict(summary, models, run.evaluated)
    found: list[Block] = [Text.of(headline)]
    if run.evaluated == VALIDATION:
        found.insert(0, Text.of(FITTED))
    if models:
        best = best_model(summary, models)
        found.append(from_which(conditions, run.modalities, best, run.evaluated))
    found.append(against_baselines(summary))
    return [*found, Text(by_target)] if by_target else found


def best_model(summary: pd.DataFrame, models: list[str]) -> str:
    """The model with the lowest energy score, averaged over the targets."""
    own = summary[summary["method"].isin(models)]
    return str(own.groupby("method", sort=False)["energy_score"].mean().idxmin())


def verdict(
    summary: pd.DataFrame, models: list[str], patients: str = "held-out patients"
) -> list[str]:
    """What the numbers say, good or bad: in one sentence, then target by target."""
    lines, ahead, compared = [], 0, 0
    for target, own in summary.groupby("target", sort=False):
        is_model = own["method"].isin(models).to_numpy()
        if not is_model.any():
            continue
        best = _best(own[is_model])
        line = (
            f"{target}: {method_label(best['method'])} explains "
            f"{percent(max(best['r2_inf'], 0))} of the variation between {patients} "
            f"(R² {best['r2_inf']:.3f}), energy score "
            f"{best['energy_score']:.2f}; {honesty(best)}."
        )
        if (~is_model).any():
            baseline = _best(own[~is_model])
            compared += 1
            gap = baseline["energy_score"] - best["energy_score"]
            ahead += gap > 0
            line += (
                f" The best baseline, {method_label(baseline['method'])}, has R² "
                f"{baseline['r2_inf']:.3f} and energy score {baseline['energy_score']:.2f}: the "
                f"model is {abs(gap):.2f} {'better' if gap > 0 else 'worse'}."
            )
        lines.append(line)
    headline = (
        f"From all other modalities, the best model has a better energy score than every baseline "
        f"on {ahead} of {compared} targets."
        if compared
        else "No model was evaluated beside a baseline."
    )
    return [headline, *lines]


def _best(scores: pd.DataFrame) -> pd.Series:
    return scores.iloc[scores["energy_score"].argmin()]


def honesty(row: pd.Series) -> str:
    """Spread and coverage in words; within 10 % and 3 points counts as calibrated.

    Of fewer than 9 draws no interval can cover 80 %: then the spread alone counts.
    """
    covers, spread = row["coverage80"], row["spread_error"]
    facts = f"80 % intervals cover {percent(covers)}, spread over error is {spread:.2f}"
    gap = covers - 0.8 if row.get("draws", 10) >= 9 else 0.0
    if gap < -0.03 or spread < 0.9:
        return f"too sure of itself ({facts})"
    if gap > 0.03 or spread > 1.1:
        return f"less sure than it could be ({facts})"
    return f"calibrated ({facts})"


def from_which(
    conditions: pd.DataFrame, modalities: tuple[str, ...], model: str, patients: str
) -> Grid:
    """Targets by sources: R2 of the posterior mean from one source alone, and from all."""
    own = conditions[conditions["method"] == model]
    rows = []
    for target in dict.fromkeys(own["target"]):
        table = own[own["target"] == target].set_index("sources")
        wanted = [m if m != target else None for m in modalities]
        everything = table.index[table["num_sources"].argmax()]
        cells = []
        for sources in (*wanted, everything):
            if sources is None or sources not in table.index:
                cells.append(None)
                continue
            row = table.loc[sources]
            cells.append(Cell(f"{row['r2_inf']:.2f}", shade=1.6 * row["r2_inf"]))
        rows.append((str(target), f"{table['n'].max()} patients", cells))
    return Grid(
        "generated ↓  from →",
        [*modalities, "all others"],
        rows,
        f"What can be generated from which: R² of the posterior mean on {patients}, by "
        f"{method_label(model)}, the model with the best energy score. 1 is perfect, 0 no better "
        "than one value for everyone.",
    )


def against_baselines(summary: pd.DataFrame) -> Grid:
    methods = list(dict.fromkeys(summary["method"]))
    rows = []
    for target, own in summary.groupby("target", sort=False):
        by_method = {row["method"]: row for row in own.to_dict("records")}
        cells = []
        for method in methods:
            row = by_method.get(method)
            if row is None:
                cells.append(None)
                continue
            best = " ★" if row["best_energy"] else ""
            cells.append(
                Cell(
                    f"{row['r2_inf']:.3f}",
                    (
                        f"ES {row['energy_score']:.2f} ± {row['energy_score_se']:.2f}{best}",
                        f"covers {percent(row['coverage80'])}",
                        f"spread/error {row['spread_error']:.2f}",
                    ),
                    best=bool(row["best_r2"]),
                    shade=0.5 if row["best_energy"] else 0,
                )
            )
        rows.append((str(target), f"{own['n'].max()} patients", cells))
    return Grid(
        "from all others",
        [method_label(method) for method in methods],
        rows,
        "Large: R² of the posterior mean, the best starred. ES: energy score ± its standard error "
        "over patients, lower is better, the best starred and shaded; all methods see the same "
        "patients, so small differences can be real: paired tests are under the downstream "
        "analyses. Covers: how often the truth lies in the middle 80 % of the draws.",
    )
