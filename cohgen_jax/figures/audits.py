"""The figures of an audit. Each takes a table of metrics/ as it is and returns a Figure."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cohgen_jax.figures.style import (
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
                of_method = table.query("attack == @attack and method == @method")
                at = np.array([targets.index(t) for t in of_method["target"]], float)
                at += (i - (len(methods) - 1) / 2) * 0.2
                low, high = (
                    of_method["auc"] - of_method["auc_low"],
                    of_method["auc_high"] - of_method["auc"],
                )
                panel.errorbar(
                    of_method["auc"],
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
            of_method = table.query("method == @method")
            at = np.array([targets.index(t) for t in of_method["target"]], float)
            at += (i - (len(methods) - 1) / 2) * 0.2
            look = {"color": method_colour(method, methods), "label": method_label(method)}
            left.plot(at, of_method["dcr"], method_marker(method), markersize=5, **look)
            error = 1.96 * of_method["closer_to_train_se"]
            right.errorbar(
                at,
                of_method["closer_to_train"],
                error,
                fmt=method_marker(method),
                markersize=5,
                **look,
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


RAW_SCORES = {
    "r_mean": "correlation with\nthe measured value",
    "structure": "feature correlations\nkept (r)",
    "effects_r": "differences between\ncancer types kept (r)",
}


def raw_scores(table: pd.DataFrame) -> Figure:
    """metrics/raw_scores.csv: how much of the tables is kept, by method and target.

    The short lines are real latents decoded (black) and other real patients (grey).
    """
    targets, methods = list(dict.fromkeys(table["target"])), list(dict.fromkeys(table["method"]))
    methods = [m for m in methods if m not in ("train", "reconstruction")]
    with house_style():
        figure, axes = panels(1, len(RAW_SCORES), width=2.9, height=2.9)
        for panel, (score, label) in zip(axes[0], RAW_SCORES.items(), strict=True):
            values = table.pivot(index="target", columns="method", values=score).loc[targets]
            for i, method in enumerate(methods):
                at = np.arange(len(targets)) + (i - (len(methods) - 1) / 2) * 0.11
                colour, mark = method_colour(method, methods), method_marker(method)
                panel.plot(at, values[method], mark, color=colour, ms=4, label=method_label(method))
            for i, target in enumerate(targets):
                for name, colour, text in (
                    ("reconstruction", BLACK, "Real latents decoded"),
                    ("train", GREY, "Other real patients"),
                ):
                    value = values.loc[target, name]
                    once = text if i == 0 else None
                    panel.hlines(value, i - 0.42, i + 0.42, colour, linewidth=1, label=once)
            panel.set_xticks(range(len(targets)), targets)
            panel.set_ylabel(label)
            panel.grid(axis="y")
        top_legend(figure, *axes[0])
    return figure


def links(table: pd.DataFrame, summary: pd.DataFrame, method: str = "coherent") -> Figure:
    """metrics/raw_links.csv and raw_dosage.csv: the correlation of two measurements of each gene,
    in real data (across) and with one of the two generated (up), one panel a generated side.

    The pair of modalities with most genes is shown; on the diagonal the link is kept.
    """
    of_method = summary[summary["method"] == method]
    widest = of_method.iloc[of_method["genes"].argmax()]
    pair = table[(table["a"] == widest["a"]) & (table["b"] == widest["b"])]
    sides = list(dict.fromkeys(pair["generated"]))
    with house_style():
        figure, axes = panels(1, len(sides), width=3.4, height=3.4)
        for panel, side in zip(axes[0], sides, strict=True):
            shown = pair[(pair["generated"] == side) & (pair["method"] == method)]
            kept = of_method[(of_method["generated"] == side) & (of_method["a"] == widest["a"])]
            kept = kept[kept["b"] == widest["b"]].iloc[0]
            panel.plot([-1, 1], [-1, 1], color=GREY, linewidth=0.8)
            panel.plot(
                shown["r_real"], shown["r"], ".", ms=3, alpha=0.6, color=method_colour(method)
            )
            named = shown.assign(size=shown["r_real"].abs()).nlargest(6, "size")
            for _, row in named.iterrows():
                panel.annotate(row["gene"], (row["r_real"], row["r"]), fontsize=6)
            other = widest["b"] if side == widest["a"] else widest["a"]
            panel.set_title(f"{side} generated, {other} real")
            panel.set_xlabel("correlation in real data")
            panel.set_ylabel("correlation with generated data")
            panel.text(
                0.03,
                0.97,
                f"{len(shown)} genes, agreement r = {kept['agreement']:.2f}\n"
                f"(other real patients: {kept['agreement_train']:.2f})",
                transform=panel.transAxes,
                va="top",
                fontsize=7,
            )
            low = min(shown["r_real"].min(), shown["r"].min()) - 0.05
            high = max(shown["r_real"].max(), shown["r"].max()) + 0.05
            panel.set(xlim=(low, high), ylim=(low, high))
    return figure


SHIFT_SCORES = {
    "rmse": "error",
    "spread": "spread",
    "coverage80": "coverage of 80 % intervals",
    "disagreement": "disagreement",
    "flagged": "share flagged",
}


def shift(table: pd.DataFrame) -> Figure:
    """metrics/shift.csv: error, spread, disagreement and flags case by case, a dot a target and
    shifted source, a line from case to case through their means."""
    cases, methods = list(dict.fromkeys(table["case"])), list(dict.fromkeys(table["method"]))
    with house_style():
        figure, axes = panels(1, len(SHIFT_SCORES), width=2.3, height=2.8)
        for panel, (score, label) in zip(axes[0], SHIFT_SCORES.items(), strict=True):
            for i, method in enumerate(methods):
                of_method = table[table["method"] == method]
                if of_method[score].isna().all():
                    continue
                offset = (i - (len(methods) - 1) / 2) * 0.25
                at = np.array([cases.index(case) for case in of_method["case"]]) + offset
                colour, mark = method_colour(method, methods), method_marker(method)
                panel.plot(at, of_method[score], mark, color=colour, ms=3, alpha=0.3)
                mean = of_method.groupby("case", sort=False)[score].mean().reindex(cases)
                panel.plot(
                    np.arange(len(cases)) + offset,
                    mean,
                    "-" + mark,
                    color=colour,
                    ms=5,
                    linewidth=0.8,
                    label=method_label(method),
                )
            panel.set_xticks(range(len(cases)), cases, rotation=45, ha="right")
            panel.set_ylabel(label)
            panel.grid(axis="y")
        top_legend(figure, *axes[0])
    return figure
