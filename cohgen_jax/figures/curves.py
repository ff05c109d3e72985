"""The figures of a run. Each function takes plain tables or arrays and returns a Figure;
`style.save` writes it. Nothing here knows how the numbers were made.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cohgen_jax.figures.dots import SCORE_LABELS, score_rows
from cohgen_jax.figures.style import (
    BLUE,
    house_style,
    method_colour,
    method_label,
    modality_colour,
    panels,
    top_legend,
)


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


def disagreement_curves(table: pd.DataFrame) -> Figure:
    """How far the denoisers disagree along the reverse chain: one panel a target.

    table: target, t (diffusion time), mean over chains, low and high, a band around it.
    Disagreement is 1 - mean pairwise cosine: 0 is agreement, 1 is unrelated.
    """
    targets = list(dict.fromkeys(table["target"]))
    columns = min(len(targets), 4)
    rows = -(-len(targets) // columns)
    with house_style():
        figure, axes = panels(rows, columns, width=2.6, height=2.2, sharex=True, sharey=True)
        for panel in axes.ravel()[len(targets) :]:
            panel.set_visible(False)
        for panel, target in zip(axes.ravel(), targets, strict=False):
            of_target = table[table["target"] == target]
            panel.grid(axis="y")
            panel.fill_between(
                of_target["t"],
                of_target["low"],
                of_target["high"],
                color=BLUE,
                alpha=0.2,
                linewidth=0,
            )
            panel.plot(of_target["t"], of_target["mean"], color=BLUE, linewidth=1.4)
            panel.set_title(target)
            panel.set_xlim(of_target["t"].max(), of_target["t"].min())
            panel.xaxis.set_major_locator(MaxNLocator(4))
            panel.set_xlabel("diffusion time t (noise → data)")
        for panel in axes[:, 0]:
            panel.set_ylabel("disagreement")
            panel.set_ylim(bottom=0)
    return figure


def label_dots(table: pd.DataFrame, modalities: Sequence[str], score: str = "r2_inf") -> Figure:
    """One score by label (cancer type), a panel a target, labels by number of patients.

    table: `score_by_label`'s rows of one subset of sources a target, with target and method.
    """
    targets = [m for m in modalities if m in set(table["target"])]
    methods = list(dict.fromkeys(table["method"]))
    sizes = table.drop_duplicates("label").sort_values("n", ascending=False).set_index("label")["n"]
    columns = min(len(targets), 4)
    lines = -(-len(targets) // columns)
    with house_style():
        figure, axes = panels(
            lines, columns, width=2.6, height=0.2 * len(sizes) + 1.1, sharex=True, sharey=True
        )
        for unused in axes.ravel()[len(targets) :]:
            unused.set_visible(False)
        for target, panel in zip(targets, axes.ravel(), strict=False):
            wide = table[table["target"] == target].pivot(
                index="method", columns="label", values=score
            )
            rows = wide.reindex(columns=sizes.index)
            score_rows(panel, rows, methods, score)
            panel.set_title(target)
            panel.set_xlabel(SCORE_LABELS.get(score, score))
        axes[0, 0].set_yticks(range(len(sizes)), [f"{name} ({n})" for name, n in sizes.items()])
        top_legend(figure, axes[0, 0], labels=[method_label(m) for m in methods])
    return figure


def set_distances(table: pd.DataFrame) -> Figure:
    """Distances between random half sets, a panel a kind of distance and target.

    table: target, distance, `real against`, mean, low, high.
    """
    targets, kinds = list(dict.fromkeys(table["target"])), list(dict.fromkeys(table["distance"]))
    others = list(dict.fromkeys(table["real against"]))
    with house_style():
        figure, axes = panels(
            len(kinds), len(targets), width=2.3, height=0.26 * len(others) + 0.9,
            sharex="row", sharey=True,
        )  # fmt: skip
        for row, kind in enumerate(kinds):
            for column, target in enumerate(targets):
                panel = axes[row, column]
                of_target = table[(table["target"] == target) & (table["distance"] == kind)]
                panel.grid(axis="x")
                for y, other in enumerate(others):
                    line = of_target[of_target["real against"] == other]
                    colour = method_colour(other, others)
                    panel.hlines([y] * len(line), line["low"], line["high"], color=colour)
                    panel.plot(line["mean"], [y] * len(line), "o", color=colour, markersize=5)
                panel.xaxis.set_major_locator(MaxNLocator(4))
                panel.set_xlabel(f"{kind} distance")
                if row == 0:
                    panel.set_title(target)
        axes[0, 0].set_yticks(range(len(others)), [method_label(name) for name in others])
        axes[0, 0].set_ylim(len(others) - 0.5, -0.5)
    return figure
