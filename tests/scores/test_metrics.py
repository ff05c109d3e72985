"""Scores against closed forms of Gaussian forecasts."""

import jax
import numpy as np
import pytest
from scipy.stats import chi

from cohgen_jax.scores import draws as metrics


def gaussian(spread: float, *, draws: int, samples: int = 20_000, width: int = 4, seed: int = 0):
    """Truth N(mu, 1), forecast N(mu, spread^2), mu ~ N(0, 1), all independent."""
    rng = np.random.default_rng(seed)
    mu = rng.normal(size=(samples, width))
    real = mu + rng.normal(size=mu.shape)
    return mu + spread * rng.normal(size=(draws, *mu.shape)), real


def test_r2_of_perfect_and_of_mean_forecast():
    real = np.random.default_rng(0).normal(2.0, 3.0, size=(50, 7))
    assert metrics.r2(real, real) == 1
    np.testing.assert_allclose(metrics.r2(np.full_like(real, real.mean()), real), 0, atol=1e-6)


def test_draws_are_scored_one_by_one():
    draws, real = gaussian(1.0, draws=3, samples=40)
    for metric in (metrics.mse, metrics.r2, metrics.cosine_distance):
        each = [metric(draw, real) for draw in draws]
        np.testing.assert_allclose(metric(draws, real), each, rtol=1e-6)


def test_cosine_distance_of_parallel_opposite_and_orthogonal_rows():
    real = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert metrics.cosine_distance(3 * real, real) == 0
    assert metrics.cosine_distance(-real, real) == 2
    assert metrics.cosine_distance(real[:, ::-1], real) == 1
    assert metrics.cosine_distance(0 * real, real) == 1


def test_energy_score_of_a_true_gaussian_forecast():
    """E||X - Y|| = 2 sigma chi_d for X, Y ~ N(mu, sigma^2 I): ES = sigma sqrt(2) E[chi_d] / 2."""
    expected = np.sqrt(2) * chi(4).mean() / 2
    for num in (2, 3, 10):
        draws, real = gaussian(1.0, draws=num, samples=40_000)
        score = metrics.energy_score(draws, real)
        assert score.shape == (40_000,)
        np.testing.assert_allclose(score.mean(), expected, rtol=6e-3)
        # The score of the empirical distribution is larger by E||X - X'|| / 2R = expected / R.
        plain = metrics.energy_score(draws, real, fair=False).mean()
        np.testing.assert_allclose(plain, expected * (1 + 1 / num), rtol=6e-3)


def test_energy_score_equals_its_definition():
    draws, real = gaussian(0.7, draws=5, samples=6, width=3)
    to_truth = np.linalg.norm(draws - real[None], axis=-1).mean(0)
    pairs = np.linalg.norm(draws[:, None] - draws[None], axis=-1).sum((0, 1))
    np.testing.assert_allclose(
        jax.jit(metrics.energy_score)(draws, real), to_truth - pairs / 2 / 20, rtol=1e-5
    )


@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0])
def test_energy_score_is_proper(spread):
    honest = metrics.energy_score(*gaussian(1.0, draws=8)).mean()
    assert honest < metrics.energy_score(*gaussian(spread, draws=8)).mean() - 0.05


def test_energy_score_has_a_finite_gradient_at_equal_draws():
    real = np.zeros((2, 3), np.float32)
    gradient = jax.grad(lambda x: metrics.energy_score(x, real).sum())(np.zeros((4, 2, 3), "f"))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("num", [2, 5, 20])
def test_posterior_mean_scores_do_not_depend_on_the_number_of_draws(num):
    """R2 of mu for mu + N(0, 1), both unit variance: 1/2; MSE: 1."""
    draws, real = gaussian(1.0, draws=num)
    np.testing.assert_allclose(metrics.r2_inf(draws, real), 0.5, atol=0.01)
    np.testing.assert_allclose(metrics.posterior_mean_mse(draws, real), 1, atol=0.02)
    np.testing.assert_allclose(metrics.r2(draws.mean(0), real), 0.5 - 0.5 / num, atol=0.01)


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("num", [3, 10])
def test_spread_error_is_the_ratio_of_spreads(spread, num):
    draws, real = gaussian(spread, draws=num)
    np.testing.assert_allclose(metrics.spread_error(draws, real), spread, rtol=0.03)


def test_spread_error_of_a_perfect_point_forecast_is_infinite():
    draws, real = gaussian(0.0, draws=3, samples=20)
    assert metrics.spread_error(np.stack([real, real]), real) == np.inf
    assert metrics.spread_error(draws, real) < 1e-6


def test_coverage_of_a_calibrated_forecast_is_its_level():
    for num, level in [(9, 0.8), (10, 0.8), (19, 0.9), (3, 0.5), (30, 0.8)]:
        draws, real = gaussian(1.0, draws=num)
        np.testing.assert_allclose(
            metrics.interval_coverage(draws, real, level), level, atol=0.01, err_msg=str(num)
        )
    # Too few draws for the level: the whole range, (R - 1) / (R + 1).
    np.testing.assert_allclose(
        metrics.interval_coverage(*gaussian(1.0, draws=4), 0.8), 3 / 5, atol=0.01
    )


def test_order_of_draws_samples_and_features_does_not_matter():
    draws, real = gaussian(1.0, draws=6, samples=30)
    rng = np.random.default_rng(1)
    r, n, d = rng.permutation(6), rng.permutation(30), rng.permutation(4)
    shuffled, truth = draws[r][:, n][:, :, d], real[n][:, d]
    for metric in (metrics.r2_inf, metrics.spread_error, metrics.interval_coverage):
        np.testing.assert_allclose(metric(shuffled, truth), metric(draws, real), rtol=1e-5)
    np.testing.assert_allclose(
        metrics.energy_score(shuffled, truth), metrics.energy_score(draws, real)[n], rtol=1e-5
    )


def test_r2_by_group_by_hand():
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(2, 30, 3))
    members = np.arange(30)[None] % 2 == np.arange(2)[:, None]
    expected = [
        np.mean(
            1 - ((real - generated)[m] ** 2).sum(0) / ((real - real.mean(0)[None])[m] ** 2).sum(0)
        )
        for m in members
    ]
    np.testing.assert_allclose(metrics.r2_by_group(generated, real, members), expected, rtol=1e-5)


def test_r2_by_group_removes_the_variance_of_finite_draws():
    draws, real = gaussian(1.0, draws=4)
    members = np.arange(len(real))[None] % 3 == np.arange(3)[:, None]
    inf = metrics.r2_by_group(draws, real, members, finite_draws=True)
    np.testing.assert_allclose(inf, 0.5, atol=0.02)


def test_mismatched_shapes_are_refused():
    draws, real = gaussian(1.0, draws=3, samples=5)
    with pytest.raises(ValueError, match="forecast comes first"):
        metrics.mse(real, draws)
    with pytest.raises(ValueError, match="draws"):
        metrics.energy_score(real, draws)
    with pytest.raises(ValueError, match="at least 2 draws"):
        metrics.energy_score(draws[:1], real)
    with pytest.raises(ValueError, match="level"):
        metrics.interval_coverage(draws, real, 80)
