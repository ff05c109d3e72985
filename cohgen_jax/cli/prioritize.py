"""Which missing assay of a patient to measure first: the one that would change a prediction most.

    python experiments/prioritize.py --run runs/mine --patients new_patients/ --out next.csv
    python experiments/prioritize.py --run runs/mine --patients new_patients/ --out next.csv \
        --label survival --costs rppa=250 wsi=40

`--patients` is a folder of tables with holes, as for experiments/impute.py; nobody in it needs a
label. Random forests of the label (or random survival forests) are trained on the run's training
patients. For every assay that a patient lacks the model predicts once for each of its draws: the
`expected_change` is the mean distance of these predictions from their average (classes: the share
of probability that goes to other classes, total variation; survival: the mean squared change of
the risk). `ci_low` and `ci_high`
hold 95 % of the forests, each of a bootstrap draw of the training patients and of the draws.
`value` is the expected change over the cost, where costs are given, and decides the `rank`.

`advice` is the first in rank, or `cannot tell` (with `why`) when the 95 % interval of the
difference of its value from the second holds 0, or when the draws of either are wider than those of
nine in ten validation patients.

`--label survival` needs scikit-survival: pip install 'cohgen-jax[downstream]'.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

from cohgen_jax.cli.common import CountBar, say
from cohgen_jax.downstream.of_patients import PrioritizeConfig, prioritize_tables
from cohgen_jax.errors import InputError
from cohgen_jax.runs.run import open_run
from cohgen_jax.storage.checkpoint import write_text

SHOWN = 20
"""Patients told of on the terminal; the table has all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Rank the missing modalities of new patients."""

    run: Path
    """A finished run directory."""
    patients: Path
    """Folder of tables of the patients, with holes."""
    out: Path
    """Table to write (CSV); must not be there yet."""
    costs: tuple[str, ...] = ()
    """`modality=cost` for each, or one table with the columns modality and cost."""
    config: Annotated[PrioritizeConfig, tyro.conf.arg(name="")] = PrioritizeConfig()


class Bars:
    """A bar for the draws, then one for the forests."""

    def __init__(self) -> None:
        self.draws, self.forests = CountBar("draws", "patient"), CountBar("forests", "forest")

    def __call__(self, done: int, total: int, what: str) -> None:
        if what == "forests":
            self.draws.__exit__()
            self.forests(done, total, "")
        else:
            self.draws(done, total, what)

    def close(self) -> None:
        self.draws.__exit__()
        self.forests.__exit__()


def lines(table: pd.DataFrame, label: str) -> list[str]:
    """A line a patient, then how often each modality is the advice."""
    told = []
    for sample_id, own in list(table.groupby("sample_id", sort=False))[:SHOWN]:
        assays = ", ".join(map(_assay, own.itertuples()))
        first = own.iloc[0]
        told.append(f"{sample_id} ({first.predicted}): {first.advice} ({first.why}); {assays}")
    firsts = table.drop_duplicates("sample_id")
    if len(firsts) > SHOWN:
        told.append(f"and {len(firsts) - SHOWN} patients more, in the table")
    counts = ", ".join(f"{advice} {n}" for advice, n in firsts["advice"].value_counts().items())
    return [*told, f"{len(firsts)} patients, what to measure first for {label}: {counts}"]


def _assay(row) -> str:
    text = f"{row.modality} {row.expected_change:.2g} [{row.ci_low:.2g}, {row.ci_high:.2g}]"
    return text if pd.isna(row.cost) else f"{text}, {row.value:.2g} per cost"


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.out.exists():
        raise InputError(f"{arguments.out} is there already: name a new file")
    run, bars = open_run(arguments.run), Bars()
    try:
        table = prioritize_tables(
            run, arguments.patients, arguments.config, arguments.costs, say, bars
        )
    finally:
        bars.close()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(arguments.out, table.to_csv(index=False))
    print("\n".join(lines(table, arguments.config.label)))
    print(f"table: {arguments.out}")
