"""Whole draws: their variance, their correlations, and noise that depends on the patient alone."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.codec import CodecConfig, fit_codec
from cohgen_jax.codec.pca import Pca
from cohgen_jax.codec.rest import ROWS
from cohgen_jax.errors import InputError


def frame(values):
    return pd.DataFrame(np.asarray(values, np.float32)).rename(columns="g{}".format)


def factors(n, num_features, seed=0, rank=3, share=0.6):
    """N(0, 1) features [n, F] with `share` of their variance from common factors, and their
    correlations [F, F]."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(num_features, rank))
    loadings *= np.sqrt(share) / np.linalg.norm(loadings, axis=1, keepdims=True)
    noise = np.sqrt(1 - share) * rng.normal(size=(n, num_features))
    correlations = loadings @ loadings.T
    np.fill_diagonal(correlations, 1)
    return rng.normal(size=(n, rank)) @ loadings.T + noise, correlations


def mixed(n, num_features):
    """Lognormal, binary, zero-inflated and heavy-tailed features, some cells missing, one
    constant."""
    z, _ = factors(n, num_features)
    table = np.sinh(2 * z)
    table[:, 0::4] = np.exp(z[:, 0::4])
    table[:, 1::4] = z[:, 1::4] > 0.8
    table[:, 2::4] = np.maximum(z[:, 2::4], 0)
    table[np.random.default_rng(1).random(table.shape) < 0.03] = np.nan
    return frame(table).assign(constant=np.float32(3))


TABLES = {
    "heavy-tailed": (frame(np.random.default_rng(0).standard_t(3, size=(1500, 50))), 300),
    "mixed kinds": (mixed(800, 40), 400),
    "40 patients": (mixed(440, 200), 40),
    "3 features": (frame(factors(600, 3)[0]), 200),
    "7 patients": (frame(factors(407, 30)[0]), 7),
}
"""Tables, and how many of their patients codecs are fitted on."""


def fitted(name, **config):
    """(codec, x of patients that it was not fitted on [N, F], draws of them [R, N, F])."""
    table, num_train = TABLES[name]
    codec = fit_codec(table[:num_train], None, CodecConfig(**config), 0)
    new = table[num_train:]
    z = codec.encode(new)
    streams = np.arange(len(new))
    draws = codec.draw_standardised(np.broadcast_to(z, (20, *z.shape)), streams, 0)
    return codec, codec.standardised(new), draws


def covariance(codec):
    """[F, F] of x of draws under latents N(0, 1) and a rest that is equally large for all."""
    assert isinstance(codec.reducer, Pca)
    assert codec.rest is not None
    shared = codec.rest.gain[:, None] * codec.reducer.components * codec.latent_sd[None, :]
    own = np.diag(np.square(codec.rest.noise))
    return shared @ shared.T + codec.rest.loadings @ codec.rest.loadings.T + own


def correlations(x):
    return np.corrcoef(x, rowvar=False)


def upper(matrix):
    return matrix[np.triu_indices(len(matrix), 1)]


# ---- the model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("marginals", ["normal_scores", "none"])
@pytest.mark.parametrize("name", TABLES)
def test_draws_of_new_patients_have_the_whole_variance(name, marginals):
    codec, truth, draws = fitted(name, latent_dim=10, rest=10, marginals=marginals)
    held = frame(codec.units(draws).reshape(-1, truth.shape[1])).set_axis(codec.features, axis=1)
    ratio = codec.standardised(held).var(axis=0) / truth.var(axis=0)
    few = TABLES[name][1] < 100  # whose own variance is that far from that of others
    assert abs(np.median(ratio) - 1) < (0.5 if few else 0.15)
    assert codec.rest.loadings.shape[1] <= max(1, TABLES[name][1] // 3)


@pytest.mark.parametrize(("width", "rest"), [(10, 30), (3, 1), (30, 10)])
def test_draws_of_new_patients_have_their_correlations(width, rest):
    values, rho = factors(1200, 40)
    table = frame(np.sinh(values))
    codec = fit_codec(table[:600], None, CodecConfig(latent_dim=width, rest=rest), 0)
    z = codec.encode(table[600:])
    draws = codec.draw_standardised(np.broadcast_to(z, (20, *z.shape)), np.arange(600), 0)
    found, true = upper(correlations(draws.reshape(-1, 40))), upper(rho)
    assert 0.9 < (found @ true) / (true @ true) < 1.1
    assert np.sqrt(np.mean((found - true) ** 2)) < 0.06


@pytest.mark.parametrize("threshold", [0.0, pytest.param(1.0, marks=pytest.mark.heavy)])
def test_binary_features_keep_the_correlations_beneath_them(threshold):
    """Of z > threshold only cov(x) = omega^2 rho is seen, omega^2 = 0.41 or 0.19."""
    values, rho = factors(2000, 400, rank=2, share=0.4)
    codec = fit_codec(frame(values > threshold), None, CodecConfig(latent_dim=2, rest=1), 0)
    found, true = upper(covariance(codec)), upper(rho)
    slope = (found @ true) / (true @ true)
    assert 0.93 < slope < 1.07
    assert np.corrcoef(found, true)[0, 1] > 0.98


def test_latents_that_hold_everything_leave_nothing_to_draw():
    values, _ = factors(200, 3)
    codec = fit_codec(frame(values), None, CodecConfig(marginals="none"), 0)
    z = np.random.default_rng(0).normal(size=(2, 9, 3)).astype(np.float32)
    np.testing.assert_allclose(codec.draw(z, np.arange(9), 0), codec.decode(z), atol=1e-2)


def test_the_moments_of_an_autoencoder_are_whole_too():
    values, _ = factors(300, 20)
    config = CodecConfig(kind="autoencoder", latent_dim=3, rest=5, num_layers=1, max_epochs=30)
    codec = fit_codec(frame(values[:200]), frame(values[200:]), config, 0)
    z = codec.encode(frame(values[:200]))
    x = codec.draw_standardised(np.broadcast_to(z, (100, *z.shape)), np.arange(200), 0)
    np.testing.assert_allclose(x.reshape(-1, 20).var(axis=0), 1, atol=0.05)
    np.testing.assert_allclose(np.mean(codec.scale**2), 1, rtol=1e-5)


# ---- draws --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def codec():
    return fit_codec(TABLES["mixed kinds"][0][:400], None, CodecConfig(latent_dim=8, rest=6), 0)


@pytest.fixture(scope="module")
def z(codec):
    return np.random.default_rng(3).normal(size=(5, 61, codec.width)).astype(np.float32)


STREAMS = np.arange(1000, 1061, dtype=np.uint32)


def test_draws_have_the_moments_of_the_model(codec):
    alike = codec.rest._replace(size=np.zeros(3, np.float32))
    codec = dataclasses.replace(codec, rest=alike)
    z = np.random.default_rng(4).normal(size=(100, 200, codec.width)).astype(np.float32)
    x = codec.draw_standardised(z, np.arange(200), 0)
    assert x.dtype == np.float32
    assert x.shape == (100, 200, len(codec.features))
    flat = x.reshape(-1, x.shape[-1])
    assert np.abs(flat.mean(axis=0)).max() < 0.08
    assert np.abs(np.cov(flat, rowvar=False) - covariance(codec)).max() < 0.06


@pytest.mark.parametrize("num_train", [20, 40, 400])
def test_latents_of_others_than_the_fitted_leave_the_rest_its_size(num_train):
    """Few patients' own latents are larger than any others' will be: a rest whose size follows the
    latents must not be the smaller for it. Restless patients (of large a) are restless in all."""
    rng = np.random.default_rng(0)
    values, _ = factors(num_train, 150, rank=20)
    table = frame(np.exp(0.4 * rng.normal(size=(num_train, 1))) * values)
    codec = fit_codec(table, None, CodecConfig(latent_dim=10), 0)
    assert codec.rest is not None
    z = (codec.kept * rng.normal(size=(50, 200, codec.width))).astype(np.float32)
    x = codec.draw_standardised(z, np.arange(200), 0)
    assert abs(x.var(axis=(0, 1)).mean() - 1) < 0.07  # 0.55 to 0.94 if train's latents say it


def test_draws_have_the_distribution_of_the_table(codec):
    table = TABLES["mixed kinds"][0][:400][list(codec.features)].to_numpy()
    z = np.random.default_rng(4).normal(size=(100, 200, codec.width)).astype(np.float32)
    values = codec.draw(z, np.arange(200), 0).reshape(-1, table.shape[1])
    for f, kind in enumerate(["lognormal", "binary", "zero-inflated", "heavy-tailed"] * 10):
        own = table[~np.isnan(table[:, f]), f]
        if kind == "binary":
            assert set(values[:, f]) == {0.0, 1.0}
            assert abs(values[:, f].mean() - own.mean()) < 0.035
        elif kind == "zero-inflated":
            assert abs((values[:, f] == 0).mean() - (own == 0).mean()) < 0.035
        ranks = np.searchsorted(np.sort(values[:, f]), own, side="right") / len(values)
        empirical = np.searchsorted(np.sort(own), own, side="right") / len(own)
        assert np.abs(ranks - empirical).max() < 0.05


def test_noise_depends_on_seed_stream_and_draw_alone(codec, z):
    assert z.shape[0] * z.shape[1] > 2 * ROWS
    whole = codec.draw(z, STREAMS, 7)
    np.testing.assert_array_equal(codec.draw(z[2:], STREAMS, 7, first_draw=2), whole[2:])
    some = np.array([60, 3, 17])
    np.testing.assert_array_equal(codec.draw(z[:, some], STREAMS[some], 7), whole[:, some])
    for r, n in [(0, 0), (1, 40), (4, 60)]:
        one = codec.draw(z[r : r + 1, n : n + 1], STREAMS[n : n + 1], 7, first_draw=r)
        np.testing.assert_array_equal(one[0, 0], whole[r, n])


def test_seeds_streams_and_draws_give_other_noise(codec, z):
    same = np.broadcast_to(z[:1, :1], z.shape)
    x = codec.draw_standardised(same, STREAMS, 0)
    other = codec.draw_standardised(same, STREAMS, 1)
    rows = np.concatenate([x, other]).reshape(-1, x.shape[-1])
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_temperature_scales_the_drawn_rest(codec, z):
    cold, half, whole = (
        codec.draw_standardised(z, STREAMS, 0, temperature=t) for t in (0.0, 0.5, 1.0)
    )
    np.testing.assert_allclose(half, (cold + whole) / 2, atol=1e-5)
    np.testing.assert_array_equal(
        cold, codec.draw_standardised(z, STREAMS, 5, temperature=0.0, first_draw=9)
    )


def test_without_a_rest_draws_are_decoded(z):
    codec = fit_codec(TABLES["mixed kinds"][0][:400], None, CodecConfig(latent_dim=8, rest=0), 0)
    assert codec.rest is None
    np.testing.assert_array_equal(codec.draw(z, STREAMS, 0), codec.decode(z))


def test_shapes_are_checked(codec, z):
    with pytest.raises(InputError, match="width 3 given, the codec has 8"):
        codec.draw(z[..., :3], STREAMS, 0)
    with pytest.raises(InputError, match="a stream for each of N patients"):
        codec.draw(z, STREAMS[:5], 0)
    with pytest.raises(InputError, match="a stream for each of N patients"):
        codec.draw(z[0], STREAMS, 0)
