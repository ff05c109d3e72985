"""The split that a cohort comes with: a column `split`, in whatever words."""

import numpy as np
import pandas as pd

from cohgen_jax.cohort.cohort import SPLITS
from cohgen_jax.cohort.spellings import side_of
from cohgen_jax.errors import InputError, shown


def given_split(samples: pd.DataFrame, source: str, notes: list[str]) -> np.ndarray:
    """The split column of the facts [N], checked: each sample has a side, each patient only one,
    and there is somebody to train on. What other words were taken for is told in the notes."""
    given = samples["split"].to_numpy(dtype=object)
    split = np.array([side_of(value) for value in given], dtype=object)
    if (split == "").any():
        first = int(np.argmax(split == ""))
        raise InputError(
            f"{source}, column 'split': {int((split == '').sum())} samples have none of "
            f"{', '.join(SPLITS)}, first {samples.index[first]!r} ({str(given[first])!r}); give "
            "every sample one, or remove the column to have the split drawn"
        )
    sides: dict[str, set[str]] = {}
    for patient, side in zip(samples["patient_id"], split, strict=True):
        sides.setdefault(patient, set()).add(side)
    torn = [patient for patient, found in sides.items() if len(found) > 1]
    if torn:
        raise InputError(
            f"{source}, column 'split': {len(torn)} patients have samples on several sides: "
            f"{shown(torn)}; put all samples of a patient on one side"
        )
    if not (split == "train").any():
        raise InputError(
            f"{source}, column 'split': nobody is in train, of {len(split)} samples; name most of "
            "them train, or remove the column to have the split drawn"
        )
    other = {value: side for value, side in zip(given, split, strict=True) if value != side}
    if other:
        told = ", ".join(f"{value!r} as {side}" for value, side in other.items())
        notes.append(f"{source}, column 'split': read {told}.")
    return split
