"""What can be generated from which, how well beside baselines, how honest: one screen."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from cohgen_jax.baselines import BASELINES, EVENTS, OPTIONAL
from cohgen_jax.evaluation.fullest import all_others, fullest, in_words
from cohgen_jax.evaluation.summary import in_units, lead, summarise
from cohgen_jax.figures.style import method_label
from cohgen_jax.report.files import VALIDATION, RunFiles
from cohgen_jax.report.page import Block, Cell, Grid, Text, percent

REFERENCES = (*BASELINES, *EVENTS, *OPTIONAL, "mean")
"""What the models are judged beside."""
NAMES = {"units_crps": "CRPS in units", "energy_score": "energy score"}
"""The scores that decide, by what they are called."""
FITTED = (
    "Of validation patients: weights, the consensus and the calibration were chosen on these "
    "patients, so scores are better than new patients will have. "
    "evaluate.py --split test scores patients whom nothing was fitted to."
)
NO_UNITS = (
    "These are scores of latents, which judge what a codec keeps: the tables of the cohort could "
    "not be read again. evaluate.py --cohort says where they are, for scores in their units."
)


def blocks(run: RunFiles) -> list[Block]:
    conditions = run.table("fidelity")
    if conditions is None:
        return []
    summary = summarise(conditions)
    models = [m for m in dict.fromkeys(summary["method"]) if m not in REFERENCES]
    source = in_words(run.fullest, run.modalities)
    headline, *by_target = verdict(
        summary, models, run.evaluated, run.table("against_baselines"), source
    )
    lines = [headline, *([f"{run.known}."] if run.known else [])]
    parts: list[Block] = [Text(lines if in_units(summary) else [*lines, NO_UNITS])]
    if run.evaluated == VALIDATION:
        parts.insert(0, Text.of(FITTED))
    if models:
        best = best_model(summary, models)
        parts.append(from_which(conditions, run.modalities, best, run.evaluated))
    parts.append(against_baselines(summary, run.modalities))
    return [*parts, Text(by_target)] if by_target else parts


def best_model(summary: pd.DataFrame, models: list[str]) -> str:
    """The model with the lowest CRPS in units (or energy score), averaged over the targets."""
    of_models = summary[summary["method"].isin(models)]
    return str(of_models.groupby("method", sort=False)[lead(summary)].mean().idxmin())


def verdict(
    summary: pd.DataFrame,
    models: list[str],
    patients: str = "held-out patients",
    paired: pd.DataFrame | None = None,
    source: str = "from all other modalities",
) -> list[str]:
    """What the numbers say, good or bad: in one sentence, then target by target.

    paired: metrics/against_baselines.csv; with it, ahead is what differs by two standard errors of
    the differences between patients. source: what these are the scores from, in words.
    """
    score, lines = lead(summary), []
    ahead, clearly, behind, compared, told = 0, 0, 0, 0, paired is not None
    for target, of_target in summary.groupby("target", sort=False):
        is_model = of_target["method"].isin(models).to_numpy()
        if not is_model.any():
            continue
        best = _best(of_target[is_model], score)
        r2 = best["units_r2" if score == "units_crps" else "r2_inf"]
        line = (
            f"{target}: {method_label(best['method'])} explains {percent(max(r2, 0))} of the "
            f"variation between {patients} (R² {r2:.3f}), {NAMES[score]} {_number(best, score)}; "
            f"{honesty(best)}."
        )
        if (~is_model).any():
            baseline = _best(of_target[~is_model], score)
            compared += 1
            gap = baseline[score] - best[score]
            ahead += gap > 0
            line += (
                f" The best baseline, {method_label(baseline['method'])}, has R² "
                f"{baseline['units_r2' if score == 'units_crps' else 'r2_inf']:.3f} and "
                f"{NAMES[score]} {_number(baseline, score)}: the "
                f"model is {abs(gap):.{DIGITS[score]}f} {'better' if gap > 0 else 'worse'}"
            )
            pair = _pair(paired, best, baseline)
            if pair is None:
                told = False
                line += "."
            else:
                sure = abs(pair["difference"]) > 2 * pair["se"]
                clearly += sure and pair["difference"] < 0
                behind += sure and pair["difference"] > 0
                line += (
                    f" (patient by patient {pair['difference']:+.{DIGITS[score]}f} ± "
                    f"{pair['se']:.{DIGITS[score]}f}, negative is better)."
                )
        lines.append(line)
    if not compared:
        return ["No model was evaluated beside a baseline.", *lines]
    headline = (
        f"{source[0].upper()}{source[1:]}, the best model has a better {NAMES[score]} than every "
        f"baseline on {ahead} of {compared} targets"
    )
    if told:
        headline += (
            f"; patient by patient, it is ahead of the best baseline by more than two standard "
            f"errors on {clearly}, and behind it on {behind}"
        )
    return [f"{headline}.", *lines]


DIGITS = {"units_crps": 4, "energy_score": 2}


def _number(row: pd.Series, score: str) -> str:
    return f"{row[score]:.{DIGITS[score]}f}"


def _best(scores: pd.DataFrame, score: str) -> pd.Series:
    return scores.iloc[scores[score].argmin()]


def _pair(paired: pd.DataFrame | None, best: pd.Series, baseline: pd.Series) -> pd.Series | None:
    """The row of these two methods, target and sources."""
    if paired is None:
        return None
    same = [paired[name] == best[name] for name in ("target", "sources", "method")]
    rows = paired[same[0] & same[1] & same[2] & (paired["baseline"] == baseline["method"])]
    return rows.iloc[0] if len(rows) else None


def promised(row: pd.Series) -> float:
    """Coverage in units between the quantiles 0.1 and 0.9 of so many draws when they are honest."""
    draws = row.get("draws", 10)
    return 0.8 * (draws - 1) / (draws + 1)


def honesty(row: pd.Series) -> str:
    """Spread and coverage in words; within 10 % and 3 points counts as calibrated.

    In units where there are any; values that many patients share are held by any interval that
    touches them, so that draws are less sure than they could be only if their spread says so too.
    Of fewer than 9 draws no interval of latents can cover 80 %: then the spread alone counts.
    """
    spread = row["spread_error"]
    if "units_coverage80" in row and pd.notna(row["units_coverage80"]):
        covers, wanted = row["units_coverage80"], promised(row)
        ratio = row["units_variance_ratio"]
        facts = (
            f"the middle 80 % of its draws hold {percent(covers)} of the measured values, "
            f"{percent(wanted)} when honest; generated patients vary {ratio:.2f} times as much as "
            "measured ones"
        )
        if covers - wanted < -0.03:
            return f"too sure of itself ({facts})"
        if covers - wanted > 0.03 and spread > 1.1:
            return f"less sure than it could be ({facts})"
        return f"calibrated ({facts})"
    covers = row["coverage80"]
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
    """Targets by sources: R2 from one source alone, and from all."""
    of_model = conditions[conditions["method"] == model]
    score, rows = "units_r2" if in_units(of_model) else "r2_inf", []
    chosen = fullest(of_model)
    whole = all_others(chosen, modalities)
    for target in dict.fromkeys(of_model["target"]):
        table = of_model[of_model["target"] == target].set_index("sources")
        wanted = [m if m != target else None for m in modalities]
        everything = chosen[str(target)]
        cells = []
        for sources in (*wanted, everything):
            if sources is None or sources not in table.index:
                cells.append(None)
                continue
            row = table.loc[sources]
            named = (sources,) if sources == everything and not whole and len(cells) else ()
            cells.append(Cell(f"{row[score]:.2f}", named, shade=1.6 * row[score]))
        rows.append((str(target), f"{table['n'].max()} patients", cells))
    return Grid(
        "generated ↓  from →",
        [*modalities, "all others" if whole else "most others"],
        rows,
        "What can be generated from which: R² "
        + ("in units of the tables" if score == "units_r2" else "of the posterior mean")
        + f" on {patients}, by "
        f"{method_label(model)}, the model with the best {NAMES[lead(conditions)]}. 1 is perfect, "
        "0 no better than one value for everyone.",
    )


def against_baselines(summary: pd.DataFrame, modalities: Sequence[str]) -> Grid:
    methods, units = list(dict.fromkeys(summary["method"])), in_units(summary)
    whole = all_others(dict(zip(summary["target"], summary["sources"], strict=True)), modalities)
    cell = _cell_in_units if units else _cell_of_latents
    rows = []
    for target, of_target in summary.groupby("target", sort=False):
        by_method = {row["method"]: row for row in of_target.to_dict("records")}
        cells = [cell(by_method[m]) if m in by_method else None for m in methods]
        source = "" if whole else f"from {of_target['sources'].iloc[0]}, "
        rows.append((str(target), f"{source}{of_target['n'].max()} patients", cells))
    return Grid(
        "from all others" if whole else "from the most others",
        [method_label(method) for method in methods],
        rows,
        (IN_UNITS if units else OF_LATENTS)
        + " All methods see the same patients, so small differences can be real: the paired ones "
        "are under Fidelity.",
    )


IN_UNITS = (
    "Large: CRPS in units of the tables (standard deviations of a feature), lower is better, the "
    "best starred and shaded. Below, in units too: R²; r, the correlation of mean draw and "
    "measured value over patients, mean of the features; variance of generated over that of "
    "measured patients; share of measured values in the middle 80 % of the draws; slope of "
    "correlations between features, 1 when they are as strong as measured; pooled, the correlation "
    "over all cells. Last, of latents: energy score (ES) and R²."
)
OF_LATENTS = (
    "Large: R² of the posterior mean, the best starred. ES: energy score ± its standard error "
    "over patients, lower is better, the best starred and shaded. Covers: how often the truth lies "
    "in the middle 80 % of the draws."
)


def _cell_in_units(row: dict) -> Cell:
    return Cell(
        f"{row['units_crps']:.4f}",
        (
            f"R² {row['units_r2']:.3f}, r {row['units_corr']:.3f}",
            f"variance {row['units_variance_ratio']:.2f}",
            f"covers {percent(row['units_coverage80'])}",
            f"slope {row['units_structure_slope']:.2f}, pooled {row['units_pearson_pooled']:.2f}",
            f"latent ES {row['energy_score']:.2f}, R² {row['r2_inf']:.3f}",
        ),
        best=bool(row["best_crps"]),
        shade=0.5 if row["best_crps"] else 0,
    )


def _cell_of_latents(row: dict) -> Cell:
    best = " ★" if row["best_energy"] else ""
    return Cell(
        f"{row['r2_inf']:.3f}",
        (
            f"ES {row['energy_score']:.2f} ± {row['energy_score_se']:.2f}{best}",
            f"covers {percent(row['coverage80'])}",
            f"spread/error {row['spread_error']:.2f}",
        ),
        best=bool(row["best_r2"]),
        shade=0.5 if row["best_energy"] else 0,
    )
