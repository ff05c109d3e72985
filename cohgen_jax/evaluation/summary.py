"""The one table to look at first: every target from all its sources, method against method."""

import numpy as np
import pandas as pd

from cohgen_jax.evaluation.fullest import all_others, fullest, of_fullest

UNITS_COLUMNS = (
    *("units_crps", "units_crps_se", "units_r2", "units_corr", "units_variance_ratio"),
    *("units_coverage80", "units_structure_slope", "units_pearson_pooled"),
)
"""Scores in units of the tables (units.py), where an evaluation has them: these lead."""
SUMMARY_COLUMNS = ("r2_inf", "energy_score", "energy_score_se", "spread_error", "coverage80")
"""Scores of latents."""


def in_units(conditions: pd.DataFrame) -> bool:
    """Whether these rows are scored in units of the tables."""
    return "units_crps" in conditions and bool(conditions["units_crps"].notna().all())


def lead(conditions: pd.DataFrame) -> str:
    """The score that decides, lower is better: CRPS in units, or without it the energy score."""
    return "units_crps" if in_units(conditions) else "energy_score"


def summarise(conditions: pd.DataFrame) -> pd.DataFrame:
    """Rows of `conditions` from the fullest sources (fullest.py), a row a target and method.

    Columns target, method, sources, n, draws, UNITS_COLUMNS if there are any, SUMMARY_COLUMNS;
    `best_r2` and `best_energy` mark the best method of a target in latents, `best_units_r2` and
    `best_crps` in units. Targets and methods keep their order.
    """
    rows = []
    for _, table in of_fullest(conditions, fullest(conditions)).groupby("target", sort=False):
        columns = ["target", "method", "sources", "n", "draws", *UNITS_COLUMNS, *SUMMARY_COLUMNS]
        best = {
            "best_r2": table["r2_inf"] == table["r2_inf"].max(),
            "best_energy": table["energy_score"] == table["energy_score"].min(),
        }
        if in_units(table):
            best["best_units_r2"] = table["units_r2"] == table["units_r2"].max()
            best["best_crps"] = table["units_crps"] == table["units_crps"].min()
        rows.append(table.filter(columns).assign(**best))
    return pd.concat(rows, ignore_index=True)


def summary_text(conditions: pd.DataFrame) -> str:
    """The summary for a terminal, two numbers a target and method; * marks the best.

    CRPS and R2 in units, or where there are none R2 of the posterior mean and energy score.
    """
    table = summarise(conditions)
    if in_units(table):
        shown = ("units_crps", "best_crps", "units_r2", "best_units_r2")
        formats, meaning = ("{:.3f}", "{:.3f}"), "CRPS / R2, in units of the tables"
    else:
        shown = ("r2_inf", "best_r2", "energy_score", "best_energy")
        formats, meaning = ("{:.3f}", "{:.2f}"), "R2 / energy score, of latents"
    table["cell"] = [
        f"{formats[0].format(one)}{'*' if best_one else ' '}/ "
        f"{formats[1].format(other)}{'*' if best_other else ' '}"
        for one, best_one, other, best_other in zip(*(table[c] for c in shown), strict=True)
    ]
    chosen = dict(zip(table["target"], table["sources"], strict=True))
    modalities = {*chosen, *"+".join(conditions["sources"]).split("+")} - {"none"}
    if not (whole := all_others(chosen, [*modalities])):
        table["target"] = table["target"] + " from " + table["sources"]
    methods, targets = list(dict.fromkeys(table["method"])), list(dict.fromkeys(table["target"]))
    wide = table.pivot(index="target", columns="method", values="cell").loc[targets, methods]
    wide = wide.astype(object).where(wide.notna(), "-")
    rows = [["target", *methods], *([t, *wide.loc[t]] for t in targets)]
    widths = np.max([[len(cell) for cell in row] for row in rows], axis=0)
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    meaning += ", from all others" if whole else ""
    return "\n".join([*(line.rstrip() for line in lines), f"({meaning})"])
