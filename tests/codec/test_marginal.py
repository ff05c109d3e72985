"""Margins against the distributions that the values come from."""

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import norm

from cohgen_jax.codec import marginal
from cohgen_jax.codec.marginal import LIMIT, Marginals, fit_marginals, from_scores, to_scores

NORMAL = ndtri((np.arange(20_000) + 0.5) / 20_000).astype(np.float32)
"""N(0, 1) without sampling error."""


def column(values):
    return np.asarray(values, np.float32)[:, None]


def drawn(marginals: Marginals, feature: int = 0) -> np.ndarray:
    """What N(0, 1) becomes, in ascending order of the score."""
    scores = np.repeat(NORMAL[:, None], marginals.value.shape[1], axis=1)
    return from_scores(marginals, scores)[:, feature]


def zero_inflated(n):
    rng = np.random.default_rng(1)
    return np.where(np.arange(n) < 0.4 * n, 0.0, 0.5 + rng.gamma(2.0, size=n))


# ---- continuous features ------------------------------------------------------------------------


def test_a_lognormal_feature_becomes_its_logarithm():
    n = 2000
    z = np.random.default_rng(0).normal(size=n)
    values = column(np.exp(2 * z + 1))
    fitted = fit_marginals(values)
    scores = to_scores(fitted, values)[:, 0]
    middle = np.abs(z) < 2
    assert np.abs(scores - z)[middle].max() < 4 / np.sqrt(n * norm.pdf(2))
    assert abs(scores.mean()) < 0.01
    assert abs(scores.var() - 1) < 0.01
    np.testing.assert_allclose(from_scores(fitted, scores[:, None]), values, rtol=1e-4)


@pytest.mark.parametrize("n", [40, 500, 4000])
def test_normal_scores_of_normal_values_are_the_standardised_values(n):
    """The quantile function of N(5, 3^2) is linear, so that knots lose nothing."""
    values = column(5 + 3 * ndtri((np.arange(n) + 0.5) / n))
    fitted = fit_marginals(values)
    assert fitted.value.shape[0] == min(64, n // 6) + 2
    new = column([-40.0, -5.0, 0.0, 5.0, 5.1, 20.0])
    expected = np.maximum((new - 5) / 3, -LIMIT)
    np.testing.assert_allclose(to_scores(fitted, new), expected, atol=1e-5)
    np.testing.assert_allclose(drawn(fitted), 5 + 3 * NORMAL, atol=1e-4)


def test_tails_go_on_with_the_slope_of_the_outermost_values():
    values = column(np.random.default_rng(0).standard_t(3, size=1000))
    fitted = fit_marginals(values)
    z = np.linspace(3.5, 7.9, 50, dtype=np.float32)
    top = np.sort(values[:, 0])[-50:]
    slope = np.polyfit(ndtri((np.arange(950, 1000) + 0.5) / 1000), top, 1)[0]
    steps = np.diff(from_scores(fitted, z[:, None])[:, 0])
    np.testing.assert_allclose(steps, slope * np.diff(z), rtol=1e-3)
    beyond = from_scores(fitted, column([-7.0, 7.0]))
    assert beyond[0] < values.min()
    assert beyond[1] > values.max()
    np.testing.assert_allclose(to_scores(fitted, beyond), column([-7.0, 7.0]), rtol=1e-4)


@pytest.mark.parametrize("n", [7, 40, 400])
def test_what_is_not_negative_stays_so(n):
    values = column(np.exp(np.random.default_rng(0).normal(size=n)))
    lowest = from_scores(fit_marginals(values), column([-LIMIT, -6.0]))
    assert lowest.min() >= 0
    assert lowest[0] < lowest[1] < values.min()


# ---- atoms --------------------------------------------------------------------------------------


def test_a_binary_feature_has_its_frequency_and_conditional_means():
    p = 0.1
    values = column(np.arange(200) < 20)
    fitted = fit_marginals(values)
    scores = to_scores(fitted, values)[:, 0]
    t = norm.isf(p)
    np.testing.assert_allclose(scores[0], norm.pdf(t) / p, rtol=1e-6)  # E[Z | Z > t]
    np.testing.assert_allclose(scores[-1], -norm.pdf(t) / (1 - p), rtol=1e-6)
    np.testing.assert_array_equal(from_scores(fitted, scores[:, None]), values)
    np.testing.assert_allclose(drawn(fitted).mean(), p, atol=1e-4)
    assert set(drawn(fitted)) == {0.0, 1.0}


def test_an_ordinal_feature_has_its_values_and_no_others():
    shares = {0.0: 0.5, 1.0: 0.3, 2.0: 0.15, 7.0: 0.05}
    values = column(np.repeat(list(shares), [100, 60, 30, 10]))
    fitted = fit_marginals(values)
    found, counts = np.unique(drawn(fitted), return_counts=True)
    np.testing.assert_array_equal(found, list(shares))
    np.testing.assert_allclose(counts / len(NORMAL), list(shares.values()), atol=1e-4)
    at = to_scores(fitted, column([1.0, 1.5, 2.0, 7.0, 9.0, -1.0, 0.0]))[:, 0]
    np.testing.assert_allclose(at[1], (at[0] + at[2]) / 2, rtol=1e-5)  # unseen, between two
    assert at[4] == at[3]
    assert at[5] == at[6]


@pytest.mark.parametrize("n", [40, 3000])
def test_a_zero_inflated_feature_keeps_its_zeros_and_its_gap(n):
    values = column(zero_inflated(n))
    fitted = fit_marginals(values)
    out = drawn(fitted)
    np.testing.assert_allclose((out == 0).mean(), 0.4, atol=1e-4)
    assert out[out > 0].min() == values[values > 0].min()
    assert (np.diff(out) >= 0).all()
    np.testing.assert_allclose(from_scores(fitted, to_scores(fitted, values)), values, rtol=1e-5)


def test_a_bound_is_not_exceeded():
    """Clipped at 4, and at a detection limit of -1 below."""
    values = column(np.clip(3 * np.random.default_rng(0).normal(size=500), -1, 4))
    fitted = fit_marginals(values)
    out = drawn(fitted)
    assert (out.min(), out.max()) == (-1.0, 4.0)
    np.testing.assert_allclose((out == 4).mean(), (values == 4).mean(), atol=1e-4)
    np.testing.assert_array_equal(from_scores(fitted, column([-LIMIT, LIMIT])), column([-1, 4]))


def test_a_rare_value_of_a_long_table_is_not_lost(monkeypatch):
    monkeypatch.setattr(marginal, "MAX_ROWS", 100)
    values = column(np.arange(5000) % 1000 == 501)
    np.testing.assert_allclose(drawn(fit_marginals(values)).mean(), 1e-3, atol=1e-4)


# ---- tables -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed():
    """40 patients, 130 features of four kinds, a tenth of the cells missing."""
    rng = np.random.default_rng(2)
    values = rng.standard_t(2, size=(40, 130))
    values[:, 1::4] = values[:, 1::4] > 1
    values[:, 2::4] = np.maximum(values[:, 2::4], 0)
    values[:, 3::4] = np.round(values[:, 3::4])
    values[rng.random(values.shape) < 0.1] = np.nan
    return values.astype(np.float32)


def test_missing_cells_stay_missing_and_the_rest_comes_back(mixed):
    fitted = fit_marginals(mixed)
    scores = to_scores(fitted, mixed)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(scores), np.isnan(mixed))
    np.testing.assert_allclose(from_scores(fitted, scores), mixed, rtol=1e-4, atol=1e-5)


def test_scores_are_monotone_in_the_values(mixed):
    fitted = fit_marginals(mixed)
    assert (np.diff(fitted.value, axis=0) >= 0).all()
    assert (np.diff(fitted.score, axis=0) >= 0).all()
    assert (fitted.low <= fitted.high).all()
    assert (fitted.low[1:] >= fitted.high[:-1]).all()
    scores = np.repeat(NORMAL[:, None], mixed.shape[1], axis=1)
    assert (np.diff(from_scores(fitted, scores), axis=0) >= 0).all()


def test_each_feature_is_fitted_alone(mixed):
    fitted, some = fit_marginals(mixed), fit_marginals(mixed, [70, 3, 129])
    alone = to_scores(some, mixed[:, [70, 3, 129]])
    np.testing.assert_array_equal(alone, to_scores(fitted, mixed)[:, [70, 3, 129]])
    three = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        from_scores(some, three)[1, 4], from_scores(some, three[1, 4:])[0]
    )


def test_features_without_variation_do_not_stop_the_others(mixed):
    values = mixed.copy()
    values[:, 0], values[:, 1] = 7.0, np.nan
    fitted = fit_marginals(values)
    assert (to_scores(fitted, values)[:, 0] == 0).all()
    assert (drawn(fitted, 0) == 7).all()
    assert np.isfinite(drawn(fitted, 1)).all()
    others = to_scores(fit_marginals(mixed), mixed)[:, 2:]
    np.testing.assert_array_equal(to_scores(fitted, values)[:, 2:], others)
