"""Who has what: counts of presence patterns, and their UpSet plot (Lex et al. 2014)."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from cohgen_jax.figures.style import BLUE, GREY, house_style

MAX_PATTERNS = 24


def presence_patterns(present: pd.DataFrame) -> pd.DataFrame:
    """Rows with the same assays, most frequent first. present: bool, a column a modality.

    Columns: the modalities (bool), samples.
    """
    counts = present.value_counts().rename("samples").reset_index()
    return counts.sort_values("samples", ascending=False, kind="stable", ignore_index=True)


def upset(present: pd.DataFrame) -> Figure:
    """Above, how many samples have exactly these assays; left, how many have each assay."""
    patterns = presence_patterns(present).head(MAX_PATTERNS)
    modalities = list(present.columns)
    width, height = 0.34 * len(patterns) + 2.6, 0.27 * len(modalities) + 2.1
    with house_style():
        figure = Figure(figsize=(max(width, 4.5), height), layout="constrained")
        grid = figure.add_gridspec(
            2, 2, width_ratios=(1.4, 0.34 * len(patterns) + 0.4),
            height_ratios=(1.7, 0.27 * len(modalities)), wspace=0, hspace=0,
        )  # fmt: skip
        bars = figure.add_subplot(grid[0, 1])
        matrix = figure.add_subplot(grid[1, 1], sharex=bars)
        sizes = figure.add_subplot(grid[1, 0], sharey=matrix)
        bars.bar(range(len(patterns)), patterns["samples"], 0.62, color=BLUE)
        bars.bar_label(bars.containers[0], fontsize=7, padding=1)  # pyright: ignore
        bars.set_ylabel("samples")
        bars.tick_params(axis="x", length=0, labelbottom=False)
        bars.set_xlim(-0.7, len(patterns) - 0.3)
        for x, row in enumerate(patterns[modalities].itertuples(index=False)):
            used = [y for y, has in enumerate(row) if has]
            unused = [y for y, has in enumerate(row) if not has]
            matrix.scatter([x] * len(unused), unused, s=26, color="#DDDDDD", linewidths=0)
            matrix.scatter([x] * len(used), used, s=30, color="#222222", linewidths=0)
            if used:
                matrix.plot([x, x], [used[0], used[-1]], color="#222222", linewidth=1.4)
        totals = present.sum()
        sizes.barh(range(len(modalities)), totals, 0.55, color=GREY)
        for y, total in enumerate(totals):
            sizes.text(total, y, f"{total} ", va="center", ha="right", fontsize=7)
        sizes.set_xlim(totals.max() * 1.9, 0)  # room for the counts, bars grow to the left
        sizes.set_yticks(range(len(modalities)), modalities)
        sizes.yaxis.tick_right()
        sizes.set_ylim(len(modalities) - 0.5, -0.5)
        for axes in (matrix, sizes):
            axes.tick_params(length=0)
            for spine in axes.spines.values():
                spine.set_visible(False)
        matrix.tick_params(labelleft=False, labelbottom=False)
        sizes.tick_params(labelbottom=False)
    return figure
