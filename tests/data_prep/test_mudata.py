"""MuData and AnnData in and out."""

import dataclasses
import sys

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("anndata")
pytest.importorskip("mudata")

import anndata
import mudata

from cohgen_jax.cohort import demo_cohort, load_cohort, save_cohort
from cohgen_jax.errors import InputError
from data_prep import mudata_io
from data_prep.mudata_io import (
    _anndata,
    _quiet,
    _storable,
    read_raw_tables,
    register,
    save_mudata,
    to_cohort,
    write_back,
)


@pytest.fixture(scope="module")
def cohort():
    return demo_cohort(seed=0, num_patients=160)


@pytest.fixture
def h5mu(cohort, tmp_path):
    path = tmp_path / "study.h5mu"
    save_mudata(cohort, path)
    return path


def _same_values(ours, wanted) -> None:
    assert set(ours.modalities) == set(wanted.modalities)
    for m in wanted.modalities:
        table = ours.tables[m].sort_index()
        pd.testing.assert_frame_equal(
            table[list(wanted.tables[m])], wanted.tables[m].sort_index(), check_names=False
        )


def test_a_cohort_survives_the_round_trip(cohort, h5mu):
    register()
    back = load_cohort(h5mu)
    _same_values(back, cohort)
    assert back.units == cohort.units
    assert {origin.file for origin in back.origins.values()} == {h5mu.name}
    assert set(cohort.notes) <= set(back.notes)
    for column in ("split", "patient_id", "cancer_type", "stage", "os_event", "os_days"):
        ours, wanted = back.samples[column].sort_index(), cohort.samples[column].sort_index()
        pd.testing.assert_series_equal(
            ours.fillna("?") if ours.dtype == object else ours,
            wanted.fillna("?") if ours.dtype == object else wanted,
            check_dtype=False,
        )


def test_a_file_of_another_program(tmp_path):
    """Sparse values, facts in the modalities' own obs, no split."""
    from scipy import sparse

    source = demo_cohort(seed=1, num_patients=160)
    with _quiet():
        rna = _anndata(
            source.tables["rnaseq"],
            _storable(
                source.samples.loc[source.tables["rnaseq"].index, ["cancer_type", "patient_id"]]
            ),
        )
        rna.X = sparse.csr_matrix(rna.X)
        wsi = _anndata(source.tables["wsi"])
        mudata.MuData({"rnaseq": rna, "wsi": wsi}).write_h5mu(tmp_path / "x.h5mu")
    cohort = to_cohort([tmp_path / "x.h5mu"], tmp_path / "out")
    pd.testing.assert_frame_equal(
        cohort.tables["rnaseq"],
        source.tables["rnaseq"].sort_index()[list(cohort.tables["rnaseq"])],
        check_names=False,
    )
    assert cohort.samples.groupby("patient_id")["split"].nunique().max() == 1
    known = cohort.samples["cancer_type"].dropna()
    assert (known == source.samples.loc[known.index, "cancer_type"]).all()
    _same_values(load_cohort(tmp_path / "out"), cohort)


def test_one_anndata_with_several_modalities(cohort, tmp_path):
    """Columns split by `feature_types`, slide vectors in `obsm`."""
    ids = cohort.samples.index
    parts = [cohort.tables[m].reindex(ids) for m in ("rnaseq", "rppa")]
    parts = [p.rename(columns=lambda c, k=k: f"{k}_{c}") for k, p in zip("gp", parts, strict=True)]
    table = pd.concat(parts, axis=1)
    with _quiet():
        data = _anndata(table, _storable(cohort.samples))
        data.var["feature_types"] = ["rnaseq"] * parts[0].shape[1] + ["rppa"] * parts[1].shape[1]
        data.obsm["X_wsi"] = cohort.tables["wsi"].reindex(ids).to_numpy()
        data.write_h5ad(tmp_path / "all.h5ad")
    raw = read_raw_tables(tmp_path / "all.h5ad")
    assert set(raw.tables) == {"rnaseq", "rppa", "wsi"}
    for m in ("rppa", "wsi"):
        assert raw.tables[m].index.tolist() == [i for i in ids if i in cohort.tables[m].index]
    np.testing.assert_array_equal(
        raw.tables["wsi"].to_numpy(), cohort.tables["wsi"].loc[raw.tables["wsi"].index].to_numpy()
    )
    register()
    assert set(load_cohort(tmp_path / "all.h5ad").modalities) == {"rnaseq", "rppa", "wsi"}


def test_several_anndata_files(cohort, tmp_path):
    with _quiet():
        for m in ("cna", "rnaseq"):
            table = cohort.tables[m]
            facts = _storable(cohort.samples.loc[table.index])
            _anndata(table, facts).write_h5ad(tmp_path / f"{m}.h5ad")
    ours = to_cohort([tmp_path / "cna.h5ad", tmp_path / "rnaseq.h5ad"], tmp_path / "two")
    assert ours.modalities == ("cna", "rnaseq")
    np.testing.assert_array_equal(
        ours.tables["cna"].to_numpy(), cohort.tables["cna"].sort_index().to_numpy()
    )
    with pytest.raises(InputError, match="'cna' is in two files"):
        to_cohort([tmp_path / "cna.h5ad"] * 2, tmp_path / "twice")


def test_layers(cohort, tmp_path):
    with _quiet():
        data = _anndata(cohort.tables["rnaseq"])
        data.layers["doubled"] = 2 * data.X
        data.write_h5ad(tmp_path / "rnaseq.h5ad")
    ours = read_raw_tables(tmp_path / "rnaseq.h5ad", "doubled").tables["rnaseq"]
    np.testing.assert_array_equal(ours.to_numpy(), 2 * cohort.tables["rnaseq"].to_numpy())
    with pytest.raises(InputError, match="no layer 'counts'; it has: doubled"):
        read_raw_tables(tmp_path / "rnaseq.h5ad", "counts")


def _completed(cohort, folder) -> pd.DataFrame:
    """What the imputation command writes for rppa."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    have = cohort.tables["rppa"]
    mean = have.reindex(cohort.samples.index)
    absent = ~mean.index.isin(have.index)
    mean[absent] = rng.normal(size=(absent.sum(), mean.shape[1])).astype(np.float32)
    spread = mean * 0 + np.where(absent, 0.5, 0.0)[:, None].astype(np.float32)
    mean.to_parquet(folder / "rppa_mean.parquet")
    spread.to_parquet(folder / "rppa_sd.parquet")
    draws = [(mean[absent] + k).assign(draw=k) for k in range(2)]
    pd.concat(draws).to_parquet(folder / "rppa.parquet")
    return mean


def test_generated_modalities_are_written_beside_the_measured(cohort, h5mu, tmp_path):
    mean = _completed(cohort, tmp_path / "completed")
    out = tmp_path / "new.h5mu"
    assert write_back(h5mu, tmp_path / "completed", out) == ["rppa_generated"]
    with _quiet():
        data = mudata.read_h5mu(out)
    part = data.mod["rppa_generated"]
    np.testing.assert_array_equal(part.X, mean.to_numpy())
    absent = ~mean.index.isin(cohort.tables["rppa"].index)
    assert part.obs["generated"].tolist() == absent.tolist()
    assert (part.layers["sd"][absent] == 0.5).all()
    np.testing.assert_array_equal(part.layers["draw"], mean.to_numpy())
    assert part.uns["kind"] == "continuous"
    np.testing.assert_array_equal(
        data.mod["rppa"].X, cohort.tables["rppa"].loc[data.mod["rppa"].obs_names].to_numpy()
    )
    assert set(data.obs["split"]) == {"train", "val", "test"}


def test_generated_modalities_of_an_anndata(cohort, tmp_path):
    with _quiet():
        _anndata(cohort.tables["rnaseq"]).write_h5ad(tmp_path / "rnaseq.h5ad")
    _completed(cohort, tmp_path / "completed")
    write_back(tmp_path / "rnaseq.h5ad", tmp_path / "completed", tmp_path / "new.h5mu")
    with _quiet():
        data = mudata.read_h5mu(tmp_path / "new.h5mu")
    assert set(data.mod) == {"rnaseq", "rppa_generated"}
    assert data.mod["rppa_generated"].obs["generated"].all()


def test_generated_tables_that_do_not_fit(cohort, h5mu, tmp_path):
    folder = tmp_path / "other"
    with pytest.raises(FileNotFoundError, match="no such folder"):
        write_back(h5mu, folder, tmp_path / "new.h5mu")
    folder.mkdir()
    with pytest.raises(InputError, match=r"no \.parquet tables"):
        write_back(h5mu, folder, tmp_path / "new.h5mu")
    pd.DataFrame({"a": [1.0]}, index=["nobody"]).to_parquet(folder / "rppa.parquet")
    with pytest.raises(InputError, match=r"no generated sample \(like nobody\)"):
        write_back(h5mu, folder, tmp_path / "new.h5mu")
    pd.DataFrame({"draw": [0]}, index=["nobody"]).to_parquet(folder / "rppa.parquet")
    with pytest.raises(InputError, match="single draws"):
        write_back(h5mu, folder, tmp_path / "new.h5mu")
    with pytest.raises(InputError, match=r"\.h5mu file"):
        write_back(h5mu, folder, tmp_path / "new.h5ad")
    assert not (tmp_path / "new.h5mu").exists()


def test_files_that_cannot_be_read(cohort, tmp_path):
    bad = tmp_path / "bad.h5mu"
    bad.write_bytes(b"not HDF5")
    with pytest.raises(InputError, match=r"bad\.h5mu: not a readable h5mu file"):
        read_raw_tables(bad)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.h5ad"):
        read_raw_tables(tmp_path / "nowhere.h5ad")
    with pytest.raises(InputError, match=r"ending in \.h5mu or \.h5ad"):
        read_raw_tables(tmp_path / "x.loom")
    with _quiet():
        anndata.AnnData(obs=pd.DataFrame(index=pd.Index(["a"], dtype=object))).write_h5ad(
            tmp_path / "x.h5ad"
        )
        twice = pd.concat([cohort.tables["cna"].iloc[:1]] * 2)
        _anndata(twice).write_h5ad(tmp_path / "twice.h5ad")
    with pytest.raises(InputError, match="X is empty"):
        read_raw_tables(tmp_path / "x.h5ad")
    with pytest.raises(InputError, match="samples occur more than once"):
        read_raw_tables(tmp_path / "twice.h5ad")


def test_command_line(cohort, tmp_path, monkeypatch, capsys):
    named = dataclasses.replace(cohort, name="demo")
    save_cohort(named, tmp_path / "demo")

    def run(*arguments) -> int:
        monkeypatch.setattr(sys, "argv", ["mudata_io", *map(str, arguments)])
        return mudata_io.main()

    assert run("from-cohort", "--cohort", tmp_path / "demo", "--out", tmp_path / "x.h5mu") == 0
    assert run("to-cohort", "--source", tmp_path / "x.h5mu", "--out", tmp_path / "again") == 0
    assert "complete" in capsys.readouterr().out
    _same_values(load_cohort(tmp_path / "again"), cohort)
    _completed(cohort, tmp_path / "completed")
    settings = ("--source", tmp_path / "x.h5mu", "--generated", tmp_path / "completed")
    assert run("write-back", *settings, "--out", tmp_path / "y.h5mu") == 0
    assert "added rppa_generated" in capsys.readouterr().out
    assert run("to-cohort", "--source", tmp_path / "no.h5mu", "--out", tmp_path / "n") == 1
    assert "no such" in capsys.readouterr().err


def test_layers_by_modality_and_counts_are_recognised(cohort, tmp_path):
    """X as logarithms, raw counts sparse in a layer: told, and read where they are asked for."""
    import scipy.sparse

    counts = np.random.default_rng(0).poisson(2.0, (40, 6)).astype(np.float32)
    table = pd.DataFrame(np.log1p(counts), [f"C{i}" for i in range(40)]).rename(
        columns="g{}".format
    )
    with _quiet():
        parts = {"rna": _anndata(table), "adt": _anndata(table + 1)}
        parts["rna"].layers["raw"] = scipy.sparse.csr_matrix(counts)
        mudata.MuData(parts).write_h5mu(tmp_path / "cells.h5mu")
    plain = read_raw_tables(tmp_path / "cells.h5mu")
    assert "rna: X is read, and the layer raw holds raw counts: --layers rna=raw" in plain.notes[-1]
    asked = read_raw_tables(tmp_path / "cells.h5mu", {"rna": "raw"})
    np.testing.assert_array_equal(asked.tables["rna"].to_numpy(), counts)
    np.testing.assert_array_equal(asked.tables["adt"], plain.tables["adt"])
    assert not any("raw counts" in note for note in asked.notes)
    with pytest.raises(InputError, match="has no modality 'atac'; it has: rna, adt"):
        read_raw_tables(tmp_path / "cells.h5mu", {"atac": "raw"})
    register()
    read = load_cohort(tmp_path / "cells.h5mu", layers=["rna=raw"], min_train=5)
    assert read.kinds == {"rna": "counts", "adt": "continuous"}
    with pytest.raises(InputError, match="'rna' is not MODALITY=LAYER"):
        load_cohort(tmp_path / "cells.h5mu", layers=["rna"])


def test_kinds_survive_the_round_trip(cohort, h5mu):
    assert read_raw_tables(h5mu).kinds == cohort.kinds
    assert cohort.kinds["mut"] == "binary"
