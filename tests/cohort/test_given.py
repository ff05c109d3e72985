"""A column `split` in the words that people use."""

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort.cohort import SET_ASIDE
from cohgen_jax.cohort.given import given_split, side_of
from cohgen_jax.errors import InputError

WORDS = {
    "train": ["train", "Train", "TRAIN", " training ", "Training set", "train_split", "trn"],
    "val": ["val", "Validation", "VALID", "dev", "Dev set", "tuning", "validation cohort"],
    "test": ["test", "Testing", "TEST_SET", "held-out", "Held out", "hold-out", "holdout set"],
    SET_ASIDE: ["ood", "OOD"],
}


@pytest.mark.parametrize(("side", "word"), [(s, w) for s, ws in WORDS.items() for w in ws])
def test_words_in_any_case(side, word):
    assert side_of(word) == side


@pytest.mark.parametrize("word", ["", "set", "train1", "fold 2", "external", 1, True, np.nan, None])
def test_what_is_no_side(word):
    assert side_of(word) == ""


def samples(split):
    ids = [f"P{i}" for i in range(len(split))]
    return pd.DataFrame({"patient_id": ids, "split": split}, index=ids)


def test_other_words_are_told_and_own_ones_are_not():
    notes = []
    split = given_split(samples(["Training", "train", "Held-out", "dev"]), "facts.csv", notes)
    assert split.tolist() == ["train", "train", "test", "val"]
    assert notes == [
        "facts.csv, column 'split': read 'Training' as train, 'Held-out' as test, 'dev' as val."
    ]
    notes.clear()
    given_split(samples(["train", "val", "test"]), "facts.csv", notes)
    assert not notes


def test_what_is_not_understood_is_named():
    with pytest.raises(
        InputError, match=r"facts\.csv.*2 samples have none of.*first 'P1' \('f2'\)"
    ):
        given_split(samples(["train", "f2", np.nan]), "facts.csv", [])
