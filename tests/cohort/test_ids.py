"""Ids that tables spell differently: joined where they are clear, told where not, never torn."""

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import load_cohort
from cohgen_jax.cohort.ids import (
    barcode_patient,
    canonical_barcode,
    loose,
    one_spelling,
    patients_of_ids,
    samples_within,
    without_zeros,
)

NUMBERS = [f"{i:05d}" for i in range(412, 612)]
"""Of the 200 patients of `tables`, in their order."""


def _renamed(tables, names):
    """The tables with the ids of every one made anew of a number: {table: how}; * is the others."""
    old = dict(zip(tables["clinical"].index, NUMBERS, strict=True))
    return {
        name: table.rename(index=lambda i, n=name: names.get(n, names["*"])(old[i]))
        for name, table in tables.items()
    }


def _notes(cohort) -> str:
    return " ".join(cohort.notes)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Case-17", "CASE_17"),
        ("HT 29", "ht-29"),
        ("S\u00a004", "S04"),
        ("A\u201312", "a-12"),
        ("\ufeffK7", "k7"),
    ],
)
def test_case_and_separators_do_not_count(one, other):
    assert loose(one) == loose(other)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("00417", "417", True),
        ("00417", "417.0", True),
        ("PX-007", "px7", True),
        ("1.05", "1.5", False),
        ("1-23", "12-3", False),
        ("0", "00", True),
        ("P1", "P10", False),
    ],
)
def test_zeros_in_front_do_not_count(one, other, same):
    assert (without_zeros(one) == without_zeros(other)) is same


@pytest.mark.parametrize(
    ("text", "patient"),
    [
        ("tcga.e9.a1ng.11a.52r.a14m.07", "TCGA-E9-A1NG"),
        ("TCGA_E9_A1NG", "TCGA-E9-A1NG"),
        ("C3N-00148-03", "C3N-00148"),
        ("GTEX-1117F-0226-SM-5GZZ7", "GTEX-1117F"),
        ("P-0001234-T01-IM6", "P-0001234"),
        ("TARGET-30-PAPTAN-01A", "TARGET-30-PAPTAN"),
        ("HeLa-3", None),
        ("TCGA-E9-A1", None),
    ],
)
def test_the_patient_of_a_barcode(text, patient):
    assert barcode_patient(text) == patient
    assert (canonical_barcode(text) is None) is (patient is None)


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        (lambda n: str(int(n)), "leading zeros"),
        (lambda n: f"{int(n)}.0", "read as a fraction"),
        (lambda n: n + ".1", "'.1' before or behind"),
        (lambda n: "X" + n, "'X' before or behind"),
        (lambda n: n + "_proteome", "'_proteome' before or behind"),
        (lambda n: n + "-b" if int(n) % 3 else n, "'-b' before or behind"),
    ],
)
def test_one_table_in_another_spelling_is_joined_and_told(tables, write, spoilt, told):
    plain = load_cohort(write(_renamed(tables, {"*": str}), "csv"))
    joined = load_cohort(write(_renamed(tables, {"*": str, "rppa": spoilt}), "tsv"))
    for name in plain.modalities:
        pd.testing.assert_frame_equal(joined.tables[name], plain.tables[name])
    assert joined.samples["split"].equals(plain.samples["split"])
    (note,) = [note for note in joined.notes if told in note]
    assert "rppa" in note
    assert note.count(" is '") == 3, "three examples"
    assert not any("sample ids" in note for note in plain.notes)


def test_facts_in_another_spelling_are_found(tables, write):
    plain = load_cohort(write(_renamed(tables, {"*": str}), "csv"))
    spoilt = {"*": str, "clinical": lambda n: f"{int(n)}"}
    joined = load_cohort(write(_renamed(tables, spoilt), "tsv"))
    pd.testing.assert_frame_equal(joined.samples, plain.samples)
    assert "200 sample ids of clinical.tsv differ" in _notes(joined)


def test_tables_that_each_add_a_word_share_what_is_left(tables, write):
    words = {n: lambda i, n=n: f"D{i}-{n}" for n in ("rna", "cna", "rppa")}
    cohort = load_cohort(write(_renamed(tables, {**words, "*": lambda i: f"D{i}"})))
    assert cohort.present.sum() == 560
    assert len(cohort.samples) == 200


def test_unclear_pairs_are_told_and_stay_on_one_side():
    joined = one_spelling({"rna": ["q1", "Q1", "q2"], "cna": ["q1", "q2"]})
    assert joined.renamed == {}
    assert joined.kin == {"Q1": "q1"}
    assert "'Q1' and 'q1'" in joined.notes[0]
    assert patients_of_ids(["q1", "Q1", "q2"], joined.kin) == ["q1", "q1", "q2"]


def test_ids_that_every_table_knows_apart_are_left_alone():
    """Case may mean something, and so may zeros."""
    ids = ["aB3", "AB3", "7", "07", "x"]
    assert one_spelling({"rna": ids, "cna": ids[::-1]}) == ({}, {}, [])


@pytest.mark.parametrize("second", ["W03.1", "W03 (2)", "W03_rep2", "W03-T"])
def test_a_repeated_sample_is_of_the_same_patient(second):
    assert patients_of_ids(["W03", second, "W04"]) == ["W03", "W03", "W04"]


def test_vials_of_one_sample_meet_and_samples_of_one_patient_do_not():
    ids = [f"TCGA-3C-AAA{k}" for k in "UVWX"]
    rna = [i + "-01A-11R-A41B-07" for i in ids] + [ids[0] + "-06A"]
    cna = [i + "-01B" for i in ids]
    joined = one_spelling({"rna": rna, "cna": cna, "rppa": ids})
    new = {
        t: [joined.renamed.get(t, {}).get(i, i) for i in own]
        for t, own in {"rna": rna, "cna": cna, "rppa": ids}.items()
    }
    assert new["rna"][:4] == new["cna"] == cna
    # The first patient has two samples: which of them rppa measured is not known.
    assert new["rppa"] == [ids[0], *cna[1:]]
    assert new["rna"][4] == ids[0] + "-06A"
    assert set(patients_of_ids([*new["rna"], *new["rppa"]])) == set(ids)


def test_what_is_measured_on_normal_tissue_is_not_joined_with_a_patient():
    ids = [f"TCGA-3C-AAA{k}" for k in "UVWX"]
    assert one_spelling({"rna": [i + "-11A" for i in ids], "rppa": ids}).renamed == {}


@pytest.mark.parametrize("spelt", [str.lower, lambda i: i.replace("-", "."), str])
def test_barcodes_in_any_spelling_and_beside_cell_lines(tables, write, spelt):
    """Two samples a patient, no facts: no patient is on two sides, whatever else is there."""
    del tables["clinical"]
    ids = [f"TCGA-B6-{i // 2:04d}-0{1 + 5 * (i % 2)}A" for i in range(200)]
    ids[7], ids[90] = "K-562", "commercial RNA"
    names = dict(zip(tables["rna"].index, map(spelt, ids), strict=True))
    cohort = load_cohort(write({n: t.rename(index=names) for n, t in tables.items()}))
    who = [i.upper().replace(".", "-")[:12] for i in cohort.samples.index]
    assert (cohort.samples.groupby(who)["split"].nunique() == 1).all()
    assert cohort.samples["patient_id"].nunique() == 102
    assert "2 of 200 sample ids are no barcodes" in _notes(cohort)
    assert "198 samples belong to 100 patients by their barcodes" in _notes(cohort)


def test_samples_of_patients_that_the_facts_name(tables, write):
    ids = [f"BB{i // 2:03d}/{'AB'[i % 2]}" for i in range(200)]
    names = dict(zip(tables["rna"].index, ids, strict=True))
    facts = tables.pop("clinical").iloc[::2]
    tables = {n: t.rename(index=names) for n, t in tables.items()}
    tables["clinical"] = facts.set_axis([f"bb{i:03d}" for i in range(100)], axis=0)
    cohort = load_cohort(write(tables))
    assert cohort.samples["patient_id"].nunique() == 100
    assert (cohort.samples.groupby("patient_id")["split"].nunique() == 1).all()
    assert (cohort.samples["stage"].to_numpy()[::2] == facts["stage"].to_numpy())[:2].all()
    assert "200 samples belong to 100 patients" in _notes(cohort)
    assert samples_within(["x1", "x2"], ["y1", "y2"]) == {}


def test_patients_in_several_spellings_are_one(tables, write):
    facts = tables["clinical"]
    facts["Patient ID"] = [f"Don {k // 4:02d}" if k % 2 else f"DON-{k // 4}" for k in range(200)]
    facts.loc[facts.index[:2], "Patient ID"] = ["[Not Available]", None]
    cohort = load_cohort(write(tables))
    assert cohort.samples["patient_id"].nunique() == 52
    assert list(cohort.samples["patient_id"].iloc[:2]) == ["P000", "P001"]
    assert "patient_id from Patient ID" in _notes(cohort)
    assert "98 patient ids" not in _notes(cohort)
    assert "count as the same patient ('DON-" in _notes(cohort)


def test_new_patients_near_each_other_are_not_two(tables):
    """As a folder to be completed has them, without split or facts."""
    from cohgen_jax.cohort.clean import cleaned
    from cohgen_jax.cohort.read import raw_tables

    frames = {"rna": tables["rna"].iloc[:9], "cna": tables["cna"].iloc[:9].rename(index=str.lower)}
    raw, kin = cleaned(raw_tables(frames))
    assert list(raw.tables["cna"].index) == list(raw.tables["rna"].index)
    np.testing.assert_array_equal(raw.tables["cna"], tables["cna"].iloc[:9])
    assert kin == {}
    assert "9 sample ids of" in " ".join(raw.notes)
