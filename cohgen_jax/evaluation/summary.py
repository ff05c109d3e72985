"""The one table to look at first: every target from all its sources, method against method."""

import numpy as np
import pandas as pd

SUMMARY_COLUMNS = ("r2_inf", "energy_score", "energy_score_se", "spread_error", "coverage80")


def summarise(conditions: pd.DataFrame) -> pd.DataFrame:
    """Rows of `conditions` that use all sources, a row a target and method.

    Columns target, method, sources, n, then SUMMARY_COLUMNS; `best_r2` and `best_energy` mark the
    best method of a target. Targets and methods keep their order.
    """
    most = conditions.groupby("target")["num_sources"].transform("max")
    table = conditions[conditions["num_sources"] == most]
    table = table[["target", "method", "sources", "n", *SUMMARY_COLUMNS]].copy()
    table["best_r2"] = table["r2_inf"] == table.groupby("target")["r2_inf"].transform("max")
    lowest = table.groupby("target")["energy_score"].transform("min")
    table["best_energy"] = table["energy_score"] == lowest
    order = {target: i for i, target in enumerate(dict.fromkeys(conditions["target"]))}
    return table.sort_values("target", key=lambda c: c.map(order), kind="stable", ignore_index=True)


def summary_text(conditions: pd.DataFrame) -> str:
    """The summary for a terminal: R2 of the posterior mean / energy score, * marks the best."""
    table = summarise(conditions)

    def cell(row: pd.Series) -> str:
        r2 = f"{row['r2_inf']:.3f}{'*' if row['best_r2'] else ' '}"
        return f"{r2}/ {row['energy_score']:.2f}{'*' if row['best_energy'] else ' '}"

    table["cell"] = [cell(row) for _, row in table.iterrows()]
    methods, targets = list(dict.fromkeys(table["method"])), list(dict.fromkeys(table["target"]))
    wide = table.pivot(index="target", columns="method", values="cell").loc[targets, methods]
    wide = wide.astype(object).where(wide.notna(), "-")
    rows = [["target", *methods], *([t, *wide.loc[t]] for t in targets)]
    widths = np.max([[len(cell) for cell in row] for row in rows], axis=0)
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
