"""The figures of a run. Each function takes plain tables or arrays and returns a Figure;
`style.save` writes it. Nothing here knows how the numbers were made.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from cohgen_jax.evaluation.baselines import BASELINES
from cohgen_jax.evaluation.style import (
    house_style,
    method_colour,
    method_label,
    modality_colour,
    panels,
    top_legend,
)

SCORE_LABELS = {
    "r2_inf": "R² of the posterior mean",
    "r2": "R² of single draws",
    "energy_score": "Energy score (lower is better)",
    "mse": "MSE of single draws",
    "cosine_distance": "Cosine distance of single draws",
    "spread_error": "Spread / error (1 = calibrated)",
    "coverage80": "Coverage of the 80 % interval",
}
SCORE_ERRORS = {"r2": "r2_sd", "mse": "mse_sd", "cosine_distance": "cosine_distance_sd"}
SCORE_ERRORS["energy_score"] = "energy_score_se"
IDEALS = {"spread_error": 1.0, "coverage80": 0.8}
MAX_SUBSETS = 31
"""With more subsets a target than this, bars show the mean over subsets of equal size."""


def score_bars(
    table: pd.DataFrame,
    modalities: Sequence[str],
    score: str = "r2_inf",
    *,
    baselines: Sequence[str] = BASELINES,
) -> Figure:
    """One score for every target and subset of sources: bars of models, lines of baselines.

    table: conditions as `evaluate` makes them. Below, a filled dot marks each source in use.
    Scores far from zero are dots on an axis that does not start there, since cut bars mislead.
    Whiskers: standard deviation over draws, or standard error over patients for the energy score
    (none for scores that have neither).
    """
    table = table.query("num_sources > 0")
    targets = [m for m in modalities if m in set(table["target"])]
    per_target = max(len(set(own["sources"])) for _, own in table.groupby("target"))
    wide = 8 < per_target <= MAX_SUBSETS
    columns = 1 if wide or len(targets) == 1 else 2
    rows = -(-len(targets) // columns)
    width = 8.4 if wide else 4.2
    with house_style():
        figure = Figure(figsize=(width * columns, 2.9 * rows + 0.3), layout="constrained")
        outer = figure.add_gridspec(rows, columns)
        axes = None
        for index, target in enumerate(targets):
            chosen = table.query("target == @target")
            cell = outer[index // columns, index % columns]
            if per_target <= MAX_SUBSETS:
                sources = [m for m in modalities if m != target]
                inner = cell.subgridspec(2, 1, height_ratios=(1, 0.09 * len(sources)), hspace=0)
                axes = figure.add_subplot(inner[0])
                labels = _in_order(chosen)
                _bars(axes, chosen, labels, "sources", score, baselines)
                axes.set_xticks([])
                axes.spines["bottom"].set_visible(False)
                _dots(figure.add_subplot(inner[1], sharex=axes), labels, sources)
            else:
                axes = figure.add_subplot(cell)
                sizes = sorted(set(chosen["num_sources"]))
                _bars(axes, _mean_by_size(chosen, score), sizes, "num_sources", score, baselines)
                axes.set_xticks(range(len(sizes)), sizes)
                axes.set_xlabel("number of sources (mean over subsets)")
            axes.set_title(target)
            if index % columns == 0:
                axes.set_ylabel(SCORE_LABELS.get(score, score).replace(" (", "\n("))
        if axes is not None:
            methods = sorted(dict.fromkeys(table["method"]), key=lambda name: name in baselines)
            top_legend(figure, axes, labels=[method_label(m) for m in methods])
    return figure


def _in_order(table: pd.DataFrame) -> list[str]:
    """Subsets of sources, small ones first, otherwise as in the table."""
    return list(dict.fromkeys(table.sort_values("num_sources", kind="stable")["sources"]))


def _mean_by_size(table: pd.DataFrame, score: str) -> pd.DataFrame:
    return table.pivot_table(score, ["method", "num_sources"]).reset_index()


def _bars(
    axes: Axes,
    table: pd.DataFrame,
    positions: Sequence,
    column: str,
    score: str,
    baselines: Sequence[str],
) -> None:
    methods = list(dict.fromkeys(table["method"]))
    models = [m for m in methods if m not in baselines]
    bar = 0.8 / max(len(models), 1)
    grid = table.pivot(index="method", columns=column).reindex(columns=positions, level=1)
    x = np.arange(len(positions))
    axes.grid(axis="y")
    values = table[score].to_numpy(float)
    low, high = np.nanmin(values), np.nanmax(values)
    far_from_zero = low > 0.5 * high
    for i, method in enumerate(models):
        at = x + (i - (len(models) - 1) / 2) * bar
        height = grid.loc[method, score].to_numpy(float)
        error = SCORE_ERRORS.get(score)
        spread = grid.loc[method, error].to_numpy(float) if error in table else None
        look: Any = {"color": method_colour(method, methods), "label": method_label(method)}
        if far_from_zero:
            axes.errorbar(at, height, spread, fmt="o", markersize=4.5, elinewidth=1, **look)
        else:
            whisker = {"elinewidth": 0.8, "ecolor": "#444444"}
            axes.bar(at, height, bar * 0.92, yerr=spread, error_kw=whisker, **look)
    shown = [m for m in baselines if m in methods]
    for i, method in enumerate(shown):
        axes.hlines(
            grid.loc[method, score].to_numpy(float),
            x - 0.45,
            x + 0.45,
            color=method_colour(method, methods),
            linestyle=("-", (0, (3, 1)), (0, (1, 1)))[i % 3],
            linewidth=1.5,
            label=method_label(method),
            zorder=1.5 if far_from_zero else 3,
            path_effects=[withStroke(linewidth=3, foreground="white", alpha=0.7)],
        )
    if score in IDEALS:
        axes.axhline(IDEALS[score], color="#444444", linewidth=0.8, zorder=1)
    elif not far_from_zero:
        axes.axhline(0, color="#444444", linewidth=0.8)
    if far_from_zero:
        margin = max(0.12 * (high - low), 0.02 * high)
        axes.set_ylim(low - margin, high + margin)
    axes.set_xlim(-0.6, len(positions) - 0.4)


def _dots(axes: Axes, labels: Sequence[str], sources: Sequence[str]) -> None:
    """Which sources each column uses: a filled dot for each in use, joined by a line."""
    for x, label in enumerate(labels):
        used = [sources.index(s) for s in label.split("+")]
        unused = [i for i in range(len(sources)) if i not in used]
        axes.scatter([x] * len(unused), unused, s=16, color="#DDDDDD", linewidths=0)
        axes.scatter([x] * len(used), used, s=20, color="#222222", linewidths=0)
        axes.plot([x, x], [min(used), max(used)], color="#222222", linewidth=1.2)
    axes.set_yticks(range(len(sources)), sources)
    axes.set_ylim(len(sources) - 0.5, -0.5)
    axes.tick_params(length=0, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def loss_curves(
    history: pd.DataFrame,
    models: Sequence[tuple[str, str, str]],
    *,
    validation: str = "val_energy",
) -> Figure:
    """Training loss (top) and a validation score (bottom) over epochs, one column a target.

    history: columns epoch, model, train_loss and `validation`, a row for each model and validation.
    models: (model, its target, its label: the source, or `multi`); the same label has the same
    colour in every panel, and a dot marks the best epoch of each model.
    """
    targets = list(dict.fromkeys(target for _, target, _ in models))
    labels = sorted({label for *_, label in models} - {"multi"})
    by_model = dict(list(history.groupby("model")))
    with house_style():
        figure, axes = panels(2, len(targets), width=2.5, height=2.1, sharex=True, sharey="row")
        for model, target, label in sorted(models, key=lambda row: (row[2] == "multi", row[2])):
            top, bottom = axes[:, targets.index(target)]
            rows = by_model[model].sort_values("epoch")
            colour = (
                method_colour("multi") if label == "multi" else modality_colour(labels.index(label))
            )
            look: Any = {"color": colour, "linewidth": 1.8 if label == "multi" else 1.2}
            top.plot(rows["epoch"], rows["train_loss"], **look, label=method_label(label))
            bottom.plot(rows["epoch"], rows[validation], **look)
            best = rows.dropna(subset=[validation]).nsmallest(1, validation)
            bottom.plot(best["epoch"], best[validation], "o", color=colour, markersize=4)
        for target, (top, bottom) in zip(targets, axes.T, strict=True):
            top.set_title(target)
            bottom.set_xlabel("epoch")
            top.grid(axis="y")
            bottom.grid(axis="y")
        axes[0, 0].set_ylabel("training loss")
        axes[1, 0].set_ylabel(_validation_label(validation))
        top_legend(figure, *axes[0])
    return figure


def _validation_label(column: str) -> str:
    return "validation " + {
        "val_energy": "energy score",
        "val_mse": "MSE of samples",
        "val_cosine": "cosine distance",
        "val_timestep": "noise MSE",
    }.get(column, column.removeprefix("val_"))


def pca_panels(
    real: Mapping[str, np.ndarray], generated: Mapping[tuple[str, str], np.ndarray]
) -> Figure:
    """Real and generated samples on the first two principal components of the real ones.

    real: target -> [N, D]; generated: (method, target) -> [N, D], one draw a patient. One row a
    target, real first and then each method; real samples stay in the background for comparison.
    """
    methods = list(dict.fromkeys(method for method, _ in generated))
    with house_style():
        figure, axes = panels(len(real), 1 + len(methods), width=2.1, height=1.95)
        for row, (target, values) in enumerate(real.items()):
            centre = values.mean(axis=0)
            _, singular, directions = np.linalg.svd(values - centre, full_matrices=False)
            share = singular**2 / np.sum(singular**2)
            clouds = {"real": values} | {
                m: generated[m, target] for m in methods if (m, target) in generated
            }
            points = {m: (v - centre) @ directions[:2].T for m, v in clouds.items()}
            # A few outliers of a heavy tail must not squeeze everyone else together.
            low, high = np.quantile(points["real"], [0.005, 0.995], axis=0)
            pad = 0.12 * (high - low)
            for column, method in enumerate(["real", *methods]):
                panel = axes[row, column]
                panel.set(xticks=[], yticks=[])
                panel.set_xlim(low[0] - pad[0], high[0] + pad[0])
                panel.set_ylim(low[1] - pad[1], high[1] + pad[1])
                if method != "real":
                    _cloud(panel, points["real"], "#D0D0D0", 5)
                if method in points:
                    colour = "#4D4D4D" if method == "real" else method_colour(method, methods)
                    _cloud(panel, points[method], colour, 6)
                if row == 0:
                    panel.set_title(method_label(method))
            axes[row, 0].set_ylabel(f"{target}\nPC2 ({share[1]:.0%})")
            axes[row, 0].set_xlabel(f"PC1 ({share[0]:.0%})")
    return figure


def _cloud(axes: Axes, points: np.ndarray, colour: str, size: float) -> None:
    axes.scatter(
        points[:, 0], points[:, 1], s=size, color=colour, alpha=0.7, linewidths=0, rasterized=True
    )


def disagreement_curves(
    trajectories: Mapping[str, Mapping[str, np.ndarray]], times: np.ndarray
) -> Figure:
    """How far the denoisers disagree along the reverse chain: one panel a target.

    trajectories: target -> name of the condition -> [P, S], one row a chain, in sampling order.
    times [S]: diffusion time of each step. Lines are means over chains, bands hold the middle
    80 % of them. Disagreement is 1 - mean pairwise cosine: 0 is agreement, 1 is unrelated.
    """
    columns = min(len(trajectories), 4)
    rows = -(-len(trajectories) // columns)
    times = np.asarray(times)
    with house_style():
        figure, axes = panels(rows, columns, width=2.6, height=2.4, sharex=True, sharey=True)
        for panel in axes.ravel()[len(trajectories) :]:
            panel.set_visible(False)
        for panel, (target, curves) in zip(axes.ravel(), trajectories.items(), strict=False):
            panel.grid(axis="y")
            for i, (name, values) in enumerate(curves.items()):
                colour = modality_colour(i)
                low, high = np.quantile(values, [0.1, 0.9], axis=0)
                panel.fill_between(times, low, high, color=colour, alpha=0.15, linewidth=0)
                panel.plot(times, np.mean(values, axis=0), color=colour, linewidth=1.4, label=name)
            panel.set_title(target)
            panel.set_xlim(times.max(), times.min())
            panel.xaxis.set_major_locator(MaxNLocator(4))
            panel.set_xlabel("diffusion time t (noise → data)")
            panel.legend(fontsize=7, handlelength=1.2)
        for panel in axes[:, 0]:
            panel.set_ylabel("disagreement")
            panel.set_ylim(bottom=0)
    return figure
