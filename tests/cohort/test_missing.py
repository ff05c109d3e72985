"""Codes for a missing value, and assays that are zero because they were not done."""

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import load_cohort
from cohgen_jax.cohort.missing import (
    coded_missing,
    without_codes,
    without_zero_rows,
    zero_blocks_told,
)
from cohgen_jax.cohort.tables import numeric

RNG = np.random.default_rng(11)
N = 80
IDS = pd.Index([f"S{i:02d}" for i in range(N)], name="sample_id")


def _table(values) -> pd.DataFrame:
    return pd.DataFrame(np.asarray(values, np.float32), IDS).add_prefix("f")


TABLES = {
    "continuous": _table(RNG.normal(8, 2, (N, 9))),
    "counts": _table(RNG.poisson(30, (N, 9))),
    "fraction": _table(RNG.beta(2, 2, (N, 9))),
    "binary": _table(RNG.random((N, 9)) < 0.3),
    "ordinal": _table(RNG.integers(-2, 3, (N, 9))),
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("code", [-9999.0, -999.0, 9999.0, 1e30, -1e20, 999999.0])
def test_codes_are_missing_in_every_kind_of_table(kind, code):
    table = TABLES[kind].copy()
    for i, j in ((2, 1), (3, 1), (50, 7)):
        table.iloc[i, j] = code
    notes: list[str] = []
    mended = without_codes("rna", table, notes)
    expected = TABLES[kind].mask(table != TABLES[kind])
    pd.testing.assert_frame_equal(mended, expected)
    assert notes == [
        f"rna: 3 cells hold {code:g}, far from the other values, and count as missing (features "
        "f1, f7)."
    ]


@pytest.mark.parametrize("kind", TABLES)
def test_values_are_no_codes(kind):
    notes: list[str] = []
    assert without_codes("rna", TABLES[kind], notes) is TABLES[kind]
    assert notes == []


def test_numbers_that_look_like_codes_and_are_none():
    wide = _table(RNG.integers(0, 60000, (N, 9)))
    wide.iloc[4, 4], wide.iloc[5, 5] = 9999, 999
    counts = TABLES["counts"].copy()
    counts.iloc[4, 4] = 999  # once only: a count may be large
    charges = _table(RNG.normal(0, 5000, (N, 9)))
    charges.iloc[4, 4] = -9999
    for table in (wide, counts, charges):
        assert without_codes("rna", table, []).equals(table)


def test_a_code_stands_apart_from_its_own_column():
    table = TABLES["continuous"].copy()
    table["large"] = RNG.normal(5e5, 1e5, N).astype(np.float32)
    table.iloc[[3, 9], 0] = 9999
    assert list(np.flatnonzero(without_codes("x", table, [])["f0"].isna())) == [3, 9]
    assert not coded_missing(np.array([1.0, np.nan])).any()
    assert not coded_missing(np.array([-9999.0, -9999.0])).any(), "nothing to be far from"


@pytest.mark.parametrize("cell", ["[Not Available]", "--", "'--", "unknown", "N/A", "Not Reported"])
def test_words_for_nothing_are_empty_cells(cell):
    frame = pd.DataFrame({"a": ["1.5", cell, "2"], "b": [1.0, 2.0, 3.0]}, index=["x", "y", "z"])
    np.testing.assert_array_equal(numeric(frame, "t"), [[1.5, 1], [np.nan, 2], [2, 3]])


@pytest.mark.parametrize("kind", ["continuous", "counts", "fraction"])
def test_an_assay_that_is_zero_throughout_was_not_done(kind):
    table = TABLES[kind].copy()
    table.iloc[60:] = 0
    notes: list[str] = []
    pd.testing.assert_frame_equal(without_zero_rows("rna", table, kind, notes), table.iloc[:60])
    assert notes[0].startswith("rna: every value of 20 samples is exactly zero (S60, S61")
    assert "counts as not done" in notes[0]


def test_sparse_counts_of_zero_may_be_measured_and_are_told():
    table = _table(RNG.poisson(0.05, (N, 9)))
    notes: list[str] = []
    assert without_zero_rows("mirna", table, "counts", notes) is table
    assert "leave these rows out" in notes[0]


@pytest.mark.parametrize(("rate", "told"), [(0.1, False), (0.45, True)])
def test_patients_without_an_event(rate, told):
    """Where one or two events are frequent so is none; where nobody has so few it is strange."""
    values = RNG.random((N, 14)) < rate
    values[60:] = False
    notes: list[str] = []
    table = _table(values)
    assert without_zero_rows("mut", table, "binary", notes) is table
    assert bool(notes) is told


def test_two_panels_joined_with_zeros_are_told():
    table = TABLES["continuous"].copy()
    table.iloc[55:, :6] = 0
    (note,) = zero_blocks_told("adt", table, "continuous")
    assert note.startswith(
        "adt: 6 features (f0, f1, f2, f3, f4 and 1 more) are exactly zero in the"
    )
    assert "same 25 samples" in note
    assert zero_blocks_told("adt", TABLES["continuous"], "continuous") == []
    assert zero_blocks_told("mut", table, "binary") == []


def test_a_cohort_after_an_outer_join(tables, write):
    plain = load_cohort(write(tables))
    ids = tables["rna"].index
    tables["rppa"] = tables["rppa"].reindex(ids).fillna(0.0)
    cohort = load_cohort(write(tables, "csv"))
    for name in plain.modalities:
        pd.testing.assert_frame_equal(cohort.tables[name], plain.tables[name])
    assert cohort.samples["split"].equals(plain.samples["split"])
    assert any(n.startswith("rppa: every value of 40 samples is exactly") for n in cohort.notes)


def test_codes_do_not_reach_a_cohort(tables, write):
    tables["cna"].iloc[:25, 2] = -9999
    tables["cna"].iloc[30] = -9999
    cohort = load_cohort(write(tables))
    assert np.nanmin(cohort.tables["cna"]) > -10
    assert "P030" not in cohort.tables["cna"].index, "nothing of it is known"
    assert int(cohort.tables["cna"].isna().sum().sum()) == 25
