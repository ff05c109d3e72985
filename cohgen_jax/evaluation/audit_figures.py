"""The figures of an audit. Each takes a table of metrics/ as it is and returns a Figure."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cohgen_jax.evaluation.style import (
    BLACK,
    GREY,
    house_style,
    method_colour,
    method_label,
    method_marker,
    panels,
    top_legend,
)


def membership(table: pd.DataFrame, aim: float = 0.55) -> Figure:
    """metrics/privacy_membership.csv: AUC of every attack with its interval, a panel an attack.

    The solid line is guessing, the dashed one the aim.
    """
    attacks, targets = list(dict.fromkeys(table["attack"])), list(dict.fromkeys(table["target"]))
    methods = list(dict.fromkeys(table["method"]))
    with house_style():
        figure, axes = panels(1, len(attacks), width=2.3, height=0.4 * len(targets) + 1.2)
        for panel, attack in zip(axes[0], attacks, strict=True):
            for i, method in enumerate(methods):
                own = table.query("attack == @attack and method == @method")
                at = np.array([targets.index(t) for t in own["target"]], float)
                at += (i - (len(methods) - 1) / 2) * 0.2
                low, high = own["auc"] - own["auc_low"], own["auc_high"] - own["auc"]
                panel.errorbar(
                    own["auc"],
                    at,
                    xerr=np.stack([low, high]),
                    fmt=method_marker(method),
                    markersize=4,
                    elinewidth=1,
                    color=method_colour(method, methods),
                    label=method_label(method),
                )
            panel.axvline(0.5, color=GREY, linewidth=0.8)
            panel.axvline(aim, color=GREY, linewidth=0.8, linestyle="--")
            panel.set_yticks(range(len(targets)), targets if panel is axes[0, 0] else [])
            panel.invert_yaxis()
            panel.set_title(attack.replace("_", "\n"))
            panel.set_xlabel("AUC")
        top_legend(figure, *axes[0])
    return figure


def record_distances(table: pd.DataFrame) -> Figure:
    """metrics/privacy_distances.csv: are generated records nearer to training records than real
    records of other patients are (left), and nearer to training than to held-out records (right)?
    """
    targets, methods = list(dict.fromkeys(table["target"])), list(dict.fromkeys(table["method"]))
    with house_style():
        figure, axes = panels(1, 2, width=3.6, height=2.8)
        left, right = axes[0]
        for i, method in enumerate(methods):
            own = table.query("method == @method")
            at = np.array([targets.index(t) for t in own["target"]], float)
            at += (i - (len(methods) - 1) / 2) * 0.2
            look = {"color": method_colour(method, methods), "label": method_label(method)}
            left.plot(at, own["dcr"], method_marker(method), markersize=5, **look)
            error = 1.96 * own["closer_to_train_se"]
            right.errorbar(
                at, own["closer_to_train"], error, fmt=method_marker(method), markersize=5, **look
            )
        real = table.drop_duplicates("target").set_index("target")["dcr_real"].reindex(targets)
        for i, value in enumerate(real):
            label = "Unseen real records" if i == 0 else None
            left.hlines(value, i - 0.35, i + 0.35, color=BLACK, linewidth=1, label=label)
        left.set_ylabel("median distance to the\nclosest training record")
        right.axhline(0.5, color=GREY, linewidth=0.8)
        right.set_ylabel("share nearer to a training\nthan to a held-out record")
        right.set_ylim(0, 1)
        for panel in (left, right):
            panel.set_xticks(range(len(targets)), targets)
        top_legend(figure, left)
    return figure
