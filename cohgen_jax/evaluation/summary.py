"""The one table to look at first: every target from all its sources, method against method."""

import numpy as np
import pandas as pd

SUMMARY_COLUMNS = ("r2_inf", "energy_score", "energy_score_se", "spread_error", "coverage80")


def summarise(conditions: pd.DataFrame) -> pd.DataFrame:
    """Rows of `conditions` that use all sources, a row a target and method.

    Columns target, method, sources, n, draws, then SUMMARY_COLUMNS; `best_r2` and `best_energy`
    mark the best method of a target. Targets and methods keep their order.
    """
    rows = []
    for _, table in conditions.groupby("target", sort=False):
        table = table.query("num_sources == num_sources.max()")
        columns = ["target", "method", "sources", "n", "draws", *SUMMARY_COLUMNS]
        best_r2 = table["r2_inf"] == table["r2_inf"].max()
        best_energy = table["energy_score"] == table["energy_score"].min()
        rows.append(table.filter(columns).assign(best_r2=best_r2, best_energy=best_energy))
    return pd.concat(rows, ignore_index=True)


def summary_text(conditions: pd.DataFrame) -> str:
    """The summary for a terminal: R2 of the posterior mean / energy score, * marks the best."""
    table = summarise(conditions)

    columns = zip(
        *(table[c] for c in ("r2_inf", "best_r2", "energy_score", "best_energy")), strict=True
    )
    table["cell"] = [
        f"{r2:.3f}{'*' if best_r2 else ' '}/ {energy:.2f}{'*' if best_energy else ' '}"
        for r2, best_r2, energy, best_energy in columns
    ]
    methods, targets = list(dict.fromkeys(table["method"])), list(dict.fromkeys(table["target"]))
    wide = table.pivot(index="target", columns="method", values="cell").loc[targets, methods]
    wide = wide.astype(object).where(wide.notna(), "-")
    rows = [["target", *methods], *([t, *wide.loc[t]] for t in targets)]
    widths = np.max([[len(cell) for cell in row] for row in rows], axis=0)
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
