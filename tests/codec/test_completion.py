"""Unknown cells from the others: against tables whose true cells are known."""

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.codec import CodecConfig, fit_codec
from cohgen_jax.codec.completion import complete, fit_completion
from cohgen_jax.codec.conditioning import condition


def factor_table(n, num_features, rank, noise, seed=0):
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(99).normal(size=(rank, num_features)) / np.sqrt(rank)
    x = rng.normal(size=(n, rank)) @ loadings + noise * rng.normal(size=(n, num_features))
    return (x / np.sqrt(1 + noise**2)).astype(np.float32)


def holes(x, share, seed=0):
    return np.where(np.random.default_rng(seed).random(x.shape) < share, np.nan, x)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
def test_a_table_of_few_factors_comes_back(share):
    x = factor_table(300, 40, 3, 0.1)
    shown = holes(x, share)
    filled = complete(fit_completion(shown[:200], 0), shown)
    known = ~np.isnan(shown)
    np.testing.assert_array_equal(filled[known], x[known])
    error = np.mean((filled - x)[200:][~known[200:]] ** 2)  # of new patients
    assert error < 0.05  # noise alone is 0.01, the mean of a feature 1


def test_what_follows_nothing_becomes_the_mean():
    """Components of pure noise would make it worse, hence are not used."""
    x = np.random.default_rng(0).normal(2, 1, (60, 30)).astype(np.float32)
    shown = holes(x, 0.2)
    fitted = fit_completion(shown, 0)
    filled = complete(fitted, shown)
    unknown = np.isnan(shown)
    mean = np.nanmean(shown, axis=0)
    assert np.mean((filled - mean)[unknown] ** 2) < 0.1


def test_a_patient_is_completed_as_alone():
    """Others, who take many more steps, change nothing."""
    x = holes(factor_table(200, 30, 3, 0.1), 0.1)
    x[100:] = holes(x[100:], 0.7, 1)
    fitted = fit_completion(x, 0)
    whole = complete(fitted, x)
    for n in (0, 5, 150):
        np.testing.assert_allclose(complete(fitted, x[n : n + 1])[0], whole[n], atol=1e-5)


@pytest.mark.parametrize("shape", [(7, 3), (40, 1), (5, 200)])
def test_small_tables_and_empty_columns(shape):
    x = holes(factor_table(*shape, 1, 0.5), 0.3)
    x[:, 0] = np.where(np.arange(len(x)) < 2, 1.0, np.nan)
    x[3] = np.nan
    filled = complete(fit_completion(x, 0), x)
    assert np.isfinite(filled).all()
    whole = complete(fit_completion(x, 0), np.zeros((2, shape[1]), np.float32))
    np.testing.assert_array_equal(whole, 0)


# ---- draws given what is known ----------------------------------------------------------------


def test_conditioned_draws_have_the_exact_posterior():
    """Against the conditional of the joint normal distribution, patient by patient."""
    rng = np.random.default_rng(0)
    num_draws, num_features, rank = 20_000, 6, 2
    loadings = rng.normal(size=(num_features, rank))
    noise = rng.uniform(0.2, 0.6, num_features)
    sd = np.array([[1.0, 1.0], [0.3, 1.5]])
    mean = rng.normal(size=(2, num_features))
    measured = np.full((2, num_features), np.nan)
    measured[0, [0, 3]] = 1.0, -0.5
    measured[1, [1, 2, 4, 5]] = 0.3, 0.2, -1.0, 2.0
    u = rng.normal(size=(num_draws, 2, rank)) * sd
    x = mean + u @ loadings.T + noise * rng.normal(size=(num_draws, 2, num_features))
    found = condition(x.astype(np.float32), measured, loadings, sd, noise)
    for n in range(2):
        known = np.isfinite(measured[n])
        a = loadings * sd[n]
        covariance = a @ a.T + np.diag(noise**2)
        gain = covariance[~known][:, known] @ np.linalg.inv(covariance[known][:, known])
        expected = mean[n, ~known] + gain @ (measured[n, known] - mean[n, known])
        left = covariance[~known][:, ~known] - gain @ covariance[known][:, ~known]
        np.testing.assert_array_equal(found[0, n, known], measured[n, known].astype(np.float32))
        np.testing.assert_allclose(found[:, n, ~known].mean(axis=0), expected, atol=0.03)
        np.testing.assert_allclose(np.cov(found[:, n, ~known].T), left, atol=0.03)


def test_nothing_known_and_everything_known():
    x = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)
    measured = np.stack([np.full(4, np.nan), np.arange(4.0)])
    found = condition(x, measured, np.ones((4, 1)), np.ones((2, 1)), np.ones(4))
    np.testing.assert_array_equal(found[:, 0], x[:, 0])
    np.testing.assert_array_equal(found[:, 1], np.tile(np.arange(4.0), (3, 1)))


def test_a_codec_conditions_draws_on_the_known_cells_of_its_table():
    """Features of one factor: from half of them the others are known, from the prior they are not.
    A mutation among them is 0 or 1 in every draw."""
    x = factor_table(600, 20, 1, 0.3)
    x[:, 19] = x[:, 19] > 0.5
    table = pd.DataFrame(x).rename(columns=lambda i: f"g{i}")
    codec = fit_codec(table[:400], None, CodecConfig(), 0)
    new = table[400:].copy()
    new.iloc[:, 10:] = np.nan
    streams, z = np.arange(200), np.random.default_rng(1).normal(size=(8, 200, codec.width))
    prior = codec.draw_standardised(z, streams, 0)
    posterior = codec.conditioned(prior, new, np.ones((200, codec.width)))
    values, truth = codec.units(posterior), table[400:].to_numpy()
    np.testing.assert_allclose(values[0, :, :10], truth[:, :10], atol=0.02)
    before = np.mean((codec.units(prior).mean(axis=0) - truth)[:, 10:19] ** 2)
    after = np.mean((values.mean(axis=0) - truth)[:, 10:19] ** 2)
    assert after < 0.3 * before
    assert set(np.unique(values[..., 19])) == {0.0, 1.0}
    assert np.mean((values[..., 19].mean(axis=0) > 0.5) == truth[:, 19]) > 0.8
