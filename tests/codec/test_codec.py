"""Codecs as a whole: latents of unit variance, back in raw units, kept on disk."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.codec import (
    Codec,
    CodecConfig,
    encode_cohort,
    fit_codec,
    fit_codecs,
    load_codecs,
    padded_scale,
    published_config,
    save_codecs,
)
from cohgen_jax.cohort import demo_cohort, load_cohort
from cohgen_jax.errors import InputError
from cohgen_jax.storage.checkpoint import load_tree, save_tree

DATA = Path(os.environ.get("COHGEN_DATA", Path(__file__).parents[2] / "../shared/data"))
AUTOENCODER = CodecConfig(
    kind="autoencoder", latent_dim=6, num_layers=1, max_epochs=60, learning_rate=1e-2
)


@pytest.fixture(scope="module")
def cohort():
    demo = demo_cohort(0, 300)
    tables = {m: demo.tables[m] for m in ("cna", "rnaseq", "rppa", "wsi")}
    return dataclasses.replace(demo, modalities=tuple(tables), tables=tables)


@pytest.fixture(scope="module")
def codecs(cohort):
    """A codec of every kind."""
    configs = {
        "cna": CodecConfig(latent_dim=8),
        "rnaseq": AUTOENCODER,
        "rppa": CodecConfig(latent_dim=5, imputer="knn", marginals="none"),
        "wsi": CodecConfig(latent_dim=4, natural=False, rest=0),
    }
    return fit_codecs(cohort, configs, seed=0)


def _low_rank_table(n=100, features=30, rank=4):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, features)) * 3 + 5
    return pd.DataFrame(values.astype(np.float32), columns=[f"g{i}" for i in range(features)])


def test_latents_have_mean_zero_and_variance_one_on_train(cohort, codecs):
    latents = encode_cohort(cohort, codecs)
    train = cohort.rows("train")
    for j, width in enumerate(latents.widths):
        z = latents.z[train[latents.present[train, j]], j, :width]
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-3)


def test_padding_and_absent_modalities_are_zero(cohort, codecs):
    latents = encode_cohort(cohort, codecs)
    assert latents.z.dtype == np.float32
    assert latents.z.shape == (len(cohort.samples), 4, 8)
    assert list(latents.widths) == [8, 6, 5, 4]
    np.testing.assert_array_equal(latents.present, cohort.present)
    assert (latents.z[~latents.present] == 0).all()
    for j, width in enumerate(latents.widths):
        assert (latents.z[:, j, width:] == 0).all()


def test_the_scale_is_what_a_component_is_worth_in_the_table(cohort, codecs):
    """Its step from -1 to 1 sd moves x by 2 sd of that component; mean square 1; 1 if whitened."""
    for modality in ("cna", "rppa"):
        codec = codecs[modality]
        sd = codec.reducer.components.T @ codec.standardised(cohort.table(modality, "train")).T
        np.testing.assert_allclose(
            codec.scale, sd.std(axis=1) / np.sqrt(np.mean(sd.var(axis=1))), rtol=1e-4
        )
        assert (np.diff(codec.scale) < 0).all()
    np.testing.assert_allclose(np.mean(codecs["rnaseq"].scale ** 2), 1, rtol=1e-5)
    assert (codecs["wsi"].scale == 1).all()
    latents = encode_cohort(cohort, codecs)
    assert latents.scale.dtype == np.float32
    np.testing.assert_array_equal(latents.scale, padded_scale(codecs))
    for j, codec in enumerate(codecs.values()):
        np.testing.assert_array_equal(latents.scale[j, : codec.width], codec.scale)
        assert (latents.scale[j, codec.width :] == 0).all()


def test_modalities_that_a_cohort_lacks_are_absent(cohort, codecs):
    some = {m: cohort.tables[m] for m in ("wsi", "cna")}
    fewer = type(cohort)(cohort.name, ("wsi", "cna"), some, cohort.samples)
    latents = encode_cohort(fewer, codecs)
    assert latents.modalities == ("cna", "rnaseq", "rppa", "wsi")
    assert not latents.present[:, 1:3].any()
    np.testing.assert_array_equal(latents.z[:, 0], encode_cohort(cohort, codecs).z[:, 0])
    with pytest.raises(InputError, match="no codec for 'wsi'; there are codecs for cna"):
        encode_cohort(fewer, {"cna": codecs["cna"]})


def test_low_rank_data_come_back_in_raw_units():
    table = _low_rank_table()
    codec = fit_codec(table, None, CodecConfig(latent_dim=16, marginals="none"), seed=0)
    assert codec.width == 4  # no more than the data have
    np.testing.assert_allclose(codec.decode(codec.encode(table)), table, atol=1e-2)


def test_a_table_is_projected_from_x_and_x_is_in_its_units(cohort, codecs):
    for modality, codec in codecs.items():
        table = cohort.table(modality, "test")
        x = codec.standardised(table)
        np.testing.assert_array_equal(codec.project(x), codec.encode(table))
        pairs = codec.project(np.stack([x, x]))
        np.testing.assert_allclose(pairs[1], codec.encode(table), atol=1e-4)
        train = cohort.table(modality, "train")[list(codec.features)]
        error = (codec.units(codec.standardised(train)) - train.to_numpy()) / codec.preprocess.sd
        assert np.nanmax(np.abs(error)) < 1e-3


def test_the_published_form_is_standard_deviations_and_whitened_components():
    """Against NumPy's: x = (raw - mean) / sd, z = U sqrt(n) of its singular value decomposition."""
    table = _low_rank_table()
    codec = fit_codec(table, None, published_config("wsi", latent_dim=4), 0)
    raw = table.to_numpy(np.float64)
    x = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    left, values, right = np.linalg.svd(x, full_matrices=False)
    sign = np.sign(np.sum(right[:4].T * codec.reducer.components, axis=0))
    np.testing.assert_allclose(codec.encode(table), sign * left[:, :4] * 10, atol=1e-3)
    np.testing.assert_allclose(codec.latent_sd, values[:4] / 10, rtol=1e-4)
    assert (codec.scale == 1).all()
    assert codec.rest is None
    assert codec.preprocess.marginals is None


def test_decoding_keeps_leading_axes(codecs):
    for codec in codecs.values():
        z = np.random.default_rng(0).normal(size=(3, 5, codec.width)).astype(np.float32)
        decoded = codec.decode(z)
        assert decoded.shape == (3, 5, len(codec.features))
        assert decoded.dtype == np.float32
        np.testing.assert_allclose(decoded[1], codec.decode(z[1]), rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="width 3 given, the codec has 4"):
        codecs["wsi"].decode(np.zeros((2, 3)))


def test_width_is_bounded_by_features_and_samples():
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(10, 40))).rename(columns=str)
    whitened = CodecConfig(natural=False)
    assert fit_codec(table, None, whitened, 0).width == 9
    assert fit_codec(table.iloc[:, :5], None, whitened, 0).width == 5
    assert fit_codec(table, None, CodecConfig(), 0).width == 3  # a third of the samples
    assert fit_codec(table.iloc[:3], None, CodecConfig(), 0).width == 2
    assert fit_codec(table.iloc[:2], None, CodecConfig(), 0).width == 1


def test_only_train_is_fitted(cohort):
    """What validation and test hold has no bearing on a PCA codec."""
    table = cohort.tables["cna"]
    altered = table.copy()
    altered.loc[cohort.table("cna", "test").index] += 100.0
    a, b = (
        fit_codecs(type(cohort)("x", ("cna",), {"cna": t}, cohort.samples), CodecConfig(), 0)["cna"]
        for t in (table, altered)
    )
    np.testing.assert_array_equal(a.reducer[1], b.reducer[1])
    np.testing.assert_array_equal(a.preprocess.mean, b.preprocess.mean)


def test_the_modality_is_named_when_a_table_cannot_be_encoded(cohort, codecs):
    tables = dict(cohort.tables, rppa=cohort.tables["rppa"].drop(columns="PROT003"))
    lacking = type(cohort)("x", cohort.modalities, tables, cohort.samples)
    with pytest.raises(InputError, match=r"rppa: the table has 119 of the 120.*lacks PROT003"):
        encode_cohort(lacking, codecs)
    assert codecs["rppa"].encode(tables["rppa"], allow_absent=0.01).shape[1] == 5


# ---- the autoencoder --------------------------------------------------------------------------


def test_autoencoder_learns_and_keeps_its_best_epoch(cohort, codecs):
    fit = codecs["rnaseq"].reducer
    best = int(np.argmin(fit.val_loss))
    assert fit.val_loss[best] < 0.75  # the mean of train would give about 1
    assert len(fit.val_loss) in (60, best + 11)
    table = cohort.table("rnaseq", "val")
    error = codecs["rnaseq"].residual(table)
    np.testing.assert_allclose((error**2).mean(), fit.val_loss[best], rtol=1e-3)


def test_autoencoder_is_reproducible_and_tells_its_losses(cohort):
    train, val = cohort.table("wsi", "train"), cohort.table("wsi", "val")
    config = CodecConfig(kind="autoencoder", latent_dim=3, num_layers=1, max_epochs=3)
    lines = []
    a = fit_codec(train, val, config, seed=1, progress=lines.append)
    b = fit_codec(train, val, config, seed=1)
    np.testing.assert_array_equal(a.encode(val), b.encode(val))
    assert [line.split(",")[0] for line in lines] == ["epoch 1", "epoch 2", "epoch 3"]
    with pytest.raises(InputError, match="needs validation samples"):
        fit_codec(train, None, config, seed=1)


def test_published_choices():
    assert published_config("rnaseq").num_layers == 3
    assert published_config("cna").shrink == 3.0
    assert published_config("cna").imputer == "median"
    assert published_config("rppa").imputer == "knn"
    for modality in ("cna", "rnaseq", "rppa", "wsi"):
        config = published_config(modality)
        assert (config.marginals, config.natural, config.rest) == ("none", False, 0)
        assert config.latent_dim == 32
    assert published_config("wsi").kind == "pca"
    assert published_config("rna", latent_dim=8).latent_dim == 8


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"kind": "umap"}, "known: pca, autoencoder"),
        ({"imputer": "mean"}, "known: pca, median, knn"),
        ({"max_missing": 0.0}, "share in"),
        ({"latent_dim": 0}, "latent_dim must be at least 1"),
        ({"marginals": "ranks"}, "known: normal_scores, none"),
        ({"natural": "no"}, "known: True, False"),
        ({"rest": -1}, "rest must be at least 0"),
        ({"shrink": 0.0}, "must be positive"),
    ],
)
def test_bad_settings(setting, message):
    with pytest.raises(InputError, match=message):
        CodecConfig(**setting)


# ---- on disk ----------------------------------------------------------------------------------


@pytest.fixture
def saved(codecs, tmp_path):
    save_codecs(codecs, tmp_path / "codec")
    return tmp_path / "codec"


def test_saved_codecs_are_the_same(cohort, codecs, saved):
    again = load_codecs(saved)
    assert list(again) == list(codecs)
    assert all(isinstance(codec, Codec) for codec in again.values())
    np.testing.assert_array_equal(encode_cohort(cohort, again).z, encode_cohort(cohort, codecs).z)
    for modality, codec in codecs.items():
        z = np.ones((2, codec.width), np.float32)
        np.testing.assert_array_equal(again[modality].decode(z), codec.decode(z))
        draw = again[modality].draw(z[None], np.arange(2), 0)
        np.testing.assert_array_equal(draw, codec.draw(z[None], np.arange(2), 0))
        np.testing.assert_array_equal(again[modality].scale, codec.scale)
        assert again[modality].config == codec.config
        assert again[modality].features == codec.features
    save_codecs(again, saved)  # replaces what is there
    assert list(load_codecs(saved)) == list(codecs)


def test_codecs_of_older_runs_are_the_published_form(cohort, tmp_path):
    """Those had no fields marginals, natural and rest, no array of scales, marginals or the
    rest."""
    configs = {m: published_config("wsi", latent_dim=5) for m in cohort.modalities}
    codecs = fit_codecs(cohort, configs, seed=0)
    save_codecs(codecs, tmp_path / "new")
    arrays, about = load_tree(tmp_path / "new", "codecs")
    for modality in cohort.modalities:
        assert set(arrays[modality]) == {"preprocess", "latent", "pca"}
        del arrays[modality]["latent"]["scale"]
        for field in ("marginals", "natural", "rest"):
            del about["codecs"][modality]["config"][field]
    save_tree(tmp_path / "old", "codecs", arrays, {"codecs": about["codecs"]})
    for modality, codec in load_codecs(tmp_path / "old").items():
        table = cohort.table(modality, "test")
        assert codec.config == configs[modality]
        np.testing.assert_array_equal(codec.encode(table), codecs[modality].encode(table))
        z = codec.encode(table)[None]
        np.testing.assert_array_equal(codec.draw(z, np.arange(z.shape[1]), 0), codec.decode(z))
        assert (codec.scale == 1).all()


def test_nothing_is_pickled(saved):
    for file in (f for f in saved.rglob("*") if f.is_file()):
        start = file.read_bytes()[:2]
        assert not (start[:1] == b"\x80" and start[1:] <= b"\x05"), file  # a pickle's first bytes


def test_truncated_codecs_are_refused(saved):
    largest = max((f for f in saved.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"does not hold whole codecs.*train again"):
        load_codecs(saved)


def test_altered_codecs_are_refused(saved, codecs):
    file = saved / "about.json"
    about = json.loads(file.read_text())
    about["arrays"]["cna"]["latent"]["sd"]["crc32"] += 1
    file.write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"arrays/ is not what about.json recorded"):
        load_codecs(saved)


def test_foreign_directories_are_refused(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="no codecs"):
        load_codecs(tmp_path / "nowhere")
    file = saved / "about.json"
    written = json.loads(file.read_text())
    for text in ("{", "[]", '{"model": "other"}'):
        file.write_text(text)
        with pytest.raises(InputError, match=r"about\.json is missing or not ours"):
            load_codecs(saved)
    file.write_text(json.dumps(written | {"schema_version": 7}))
    with pytest.raises(InputError, match="schema version 7, this program reads 1"):
        load_codecs(saved)
    file.unlink()
    with pytest.raises(InputError, match="is missing"):
        load_codecs(saved)


# ---- real data --------------------------------------------------------------------------------


@pytest.mark.skipif(not (DATA / "tcga").is_dir(), reason="COHGEN_DATA has no folder tcga")
@pytest.mark.heavy
def test_real_latents_predict_each_other_as_known():
    """Ridge from the other three, PCA-32; a uniformly random fifth held out gives .27 .35 .17 .10.

    The stratified split holds out more of the cancer types with few complete patients and leaves
    fewer of them to fit on: observed .24, .31, .15, .08.
    """
    cohort = load_cohort(DATA / "tcga")
    latents = encode_cohort(cohort, fit_codecs(cohort, published_config("wsi"), seed=0))
    train, test = cohort.rows("train"), cohort.rows("test")
    for j, (low, high) in enumerate([(0.20, 0.30), (0.27, 0.38), (0.11, 0.20), (0.05, 0.14)]):
        x = np.delete(latents.z, j, axis=1).reshape(len(latents.z), -1)
        y = latents.z[:, j]
        rows = train[latents.present[train, j]]
        a, b = x[rows] - x[rows].mean(axis=0), y[rows] - y[rows].mean(axis=0)
        weights = np.linalg.solve(a.T @ a + 100 * np.eye(a.shape[1]), a.T @ b)
        predicted = (x[test] - x[rows].mean(axis=0)) @ weights + y[rows].mean(axis=0)
        residual = ((y[test] - predicted) ** 2).sum()
        assert low < 1 - residual / ((y[test] - y[test].mean()) ** 2).sum() < high
