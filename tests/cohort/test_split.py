"""Patient-level splits: what holds for every seed and every cohort."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import SET_ASIDE, demo_cohort, patient_split, set_aside, stage_number
from cohgen_jax.cohort.split import LEAST_HELD, balanced_split
from cohgen_jax.errors import InputError


def _cohort(rng, num_patients=300):
    """Samples of patients with one to three samples, four cancer types, holes."""
    per_patient = rng.choice([1, 1, 1, 2, 3], num_patients)
    patients = np.repeat([f"p{i:03d}" for i in range(num_patients)], per_patient)
    strata = np.repeat(
        rng.choice(["a", "b", "c", "d"], num_patients, p=[0.5, 0.3, 0.15, 0.05]), per_patient
    )
    complete = rng.random(len(patients)) < 0.7
    return patients, strata.astype(object), complete


def _split(patients, strata, complete, seed=0, val=0.07, test=0.15):
    return patient_split(
        patients, strata, complete, val_fraction=val, test_fraction=test, seed=seed
    )


@pytest.mark.parametrize("seed", range(20))
def test_no_patient_is_on_two_sides(seed):
    patients, strata, complete = _cohort(np.random.default_rng(seed))
    split = _split(patients, strata, complete, seed)
    frame = pd.DataFrame({"p": patients, "s": split, "stratum": strata, "whole": complete})
    assert (frame.groupby("p")["s"].nunique() == 1).all()
    assert frame.loc[frame["s"] != "train", "whole"].all()
    # Each stratum gives the floor of its share, where it has that many complete patients.
    for _, group in frame.groupby("stratum"):
        n = group["p"].nunique()
        eligible = group.groupby("p")["whole"].all().sum()
        wanted = int(0.07 * n) + int(0.15 * n)
        held_out = group.loc[group["s"] != "train", "p"].nunique()
        assert held_out == min(wanted, eligible)


@pytest.mark.parametrize("seed", range(5))
def test_order_of_samples_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    patients, strata, complete = _cohort(rng)
    split = _split(patients, strata, complete, seed)
    order = rng.permutation(len(patients))
    np.testing.assert_array_equal(
        _split(patients[order], strata[order], complete[order], seed), split[order]
    )


def test_seeds_differ_and_strata_do_not_disturb_each_other():
    patients, strata, complete = _cohort(np.random.default_rng(0))
    split = _split(patients, strata, complete)
    assert (split != _split(patients, strata, complete, seed=1)).any()
    without = strata != "d"
    np.testing.assert_array_equal(
        _split(patients[without], strata[without], complete[without]), split[without]
    )


def test_too_few_complete_patients_are_shared_in_proportion():
    patients = np.array([f"p{i}" for i in range(100)])
    complete = np.arange(100) < 9  # 10 and 20 wanted
    split = _split(patients, np.full(100, "a"), complete, val=0.10, test=0.20)
    assert (split == "val").sum() == 3
    assert (split == "test").sum() == 6


def test_floor_is_of_the_share_meant():
    patients = np.array([f"p{i}" for i in range(100)])
    split = _split(patients, np.full(100, "a"), np.ones(100, bool), val=0.29, test=0.07)
    assert (split == "val").sum() == 29  # 0.29 * 100 is 28.999999999999996
    assert (split == "test").sum() == 7


def test_unknown_strata_are_one_stratum():
    patients = np.array([f"p{i}" for i in range(40)])
    strata = np.array([None, np.nan] * 20, dtype=object)
    split = _split(patients, strata, np.ones(40, bool), val=0.1, test=0.1)
    assert (split == "val").sum() == 4


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.2), (0.5, 0.5)])
def test_bad_fractions(val, test):
    with pytest.raises(InputError, match="at least 0"):
        _split(np.array(["p"]), np.array(["a"]), np.array([True]), val=val, test=test)


# ---- few patients have every modality ----------------------------------------------------------


def _holes(rng, num_patients=400, shares=(0.6, 0.5, 0.4, 0.08)):
    """Samples of patients with one or two samples, three cancer types, holes of all patterns."""
    patients = np.repeat([f"p{i:03d}" for i in range(num_patients)], rng.choice([1, 1, 2], 400))
    strata = rng.choice(["a", "b", None], len(patients)).astype(object)
    present = rng.random((len(patients), len(shares))) < shares
    present[np.arange(len(patients)), rng.integers(0, 3, len(patients))] = True
    return patients, strata, present


def _balanced(patients, strata, present, seed=0, val=0.07, test=0.15, drawable=None):
    drawable = np.full(len(patients), True) if drawable is None else drawable
    return balanced_split(
        patients, strata, present, drawable, val_fraction=val, test_fraction=test, seed=seed
    )


@pytest.mark.parametrize("seed", range(20))
def test_every_modality_is_held_out_in_proportion(seed):
    patients, strata, present = _holes(np.random.default_rng(seed))
    split = _balanced(patients, strata, present, seed)
    frame = pd.DataFrame(present).assign(patient=patients, side=split)
    assert (frame.groupby("patient")["side"].nunique() == 1).all()
    several = frame[present.sum(axis=1) >= 2]
    alone = ~frame["patient"].isin(several["patient"])
    assert alone.any()
    assert (frame.loc[alone, "side"] == "train").all()
    for columns in [*itertools.combinations(range(4), 1), *itertools.combinations(range(4), 2)]:
        have = several[several[list(columns)].all(axis=1)]
        total = have["patient"].nunique()
        held = have.groupby("side")["patient"].nunique()
        for side, fraction in (("val", 0.07), ("test", 0.15)):
            assert abs(held.get(side, 0) - fraction * total) < 3, (columns, side)
        if len(columns) == 1:
            assert held["val"] >= LEAST_HELD
            assert held["train"] > 0.7 * total


@pytest.mark.parametrize("num", range(29, 130, 7))
def test_one_kind_of_patient_is_shared_out_within_quota(num):
    """Of three sides, Webster's method never strays from the quota by 1 (Balinski & Young)."""
    patients = np.array([f"p{i}" for i in range(num)])
    split = _balanced(patients, np.full(num, "a"), np.full((num, 3), True))
    for side, fraction in (("train", 0.78), ("val", 0.07), ("test", 0.15)):
        assert abs((split == side).sum() - fraction * num) < 1


@pytest.mark.parametrize("num", [3, 8, 12, 20])
def test_a_rare_modality_is_on_every_side_and_mostly_in_train(num):
    """Beside 300 patients with two others; 7 % of 12 is less than one."""
    present = np.zeros((300, 3), bool)
    present[:, :2] = True
    present[:num, 2] = True
    patients = np.array([f"p{i:03d}" for i in range(300)])
    for seed in range(10):
        split = _balanced(patients, np.full(300, "a"), present, seed)[:num]
        assert (split == "train").sum() >= max(1, num // 2)
        if num >= 8:
            assert (split == "val").sum() >= LEAST_HELD
            assert (split == "test").sum() >= LEAST_HELD


def test_small_cancer_types_are_held_out_together():
    """Ten types of ten patients, of each of which 7 % are nobody."""
    strata = np.repeat(list("abcdefghij"), 10)
    patients = np.array([f"p{i:03d}" for i in range(100)])
    split = _balanced(patients, strata, np.full((100, 2), True))
    assert 6 <= (split == "val").sum() <= 8
    assert 14 <= (split == "test").sum() <= 16
    tested = [(split[strata == t] == "test").sum() for t in "abcdefghij"]
    assert min(tested) >= 1
    assert max(tested) <= 2


def test_order_of_samples_does_not_matter_to_a_balanced_split():
    rng = np.random.default_rng(3)
    patients, strata, present = _holes(rng)
    split = _balanced(patients, strata, present)
    order = rng.permutation(len(patients))
    again = _balanced(patients[order], strata[order], present[order])
    np.testing.assert_array_equal(again, split[order])
    assert (_balanced(patients, strata, present, seed=1) != split).any()


def test_only_the_drawable_are_drawn_to_the_share_of_all():
    present = np.full((200, 2), True)
    patients = np.array([f"p{i:03d}" for i in range(200)])
    drawable = np.arange(200) < 100
    split = _balanced(patients, np.full(200, "a"), present, test=0.0, drawable=drawable)
    assert (split[:100] == "val").sum() == 14
    assert set(split[:100]) == {"train", "val"}
    assert (split[100:] == "train").all()
    few = np.arange(200) < 10
    split = _balanced(patients, np.full(200, "a"), present, val=0.2, test=0.0, drawable=few)
    assert (split == "val").sum() == 5, "half of those there are"


def test_large_fractions_are_as_asked_and_nobody_may_have_two():
    present = np.full((100, 2), True)
    patients = np.array([f"p{i:03d}" for i in range(100)])
    split = _balanced(patients, np.full(100, "a"), present, val=0.3, test=0.6)
    assert [(split == s).sum() for s in ("train", "val", "test")] == [10, 30, 60]
    present[:, 0] = False
    assert (_balanced(patients, np.full(100, "a"), present) == "train").all()
    with pytest.raises(InputError, match="together below 1"):
        _balanced(patients, np.full(100, "a"), present, val=0.5, test=0.5)


def test_stage_numbers():
    found = ["I", "Stage IIA", "stage iii", "IV", 2, 3.0, "4", "IIIC2", None, "X", "V", "Stage 0"]
    expected = [1, 2, 3, 4, 2, 3, 4, 3] + [np.nan] * 3 + [1]
    np.testing.assert_array_equal(stage_number(pd.Series(found, dtype=object)), expected)


def test_patients_that_are_set_aside_are_on_no_other_side():
    cohort = demo_cohort(0, 200)
    moved = set_aside(cohort, ["cancer_type=kidney", "stage=IV"])
    facts, split = cohort.samples, moved.samples["split"]
    excluded = facts["patient_id"].isin(
        facts["patient_id"][(facts["cancer_type"] == "kidney") | (facts["stage"] == "IV")]
    )
    assert (split[excluded] == SET_ASIDE).all()
    assert split[~excluded].equals(facts["split"][~excluded])
    assert len(moved.rows(SET_ASIDE)) == excluded.sum()
    assert f"{excluded.sum()} samples" in moved.notes[-1]
    assert set_aside(cohort, []) is cohort


def test_all_samples_of_a_patient_are_set_aside():
    cohort = demo_cohort(0, 200)
    facts = cohort.samples.copy()
    twice = facts["patient_id"][facts["patient_id"].duplicated()].iloc[0]
    own = np.flatnonzero(facts["patient_id"] == twice)
    facts["site"] = "primary"
    facts.iloc[own[1], facts.columns.get_loc("site")] = "metastasis"
    moved = set_aside(dataclasses.replace(cohort, samples=facts), ["site=metastasis"])
    np.testing.assert_array_equal(moved.rows(SET_ASIDE), own)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("kidney", "not like"),
        ("organ=kidney", "no column 'organ'"),
        ("cancer_type=liver", "breast, colon"),
        ("split=train", "no column 'split'"),
    ],
)
def test_rules_that_match_nobody_are_refused(rule, said):
    with pytest.raises(InputError, match=said):
        set_aside(demo_cohort(0, 200), [rule])


def test_nobody_left_is_refused():
    everyone = [f"cancer_type={t}" for t in demo_cohort(0, 200).samples["cancer_type"].unique()]
    with pytest.raises(InputError, match="leaves nobody in train"):
        set_aside(demo_cohort(0, 200), everyone)
