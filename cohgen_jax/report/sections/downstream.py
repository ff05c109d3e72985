"""What the generated assays are good for: the analyses of `cohgen_jax.downstream`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from cohgen_jax.report.files import RunFiles
from cohgen_jax.report.page import Block, Heading, Picture, Table, Text

if TYPE_CHECKING:
    from cohgen_jax.downstream.analyses import Analysis

LOWER_IS_BETTER = ("energy_score", "integrated_brier")
"""Ends of the names of metrics of claims; of all others higher is better."""
NEAREST_IS_BEST = ("synthetic",)
"""Analyses whose contrasts are to real data: generated ones that score higher exaggerate."""


def blocks(run: RunFiles) -> list[Block]:
    if not (run.path / "metrics" / "downstream").is_dir():
        return []  # and no need for the packages that the analyses need
    from cohgen_jax.downstream.analyses import ANALYSES

    parts: list[Block] = []
    for analysis in ANALYSES:
        parts += _analysis(run, analysis)
    summary = run.table("downstream_summary")
    if parts and summary is not None:
        parts.insert(0, Text(verdicts(summary)))
        parts.append(Table(summary, "Every claim", file="metrics/downstream_summary.csv"))
    return parts


def verdicts(summary: pd.DataFrame) -> list[str]:
    """Every analysis: how many of its contrasts `a - b` survive correction, and who is better."""
    lines = []
    for (name, metric), contrasts in summary.groupby(["analysis", "metric"], sort=False):
        name, metric, sure = str(name), str(metric), contrasts[contrasts["p_holm"] < 0.05]
        up, down = int((sure["estimate"] > 0).sum()), int((sure["estimate"] < 0).sum())
        rest = f"{len(contrasts) - up - down} undecided ({int(contrasts['n'].max())} patients)."
        lower = metric.endswith(LOWER_IS_BETTER)
        if name in NEAREST_IS_BEST:
            verdict = f"closest to real is best; {up} above real, {down} below it, {rest}"
        else:
            better, worse = (down, up) if lower else (up, down)
            verdict = (
                f"{'lower' if lower else 'higher'} is better; the first named is better in "
                f"{better}, worse in {worse}, {rest}"
            )
        what = f"{name.replace('_', ' ')} ({metric.replace('_', ' ')})"
        lines.append(f"{what}, {len(contrasts)} contrasts after Holm's correction: {verdict}")
    return lines


def _work(about: dict[str, Any]) -> str:
    """Of how much work an analysis is the result; `--quick` shows here."""
    options = about["options"]
    return (
        f"{about['draws']} draws, {options['seeds']} seeds, {options['trees']} trees (survival: "
        f"{options['survival']}), {options['bootstrap']} bootstrap draws of patients; methods: "
        f"{', '.join(about['methods'])}."
    )


def _analysis(run: RunFiles, analysis: Analysis) -> list[Block]:
    about = run.json(analysis.table_file.removesuffix(".csv") + ".json")
    if about is None:
        return []
    head = Heading(analysis.title)
    if "skipped" in about:
        return [head, Text.of(f"Skipped: {about['skipped']}")]
    parts: list[Block] = [head, Text.of(analysis.explanation, _work(about))]
    figure = run.figure(analysis.figure_stem.removeprefix("figures/"))
    if figure is not None:
        parts.append(Picture(figure, f"{analysis.title}.", f"{analysis.title}: see its table."))
    parts += [Text(tuple(about["notes"]))] if about.get("notes") else []
    for file, title in (
        (analysis.claims_file, "Claims, with intervals over patients"),
        (analysis.tests_file, "Tests over repeats"),
        (analysis.table_file, "Every measurement"),
    ):
        table = run.table(file.removeprefix("metrics/").removesuffix(".csv"))
        if table is not None:
            parts.append(Table(table, f"{analysis.title}: {title.lower()}", file=file))
    return parts
