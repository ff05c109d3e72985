"""Do the draws know what they do not know?"""

from __future__ import annotations

from typing import Any

import pandas as pd

from cohgen_jax.evaluation.summary import in_units
from cohgen_jax.figures.dots import SCORE_LABELS, score_dots
from cohgen_jax.figures.style import method_label, save
from cohgen_jax.report.files import RunFiles
from cohgen_jax.report.interactive import dots, layout
from cohgen_jax.report.page import Block, Heading, Picture, Plot, Text, percent
from cohgen_jax.report.sections.overview import promised


def blocks(run: RunFiles) -> list[Block]:
    conditions = run.table("fidelity")
    if conditions is None:
        return []
    table = conditions.query("num_sources > 0").dropna(subset=["spread_error", "coverage80"])
    latent = [Text(_of_latents(table)), _plot_of_latents(run, table)]
    if not in_units(table):
        return latent
    return [
        Text(_in_units(table)),
        _plot_in_units(run, table),
        Heading("The same of latents"),
        *latent,
    ]


def _in_units(table: pd.DataFrame) -> list[str]:
    """A line a method."""
    return [
        f"{method_label(str(method))}, in units of the tables: the middle 80 % of the draws hold "
        f"{_range(rows['units_coverage80'], percent)} of the measured values "
        f"({percent(promised(rows.iloc[0]))} when honest, of so many draws), generated patients "
        f"vary {_range(rows['units_variance_ratio'])} times as much as measured ones, correlations "
        f"between features have {_range(rows['units_structure_slope'])} of their strength, over "
        f"{len(rows)} conditions."
        for method, rows in table.groupby("method", sort=False)
    ]


def _of_latents(table: pd.DataFrame) -> list[str]:
    return [
        f"{method_label(str(method))}: spread over error {_range(rows['spread_error'])}, 80 % "
        f"intervals cover {_range(rows['coverage80'], percent)} of the values, over {len(rows)} "
        "conditions."
        for method, rows in table.groupby("method", sort=False)
    ]


def _range(values: pd.Series, words: Any = "{:.2f}".format) -> str:
    return f"{words(values.min())} to {words(values.max())}"


def _plot_in_units(run: RunFiles, table: pd.DataFrame) -> Plot:
    still = Picture(
        save(
            score_dots(table, run.modalities, "units_variance_ratio"),
            run.path / "figures" / "units_variance_ratio",
        ),
        "One dot a target and subset of sources, in units of the tables. Honest draws lie where "
        "the lines cross: generated patients vary as measured ones do, and the middle 80 % of the "
        "draws hold as much as they promise. Left: what is generated varies too little.",
        "Variance ratio and interval coverage in units of every method and condition.",
    )
    return _plot(
        table,
        still,
        ("units_variance_ratio", "units_coverage80", "units_r2"),
        ("variance of generated over measured patients", "coverage of the middle 80 % of draws"),
        promised(table.iloc[0]),
    )


def _plot_of_latents(run: RunFiles, table: pd.DataFrame) -> Plot:
    still = Picture(
        save(score_dots(table, run.modalities, "spread_error"), run.path / "figures/spread_error"),
        "One dot a target and subset of sources. Honest draws lie where the lines cross: spread "
        "as large as the error, 80 % of the truths in the 80 % interval. Left and below: too sure "
        "of themselves; right and above: less sure than they could be.",
        "Spread over error and interval coverage of every method and condition.",
    )
    return _plot(
        table,
        still,
        ("spread_error", "coverage80", "r2_inf"),
        ("spread of the draws over error of their mean", "coverage of the 80 % interval"),
        0.8,
    )


def _plot(
    table: pd.DataFrame,
    still: Picture,
    scores: tuple[str, str, str],
    titles: tuple[str, str],
    honest: float,
) -> Plot:
    """scores: across (1 is honest), up (`honest` is), and R2 of the text; titles of the axes."""
    across, up, r2 = scores
    methods = list(dict.fromkeys(table["method"]))
    traces = [
        dots(
            str(method),
            methods,
            of_method[across],
            of_method[up],
            text=[
                f"{t} from {s}, R² {r:.2f}"
                for t, s, r in zip(
                    of_method["target"], of_method["sources"], of_method[r2], strict=True
                )
            ],
            hovertemplate="%{text}<br>"
            + SCORE_LABELS[across].split(" (")[0]
            + " %{x:.2f}<br>covers %{y:.0%}",
            meta={"target": target},
        )
        for target, rows in (
            ("all", table),
            *((t, table[table["target"] == t]) for t in dict.fromkeys(table["target"])),
        )
        for method, of_method in rows.groupby("method", sort=False)
    ]
    axes = layout(height=480, x=titles[0], y=titles[1], yaxis={"tickformat": ".0%"})
    line = {"type": "line", "line": {"color": "#444444", "width": 1}, "layer": "below"}
    axes["shapes"] = [
        {**line, "yref": "paper", "x0": 1, "x1": 1, "y0": 0, "y1": 1},
        {**line, "xref": "paper", "x0": 0, "x1": 1, "y0": honest, "y1": honest},
    ]
    return Plot(traces, axes, still)
