"""Say what is understood of a cohort, and refuse what training would refuse, without training.

    python experiments/check.py my_tables/
    python experiments/check.py my_tables/ --modalities rna rppa --kinds mut=binary

Prints a line a table (its file, where the samples go, the id column, patients, features, kind,
missing cells, patients shared with the other tables, patients of each side of the split), a line a
label (the column that it was read from, its values), and what was changed or left out, and why.
Options are those of train.py, and a run keeps the same as understood.json. The exit status is 2
where train.py would refuse, and where something would spoil results if it is not meant ("doubt":
tables that are there and cannot be read, ids that only count rows).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

from cohgen_jax.cli.common import parse, value_of
from cohgen_jax.cohort import Cohort, read_tables, understood
from cohgen_jax.cohort.covariates import choose_covariates
from cohgen_jax.cohort.load import parse_layers
from cohgen_jax.cohort.understood import shown_frame
from cohgen_jax.errors import InputError
from cohgen_jax.runs.config import ExperimentConfig, RecipeName
from cohgen_jax.runs.extend import earlier_run
from cohgen_jax.runs.source import load_any_cohort
from cohgen_jax.runs.train import check_models


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Say what is understood of a cohort."""

    folder: Annotated[str | None, tyro.conf.Positional] = None
    """What --cohort names: a folder of tables, a .h5mu file, tfds:NAME, or `demo`."""
    recipe: RecipeName = "default"
    """Where the defaults of all other options come from."""
    start: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """A best.json of search.py, or a run's config.json: defaults in place of a recipe's."""
    config: Annotated[ExperimentConfig, tyro.conf.arg(name="")] = ExperimentConfig()


def main() -> None:
    arguments = parse(Arguments, sys.argv[1:], __doc__)
    config = arguments.config
    if arguments.folder is not None:
        if value_of("--cohort", sys.argv[1:]) is not None:
            raise InputError(f"two cohorts, {arguments.folder} and --cohort: name one")
        config = dataclasses.replace(config, cohort=arguments.folder)
    earlier = earlier_run(config)
    try:
        cohort = load_any_cohort(config)
    except InputError:
        _show_what_was_read(config)
        raise
    what = understood(cohort)
    print(what.text())
    train = cohort.samples.iloc[cohort.rows("train")]
    _, notes = choose_covariates(train, config.covariates)
    _show(what.doubts, (*what.notes, *notes))
    for note in check_models(config, cohort, earlier):
        print(f"- {note}")
    if what.doubts:
        raise InputError(
            f"{len(what.doubts)} of these would spoil results if not meant (doubt): mend the "
            "files, or train as they are"
        )


def _show(doubts: Sequence[str], notes: Sequence[str]) -> None:
    print("\n" + "\n".join([*(f"! doubt: {d}" for d in doubts), *(f"- {n}" for n in notes)]))


def _show_what_was_read(config: ExperimentConfig) -> None:
    """The tables of a cohort that is refused, where they can be read."""
    try:
        raw = read_tables(
            config.cohort,
            modalities=config.modalities or None,
            layers=parse_layers(config.layers),
            id_column=config.id_column,
            transpose=config.transpose,
        )
    except (InputError, OSError):
        return
    ids = sorted(set().union(*(table.index for table in raw.tables.values())))
    samples = pd.DataFrame({"patient_id": ids, "split": ""}, index=ids)
    what = understood(
        Cohort(
            raw.name,
            tuple(raw.tables),
            raw.tables,
            samples,
            notes=raw.notes,
            origins={**raw.origins},
        )
    )
    tables = what.of_tables()
    print(shown_frame(tables[[c for c in tables if not str(c).startswith("in ")]]))
    _show(what.doubts, what.notes)
