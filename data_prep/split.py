"""Train, validation and test, per cancer type, held-out samples complete.

Validation gets floor(5 %) and test floor(15 %) of each cancer type, drawn from units that have
every modality and clinical data; when too few are complete, those there are are shared in
proportion. The published unit is the sample, so two samples of one patient (tumour and normal) can
fall on both sides. Ours is the patient: nothing of a held-out patient is ever trained on.
"""

import math

import pandas as pd

from data_prep.barcodes import patients
from data_prep.ids import COMPLETE

SEED = 42
SET_ASIDE = "aside"
"""Split of incomplete samples of held-out patients: neither trained on nor tested."""


def held_out_sizes(total: int, complete: int, val: float, test: float) -> tuple[int, int]:
    """How many of `total` units go to validation and test when `complete` of them may.

    floor(val * total) and floor(test * total); a shortage is shared in proportion to these.
    """
    # Rounded first, so that 0.29 * 100 = 28.999999999999996 counts as 29.
    n_val, n_test = (math.floor(round(f * total, 6)) for f in (val, test))
    if n_val + n_test > complete:
        n_val = complete * n_val // (n_val + n_test)
        n_test = complete - n_val
    return n_val, n_test


def split_samples(
    ids: pd.DataFrame, *, val: float = 0.05, test: float = 0.15, seed: int = SEED
) -> pd.DataFrame:
    """The published split: `ids` with a column `split`, drawn sample by sample.

    Row order is the published one: train, val, test; within each the cancer types by size.
    """
    train, held_val, held_test = [], [], []
    complete = _complete(ids)
    for cancer_type in ids["cancertype"].value_counts().index:
        rows = ids.loc[ids["cancertype"] == cancer_type]
        able = rows.loc[complete[rows.index]]
        n_val, n_test = held_out_sizes(len(rows), len(able), val, test)
        chosen_val = able.sample(n_val, random_state=seed)
        chosen_test = able.drop(chosen_val.index).sample(n_test, random_state=seed)
        rest = rows.drop(chosen_val.index).drop(chosen_test.index)
        held_val.append(chosen_val.assign(split="val"))
        held_test.append(chosen_test.assign(split="test"))
        train.append(rest.sample(frac=1, random_state=seed).assign(split="train"))
    return pd.concat([*train, *held_val, *held_test], ignore_index=True)


def split_patients(
    ids: pd.DataFrame, *, val: float = 0.05, test: float = 0.15, seed: int = SEED
) -> pd.DataFrame:
    """The default split: `ids` with a column `split`, drawn patient by patient.

    A patient counts in the cancer type of its first sample. A held-out patient's complete samples
    are validation or test; its other samples get SET_ASIDE. Rows stay in the order of `ids`.
    """
    patient = pd.Series(patients(ids["sample_id"]), index=ids.index)
    complete = _complete(ids)
    of_patient = pd.DataFrame(
        {
            "cancertype": ids["cancertype"].groupby(patient).first(),
            "complete": complete.groupby(patient).any(),
        }
    )
    where: dict[str, str] = {}
    for cancer_type in sorted(of_patient["cancertype"].unique()):
        rows = of_patient.loc[of_patient["cancertype"] == cancer_type]
        able = rows.loc[rows["complete"]]
        n_val, n_test = held_out_sizes(len(rows), len(able), val, test)
        order = able.sample(frac=1, random_state=seed).index.tolist()
        where.update(dict.fromkeys(order[:n_val], "val"))
        where.update(dict.fromkeys(order[n_val : n_val + n_test], "test"))
    split = patient.map(where).astype("object").fillna("train")
    return ids.assign(split=split.mask((split != "train") & ~complete, SET_ASIDE))


def _complete(ids: pd.DataFrame) -> pd.Series:
    """Rows with clinical data and every modality that any row of `ids` has."""
    needed = [flag for flag in COMPLETE if 1 in ids[flag].tolist()]
    return ids[needed].all(axis=1)


def leaking_patients(split: pd.DataFrame) -> list[str]:
    """Patients with samples in train and in a held-out split (empty for `split_patients`)."""
    patient = pd.Series(patients(split["sample_id"]), index=split.index)
    train = set(patient[split["split"] == "train"])
    return sorted(train & set(patient[split["split"].isin(["val", "test"])]))


SPLIT_RULES = {
    "default": "The split is by patient, per cancer type; held-out samples are complete.",
    "published": (
        "The split is the published one, by sample, per cancer type; held-out samples are complete."
    ),
}
