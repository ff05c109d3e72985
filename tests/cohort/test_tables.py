"""Reading one table: its forms, its ids, and each way it can be wrong."""

import gzip

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import tables
from cohgen_jax.cohort.tables import numeric, read_table, table_name
from cohgen_jax.errors import InputError


def _write(path, text: str):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sample_id,a,b\ns1,1,2\ns2,3,\n", "a column sample_id"),
        ("a,sample_id,b\n1,s1,2\n3,s2,\n", "sample_id is not the first column"),
        ("who,a,b\ns1,1,2\ns2,3,NA\n", "else the first column"),
        (",a,b\ns1,1,2\ns2,3,NaN\n", "an index without a name"),
        ("a,b\ns1,1,2\ns2,3,\n", "R leaves the id column out of the header"),
        ("\ufeffsample_id,a,b\ns1,1,2\ns2,3,\n", "a byte order mark"),
        ('"sample_id","a","b"\n"s1",1,2\n"s2",3,""\n', "quoted"),
        ("patient_id,sample_id,a,b\np1,s1,1,2\np1,s2,3,\n", "ids of two kinds"),
    ],
)
def test_text_forms_give_the_same_table(tmp_path, text, why):
    table = numeric(read_table(_write(tmp_path / "t.csv", text)), "t.csv")
    assert list(table.index) == ["s1", "s2"], why
    assert list(table.columns) == ["a", "b"], why
    np.testing.assert_array_equal(table, np.array([[1, 2], [3, np.nan]], np.float32))


def test_numeric_looking_ids_stay_text(tmp_path):
    table = read_table(_write(tmp_path / "t.tsv", "sample_id\ta\n001\t1\n002\t2\n"))
    assert list(table.index) == ["001", "002"]


def test_parquet_without_an_index_uses_its_id_column(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "patient_id": ["p1", "p2"], "b": [True, False]})
    frame.to_parquet(tmp_path / "t.parquet")
    table = numeric(read_table(tmp_path / "t.parquet"), "t")
    assert list(table.index) == ["p1", "p2"]
    np.testing.assert_array_equal(table, np.array([[1, 1], [2, 0]], np.float32))


def test_booleans_and_nullable_integers_are_numbers():
    frame = pd.DataFrame(
        {
            "flag": [True, False, True],
            "count": pd.array([1, None, 3], dtype="Int64"),
            "mixed": [True, None, 2],
            "text": ["1.5", " ", "2e3"],
        },
        index=["a", "b", "c"],
    )
    expected = [[1, 1, 1, 1.5], [0, np.nan, np.nan, np.nan], [1, 3, 2, 2000]]
    table = numeric(frame, "t")
    assert (table.dtypes == np.float32).all()
    np.testing.assert_array_equal(table, np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample_id,a\ns1,1\ns1,2\ns3,3\n", r"t\.csv.*occur more than once: s1"),
        ("sample_id,a,a\ns1,1,2\n", r"t\.csv.*columns occur more than once: a"),
        ("sample_id,a\ns1,1\n,2\n", r"t\.csv.*1 rows without an id, first at row 1"),
        ("sample_id,a\n", r"t\.csv is empty"),
        ("", r"t\.csv is an empty file"),
        ("sample_id\ns1\ns2\n", r"t\.csv is empty: 2 rows, 0 feature columns"),
        ("sample_id,a\ns1,1\ns2,1,2,3\n", r"t\.csv cannot be read"),
    ],
)
def test_a_bad_table_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_table(_write(tmp_path / "t.csv", text))


def test_text_cells_are_named_by_file_column_and_first_rows(tmp_path):
    file = _write(tmp_path / "t.csv", "sample_id,a,b\ns1,1,x\ns2,2,3\ns3,3,high\n")
    with pytest.raises(
        InputError, match=r"t\.csv, column 'b': 2 cells.*'s1' \('x'\), 's3' \('high'"
    ):
        numeric(read_table(file), file.name)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
def test_infinite_values_are_named(value):
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, value]}, index=["s1", "s2"])
    with pytest.raises(InputError, match=r"t, column 'b', row 's2': infinite value \(1 in all\)"):
        numeric(frame, "t")


def test_dates_are_not_numbers():
    frame = pd.DataFrame({"a": pd.to_datetime(["2020-01-01", "2021-01-01"])}, index=["s1", "s2"])
    with pytest.raises(InputError, match="column 'a': 2 cells are not numbers"):
        numeric(frame, "t")


def test_damaged_files_are_named(tmp_path):
    parquet = tmp_path / "t.parquet"
    pd.DataFrame({"a": range(100)}, index=[f"s{i}" for i in range(100)]).to_parquet(parquet)
    parquet.write_bytes(parquet.read_bytes()[:200])
    zipped = tmp_path / "t.csv.gz"
    text = "sample_id,a\n" + "".join(f"s{i},{i * 7919 % 1009}\n" for i in range(3000))
    zipped.write_bytes(gzip.compress(text.encode())[:2000])
    foreign = _write(tmp_path / "u.parquet", "sample_id,a\ns1,1\n")
    binary = tmp_path / "v.csv"
    binary.write_bytes(bytes(range(128, 256)) * 4)
    for file in (parquet, zipped, foreign, binary):
        with pytest.raises(InputError, match=rf"{file.name} cannot be read"):
            read_table(file)


def test_missing_file_and_unknown_suffix(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"known suffixes are \.parquet"):
        read_table(_write(tmp_path / "t.xlsx", "x"))


def test_table_names(tmp_path):
    names = ["rna.parquet", "rna.v2.csv.gz", "RNA.TSV", "notes.md", ".csv"]
    assert [table_name(tmp_path / n) for n in names] == ["rna", "rna.v2", "RNA", None, None]


@pytest.mark.parametrize("index", [["b", "a", "c"], None])
def test_a_wide_table_is_read_in_parts(index, tmp_path, monkeypatch):
    """As a narrow one: ids wherever they are, columns in their order."""
    values = np.arange(33, dtype=np.float32).reshape(3, 11)
    frame = pd.DataFrame(values, index=index, columns=[f"g{i}" for i in range(11)])
    if index is None:
        frame.insert(5, "sample_id", ["x", "y", "z"])
    frame.to_parquet(tmp_path / "wide.parquet")
    whole = read_table(tmp_path / "wide.parquet")
    monkeypatch.setattr(tables, "_COLUMNS_AT_ONCE", 4)
    parts = read_table(tmp_path / "wide.parquet")
    pd.testing.assert_frame_equal(parts, whole)
    assert parts.index.tolist() == (index or ["x", "y", "z"])
    assert parts.shape == (3, 11)
