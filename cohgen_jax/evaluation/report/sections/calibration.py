"""Do the draws know what they do not know?"""

from __future__ import annotations

from cohgen_jax.evaluation.dots import score_dots
from cohgen_jax.evaluation.report.files import RunFiles
from cohgen_jax.evaluation.report.interactive import dots, layout
from cohgen_jax.evaluation.report.page import Block, Picture, Plot, Text, percent
from cohgen_jax.evaluation.style import method_label, save


def blocks(run: RunFiles) -> list[Block]:
    conditions = run.table("fidelity")
    if conditions is None:
        return []
    table = conditions.query("num_sources > 0").dropna(subset=["spread_error", "coverage80"])
    methods = list(dict.fromkeys(table["method"]))
    traces = [
        dots(
            str(method),
            methods,
            own["spread_error"],
            own["coverage80"],
            text=[
                f"{t} from {s}, R² {r:.2f}"
                for t, s, r in zip(own["target"], own["sources"], own["r2_inf"], strict=True)
            ],
            hovertemplate="%{text}<br>spread/error %{x:.2f}<br>covers %{y:.0%}",
            meta={"target": target},
        )
        for target, rows in (
            ("all", table),
            *((t, table[table["target"] == t]) for t in dict.fromkeys(table["target"])),
        )
        for method, own in rows.groupby("method", sort=False)
    ]
    axes = layout(
        height=480,
        x="spread of the draws over error of their mean",
        y="coverage of the 80 % interval",
        yaxis={"tickformat": ".0%"},
    )
    line = {"type": "line", "line": {"color": "#444444", "width": 1}, "layer": "below"}
    axes["shapes"] = [
        {**line, "yref": "paper", "x0": 1, "x1": 1, "y0": 0, "y1": 1},
        {**line, "xref": "paper", "x0": 0, "x1": 1, "y0": 0.8, "y1": 0.8},
    ]
    still = Picture(
        save(score_dots(table, run.modalities, "spread_error"), run.path / "figures/spread_error"),
        "One dot a target and subset of sources. Honest draws lie where the lines cross: spread "
        "as large as the error, 80 % of the truths in the 80 % interval. Left and below: too sure "
        "of themselves; right and above: less sure than they could be.",
        "Spread over error and interval coverage of every method and condition.",
    )
    worst = [
        f"{method_label(str(method))}: spread over error {own['spread_error'].min():.2f} to "
        f"{own['spread_error'].max():.2f}, 80 % intervals cover "
        f"{percent(own['coverage80'].min())} to {percent(own['coverage80'].max())} of "
        f"the values, over {len(own)} conditions."
        for method, own in table.groupby("method", sort=False)
    ]
    return [Text(worst), Plot(traces, axes, still)]
