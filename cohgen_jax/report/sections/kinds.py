"""Mutations and counts: are probabilities right, do genes rank patients, are zeros kept?"""

from __future__ import annotations

import pandas as pd

from cohgen_jax.evaluation.fullest import in_words, of_fullest
from cohgen_jax.figures.style import method_label
from cohgen_jax.report.files import RunFiles
from cohgen_jax.report.page import Block, Cell, Grid, Table, Text

BINARY = {
    "binary_auc": ("AUC", "max"),
    "binary_average_precision": ("average precision", "max"),
    "binary_brier": ("Brier score", "min"),
    "binary_calibration_error": ("calibration error", "min"),
    "binary_frequency_error": ("frequency error", "min"),
}
COUNTS = {
    "counts_crps_log": ("CRPS of log(1 + count)", "min"),
    "counts_zero_share_error": ("error of the share of zeros", "min"),
}
"""Column of the table of conditions -> its name and which value is best."""


def blocks(run: RunFiles) -> list[Block]:
    conditions = run.table("fidelity")
    if conditions is None:
        return []
    parts: list[Block] = []
    for columns, what in ((BINARY, "0/1 features"), (COUNTS, "counts")):
        scored = [column for column in columns if column in conditions]
        there = conditions[conditions[scored[0]].notna()] if scored else conditions[:0]
        for target, table in there.groupby("target", sort=False):
            full = of_fullest(table, run.fullest)
            source = in_words({str(target): run.fullest[str(target)]}, run.modalities)
            what_of = f"{target} {source}, {what}."
            parts.append(_grid(str(target), full, {c: columns[c] for c in scored}, what_of))
    if not parts:
        return []
    text = Text.of(
        "Of the probability of each cell, on cells that are known; ranking and calibration of "
        "features that 5 % of the training patients have. The training frequency (climatology) is "
        "calibrated and ranks nobody; a model is of use if it ranks and stays calibrated."
    )
    tables = (
        ("binary_features", "Scores feature by feature"),
        ("binary_calibration", "Calibration curves: predicted and observed frequency by bin"),
    )
    for name, title in tables:
        table = run.table(name)
        if table is not None:
            full = of_fullest(table, run.fullest)
            parts.append(Table(full.reset_index(drop=True), title, file=f"metrics/{name}.csv"))
    return [text, *parts]


def _grid(target: str, full: pd.DataFrame, columns: dict, caption: str) -> Grid:
    best = {column: full[column].agg(choose) for column, (_, choose) in columns.items()}
    rows = [
        (
            method_label(str(row["method"])),
            "",
            [Cell(f"{row[c]:.3f}", best=bool(row[c] == best[c])) for c in columns],
        )
        for _, row in full.iterrows()
    ]
    names = [name for name, _ in columns.values()]
    return Grid(target, names, rows, caption)
