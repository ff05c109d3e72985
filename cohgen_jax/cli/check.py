"""Say what would be understood of a folder of tables, and train nothing.

    cohgen check my_tables/
    cohgen check my_tables/ --transpose rna --id-column barcode

One line a table: its file, where samples go, which column has the ids, patients, features, kind of
values, share of missing cells, patients that other tables have too; then the labels found and how
their columns are called, the patients of each side of the split, and what was left out and why. The
options are those of train, which begins with the same lines. Exit status 2 where training would be
refused, or where something would spoil its results (marked "doubt:"): ids that are only row
numbers, tables that are there and cannot be read.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

import tyro

from cohgen_jax.cli.common import parse
from cohgen_jax.cohort.load import parse_layers
from cohgen_jax.cohort.read import read_tables
from cohgen_jax.cohort.understood import Doubt, doubts_of, lines, understand
from cohgen_jax.errors import InputError
from cohgen_jax.runs.config import ExperimentConfig, RecipeName
from cohgen_jax.runs.run import load_any_cohort


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Say what would be understood of a folder of tables."""

    folder: tyro.conf.Positional[str]
    """Folder of tables, cohort directory, or .h5mu file."""
    recipe: RecipeName = "default"
    """Where the defaults of all other options come from."""
    config: Annotated[ExperimentConfig, tyro.conf.arg(name="")] = ExperimentConfig()


def main() -> None:
    arguments = parse(Arguments, sys.argv[1:], __doc__)
    config = dataclasses.replace(arguments.config, cohort=arguments.folder)
    try:
        cohort = load_any_cohort(config)
    except InputError:
        _show(_as_far_as_read(config))
        raise
    _show([*lines(cohort.understood, cohort.samples), ""])
    _show(f"doubt: {n}" if isinstance(n, Doubt) else f"- {n}" for n in cohort.notes)
    doubts = doubts_of(cohort.notes)
    if doubts:
        raise InputError(
            f"{len(doubts)} of these would spoil results if not meant (doubt): mend the files, or "
            "train as they are"
        )


def _show(told) -> None:
    for line in told:
        print(line)


def _as_far_as_read(config: ExperimentConfig) -> list[str]:
    """What is known of the tables of a cohort that is refused for another reason."""
    try:
        raw = read_tables(
            config.cohort,
            modalities=config.modalities or None,
            layers=parse_layers(config.layers),
            id_column=config.id_column,
            transpose=config.transpose,
        )
    except (InputError, OSError):
        return []
    tables = {m: t for m, t in raw.tables.items() if len(t)}
    return [*lines(understand(raw, tables, raw.kinds)), "", *(f"- {n}" for n in raw.notes)]
