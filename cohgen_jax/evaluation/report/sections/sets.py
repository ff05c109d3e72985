"""Generated sets against real ones, beside what chance gives."""

from __future__ import annotations

import pandas as pd

from cohgen_jax.evaluation.figures import set_distances
from cohgen_jax.evaluation.report.files import RunFiles
from cohgen_jax.evaluation.report.page import Block, Picture, Table, Text
from cohgen_jax.evaluation.style import method_label, save


def blocks(run: RunFiles) -> list[Block]:
    table = run.table("null_distributions")
    if table is None:
        return []
    return [
        Text(verdict(table)),
        Picture(
            save(set_distances(table), run.path / "figures" / "set_distances"),
            "Distance between random half sets: held-out patients against other held-out patients "
            "(what chance gives), against training patients, and against one generated draw of "
            "each held-out patient. Bars hold the central 95 % of random pairs of sets.",
            "Energy and pointwise distances of generated sets beside the distances between real "
            "sets, for every target.",
        ),
        Table(table, "Distances between sets", file="metrics/null_distributions.csv"),
    ]


def verdict(table: pd.DataFrame) -> list[str]:
    """For each method, on which targets its sets lie no further away than real ones."""
    lines = []
    energy = table[table["distance"] == "energy"]
    real = energy[energy["real against"] == "real"].set_index("target")["high"]
    for method, own in energy.groupby("real against", sort=False):
        if method == "real":
            continue
        means = own.set_index("target")["mean"]
        within = [str(t) for t in means.index if means[t] <= real[t]]
        further = [str(t) for t in means.index if means[t] > real[t]]
        text = f"{method_label(str(method))}, energy distance: "
        if within:
            text += f"cannot be told from held-out patients on {', '.join(within)}"
        if further:
            text += f"{'; ' if within else ''}further away than chance on {', '.join(further)}"
        lines.append(text + ".")
    return lines
