"""Patient-level, stratified splits.

For each stratum (cancer type) of n patients, floor(val_fraction n) go to validation and
floor(test_fraction n) to test, drawn from the patients with every modality; where these are too
few, those there are, shared in proportion; the rest train (Marchesi, Lazzaro et al. 2025, Methods).
There the unit is the sample; here it is the patient, so that two samples of one patient (primary
and metastasis) are never on both sides.
"""

import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cohgen_jax.cohort.cohort import SET_ASIDE, SPLITS, Cohort
from cohgen_jax.cohort.tables import shown
from cohgen_jax.errors import InputError


def patient_split(
    patients: np.ndarray,
    strata: np.ndarray,
    complete: np.ndarray,
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
) -> np.ndarray:
    """Split of each sample [N], "train", "val" or "test"; the same for any order of the samples.

    Args:
        patients: patient id of each sample [N].
        strata: label of each sample [N], None or NaN where unknown; a patient whose samples
            differ belongs to the alphabetically first.
        complete: bool [N], whether the sample has every modality; a patient is drawn for
            validation or test only if all its samples do.
        val_fraction, test_fraction: shares of all patients of the stratum, in [0, 1).
        seed: each stratum is drawn with its own stream, so that one does not disturb another.
    """
    if min(val_fraction, test_fraction) < 0 or val_fraction + test_fraction >= 1:
        raise InputError(
            f"val_fraction {val_fraction} and test_fraction {test_fraction} must be at least 0 "
            "and together below 1"
        )
    known = np.where(pd.isna(strata), "unknown", np.asarray(strata, dtype=object)).astype(str)
    stratum_of: dict[str, str] = {}
    incomplete: set[str] = set()
    for patient, stratum, whole in zip(patients, known, complete, strict=True):
        stratum_of[patient] = min(stratum, stratum_of.get(patient, stratum))
        if not whole:
            incomplete.add(patient)

    side: dict[str, str] = {}
    for stratum in sorted(set(stratum_of.values())):
        group = sorted(p for p, s in stratum_of.items() if s == stratum)
        eligible = [p for p in group if p not in incomplete]
        num_val, num_test = _counts(len(group), len(eligible), val_fraction, test_fraction)
        rng = np.random.default_rng([seed, zlib.crc32(stratum.encode())])
        drawn = [eligible[i] for i in rng.permutation(len(eligible))]
        side |= dict.fromkeys(drawn[:num_val], "val")
        side |= dict.fromkeys(drawn[num_val : num_val + num_test], "test")
    return np.array([side.get(p, "train") for p in patients], dtype=object)


def _counts(
    total: int, eligible: int, val_fraction: float, test_fraction: float
) -> tuple[int, int]:
    """Patients of a stratum for validation and for test."""
    # 0.29 * 100 is 28.999999999999996: rounding first keeps the floor that was meant.
    num_val = int(round(val_fraction * total, 6))
    num_test = int(round(test_fraction * total, 6))
    wanted = num_val + num_test
    if wanted > eligible:
        num_val = num_val * eligible // wanted
        num_test = eligible - num_val
    return num_val, num_test


def set_aside(cohort: Cohort, rules: Sequence[str]) -> Cohort:
    """Move the patients that a rule COLUMN=VALUE matches to the split SET_ASIDE, away from train,
    val and test alike: a kind of patient that the models never meet. All samples of a patient go.

    Raises:
      InputError: a rule that is none, or matches nobody, or everybody.
    """
    samples = cohort.samples
    matched = np.zeros(len(samples), bool)
    for rule in rules:
        column, equals, value = rule.partition("=")
        if not (column and equals and value):
            raise InputError(f"exclude: {rule!r} is not like cancer_type=KIRC")
        if column not in samples or column == "split":
            raise InputError(
                f"exclude: the samples have no column {column!r}; they have "
                f"{', '.join(c for c in samples.columns if c != 'split')}"
            )
        own = samples[column].astype(str).to_numpy() == value
        if not own.any():
            values = sorted(samples[column].dropna().astype(str).unique())
            raise InputError(f"exclude: no sample has {rule}; {column} is one of {shown(values)}")
        matched |= own
    moved = samples["patient_id"].isin(samples["patient_id"][matched])
    if not rules:
        return cohort
    for side in SPLITS:
        if not ((samples["split"] == side) & ~moved).any():
            raise InputError(f"exclude: {', '.join(rules)} leaves nobody in {side}")
    note = f"{int(moved.sum())} samples with {' or '.join(rules)} were set aside (ood)."
    return dataclasses.replace(
        cohort,
        samples=samples.assign(split=samples["split"].where(~moved, SET_ASIDE)),
        notes=(*cohort.notes, note),
    )
