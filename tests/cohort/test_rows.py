"""Tables gone through by batches of rows: which are, and what they hold."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from cohgen_jax.cohort.ids import one_spelling
from cohgen_jax.cohort.rows import of_one_form, open_rows, parquet_files, positions


@pytest.mark.parametrize("form", ["P{:04d}", "{:05d}", "case-{:03d}", "TCGA-{:04d}", "P-{:07d}"])
def test_ids_of_one_form_are_never_joined(form):
    """As the rules for spellings have it, whatever tables they are in."""
    ids = [form.format(i) for i in (*range(12), 100, 110, 120)]
    assert of_one_form(pa.array(ids))
    joined = one_spelling({"a": ids[:9], "b": ids[5:], "c": [*ids[:2], *ids[-2:]]})
    assert not joined.renamed
    assert not joined.notes


@pytest.mark.parametrize(
    "ids",
    [
        ["P1", "P01"],
        ["P01", "p01"],
        ["P-01", "P.01"],
        ["TCGA-02-0001", "TCGA-02-0002"],
        ["P01_rna", "P02_rna"],
        ["C3L-00001", "C3L-00002"],
        ["AB01", "CD01"],
        ["alpha", "gamma"],
        ["P\u0661", "P\u0662"],
    ],
)
def test_ids_that_may_be_spelt_in_two_ways_are_of_no_one_form(ids):
    assert not of_one_form(pa.array(ids))


def frame(ids, column="sample_id"):
    values = np.arange(2.0 * len(ids)).reshape(-1, 2)
    return pd.DataFrame(values, pd.Index(ids, name=column), ["g1", "g2"])


def test_batches_are_the_table(tmp_path):
    table = frame([f" P{i} " for i in range(10)]).assign(other="text")
    table.to_parquet(tmp_path / "rna.parquet", row_group_size=4)
    rows = open_rows("rna.parquet", parquet_files(tmp_path / "rna.parquet"), ("g2", "g1"))
    assert rows is not None
    assert rows.doubtful  # `other` might hold ids
    parts = list(rows.batches(3))
    assert [own.start for own, _ in parts][:2] == [0, 3]
    whole = pd.concat([part for _, part in parts])
    assert list(whole.index) == [f"P{i}" for i in range(10)]
    np.testing.assert_array_equal(whole, table[["g2", "g1"]])


@pytest.mark.parametrize(
    "table",
    [
        frame(["P1", "P2", "P1"]),
        frame(["P1", "", "P2"]),
        frame(["1", "2", "3"], "case"),
        frame(["P1", "P2", "mean"]),
        frame(["g1", "g2", "g3"]),
        frame(["P1", "P2"])[["g1"]],
        frame(["P1", "P2"]).reset_index(drop=True),
    ],
)
def test_what_only_the_whole_table_tells_is_left_to_it(table, tmp_path):
    """Ids that repeat, are empty, numbers or words for a sum; features going down, or absent."""
    table.to_parquet(tmp_path / "rna.parquet")
    assert open_rows("rna.parquet", [tmp_path / "rna.parquet"], ("g1", "g2")) is None


def test_positions_are_those_of_the_known_ids():
    found = positions(pa.array(["b", "z", "a"]), pa.array(["a", "b"]))
    assert found.tolist() == [1, -1, 0]
