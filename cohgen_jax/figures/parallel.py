"""Many settings and what came of them, as one picture (Inselberg 1985)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cohgen_jax.figures.style import house_style


def parallel_coordinates(
    table: pd.DataFrame, entries: Sequence[str], *, score: str = "score"
) -> Figure:
    """A line for each row of `table` through its entries, coloured by its score (lower is better).

    Entries that are the same in all rows have no axis. Numbers that span more than a factor of ten
    are spread by their logarithm, words by their order. Rows with an infinite score are left out.
    """
    rows = table[np.isfinite(table[score])]
    shown = [name for name in entries if rows[name].nunique() > 1]
    places, ticks = zip(*(_spread(rows[name]) for name in [*shown, score]), strict=True)
    # The best are dark and on top; colours by rank, since the worst are often far off.
    rank = rows[score].rank(method="first").to_numpy() / len(rows)
    colours = mpl.colormaps["viridis"](rank)
    with house_style():
        figure = Figure(figsize=(1.35 * len(places) + 0.8, 3.4), layout="constrained")
        axes = figure.subplots()
        for line, colour, r in sorted(
            zip(np.column_stack(places), colours, rank, strict=True), key=lambda row: -row[2]
        ):
            axes.plot(range(len(line)), line, color=colour, linewidth=2.4 - 1.6 * r)
        for x, marks in enumerate(ticks):
            axes.axvline(x, color="#444444", linewidth=0.8)
            for label, y in marks.items():
                axes.annotate(
                    label, (x, y), (3, 0), textcoords="offset points", fontsize=6.5, va="center"
                )
        names = [name.removeprefix("network.").replace("_", "\n") for name in shown]
        axes.set_xticks(range(len(places)), [*names, score])
        axes.set_yticks([])
        axes.set_xlim(-0.2, len(places) - 0.3)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure


def _spread(column: pd.Series) -> tuple[np.ndarray, dict[str, float]]:
    """Heights in [0, 1] and the labels that belong to some of them."""
    if not pd.api.types.is_numeric_dtype(column):
        words = sorted(column.unique())
        heights = {word: i / max(1, len(words) - 1) for i, word in enumerate(words)}
        return column.map(heights).to_numpy(float), heights
    values = column.to_numpy(float)
    logarithmic = values.min() > 0 and values.max() > 10 * values.min()
    axis = np.log(values) if logarithmic else values
    low, high = axis.min(), axis.max()
    heights = (axis - low) / (high - low) if high > low else np.full(len(axis), 0.5)
    few = np.unique(values)
    if len(few) > 6:
        few = np.quantile(values, [0, 0.5, 1], method="nearest")
    return heights, {f"{v:.4g}": float(heights[np.argmin(np.abs(values - v))]) for v in few}
