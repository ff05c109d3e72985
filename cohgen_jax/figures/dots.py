"""Scores of every target from every subset of sources as dots: one row a subset.

A dot matrix at the left says which sources a row uses (as in an UpSet plot, Lex et al. 2014). With
many modalities the subsets outgrow any page: rows are then numbers of sources, a dot the mean over
the subsets of that size, a line from the worst subset to the best.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cohgen_jax.figures.style import (
    house_style,
    method_colour,
    method_label,
    method_marker,
    top_legend,
)

SCORE_LABELS = {
    "units_crps": "CRPS in units (lower is better)",
    "units_r2": "R² in units",
    "units_corr": "Correlation with the measured value, in units",
    "units_variance_ratio": "Variance ratio in units (1 = as measured)",
    "units_coverage80": "Coverage of the middle 80 % of draws, in units",
    "units_structure_slope": "Structure slope in units (1 = as measured)",
    "units_pearson_pooled": "Pooled Pearson correlation, in units",
    "r2_inf": "R² of the posterior mean",
    "r2": "R² of single draws",
    "energy_score": "Energy score (lower is better)",
    "mse": "MSE of single draws",
    "cosine_distance": "Cosine distance of single draws",
    "spread_error": "Spread / error (1 = calibrated)",
    "coverage80": "Coverage of the 80 % interval",
}
IDEALS = {
    **{"units_r2": 0.0, "units_corr": 0.0},
    **{"units_variance_ratio": 1.0, "units_structure_slope": 1.0},
    **{"r2_inf": 0.0, "r2": 0.0, "spread_error": 1.0, "coverage80": 0.8},
}
"""Where a line is drawn: no better than a constant, or calibrated."""
MAX_SUBSETS = 15
"""With more subsets a target than this (six modalities or more), rows are numbers of sources."""


def score_dots(
    conditions: pd.DataFrame, modalities: Sequence[str], score: str = "r2_inf"
) -> Figure:
    """One score of `evaluate`'s conditions, a panel a target; rows share the axis of scores."""
    table = conditions.query("num_sources > 0")
    targets = [m for m in modalities if m in set(table["target"])]
    methods = list(dict.fromkeys(table["method"]))
    per_target = max(of_target["sources"].nunique() for _, of_target in table.groupby("target"))
    by_size = per_target > MAX_SUBSETS
    rows = len(modalities) - 1 if by_size else per_target
    columns = min(len(targets), 3 if by_size else 2)
    lines = -(-len(targets) // columns)
    row_height = max(0.26, 0.055 * len(methods))
    with house_style():
        figure = Figure(
            figsize=((3.4 if by_size else 4.6) * columns, lines * (row_height * rows + 0.75) + 0.5),
            layout="constrained",
        )
        grid = figure.add_gridspec(lines, columns)
        shared = None
        for index, target in enumerate(targets):
            of_target = table.query("target == @target")
            cell = grid[index // columns, index % columns]
            if by_size:
                axes = figure.add_subplot(cell, sharex=shared)
                _by_size(axes, of_target, methods, score)
            else:
                sources = [m for m in modalities if m != target]
                inner = cell.subgridspec(1, 2, width_ratios=(0.09 * len(sources), 1), wspace=0)
                axes = figure.add_subplot(inner[1], sharex=shared)
                matrix = figure.add_subplot(inner[0], sharey=axes)
                _by_subset(axes, matrix, of_target, methods, score, sources)
            shared = shared or axes
            axes.set_title(target)
            axes.set_xlabel(SCORE_LABELS.get(score, score))
        if shared is not None:
            top_legend(figure, shared, labels=[method_label(m) for m in methods])
    return figure


def subsets_in_order(conditions: pd.DataFrame) -> list[str]:
    """Subsets of sources, small ones first, otherwise as in the table."""
    return list(dict.fromkeys(conditions.sort_values("num_sources", kind="stable")["sources"]))


def score_rows(axes: Axes, values: pd.DataFrame, methods: Sequence[str], score: str) -> None:
    """A row a column of `values` (index method), a dot a method."""
    _prepare(axes, values.shape[1], score)
    for method, offset in zip(methods, _offsets(len(methods)), strict=True):
        if method in values.index:
            _dots(axes, values.loc[method].to_numpy(float), offset, method, methods)


def _by_subset(
    axes: Axes,
    matrix: Axes,
    table: pd.DataFrame,
    methods: Sequence[str],
    score: str,
    sources: Sequence[str],
) -> None:
    labels = subsets_in_order(table)
    wide = table.pivot(index="method", columns="sources", values=score).reindex(columns=labels)
    score_rows(axes, wide, methods, score)
    axes.tick_params(axis="y", length=0, labelleft=False)
    for y, label in enumerate(labels):
        used = [sources.index(name) for name in label.split("+")]
        unused = [i for i in range(len(sources)) if i not in used]
        matrix.scatter(unused, [y] * len(unused), s=14, color="#DDDDDD", linewidths=0)
        matrix.scatter(used, [y] * len(used), s=18, color="#222222", linewidths=0)
        matrix.plot([min(used), max(used)], [y, y], color="#222222", linewidth=1.2)
    matrix.set_xlim(-0.6, len(sources) - 0.4)
    matrix.set_xticks(range(len(sources)), sources, rotation=90)
    matrix.tick_params(length=0, labelleft=False)
    for spine in matrix.spines.values():
        spine.set_visible(False)


def _by_size(axes: Axes, table: pd.DataFrame, methods: Sequence[str], score: str) -> None:
    sizes = sorted(table["num_sources"].unique())
    _prepare(axes, len(sizes), score)
    groups = table.groupby(["method", "num_sources"])[score].agg(["mean", "min", "max"])
    for method, offset in zip(methods, _offsets(len(methods)), strict=True):
        if method in groups.index:
            spread = groups.loc[method].reindex(sizes)
            y = np.arange(len(sizes)) + offset
            colour = method_colour(method, methods)
            axes.hlines(y, spread["min"], spread["max"], color=colour, linewidth=1, alpha=0.6)
            _dots(axes, spread["mean"].to_numpy(float), offset, method, methods)
    counts = table.groupby("num_sources")["sources"].nunique()
    axes.set_yticks(range(len(sizes)), [f"{size} ({counts[size]})" for size in sizes])
    axes.set_ylabel("sources (subsets)")


def _prepare(axes: Axes, rows: int, score: str) -> None:
    for y in range(0, rows, 2):
        axes.axhspan(y - 0.5, y + 0.5, color="#F5F6F8", zorder=0)
    axes.grid(axis="x")
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_yticks(range(rows))
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if score in IDEALS:
        axes.axvline(IDEALS[score], color="#444444", linewidth=0.8, zorder=1)


def _offsets(num: int) -> np.ndarray:
    """Methods of a row a little above each other, so that equal scores do not hide."""
    return (np.arange(num) - (num - 1) / 2) * 0.72 / max(num, 1)


def _dots(
    axes: Axes, values: np.ndarray, offset: float, method: str, methods: Sequence[str]
) -> None:
    axes.plot(
        values,
        np.arange(len(values)) + offset,
        linestyle="none",
        marker=method_marker(method),
        markersize=6.5 if method_marker(method) == "*" else 4.5,
        markeredgewidth=0.9 if method_marker(method) in "x+_12" else 0,
        color=method_colour(method, methods),
        label=method_label(method),
        zorder=3,
    )
