"""Sides: given, partly given, drawn from the complete patients, drawn from all that have two."""

import hashlib
import itertools
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import Cohort, demo_cohort, load_cohort, patient_split, save_cohort
from cohgen_jax.errors import InputError

DATA = Path(os.environ.get("COHGEN_DATA", Path(__file__).parents[2] / "../shared/data"))


def _note(cohort: Cohort, word: str) -> str:
    (note,) = [note for note in cohort.notes if word in note]
    return note


def _count(cohort: Cohort, side: str, *modalities: str) -> int:
    """Patients of a side that have all of these in one sample."""
    columns = [cohort.modalities.index(m) for m in modalities]
    rows = cohort.rows(side)
    both = cohort.present[rows][:, columns].all(axis=1)
    return cohort.samples["patient_id"].iloc[rows[both]].nunique()


@pytest.fixture
def sparse(tables):
    """rna and cna of 200 patients, rppa of 60 with rna, mut of 40 with cna: nobody has three, and
    40 have rna only."""
    rng = np.random.default_rng(1)
    ids = tables["rna"].index
    tables["rna"], tables["cna"] = tables["rna"].loc[ids[:160]], tables["cna"].loc[ids[100:]]
    tables["rppa"] = pd.DataFrame(rng.normal(size=(60, 4)), index=ids[:60]).add_prefix("p")
    tables["mut"] = pd.DataFrame(rng.normal(size=(40, 3)), index=ids[160:]).add_prefix("m")
    return tables


# ---- drawn ------------------------------------------------------------------------------------


def test_where_complete_patients_suffice_they_are_drawn_as_ever(tables, write):
    facts = tables["clinical"]
    complete = facts.index.isin(tables["rppa"].index)
    cohort = load_cohort(write(tables))
    expected = patient_split(
        facts.index.to_numpy(),
        facts["cancertype"].str.removeprefix("TCGA-").to_numpy(),
        complete,
        val_fraction=0.07,
        test_fraction=0.15,
        seed=42,
    )
    np.testing.assert_array_equal(cohort.samples["split"], expected)
    assert _note(cohort, "drawn") == (
        "The split was drawn by patient (seed 42): of each cancer type, 7% to val and 15% to test "
        "from the patients with every modality; 156 train, 14 val, 30 test patients."
    )


def test_nobody_has_every_modality(sparse, write):
    cohort = load_cohort(write(sparse), min_train=25)
    assert not cohort.present.all(axis=1).any()
    shared = {"rna": 120, "cna": 100, "rppa": 60, "mut": 40}
    for modality, total in shared.items():
        assert _count(cohort, "val", modality) >= 2
        assert abs(_count(cohort, "test", modality) - 0.15 * total) <= 1
        assert _count(cohort, "train", modality) > 0.7 * total
    alone = cohort.samples["split"].iloc[60:100]
    assert (alone == "train").all()
    for pair in (("rna", "rppa"), ("cna", "mut"), ("cna", "rna")):
        assert _count(cohort, "test", *pair) >= 5
    assert "two modalities or more" in _note(cohort, "drawn")
    assert "those with every modality (0)" in _note(cohort, "drawn")
    again = load_cohort(write(sparse, "csv"), min_train=25)
    pd.testing.assert_frame_equal(cohort.samples, again.samples, check_dtype=False)


@pytest.mark.parametrize("seed", range(5))
def test_a_modality_of_a_fifth_of_the_patients_mostly_trains(tables, write, seed):
    """The 42 of 200 that have it are as many as are wanted for val and test."""
    tables["rppa"] = tables["rppa"].iloc[:42]
    cohort = load_cohort(write(tables), seed=seed)
    assert [len(cohort.rows(s)) for s in ("train", "val", "test")] == [156, 14, 30]
    assert _count(cohort, "val", "rppa") >= 2
    assert _count(cohort, "test", "rppa") >= 5
    assert _count(cohort, "train", "rppa") >= 32
    types = cohort.samples.groupby("cancer_type")["split"].value_counts()
    np.testing.assert_array_equal(types.xs("val", level="split"), [7, 7])
    np.testing.assert_array_equal(types.xs("test", level="split"), [15, 15])


def test_a_draw_that_would_leave_too_few_in_train_is_wider(tables, write):
    """Of 50, 44 wanted from the complete would leave 6; in proportion 39 train, as needed."""
    tables["rppa"] = tables["rppa"].iloc[:50]
    cohort = load_cohort(write(tables))
    assert 37 <= _count(cohort, "train", "rppa") <= 41


def test_many_small_cancer_types_do_not_empty_validation(tables, write):
    """Of 5 patients 7 % are nobody, of 40 such types still 14."""
    tables["clinical"]["cancertype"] = [f"type{i % 40}" for i in range(200)]
    cohort = load_cohort(write(tables))
    assert 12 <= len(cohort.rows("val")) <= 16
    assert 27 <= len(cohort.rows("test")) <= 33


def test_large_fractions_of_a_complete_cohort_are_drawn_as_ever(tables, write):
    del tables["rppa"]
    cohort = load_cohort(write(tables), val_fraction=0.29, test_fraction=0.31)
    assert [len(cohort.rows(s)) for s in ("train", "val", "test")] == [80, 58, 62]
    assert "of each cancer type" in _note(cohort, "drawn")


def test_samples_of_a_patient_stay_together_in_a_wider_draw(sparse, write):
    sparse["clinical"]["patient_id"] = [f"pat{i % 150}" for i in range(200)]
    cohort = load_cohort(write(sparse), min_train=20)
    assert (cohort.samples.groupby("patient_id")["split"].nunique() == 1).all()


def test_a_modality_that_too_few_share_is_named(tables, write):
    """rppa of 50 patients, but only one of them has anything else."""
    ids = [*tables["rna"].index[:1], *(f"Q{i}" for i in range(49))]
    tables["rppa"] = tables["rppa"].iloc[:50].set_axis(ids, axis=0)
    with pytest.raises(
        InputError,
        match=r"rppa is present for 1 patients in train.*beside another.*\(50 patients have it, 49 "
        r"without another modality\): leave it out",
    ):
        load_cohort(write(tables))


# ---- given ------------------------------------------------------------------------------------


@pytest.fixture
def train_and_test(tables):
    """The last 60 of 200 patients, who have no rppa, are test; a column `split` says so."""
    tables["rppa"] = tables["rppa"][tables["rppa"].index < "P140"]
    tables["clinical"]["split"] = ["Training"] * 140 + ["test "] * 60
    return tables


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_validation_that_is_not_given_is_drawn_from_train(train_and_test, write, form):
    del train_and_test["clinical"]["cancertype"]
    cohort = load_cohort(write(train_and_test, form))
    np.testing.assert_array_equal(cohort.rows("test"), np.arange(140, 200))
    assert len(cohort.rows("val")) == 14, "7 % of all 200"
    assert cohort.present[cohort.rows("val")].all()
    note = _note(cohort, "drawn")
    assert note.startswith(f"The split is the one given in clinical.{form}, but for val, which it")
    assert "7% to val from the patients with every modality" in note
    assert note.endswith("126 train, 14 val, 60 test patients.")
    assert _note(cohort, "judged") == (
        "rppa cannot be judged in test, where 0 patients have it beside another modality."
    )


def test_drawn_validation_is_stratified_by_patient(train_and_test, write):
    facts = train_and_test["clinical"]
    facts["cancertype"] = np.tile(["a", "b", "b", "b"], 50)
    facts["patient_id"] = [f"pat{i // 2}" for i in range(200)]
    facts["cancertype"] = facts["cancertype"].where(np.arange(200) % 2 == 0, "c")
    cohort = load_cohort(write(train_and_test))
    sides = cohort.samples.groupby("patient_id")["split"].nunique()
    assert (sides == 1).all()
    drawn = cohort.samples.iloc[cohort.rows("val")].groupby("cancer_type")["patient_id"].nunique()
    assert drawn.to_dict() == {"a": 3, "b": 3, "c": 6}, "7 % of 50 patients of type a, and of b"


def test_validation_drawn_where_few_have_everything(train_and_test, write):
    """24 have rppa: the 14 wanted are drawn from all, in proportion."""
    train_and_test["rppa"] = train_and_test["rppa"].iloc[:24]
    cohort = load_cohort(write(train_and_test), min_train=10)
    np.testing.assert_array_equal(cohort.rows("test"), np.arange(140, 200))
    assert len(cohort.rows("val")) == 14
    assert 2 <= _count(cohort, "val", "rppa") <= 4
    assert "two modalities or more, 7% to val" in _note(cohort, "drawn")


def test_test_that_is_not_given_is_drawn_from_train(train_and_test, write):
    facts = train_and_test["clinical"]
    facts["split"] = ["train"] * 180 + ["valid"] * 20
    del train_and_test["rppa"]
    cohort = load_cohort(write(train_and_test))
    np.testing.assert_array_equal(cohort.rows("val"), np.arange(180, 200))
    assert len(cohort.rows("test")) == 30
    assert "but for test, which" in _note(cohort, "drawn")


def test_a_column_of_train_alone_is_drawn_as_without_it(tables, write):
    plain = load_cohort(write(tables))
    tables["clinical"]["split"] = "train"
    cohort = load_cohort(write(tables))
    assert cohort.samples["split"].equals(plain.samples["split"])
    assert "but for val and test, which" in _note(cohort, "drawn")


def test_what_was_drawn_is_given_when_saved(train_and_test, write, tmp_path):
    cohort = load_cohort(write(train_and_test))
    save_cohort(cohort, tmp_path / "saved")
    again = load_cohort(tmp_path / "saved", seed=7)
    assert again.samples["split"].equals(cohort.samples["split"])
    assert set(cohort.notes) < set(again.notes)


def test_given_sides_that_lack_something_are_named(tables, write):
    sides = np.array(["train"] * 150 + ["val"] * 20 + ["test"] * 30)
    tables["clinical"]["split"] = sides
    whole = tables["rppa"].copy()
    tables["rppa"] = whole[whole.index < "P150"]
    with pytest.raises(
        InputError,
        match=r"val has 0 patients with rppa.*fewer than 2.*: leave out rppa, or give val more "
        r"patients in the column 'split' of clinical\.parquet",
    ):
        load_cohort(write(tables))
    tables["rppa"] = whole
    for name in ("rna", "cna"):
        tables[name] = tables[name].iloc[:170]
    with pytest.raises(
        InputError, match=r"test has no two modalities that 2 of its patients share \(2. patients"
    ):
        load_cohort(write(tables))


# ---- patterns that cohorts really have ---------------------------------------------------------


def _folder_of(write, present):
    """Tables of 3 to 6 features of who has them, bool [N, M]."""
    rng = np.random.default_rng(0)
    ids = pd.Index([f"P{i:04d}" for i in range(len(present))], name="sample_id")
    tables = {
        f"m{m}": pd.DataFrame(rng.normal(size=(len(ids), 3 + m)), index=ids).add_prefix("f")[has]
        for m, has in enumerate(present.T)
    }
    return write(tables)


def _cohort_of(write, present):
    return load_cohort(_folder_of(write, present))


def _pairs(cohort: Cohort) -> list[tuple[str, str]]:
    return list(itertools.combinations(cohort.modalities, 2))


@pytest.mark.parametrize("share", [0.1, 0.2, 0.25, 0.35])
def test_an_assay_of_few_of_a_thousand_patients_trains(write, share):
    rng = np.random.default_rng(1)
    present = np.ones((1000, 3), bool)
    present[:, 2] = np.isin(np.arange(1000), rng.permutation(1000)[: int(share * 1000)])
    cohort = _cohort_of(write, present)
    assert [len(cohort.rows(s)) for s in ("train", "val", "test")] == [780, 70, 150]
    for side, fraction in (("train", 0.78), ("val", 0.07), ("test", 0.15)):
        assert abs(_count(cohort, side, "m2") - fraction * share * 1000) <= 1


def test_four_assays_at_two_thirds_leave_complete_patients_to_train(write):
    cohort = _cohort_of(write, np.random.default_rng(2).random((1000, 4)) < 0.68)
    complete = int(cohort.present.all(axis=1).sum())
    assert abs(_count(cohort, "train", *cohort.modalities) - 0.78 * complete) < 0.08 * complete
    for pair in _pairs(cohort):
        total = int(cohort.present[:, [cohort.modalities.index(m) for m in pair]].all(axis=1).sum())
        for side, fraction in (("val", 0.07), ("test", 0.15)):
            assert abs(_count(cohort, side, *pair) - fraction * total) < 4


@pytest.mark.parametrize("num", [40, 480])
@pytest.mark.parametrize("rare", [0, 0.5])
def test_pairs_are_held_out_where_nobody_has_everything(write, num, rare):
    """Two of three each; with `rare`, half of the patients have a fourth as well."""
    present = np.ones((num, 4), bool)
    present[np.arange(num), np.arange(num) % 3] = False
    present[:, 3] = np.random.default_rng(3).random(num) < rare
    cohort = _cohort_of(write, present if rare else present[:, :3])
    for pair in _pairs(cohort):
        assert _count(cohort, "val", *pair) >= 1
        assert _count(cohort, "test", *pair) >= 1
        assert _count(cohort, "train", *pair) >= (6 if num == 40 else 50)
    for modality in cohort.modalities:
        assert _count(cohort, "val", modality) >= 2


@pytest.mark.parametrize("carriers", range(16, 40))
def test_a_split_that_can_be_drawn_is_drawn(write, carriers):
    """Of 40 patients, whatever number from 16 has the last of three."""
    present = np.ones((40, 3), bool)
    present[carriers:, 2] = False
    cohort = _cohort_of(write, present)
    assert _count(cohort, "train", "m2", "m0") >= 12
    assert _count(cohort, "val", "m2", "m0") >= 2
    assert _count(cohort, "test", "m2", "m0") >= 1


@pytest.mark.parametrize("carriers", range(1, 16))
def test_what_is_advised_for_too_few_patients_works(write, carriers):
    present = np.ones((40, 3), bool)
    present[carriers:, 2] = False
    folder = _folder_of(write, present)
    with pytest.raises(InputError, match=r"m2 is present for .*leave it out") as refusal:
        load_cohort(folder)
    message = str(refusal.value)
    assert f"({carriers} patients have it" in message
    if smaller := re.search(r"min_train=(\d+)", message):
        load_cohort(folder, min_train=int(smaller[1]))
    else:
        assert carriers < 10
    needed = int(re.search(r"about (\d+) with it", message)[1])
    present[:needed, 2] = True
    _cohort_of(write, present)


def test_the_split_of_the_demo_cohort_stays():
    assert _checksum(demo_cohort()) == "8fa71436f1b9"


@pytest.mark.skipif(not (DATA / "tcga").is_dir(), reason=f"no TCGA cohort in {DATA}")
def test_the_tcga_split_stays():
    cohort = load_cohort(DATA / "tcga")
    assert _checksum(cohort) == "4fd17f5673a4"
    assert [len(cohort.rows(s)) for s in ("train", "val", "test")] == [3329, 291, 630]


def _checksum(cohort: Cohort) -> str:
    return hashlib.sha256(cohort.samples["split"].to_csv().encode()).hexdigest()[:12]
