"""Ready slide vectors in all their forms, and what is done with those that cannot be used."""

import h5py
import numpy as np
import pandas as pd
import pytest

from cohgen_jax.errors import InputError
from data_prep.slides.embeddings import (
    h5_files,
    read_slide_vectors,
    sample_vectors,
    slide_samples,
    statistics_pool,
)

RNG = np.random.default_rng(0)


def _slide(n: int, k: int = 1) -> str:
    return f"TCGA-AA-{n:04d}-01Z-00-DX{k}.UUID"


def _write(folder, name: str, features) -> None:
    with h5py.File(folder / f"{name}.h5", "w") as f:
        f["features"] = features


def test_slide_vectors_are_read_as_they_are(tmp_path):
    vectors = RNG.normal(size=(3, 8)).astype(np.float32)
    for i, v in enumerate(vectors):
        _write(tmp_path, _slide(i), v)
    read = read_slide_vectors(tmp_path)
    assert read.skipped == []
    assert read.table.index.tolist() == [_slide(i) for i in range(3)]
    np.testing.assert_array_equal(read.table.to_numpy(), vectors)


def test_patch_features_are_pooled(tmp_path):
    patches = RNG.normal(size=(20, 8)).astype(np.float32)
    _write(tmp_path, _slide(0), patches)
    mean = read_slide_vectors(tmp_path, "mean").table.to_numpy()[0]
    np.testing.assert_allclose(mean, patches.mean(axis=0), rtol=1e-5, atol=1e-6)
    pooled = read_slide_vectors(tmp_path, "statistics").table.to_numpy()[0]
    assert pooled.shape == (32,)
    np.testing.assert_allclose(pooled[8:16], patches.std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(pooled[24:], np.quantile(patches, 0.9, axis=0), rtol=1e-5)


def test_pooling_does_not_depend_on_the_order_of_patches():
    patches = RNG.normal(size=(20, 8))
    shuffled = RNG.permutation(patches)
    np.testing.assert_allclose(statistics_pool(patches), statistics_pool(shuffled), atol=1e-12)


def test_bad_files_are_skipped_with_the_reason(tmp_path):
    _write(tmp_path, _slide(0), np.ones(8, np.float32))
    _write(tmp_path, _slide(1), np.ones(8, np.float32))
    _write(tmp_path, "empty", np.empty((0, 8), np.float32))
    _write(tmp_path, "cube", np.ones((2, 3, 4), np.float32))
    _write(tmp_path, "nan", np.full(8, np.nan, np.float32))
    _write(tmp_path, "other_encoder", np.ones(5, np.float32))
    _write(tmp_path, "text", np.array([b"a", b"b"]))
    with h5py.File(tmp_path / "nothing.h5", "w") as f:
        f["coords"] = np.ones((2, 2))
    (tmp_path / "not_hdf5.h5").write_text("<html>")
    read = read_slide_vectors(tmp_path)
    assert len(read.table) == 2
    reasons = {name.removesuffix(".h5"): why for name, why in read.skipped}
    assert set(reasons) == {
        *("empty", "cube", "nan", "other_encoder", "text", "nothing", "not_hdf5"),
    }
    assert "(0, 8)" in reasons["empty"]
    assert "(2, 3, 4)" in reasons["cube"]
    assert "not finite" in reasons["nan"]
    assert "the other slides have 8" in reasons["other_encoder"]
    assert "found: coords" in reasons["nothing"]
    assert "not a readable HDF5" in reasons["not_hdf5"]


def test_published_mode_skips_patch_features(tmp_path):
    _write(tmp_path, _slide(0), np.ones(8, np.float32))
    _write(tmp_path, _slide(1), np.ones((2, 8), np.float32))
    read = read_slide_vectors(tmp_path, "none")
    assert read.table.index.tolist() == [_slide(0)]
    assert "(2, 8)" in read.skipped[0][1]


def test_no_usable_vector_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"no \.h5 files"):
        read_slide_vectors(tmp_path)
    _write(tmp_path, "empty", np.empty(0, np.float32))
    with pytest.raises(InputError, match=r"no usable slide vector .*empty"):
        read_slide_vectors(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such slide features"):
        read_slide_vectors(tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet"])
def test_tables_of_vectors(tmp_path, suffix):
    vectors = RNG.normal(size=(4, 6)).astype(np.float32)
    frame = pd.DataFrame(vectors, columns=[f"f{i}" for i in range(6)])
    frame.insert(0, "slide_id", [_slide(i) for i in range(4)])
    path = tmp_path / f"vectors{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    read = read_slide_vectors(path)
    np.testing.assert_allclose(read.table.to_numpy(), vectors, rtol=1e-6)
    assert read.table.index.tolist() == [_slide(i) for i in range(4)]


def test_table_with_one_column_of_lists(tmp_path):
    """As foundation models' slide embeddings are shared: file names and vectors."""
    vectors = RNG.normal(size=(3, 6)).astype(np.float32)
    names = [f"/data/{_slide(i)}.svs" for i in range(3)]
    path = tmp_path / "titan.parquet"
    pd.DataFrame({"filename": names, "embedding": list(vectors)}).to_parquet(path)
    read = read_slide_vectors(path)
    assert read.table.index.tolist() == [_slide(i) for i in range(3)]
    np.testing.assert_array_equal(read.table.to_numpy(), vectors)


def test_tables_that_are_not_vectors(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("1,2\n3,4\n")
    with pytest.raises(InputError, match="no column of slide ids"):
        read_slide_vectors(path)
    path.write_text("slide_id,what\na,b\n")
    with pytest.raises(InputError, match="no numeric columns"):
        read_slide_vectors(path)
    (tmp_path / "vectors.xlsx").write_text("")
    with pytest.raises(InputError, match=r"\.parquet, \.csv or \.tsv"):
        read_slide_vectors(tmp_path / "vectors.xlsx")


@pytest.mark.parametrize("stem", ["", "feat_", "emb"])
def test_columns_beside_the_coordinates_are_left_out_and_named(tmp_path, stem):
    vectors = RNG.normal(size=(30, 5)).astype(np.float32)
    frame = pd.DataFrame(vectors, columns=[f"{stem}{i}" for i in range(5)])
    frame[f"{stem}3"] = frame[f"{stem}3"].astype(object)
    frame.loc[4, f"{stem}3"] = "[Not Available]"
    beside = {
        "case": [f"TCGA-AA-{i:04d}" for i in range(30)],
        "Slide_ID": [_slide(i) for i in range(30)],
        "response": np.tile([0, 1], 15),
        "n_tiles": RNG.integers(90, 9000, 30),
        "days_to_death": RNG.integers(1, 900, 30),
        "good": np.tile([True, False], 15),
    }
    for k, (name, values) in enumerate(beside.items()):
        frame.insert(k, name, values)
    frame.to_csv(tmp_path / "vectors.csv")  # with a row number in front
    read = read_slide_vectors(tmp_path / "vectors.csv")
    assert read.table.shape == (29, 5)
    assert [name for name, _ in read.skipped] == [_slide(4)], "one of its numbers is not known"
    np.testing.assert_allclose(read.table, np.delete(vectors, 4, axis=0), rtol=1e-5)
    assert list(read.left_out) == ["Unnamed: 0", *(c for c in beside if c != "Slide_ID")]


def test_features_of_other_names_are_kept_but_for_labels(tmp_path):
    frame = pd.DataFrame(RNG.normal(size=(20, 3)), columns=["area", "mean_size", "roundness"])
    frame.insert(0, "slide", [_slide(i) for i in range(20)])
    frame["label"], frame["num_cells"] = 1.0, RNG.integers(0, 99, 20)
    frame["row"] = RNG.permutation(20)
    frame.to_parquet(tmp_path / "vectors.parquet")
    read = read_slide_vectors(tmp_path / "vectors.parquet")
    np.testing.assert_allclose(read.table, frame.iloc[:, 1:4], rtol=1e-5)
    assert list(read.left_out) == ["label", "num_cells", "row"]


def test_several_vectors_side_by_side_are_one(tmp_path):
    frame = pd.DataFrame(RNG.normal(size=(9, 8)))
    frame.columns = [f"{what}_{i}" for what in ("mean", "sd") for i in range(4)]
    frame.insert(0, "slide_id", [_slide(i).lower() for i in range(9)])
    frame.to_csv(tmp_path / "vectors.csv", index=False)
    read = read_slide_vectors(tmp_path / "vectors.csv")
    assert read.table.shape == (9, 8)
    assert read.left_out == []
    assert sample_vectors(read.table).index.tolist() == [f"TCGA-AA-{i:04d}-01" for i in range(9)]


def test_slides_of_a_sample_are_averaged_or_the_first_wins():
    ids = [_slide(1, 2), _slide(1, 1), _slide(2, 1)]
    slides = pd.DataFrame(np.array([[1.0], [3.0], [7.0]], np.float32), index=ids, columns=["0"])
    mean = sample_vectors(slides, "mean")
    assert mean.index.tolist() == ["TCGA-AA-0001-01", "TCGA-AA-0002-01"]
    assert mean["0"].tolist() == [2.0, 7.0]
    first = sample_vectors(slides, "first")
    assert first["0"].tolist() == [1.0, 7.0]
    assert first["slide_id"].tolist() == [_slide(1, 2), _slide(2, 1)]


def test_sample_of_a_slide_loses_the_vial():
    assert slide_samples(["TCGA-A1-0C80-01Z-00-DX1.5658AF74"]) == ["TCGA-A1-0C80-01"]


def test_default_order_is_by_name(tmp_path):
    for name in ("b", "c", "a"):
        (tmp_path / f"{name}.h5").touch()
    assert [p.stem for p in h5_files(tmp_path)] == ["a", "b", "c"]
