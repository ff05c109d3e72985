"""Many patients, whose tables are not read at once, are completed as few are."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.runs import streamed
from cohgen_jax.runs.impute import PARTS, impute_tables
from cohgen_jax.runs.patients import read_patients
from cohgen_jax.runs.run import open_run
from tests.experiments.conftest import by_two, demo_tables


@pytest.fixture(scope="module")
def run(run_dir):
    return open_run(run_dir)


@pytest.fixture
def streaming(monkeypatch):
    """Tables of any size are streamed, by parts of seven patients."""

    def switch(on: bool) -> None:
        monkeypatch.setattr(streamed, "MANY", 1 if on else 1 << 40)
        monkeypatch.setattr(streamed, "AT_ONCE", 7)
        monkeypatch.setattr(streamed, "LEAST", 1)

    return switch


def awkward(spell=str) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """40 patients: tables in other orders, three features in one; some patients have one table
    alone; unknown cells, a code for them, rows of nothing, columns that nobody asked for."""
    tables, facts = demo_tables(5, 80)
    ids = [i for i in tables["cna"].index if all(i in t.index for t in tables.values())][:40]
    names = [f"N{i:03d}" for i in range(40)]
    rng = np.random.default_rng(0)
    tables = {m: t.loc[ids].set_axis(names) for m, t in tables.items()}
    lacking = {"cna": slice(0, 15), "rnaseq": slice(10, 22), "rppa": slice(12, 30)}
    for name, rows in lacking.items():
        table = tables[name].drop(index=names[rows])
        tables[name] = table.sample(frac=1, random_state=int(rng.integers(99))).copy()
    tables["rnaseq"].iloc[3, 2] = np.nan
    tables["cna"].iloc[[4, 9], 5] = -999.0
    tables["rppa"].iloc[7] = np.nan
    tables["cna"] = tables["cna"].assign(surplus=1.5).sample(frac=1, axis=1, random_state=1)
    tables["rppa"].index = [spell(i) for i in tables["rppa"].index]
    facts = facts.loc[ids].set_axis(names).sample(frac=1, random_state=3)
    return {m: t.rename_axis("sample_id") for m, t in tables.items()}, facts


def written(folder, tables, facts=None, **forms):
    folder.mkdir()
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", **forms)
    if facts is not None:
        facts.rename_axis("sample_id").to_csv(folder / "samples.csv")
    return folder


def completed(folder):
    assert not [f.name for f in folder.iterdir() if f.name.startswith(".")]
    return {
        f.name: pd.read_csv(f) if f.suffix == ".csv" else pd.read_parquet(f)
        for f in sorted(folder.iterdir())
    }


@pytest.mark.parametrize("spell", [str, pytest.param(str.lower, marks=pytest.mark.heavy)])
def test_parts_of_patients_are_completed_as_all_of_them(run, streaming, tmp_path, spell):
    tables, facts = awkward(spell)
    source = written(tmp_path / "in", tables, facts, row_group_size=5)
    told = {}
    for way in (False, True):
        streaming(way)
        lines: list[str] = []
        impute_tables(run, source, tmp_path / f"{way}", num_draws=10, tell=lines.append)
        told[way] = sorted(lines)
    whole, parts = completed(tmp_path / "False"), completed(tmp_path / "True")
    assert whole.keys() == parts.keys()
    assert len(whole) == 16
    for name, table in whole.items():
        pd.testing.assert_frame_equal(parts[name], table, rtol=1e-4, atol=1e-4)
    assert [line for line in told[True] if "surplus" not in line] == told[False]
    assert any("2 cells hold -999" in line for line in told[True])
    assert any("1 rows without a value" in line for line in told[True])
    assert pq.ParquetFile(tmp_path / "True" / "cna_mean.parquet").num_row_groups > 4


def test_two_that_share_the_parts_write_what_one_does(run, streaming, tmp_path):
    """As two processes would, each sorting the rows of its own parts."""
    streaming(True)
    out, how = tmp_path / "two", {"num_draws": 1, "targets": ("rppa", "cna")}
    source = written(tmp_path / "in", *awkward(), row_group_size=5)
    impute_tables(run, source, tmp_path / "one", **how)

    by_two(out / PARTS, lambda share: impute_tables(run, source, out, share=share, **how))
    one, two = ({f.name: f.read_bytes() for f in d.iterdir()} for d in (tmp_path / "one", out))
    assert two == one


def test_what_models_see_is_the_same_to_the_bit(run, streaming, tmp_path):
    tables, facts = awkward()
    source = written(tmp_path / "in", tables, facts)
    whole = read_patients(run, source, print)
    streaming(True)
    many = streamed.many_patients(run, source, print)
    assert many is not None
    with many.sorted_in(tmp_path):
        parts = [many.part(own, "rppa") for own in many.cuts]
    assert len(parts) == 6
    for name in ("z", "present", "residual", "streams"):
        together = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(together, getattr(whole, name))
    assert list(many.with_holes(run, "cna")) == list(whole.with_holes(run, "cna"))


def test_assays_filled_with_zeros_count_as_not_done_either_way(run, streaming, tmp_path):
    tables, _ = awkward()
    rows = tables["rnaseq"].index[[2, 11]]
    tables["rnaseq"].loc[rows] = 0.0
    source = written(tmp_path / "in", tables)
    for way in (False, True):
        streaming(way)
        impute_tables(run, source, tmp_path / f"{way}", num_draws=1, targets=("rnaseq",))
    whole, parts = completed(tmp_path / "False"), completed(tmp_path / "True")
    assert parts["rnaseq.parquet"].index.equals(whole["rnaseq.parquet"].index)
    assert set(rows) <= set(parts["rnaseq.parquet"].index)


@pytest.mark.heavy
def test_parts_of_a_table_and_integer_ids_are_streamed(run, streaming, tmp_path, monkeypatch):
    """Each table is a folder of two files, and ids are numbers in a column called sample_id."""
    tables, _ = awkward()
    tables = {m: t.set_axis([int(i[1:]) for i in t.index]) for m, t in tables.items()}
    source = tmp_path / "in"
    for name, table in tables.items():
        (source / f"{name}.parquet").mkdir(parents=True)
        flat = table.rename_axis("sample_id").reset_index()
        for k, part in enumerate((flat.iloc[:9], flat.iloc[9:])):
            part.to_parquet(source / f"{name}.parquet" / f"part.{k}.parquet", index=False)
    streaming(False)
    impute_tables(run, source, tmp_path / "whole", num_draws=2)
    streaming(True)
    monkeypatch.setattr("cohgen_jax.runs.impute.read_patients", None)
    impute_tables(run, source, tmp_path / "parts", num_draws=2)
    whole, parts = completed(tmp_path / "whole"), completed(tmp_path / "parts")
    for name, table in whole.items():
        pd.testing.assert_frame_equal(parts[name], table, rtol=1e-4, atol=1e-4)


def test_what_is_wrong_is_refused_before_anything_is_written(run, streaming, tmp_path):
    streaming(True)
    tables, _ = awkward()
    tables["rnaseq"].iloc[20, 3] = np.inf
    source = written(tmp_path / "in", tables)
    with pytest.raises(InputError, match=r"rnaseq.parquet, column .*infinite value"):
        impute_tables(run, source, tmp_path / "out", num_draws=1)
    full = {m: t.set_axis([f"N{i}" for i in range(len(t))]) for m, t in tables.items()}
    full = {m: t.iloc[:20].fillna(0.5).replace(np.inf, 0.5) for m, t in full.items()}
    source = written(tmp_path / "full", full)
    with pytest.raises(InputError, match="nothing to generate"):
        impute_tables(run, source, tmp_path / "out", num_draws=1, fill=False)
    assert not (tmp_path / "out").exists()


def test_tables_that_have_to_be_seen_whole_are(run, streaming, tmp_path):
    """One of text, or without plain ids: it is told, and nothing else changes."""
    tables, _ = awkward()
    source = written(tmp_path / "in", tables)
    streaming(True)
    impute_tables(run, source, tmp_path / "parts", num_draws=1, targets=("rppa",))
    (source / "rppa.parquet").unlink()
    tables["rppa"].to_csv(source / "rppa.csv")
    told: list[str] = []
    impute_tables(run, source, tmp_path / "text", num_draws=1, targets=("rppa",), tell=told.append)
    assert any(line.startswith("rppa.csv is read at once") for line in told)
    parts, text = completed(tmp_path / "parts"), completed(tmp_path / "text")
    for name, table in parts.items():
        pd.testing.assert_frame_equal(text[name], table, rtol=1e-4, atol=1e-4)
