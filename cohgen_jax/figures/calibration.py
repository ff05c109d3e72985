"""Figures of calibration and of uncertainty. As in figures.py: tables in, a Figure out."""

from collections.abc import Callable, Sequence

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

_SIGNAL_LINES = {"spread": "-", "disagreement": (0, (3, 1))}


def reliability_curves(reliability: pd.DataFrame) -> Figure:
    """Observed against nominal coverage of central intervals, all sources: a panel a target.

    reliability: columns method, target, nominal, observed. On the diagonal intervals hold what they
    promise; below it they are too narrow.
    """

    def draw(panel: Axes, rows: pd.DataFrame, methods: Sequence[str]) -> None:
        panel.plot([0, 1], [0, 1], color="#444444", linewidth=0.8)
        for method, line in rows.groupby("method", sort=False):
            panel.plot(line["nominal"], line["observed"], **_look(str(method), methods))
        panel.set(xlim=(0, 1), ylim=(0, 1), xlabel="promised", aspect="equal")

    return _by_target(reliability, draw, "observed coverage")


def rank_histograms(ranks: pd.DataFrame) -> Figure:
    """Ranks of the truth among its draws, all sources: a panel a target, a line a method.

    ranks: columns method, target, rank, share. Level is honest, a bowl overconfident.
    """

    def draw(panel: Axes, rows: pd.DataFrame, methods: Sequence[str]) -> None:
        num = rows["rank"].max() + 1
        panel.axhline(1 / num, color="#444444", linewidth=0.8)
        for method, line in rows.groupby("method", sort=False):
            panel.plot(line["rank"], line["share"], **_look(str(method), methods))
        panel.set(xlabel="rank of the truth")
        panel.set_ylim(bottom=0)

    return _by_target(ranks, draw, "share of values")


def risk_coverage_curves(curve: pd.DataFrame) -> Figure:
    """Error among the patients of lowest signal: a panel a target; full lines spread, dashed lines
    disagreement.

    curve: columns method, target, signal, share, error, from all sources.
    """

    def draw(panel: Axes, rows: pd.DataFrame, methods: Sequence[str]) -> None:
        for (method, signal), line in rows.groupby(["method", "signal"], sort=False):
            look = _look(str(method), methods) | {"linestyle": _SIGNAL_LINES[str(signal)]}
            if signal != "spread":
                look["label"] = "_"
            panel.plot(line["share"], line["error"], **look)
        panel.set(xlabel="share of patients kept")

    return _by_target(curve, draw, "mean squared error")


def temperature_curves(table: pd.DataFrame) -> Figure:
    """R2 of single draws against the sampler's temperature: a panel a target.

    table: columns method, target, temperature, r2. At 0 the posterior mean, at 1 honest draws.
    """

    def draw(panel: Axes, rows: pd.DataFrame, methods: Sequence[str]) -> None:
        panel.axhline(0, color="#444444", linewidth=0.8)
        for method, line in rows.groupby("method", sort=False):
            panel.plot(line["temperature"], line["r2"], **_look(str(method), methods))
        panel.set(xlabel="temperature")

    return _by_target(table, draw, "R² of single draws")


def _look(method: str, methods: Sequence[str]) -> dict:
    return {
        "color": method_colour(method, methods),
        "marker": method_marker(method),
        "label": method_label(method),
        "markersize": 3.5,
        "linewidth": 1.2,
    }


def _by_target(
    table: pd.DataFrame, draw: Callable[[Axes, pd.DataFrame, Sequence[str]], None], ylabel: str
) -> Figure:
    targets, methods = list(dict.fromkeys(table["target"])), list(dict.fromkeys(table["method"]))
    columns = min(len(targets), 4)
    rows = -(-len(targets) // columns)
    with house_style():
        figure, axes = panels(rows, columns, width=2.6, height=2.6)
        for panel in axes.ravel()[len(targets) :]:
            panel.set_visible(False)
        for panel, target in zip(axes.ravel(), targets, strict=False):
            panel.grid()
            draw(panel, table[table["target"] == target], methods)
            panel.set_title(target)
        for panel in axes[:, 0]:
            panel.set_ylabel(ylabel)
        top_legend(figure, axes[0, 0], labels=[method_label(m) for m in methods])
    return figure
