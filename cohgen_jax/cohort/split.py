"""Patient-level, stratified splits.

For each stratum (cancer type) of n patients, floor(val_fraction n) go to validation and
floor(test_fraction n) to test, drawn from the patients with every modality; where these are too
few, those there are, shared in proportion; the rest train (Marchesi, Lazzaro et al. 2025, Methods).
There the unit is the sample; here it is the patient, so that two samples of one patient (primary
and metastasis) are never on both sides.

Where few patients have every modality, `balanced_split` draws from those with two or more, with
every modality and pair of modalities in proportion.
"""

import dataclasses
import itertools
import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cohgen_jax.cohort.cohort import SET_ASIDE, SPLITS, Cohort
from cohgen_jax.errors import InputError, pair, shown

LEAST_HELD = 2
"""Validation patients that each modality needs, and test patients that it should have; wanted of
every pair of modalities too."""


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
    _check_fractions(val_fraction, test_fraction)
    known = _known(strata)
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


def balanced_split(
    patients: np.ndarray,
    strata: np.ndarray,
    present: np.ndarray,
    drawable: np.ndarray,
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
) -> np.ndarray:
    """As `patient_split`, for cohorts where few patients have every modality.

    Drawn are patients with two modalities or more in one sample, the others train. One after
    another, those with the rarest pair first, a patient goes to the side that lacks most of what
    the patient has: the least sum, over its modalities, pairs and stratum, of (n + 1/2) / wanted
    where n are there already. This is minimisation (Pocock & Simon 1975, Biometrics 31:103) and,
    for a single label, Webster's apportionment: what is there ends within about 1 of the wanted.

    Args:
        patients, strata: as of `patient_split`.
        present: bool [N, M], which sample has which modality.
        drawable: bool [N], alike for all samples of a patient: who may be drawn.
        val_fraction, test_fraction: shares of all patients with two modalities or more, drawable
            or not; where few are drawable, half of these at most. Of a rare modality, and of a rare
            pair of them, LEAST_HELD are wanted on each side, but never more than a third of those
            who would train.
        seed: of the order of patients that are equally rare.
    """
    _check_fractions(val_fraction, test_fraction)
    _, first, of_patient = np.unique(patients, return_index=True, return_inverse=True)
    pairs = np.array(list(itertools.combinations(range(present.shape[1]), 2))).T  # [2, P]
    labels = _labels(of_patient, _known(strata), present, pairs)  # [patients, L]
    num_modalities, num_shapes = present.shape[1], present.shape[1] + pairs.shape[1]
    able = labels[:, :num_modalities].any(axis=1)
    pool = np.flatnonzero(able & drawable[first])
    side = np.full(len(first), "train", dtype=object)
    if not len(pool):
        return side[of_patient]

    has, count = labels[pool], labels[pool].sum(axis=0)
    asked = np.array([[val_fraction], [test_fraction]])
    asked = asked * min(able.sum() / len(pool), max(1.0, 0.5 / max(asked.sum(), 1e-9)))
    share = np.tile(asked, len(count))  # [2, L] of each label, for val and test
    known = np.maximum(count[:num_shapes], 1)
    least = np.minimum(np.minimum(LEAST_HELD, asked * len(pool)) / known, (1 - asked.sum()) / 3)
    share[:, :num_shapes] = np.maximum(asked, least)
    wanted = np.concatenate([1 - share.sum(axis=0, keepdims=True), share]) * count
    sides = np.flatnonzero(wanted.any(axis=1))  # of SPLITS, those that may have anybody

    rarest = np.where(has, count, len(first))[:, :num_shapes].min(axis=1)
    chance = np.random.default_rng(seed).permutation(len(pool))
    there = np.zeros_like(wanted)
    for i in np.lexsort((chance, rarest)):
        filled = (there[:, has[i]] + 0.5) / np.maximum(wanted[:, has[i]], 1e-9)
        chosen = sides[np.argmin(filled[sides].sum(axis=1))]
        there[chosen, has[i]] += 1
        side[pool[i]] = SPLITS[chosen]
    if asked[0] * len(pool) >= 1:
        _fill_validation(side, pool, has[:, :num_modalities], chance)
    return side[of_patient]


def _fill_validation(
    side: np.ndarray, pool: np.ndarray, has: np.ndarray, chance: np.ndarray
) -> None:
    """Move patients to validation until it has LEAST_HELD of each modality that three times as many
    have: of those with it, whoever has fewest others, first from train. In place.

    side: [patients]; pool: [n], positions of those that may move; has: bool [n, M].
    """
    for m in np.argsort(has.sum(axis=0), kind="stable"):
        while has[:, m].sum() >= 3 * LEAST_HELD:
            here = side[pool]
            if (has[:, m] & (here == "val")).sum() >= LEAST_HELD:
                break
            movable = np.flatnonzero(has[:, m] & (here != "val"))
            order = np.lexsort(
                (chance[movable], has[movable].sum(axis=1), here[movable] != "train")
            )
            side[pool[movable[order[0]]]] = "val"


def _labels(
    of_patient: np.ndarray, strata: np.ndarray, present: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """bool [patients, M + P + strata]: the modalities that a patient has beside another one, the
    pairs of modalities, and the alphabetically first stratum of its samples."""
    shared = present & (present.sum(axis=1, keepdims=True) >= 2)
    both = present[:, pairs[0]] & present[:, pairs[1]]
    shapes = np.zeros((of_patient.max() + 1, present.shape[1] + pairs.shape[1]), dtype=bool)
    np.logical_or.at(shapes, of_patient, np.concatenate([shared, both], axis=1))
    names, codes = np.unique(strata, return_inverse=True)
    stratum = np.full(len(shapes), len(names))
    np.minimum.at(stratum, of_patient, codes)
    return np.concatenate([shapes, stratum[:, None] == np.arange(len(names))], axis=1)


def _check_fractions(val_fraction: float, test_fraction: float) -> None:
    if min(val_fraction, test_fraction) < 0 or val_fraction + test_fraction >= 1:
        raise InputError(
            f"val_fraction {val_fraction} and test_fraction {test_fraction} must be at least 0 "
            "and together below 1"
        )


def _known(strata: np.ndarray) -> np.ndarray:
    return np.where(pd.isna(strata), "unknown", np.asarray(strata, dtype=object)).astype(str)


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
        column, value = pair(rule, f"exclude: {rule!r} is not like cancer_type=KIRC")
        if column not in samples or column == "split":
            raise InputError(
                f"exclude: the samples have no column {column!r}; they have "
                f"{', '.join(c for c in samples.columns if c != 'split')}"
            )
        matches = samples[column].astype(str).to_numpy() == value
        if not matches.any():
            values = sorted(samples[column].dropna().astype(str).unique())
            raise InputError(f"exclude: no sample has {rule}; {column} is one of {shown(values)}")
        matched |= matches
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
