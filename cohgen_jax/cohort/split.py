"""Patient-level, stratified splits.

For each stratum (cancer type) of n patients, floor(val_fraction n) go to validation and
floor(test_fraction n) to test, drawn from the patients with every modality; where these are too
few, those there are, shared in proportion; the rest train (Marchesi, Lazzaro et al. 2025, Methods).
There the unit is the sample; here it is the patient, so that two samples of one patient (primary
and metastasis) are never on both sides.
"""

import zlib

import numpy as np
import pandas as pd

from cohgen_jax.errors import InputError


def patient_split(
    patient_ids: pd.Series,
    strata: pd.Series,
    complete: np.ndarray,
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
) -> pd.Series:
    """Split of each sample, "train", "val" or "test"; the same for any order of the rows.

    Args:
        patient_ids: patient of each sample [N], index sample_id.
        strata: label of each sample [N]; a patient's is the first that its samples have.
        complete: bool [N], whether the sample has every modality; a patient is drawn for
            validation or test only if all its samples do.
        val_fraction, test_fraction: shares of all patients of the stratum, in [0, 1).
        seed: each stratum is drawn with its own stream, so that one does not disturb another.
    """
    if not (0 <= val_fraction and 0 <= test_fraction and val_fraction + test_fraction < 1):
        raise InputError(
            f"val_fraction {val_fraction} and test_fraction {test_fraction} must be at least 0 "
            "and together below 1"
        )
    frame = pd.DataFrame(
        {"patient": patient_ids, "stratum": strata, "complete": complete}, index=patient_ids.index
    ).sort_index()
    patients = frame.groupby("patient", sort=True).agg(
        stratum=("stratum", "first"), complete=("complete", "all")
    )
    patients["stratum"] = patients["stratum"].astype(object).fillna("unknown").astype(str)

    side = pd.Series("train", index=patients.index, dtype=object)
    for stratum, group in patients.groupby("stratum", sort=True):
        eligible = group.index[group["complete"]].to_numpy()
        num_val, num_test = _counts(len(group), len(eligible), val_fraction, test_fraction)
        rng = np.random.default_rng([seed, zlib.crc32(str(stratum).encode())])
        drawn = rng.permutation(eligible)
        side[drawn[:num_val]] = "val"
        side[drawn[num_val : num_val + num_test]] = "test"
    return patient_ids.map(side).rename("split")


def _counts(total: int, eligible: int, val_fraction: float, test_fraction: float):
    # 0.15 * 20 is 3.0000000000000004 and 0.07 * 100 is 7.000000000000001, but 0.29 * 100 is
    # 28.999999999999996: rounding first keeps the floor that was meant.
    num_val = int(round(val_fraction * total, 6))
    num_test = int(round(test_fraction * total, 6))
    wanted = num_val + num_test
    if wanted > eligible:
        num_val = num_val * eligible // wanted
        num_test = eligible - num_val
    return num_val, num_test
