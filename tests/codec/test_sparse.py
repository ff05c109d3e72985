"""A large sparse table is read, fitted and encoded as the same values in a dense one."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from cohgen_jax.codec import CodecConfig, encode_cohort, fit_codec
from cohgen_jax.codec import matrix as matrix_module
from cohgen_jax.codec.preprocess import standardise, standardise_compactly
from cohgen_jax.cohort import Cohort, cohort_from, sparse
from cohgen_jax.cohort.kinds import check_kind, kind_of_table, kinds_of_features
from cohgen_jax.cohort.read import RawTables, without_empty_rows
from cohgen_jax.cohort.sparse import column_blocks, is_sparse, row_blocks, table_of, take_rows
from cohgen_jax.errors import InputError

NUM, FEATURES = 150, 30


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch):
    monkeypatch.setattr(sparse, "LARGE", 100)
    for module in (sparse, matrix_module):
        monkeypatch.setattr(module, "BLOCK", 40 * FEATURES)
        monkeypatch.setattr(module, "ROWS", 7)


def counts(seed: int = 0) -> pd.DataFrame:
    """Counts that share three factors, 85 % zeros; one column of others and one that is full; two
    unknown cells."""
    rng = np.random.default_rng(seed)
    rate = rng.normal(size=(NUM, 3)) @ rng.normal(size=(3, FEATURES)) - 2.5
    values = rng.poisson(np.exp(rate)).astype(np.float32)
    values[:, 3] = np.where(values[:, 3] > 0, 0.5, 0)
    values[:, 4] += 1
    values[[5, 60], [7, 8]] = np.nan
    names = [f"C{i:03d}" for i in range(NUM)]
    return pd.DataFrame(values, pd.Index(names, name="sample_id")).rename(columns="g{}".format)


def made_sparse(table: pd.DataFrame) -> pd.DataFrame:
    new = table_of(scipy.sparse.csr_matrix(table.to_numpy()), table.index, table.columns)
    assert is_sparse(new)
    return new


def test_blocks_are_the_values_once_each():
    dense = counts()
    for table in (dense, made_sparse(dense)):
        rows = [(own, values) for own, values in row_blocks(table)]
        columns = [(own, values) for own, values in column_blocks(table)]
        assert len(rows) > 2
        assert len(columns) > 2
        np.testing.assert_array_equal(np.concatenate([v for _, v in rows]), dense)
        np.testing.assert_array_equal(np.concatenate([v for _, v in columns], axis=1), dense)
        some = np.array([9, 2, 4])
        picked = np.concatenate([v for _, v in row_blocks(table, some)])
        np.testing.assert_array_equal(picked, dense.iloc[:, some])
        order = np.array([20, 3, 3, 149, *range(50)])
        taken = take_rows(table, order)
        np.testing.assert_array_equal(taken.to_numpy(np.float32), dense.iloc[order])
        assert taken.index.tolist() == dense.index[order].tolist()


def test_small_and_full_matrices_become_plain_tables(monkeypatch):
    full = scipy.sparse.csr_matrix(np.ones((30, 30), np.float32))
    names = pd.Index([f"x{i}" for i in range(30)])
    assert not is_sparse(table_of(full, names, names))
    few = scipy.sparse.csr_matrix(np.eye(30, dtype=np.float32))
    assert is_sparse(table_of(few, names, names))
    monkeypatch.setattr(sparse, "LARGE", 900)
    assert not is_sparse(table_of(few, names, names))


def test_kinds_are_those_of_the_dense_table():
    dense = counts()
    table = made_sparse(dense)
    assert kind_of_table(table) == kind_of_table(dense) == "counts"
    assert kinds_of_features(table, "counts") == kinds_of_features(dense, "counts")
    assert kinds_of_features(table, "counts")[3] == "fraction"
    messages = []
    for own in (dense, table):
        with pytest.raises(InputError, match="cannot be of kind binary") as error:
            check_kind("rna", own, "binary")
        messages.append(str(error.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    "config",
    [
        CodecConfig(latent_dim=6, rest=6),
        CodecConfig(latent_dim=6, rest=6, marginals="none", imputer="median"),
        CodecConfig(latent_dim=6, kind="autoencoder", max_epochs=3, batch_size=16),
    ],
    ids=["scores", "plain", "autoencoder"],
)
def test_the_codec_and_its_latents_are_those_of_the_dense_table(config):
    dense = counts()
    fitted = []
    for table in (dense, made_sparse(dense)):
        train, val = take_rows(table, np.arange(100)), take_rows(table, np.arange(100, NUM))
        fitted.append(fit_codec(train, val, config, 0, kind="counts"))
    one, two = fitted
    assert one.features == two.features
    assert one.kinds == two.kinds
    for name in ("latent_mean", "latent_sd", "scale", "kept"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-4, atol=1e-5)
    assert one.rest is not None
    assert two.rest is not None
    np.testing.assert_allclose(one.rest.noise, two.rest.noise, rtol=1e-3, atol=1e-4)
    shuffled = dense.iloc[:, ::-1]
    for codec in fitted:
        latents = codec.encode(dense)
        np.testing.assert_allclose(codec.encode(made_sparse(dense)), latents, atol=1e-5)
        np.testing.assert_allclose(codec.encode(made_sparse(shuffled)), latents, atol=1e-5)
        np.testing.assert_allclose(
            codec.residual(made_sparse(dense)), codec.residual(dense), atol=1e-5
        )
    np.testing.assert_allclose(one.encode(dense), two.encode(dense), atol=1e-3)


def test_x_is_not_made_dense_and_is_the_same():
    dense = counts()
    codec = fit_codec(dense, None, CodecConfig(latent_dim=4), 0, kind="counts")
    x = standardise(codec.preprocess, dense, allow_absent=0.0)
    compact = standardise_compactly(codec.preprocess, made_sparse(dense), allow_absent=0.0)
    assert isinstance(compact, matrix_module.Shifted)
    assert compact.beside.nnz < 0.3 * x.size
    np.testing.assert_allclose(compact[np.arange(NUM)], x, atol=1e-6)
    lacking = made_sparse(dense.drop(columns=codec.features[5]))
    absent = standardise_compactly(codec.preprocess, lacking, allow_absent=0.1)
    expected = standardise(codec.preprocess, lacking, allow_absent=0.1)
    np.testing.assert_allclose(absent[3:9], expected[3:9], atol=1e-6)


def test_a_cohort_of_sparse_tables_is_that_of_dense_ones():
    """Read, split, filtered, encoded: the same notes, tables and latents; rows without a value."""
    dense = counts()
    dense.iloc[11] = np.nan
    dense["constant"] = np.float32(0)
    rng = np.random.default_rng(1)
    proteins = pd.DataFrame(rng.normal(size=(NUM, 4)).astype(np.float32), dense.index)
    proteins.columns = pd.Index([f"p{i}" for i in range(4)])
    found: list[Cohort] = []
    for table in (dense, made_sparse(dense)):
        raw = RawTables("x", {"rna": table, "adt": proteins}, None, "", {}, ())
        found.append(cohort_from(without_empty_rows(raw), min_train=10))
    one, two = found
    assert is_sparse(two.tables["rna"])
    assert one.notes == two.notes
    assert one.kinds == two.kinds
    pd.testing.assert_frame_equal(one.samples, two.samples)
    pd.testing.assert_frame_equal(
        one.tables["rna"], two.tables["rna"].sparse.to_dense(), check_names=False
    )
    np.testing.assert_array_equal(one.values("rna"), two.values("rna"))
    config = CodecConfig(latent_dim=3, rest=2)
    codecs = {
        m: fit_codec(one.table(m, "train"), None, config, 0, kind=one.kinds[m])
        for m in one.modalities
    }
    z = [encode_cohort(cohort, codecs).z for cohort in found]
    np.testing.assert_allclose(z[0], z[1], atol=1e-5)


def test_an_infinite_cell_is_named():
    dense = counts()
    dense.iloc[20, 9] = np.inf
    with pytest.raises(InputError, match="column 'g9', row 'C020': infinite"):
        fit_codec(made_sparse(dense), None, CodecConfig(latent_dim=3), 0, kind="counts")
