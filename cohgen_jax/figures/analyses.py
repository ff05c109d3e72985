"""The two kinds of figure that the analyses share: dots with intervals, and curves with bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cohgen_jax.figures.style import (
    house_style,
    method_colour,
    method_label,
    method_marker,
    panels,
    top_legend,
)

LABELS = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "c_index": "concordance index",
    "r2_inf": "R² of the posterior mean",
    "energy_score": "energy score",
}
_DASHES = {"full": "-", "cancer_type": ":"}


def label(name: str) -> str:
    return LABELS.get(name, name.replace("_", " "))


def dots(
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    series: str,
    order: Sequence[str],
    panel: str | None = None,
    xlabel: str = "",
    lines: Mapping[str, float] | None = None,
    zero: bool = False,
) -> Figure:
    """One dot a series at every x, side by side, with ci_low to ci_high where the table has them.

    panel: column that splits the table into panels. lines: horizontal references by name.
    zero: draw a line at no difference.
    """
    names = [None] if panel is None else list(dict.fromkeys(table[panel]))
    positions = list(dict.fromkeys(table[x]))
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    least = 6.0 / columns if rows == 1 else 3.0
    wide = max(least, 0.55 + 0.085 * len(order) * len(positions) + 0.12 * len(positions))
    with house_style():
        figure, axes = panels(rows, columns, width=wide, height=2.9, sharey=False)
        for unused in axes.ravel()[len(names) :]:
            unused.set_visible(False)
        for name, at in zip(names, axes.ravel(), strict=False):
            of_panel = table if name is None else table[table[panel] == name]
            dots_panel(at, of_panel, x, y, series, order, positions)
            for which, value in (lines or {}).items():
                at.axhline(
                    value,
                    color="#555555",
                    linewidth=1.0,
                    linestyle=_DASHES.get(which, "--"),
                    label=method_label(which),
                )
            if zero:
                at.axhline(0, color="#555555", linewidth=0.8)
            if name is not None:
                at.set_title(method_label(str(name)))
            at.set_xlabel(xlabel)
        for first in axes[:, 0]:
            first.set_ylabel(label(y))
        top_legend(figure, *axes.ravel()[: len(names)])
    return figure


def dots_panel(
    at: Axes,
    table: pd.DataFrame,
    x: str,
    y: str,
    series: str,
    order: Sequence[str],
    positions: list,
) -> None:
    at.grid(axis="y")
    step = 0.8 / max(len(order), 1)
    for i, name in enumerate(order):
        of_series = table[table[series] == name].drop_duplicates(x).set_index(x).reindex(positions)
        where = np.arange(len(positions)) + (i - (len(order) - 1) / 2) * step
        values = of_series[y].to_numpy(float)
        colour = method_colour(name, order)
        if {"ci_low", "ci_high"} <= set(of_series.columns):
            low, high = of_series["ci_low"].to_numpy(float), of_series["ci_high"].to_numpy(float)
            at.vlines(where, low, high, color=colour, linewidth=1.2, alpha=0.6)
        marker = method_marker(name)
        at.plot(where, values, marker, color=colour, markersize=4.5, label=method_label(name))
    at.set_xticks(range(len(positions)), [str(p) for p in positions])
    long = max((len(str(p)) for p in positions), default=0)
    if long * len(positions) > 36:
        at.tick_params(axis="x", labelrotation=90 if long > 12 else 45)


def curves(
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    series: str,
    order: Sequence[str],
    panel: str,
    xlabel: str,
) -> Figure:
    """A line a series, one panel for each value of `panel`; bands from ci_low to ci_high."""
    names = list(dict.fromkeys(table[panel]))
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    with house_style():
        figure, axes = panels(rows, columns, width=2.9, height=2.7, sharex=True)
        for unused in axes.ravel()[len(names) :]:
            unused.set_visible(False)
        for name, at in zip(names, axes.ravel(), strict=False):
            at.grid(axis="y")
            of_panel = table[table[panel] == name]
            for method in order:
                line = of_panel[of_panel[series] == method].sort_values(x)
                if not len(line):
                    continue
                colour = method_colour(method, order)
                if {"ci_low", "ci_high"} <= set(line.columns):
                    at.fill_between(
                        line[x].to_numpy(float),
                        line["ci_low"].to_numpy(float),
                        line["ci_high"].to_numpy(float),
                        color=colour,
                        alpha=0.15,
                        linewidth=0,
                    )
                at.plot(line[x], line[y], color=colour, linewidth=1.4, label=method_label(method))
            at.set_title(str(name))
            at.set_xlabel(xlabel)
        for first in axes[:, 0]:
            first.set_ylabel(label(y))
        top_legend(figure, *axes.ravel()[: len(names)])
    return figure
