"""Generated sets against real ones, beside what chance gives."""

from __future__ import annotations

import pandas as pd

from cohgen_jax.figures.curves import set_distances
from cohgen_jax.figures.style import method_label, save
from cohgen_jax.report.files import RunFiles
from cohgen_jax.report.page import Block, Picture, Table, Text


def blocks(run: RunFiles) -> list[Block]:
    table = run.table("null_distributions")
    if table is None:
        return []
    return [
        Text(verdict(table)),
        Picture(
            save(set_distances(table), run.path / "figures" / "set_distances"),
            f"Distance between random half sets: {run.evaluated} against others of them (what "
            "chance gives), against training patients, and against one generated draw of each. "
            "Bars hold the central 95 % of random pairs of sets.",
            "Energy and pointwise distances of generated sets beside the distances between real "
            "sets, for every target.",
        ),
        Table(table, "Distances between sets", file="metrics/null_distributions.csv"),
    ]


def verdict(table: pd.DataFrame) -> list[str]:
    """For each set and distance, on which targets it lies no further away than real ones."""
    lines = []
    for kind, distances in table.groupby("distance", sort=False):
        chance = distances[distances["real against"] == "real"].set_index("target")["high"]
        for other, of_set in distances.groupby("real against", sort=False):
            if other == "real":
                continue
            means = of_set.set_index("target")["mean"]
            further = [str(t) for t in means.index if means[t] > chance[t]]
            lines.append(
                f"{method_label(str(other))}, {kind} distance: "
                + (f"further away than chance on {', '.join(further)}" if further else "as chance")
                + f" ({len(means) - len(further)} of {len(means)} targets within it)."
            )
    return lines
