"""Rows that somebody gives to the page: read as `cohgen impute` reads a folder of tables.

The texts are laid into a folder of this process's own, under the names of modalities of the run,
and are gone when they have been read: nothing in a request names a place on disk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.errors import InputError, shown
from cohgen_jax.runs.patients import Patients, read_patients
from cohgen_jax.runs.run import Run

FACTS = "samples"


class Uploaded(NamedTuple):
    patients: Patients
    notes: tuple[str, ...]
    """What was made of the tables, in sentences."""


def read_upload(run: Run, texts: Mapping[str, str]) -> Uploaded:
    """The patients of tables in CSV or the like.

    texts: modality of the run, or `samples` for what else is known of them -> the text of a table,
      a row a sample with its id first.

    Raises:
      InputError: a name that is no modality, no text, or what `read_patients` refuses.
    """
    known = (*run.modalities, FACTS)
    strange = [n for n in texts if n not in known or Path(n).name != n]  # of a stranger's model
    if strange:
        raise InputError(f"{shown(strange)} is no table of this run: {', '.join(known)}")
    given = {name: text for name, text in texts.items() if text.strip()}
    if not given.keys() - {FACTS}:
        raise InputError(f"no table was given: choose one of {', '.join(run.modalities)}")
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="cohgen-") as folder:
        for name, text in given.items():
            (Path(folder) / f"{name}.csv").write_bytes(text.encode("utf-8", "replace"))
        try:
            patients = read_patients(run, folder, notes.append)
        except InputError as error:
            raise InputError(str(error).replace(folder, "the upload")) from error
    return Uploaded(patients, tuple(notes))


def one_of(patients: Patients, sample_id: str | None) -> Patients:
    """The patient of this id, N = 1; the first where none is named.

    Raises:
      InputError: nobody has this id.
    """
    row = [0] if sample_id is None else patients.ids.get_indexer(pd.Index([sample_id]))
    if row[0] < 0:
        raise InputError(f"the upload has no sample {sample_id!r}")
    ids = patients.ids[np.asarray(row)]
    return patients._replace(
        ids=ids,
        z=patients.z[row],
        present=patients.present[row],
        residual=patients.residual[row],
        tables={name: _row(table, ids[0]) for name, table in patients.tables.items()},
    )


def _row(table: pd.DataFrame, sample_id: str) -> pd.DataFrame:
    return table.loc[table.index == sample_id]
