"""MuData and AnnData in and out."""

import dataclasses
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

pytest.importorskip("anndata")
pytest.importorskip("mudata")

import anndata
import mudata

from cohgen_jax.cohort import demo_cohort, load_cohort, save_cohort
from cohgen_jax.errors import InputError
from cohgen_jax.interop.annotated import open_annotated, quiet, read_raw_tables, register
from cohgen_jax.interop.completed import plain_anndata, write_back
from data_prep import mudata_io
from data_prep.mudata_io import _storable, save_mudata, to_cohort


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
    with quiet():
        rna = plain_anndata(
            source.tables["rnaseq"],
            _storable(
                source.samples.loc[source.tables["rnaseq"].index, ["cancer_type", "patient_id"]]
            ),
        )
        rna.X = sparse.csr_matrix(rna.X)
        wsi = plain_anndata(source.tables["wsi"])
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
    """Columns split by `feature_types`, slide vectors in `obsm`, which are read if asked for."""
    ids = cohort.samples.index
    parts = [cohort.tables[m].reindex(ids) for m in ("rnaseq", "rppa")]
    parts = [p.rename(columns=lambda c, k=k: f"{k}_{c}") for k, p in zip("gp", parts, strict=True)]
    table = pd.concat(parts, axis=1)
    with quiet():
        data = plain_anndata(table, _storable(cohort.samples))
        data.var["feature_types"] = ["rnaseq"] * parts[0].shape[1] + ["rppa"] * parts[1].shape[1]
        data.obsm["X_wsi"] = cohort.tables["wsi"].reindex(ids).to_numpy()
        data.write_h5ad(tmp_path / "all.h5ad")
    raw = read_raw_tables(tmp_path / "all.h5ad")
    assert set(raw.tables) == {"rnaseq", "rppa"}
    assert "computed from others: X_wsi (--layers NAME=obsm:X_wsi makes" in raw.notes[-1]
    raw = read_raw_tables(tmp_path / "all.h5ad", {"wsi": "obsm:X_wsi"})
    assert set(raw.tables) == {"rnaseq", "rppa", "wsi"}
    for m in ("rppa", "wsi"):
        assert raw.tables[m].index.tolist() == [i for i in ids if i in cohort.tables[m].index]
    np.testing.assert_array_equal(
        raw.tables["wsi"].to_numpy(), cohort.tables["wsi"].loc[raw.tables["wsi"].index].to_numpy()
    )
    register()
    ours = load_cohort(tmp_path / "all.h5ad", layers=["wsi=obsm:X_wsi"])
    assert set(ours.modalities) == {"rnaseq", "rppa", "wsi"}
    with pytest.raises(InputError, match="nothing called 'X_umap' in obsm; it has: X_wsi"):
        load_cohort(tmp_path / "all.h5ad", layers=["map=obsm:X_umap"])


def test_several_anndata_files(cohort, tmp_path):
    with quiet():
        for m in ("cna", "rnaseq"):
            table = cohort.tables[m]
            facts = _storable(cohort.samples.loc[table.index])
            plain_anndata(table, facts).write_h5ad(tmp_path / f"{m}.h5ad")
    ours = to_cohort([tmp_path / "cna.h5ad", tmp_path / "rnaseq.h5ad"], tmp_path / "two")
    assert ours.modalities == ("cna", "rnaseq")
    np.testing.assert_array_equal(
        ours.tables["cna"].to_numpy(), cohort.tables["cna"].sort_index().to_numpy()
    )
    with pytest.raises(InputError, match="'cna' is there twice"):
        to_cohort([tmp_path / "cna.h5ad"] * 2, tmp_path / "twice")


def test_layers(cohort, tmp_path):
    with quiet():
        data = plain_anndata(cohort.tables["rnaseq"])
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
    with quiet():
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
    with quiet():
        plain_anndata(cohort.tables["rnaseq"]).write_h5ad(tmp_path / "rnaseq.h5ad")
    _completed(cohort, tmp_path / "completed")
    write_back(tmp_path / "rnaseq.h5ad", tmp_path / "completed", tmp_path / "new.h5mu")
    with quiet():
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
    with pytest.raises(InputError, match=r"bad\.h5mu cannot be read .*: truncated"):
        read_raw_tables(bad)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.h5ad"):
        read_raw_tables(tmp_path / "nowhere.h5ad")
    with pytest.raises(InputError, match=r"ending in \.h5mu or \.h5ad"):
        read_raw_tables(tmp_path / "x.loom")
    with quiet():
        anndata.AnnData(obs=pd.DataFrame(index=pd.Index(["a"], dtype=object))).write_h5ad(
            tmp_path / "x.h5ad"
        )
        twice = pd.concat([cohort.tables["cna"].iloc[:1]] * 2)
        plain_anndata(twice).write_h5ad(tmp_path / "twice.h5ad")
    with pytest.raises(InputError, match="X is empty"):
        read_raw_tables(tmp_path / "x.h5ad")
    with pytest.raises(InputError, match=r"1 samples occur more than once in obs_names: SIM0"):
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
    with quiet():
        parts = {"rna": plain_anndata(table), "adt": plain_anndata(table + 1)}
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


def _cells(num: int, seed: int = 0, prefix: str = "g") -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(size=(num, 6)).astype(np.float32)
    return pd.DataFrame(values, [f"C{i:02d}" for i in range(num)]).rename(
        columns=lambda i: f"{prefix}{i}"
    )


def test_facts_of_every_modality_are_joined_and_differences_told(tmp_path):
    """Nobody is in both entirely; a column of the second alone; numbers kept less precisely."""
    rna, adt = _cells(30), _cells(40, 1, "p").iloc[10:]
    first = pd.DataFrame({"site": pd.Categorical(["A"] * 30), "age": np.arange(30) / 3}, rna.index)
    second = pd.DataFrame(
        {"site": ["A"] * 18 + ["B", "C"] + ["D"] * 10, "age": np.float32(np.arange(10, 40) / 3)},
        adt.index,
    ).assign(panel="x")
    first.loc["C12", "site"] = None
    with quiet():
        data = mudata.MuData({"rna": plain_anndata(rna, first), "adt": plain_anndata(adt, second)})
        data.obs["study"] = "S"
        data.write_h5mu(tmp_path / "x.h5mu")
    raw = read_raw_tables(tmp_path / "x.h5mu")
    facts = raw.facts
    assert facts is not None
    assert set(facts) == {"study", "site", "age", "panel"}
    assert facts.loc["C12", "site"] == "A"
    assert facts.loc["C35", "site"] == "D"
    np.testing.assert_allclose(facts["age"].sort_index().astype(float), np.arange(40) / 3, 1e-5)
    assert facts["panel"].isna().sum() == 10
    told = next(note for note in raw.notes if "obs differs" in note)
    assert "site of adt and rna in 2 samples (C28: A and B; C29: A and C)" in told
    assert "age" not in told


def test_raw_is_a_layer_with_features_of_its_own(tmp_path):
    """As scanpy leaves it: raw counts of all genes in raw, scaled values of some in X; a name of a
    gene that repeats."""
    import scipy.sparse

    counts = np.random.default_rng(0).poisson(3.0, (30, 6)).astype(np.float32)
    whole = pd.DataFrame(counts, [f"C{i}" for i in range(30)], ["a", "b", "c", "c", "d", "e"])
    with quiet():
        data = plain_anndata(whole)
        data.X = scipy.sparse.csr_matrix(data.X)
        data.raw = data
        data = data[:, :3].copy()
        data.X = np.log1p(data.X.toarray())
        data.write_h5ad(tmp_path / "rna.h5ad")
    plain = read_raw_tables(tmp_path / "rna.h5ad")
    assert "the layer raw holds raw counts: --layers rna=raw reads" in plain.notes[-1]
    asked = read_raw_tables(tmp_path / "rna.h5ad", {"rna": "raw"})
    np.testing.assert_array_equal(asked.tables["rna"].to_numpy(), counts)
    assert list(asked.tables["rna"]) == ["a", "b", "c", "c-1", "d", "e"]
    assert "1 features have a name that others have (c)" in asked.notes[-1]


def test_values_left_in_the_file_are_read(cohort, tmp_path):
    """Backed objects, as of `Run.impute`, sparse and dense."""
    import scipy.sparse

    from cohgen_jax.interop.annotated import raw_tables_of

    table = cohort.tables["cna"]
    for kind in (np.asarray, scipy.sparse.csr_matrix, scipy.sparse.csc_matrix):
        with quiet():
            data = plain_anndata(table)
            data.X = kind(data.X)
            data.write_h5ad(tmp_path / "cna.h5ad")
            backed = anndata.read_h5ad(tmp_path / "cna.h5ad", backed="r")
            read = raw_tables_of(backed, "cna", "it").tables["cna"]
            backed.file.close()
        np.testing.assert_array_equal(read.to_numpy(), table.to_numpy())


def test_embeddings_of_two_files_carry_their_names(tmp_path):
    with quiet():
        for name, prefix in (("rna", "g"), ("protein", "p")):
            data = plain_anndata(_cells(40, len(name), prefix))
            data.obsm["X_pca"] = _cells(40, 9 + len(name)).to_numpy()[:, :3]
            data.uns["cohort"] = {"kinds": {name: "continuous"}, "units": {name: "log"}}
            data.write_h5ad(tmp_path / f"{name}.h5ad")
    files = [tmp_path / "rna.h5ad", tmp_path / "protein.h5ad"]
    settings = {"min_train": 5, "kinds": ["rna=continuous"]}
    plain = to_cohort(files, tmp_path / "plain", **settings)
    assert plain.modalities == ("rna", "protein")
    assert plain.units == {"rna": "log", "protein": "log"}
    asked = to_cohort(files, tmp_path / "asked", {"pca": "obsm:X_pca"}, **settings)
    assert set(asked.modalities) == {"rna", "protein", "rna_pca", "protein_pca"}
    with pytest.raises(InputError, match="rna has no layer 'counts'; it has: none"):
        to_cohort(files, tmp_path / "none", "counts", **settings)


def test_kinds_that_files_tell_are_kept(tmp_path):
    """Grades from 0 to 9 look like counts; the file knows."""
    grades = np.random.default_rng(0).integers(0, 10, (60, 5)).astype(np.float32)
    table = pd.DataFrame(grades, [f"C{i:02d}" for i in range(60)]).rename(columns="s{}".format)
    with quiet():
        for name, told in (("score", {"cohort": {"kinds": {"score": "ordinal"}}}), ("other", {})):
            data = plain_anndata(table + 0 if name == "score" else _cells(60))
            data.uns.update(told)
            data.write_h5ad(tmp_path / f"{name}.h5ad")
    files = [tmp_path / "score.h5ad", tmp_path / "other.h5ad"]
    ours = to_cohort(files, tmp_path / "out", min_train=5)
    assert ours.kinds == {"score": "ordinal", "other": "continuous"}


@pytest.mark.parametrize("stranger", [False, True])
def test_writing_back_keeps_everything(tmp_path, stranger):
    """All that a MuData and its modalities can hold, values and places; features of two modalities
    have the same names; generated for a sample that the source has not, or not."""
    import scipy.sparse

    rng, rna, prot = np.random.default_rng(0), _cells(20), _cells(25, 1).iloc[8:]
    with quiet():
        parts = {"rna": plain_anndata(rna), "prot": plain_anndata(prot)}
        parts["rna"].raw = parts["rna"]
        parts["rna"].layers["counts"] = scipy.sparse.csr_matrix(np.round(parts["rna"].X))
        parts["rna"].obsm["X_pca"] = rng.random((20, 2))
        parts["rna"].varp["close"] = rng.random((6, 6))
        data = mudata.MuData(parts)
        n, f = data.shape
        data.obs["group"] = pd.Categorical(["a", "b"] * (n // 2) + ["a"] * (n % 2))
        data.obs["count"], data.obs["ill"] = np.arange(n), np.arange(n) % 2 == 0
        data.var["variable"] = np.arange(f)
        data.obsm["X_mofa"] = rng.random((n, 3))
        data.obsm["table"] = pd.DataFrame({"u": np.arange(n)}, data.obs_names)
        data.obsp["near"] = scipy.sparse.random(n, n, 0.3, format="csr", random_state=0)
        data.obsp["far"] = rng.random((n, n))
        data.varm["LFs"] = rng.random((f, 3))
        data.varp["linked"] = scipy.sparse.random(f, f, 0.3, format="csr", random_state=1)
        data.uns["mofa"] = {"rate": 0.5}
        data.write_h5mu(tmp_path / "s.h5mu")
    folder = tmp_path / "made"
    folder.mkdir()
    mean = _cells(25, 2).rename(index={"C24": "stranger"} if stranger else {})
    mean.rename_axis("sample_id").to_parquet(folder / "prot_mean.parquet")
    write_back(tmp_path / "s.h5mu", folder, tmp_path / "n.h5mu")
    with quiet():
        old, new = mudata.read_h5mu(tmp_path / "s.h5mu"), mudata.read_h5mu(tmp_path / "n.h5mu")
        assert list(new.mod) == ["rna", "prot", "prot_generated"]
        for m in old.mod:
            pd.testing.assert_frame_equal(new.mod[m].to_df(), old.mod[m].to_df())
        assert new.mod["rna"].raw is not None
        np.testing.assert_array_equal(
            new.mod["rna"].layers["counts"].toarray(), old.mod["rna"].layers["counts"].toarray()
        )
        for attribute, key in (("obsm", "X_pca"), ("varp", "close")):
            np.testing.assert_array_equal(
                getattr(new.mod["rna"], attribute)[key], getattr(old.mod["rna"], attribute)[key]
            )
        rows = new.obs_names.get_indexer(old.obs_names)
        assert (rows >= 0).all()
        assert len(new.obs) == len(old.obs) + stranger
        for column in old.obs:
            assert new.obs[column].iloc[rows].tolist() == old.obs[column].tolist()
        assert new.var["variable"].iloc[:f].tolist() == list(range(f))
        np.testing.assert_array_equal(new.obsm["X_mofa"][rows], old.obsm["X_mofa"])
        assert new.obsm["table"]["u"].iloc[rows].tolist() == list(range(n))
        np.testing.assert_array_equal(new.varm["LFs"][:f], old.varm["LFs"])
        near, linked = new.obsp["near"].toarray(), new.varp["linked"].toarray()
        np.testing.assert_array_equal(near[np.ix_(rows, rows)], old.obsp["near"].toarray())
        np.testing.assert_array_equal(new.obsp["far"][np.ix_(rows, rows)], old.obsp["far"])
        np.testing.assert_array_equal(linked[:f, :f], old.varp["linked"].toarray())
        assert new.uns["mofa"]["rate"] == 0.5
        if stranger:
            other = np.setdiff1d(np.arange(len(new.obs)), rows)
            assert np.isnan(new.obsm["X_mofa"][other]).all()
            assert not near[other].any()
    with pytest.raises(InputError, match="prot_generated already"):
        write_back(tmp_path / "n.h5mu", folder, tmp_path / "again.h5mu")


def test_layers_are_read_or_refused():
    from cohgen_jax.runs.config import recipe
    from cohgen_jax.runs.source import load_any_cohort

    for name in ("demo", "tfds:anything"):
        asked = dataclasses.replace(recipe("debug"), cohort=name, layers=("rna=counts",))
        with pytest.raises(InputError, match=f"layers: {name} has none"):
            load_any_cohort(asked)


def test_rows_that_end_before_they_begin_are_refused(tmp_path):
    """SciPy would follow them beyond the matrix, where the last of them says that it is empty."""
    h5py = pytest.importorskip("h5py")
    counts = scipy.sparse.random(30, 5, 0.5, "csr", np.float32, random_state=0)
    file = tmp_path / "rna.h5ad"
    anndata.AnnData(np.ones((30, 5), np.float32), layers={"counts": counts}).write_h5ad(file)
    with h5py.File(file, "r+") as data:
        ends = data["layers/counts/indptr"]
        ends[...] = [*ends[:2], *[1 << 20] * 28, 0]
    with pytest.raises(InputError, match="end before they begin"):
        open_annotated(file)
