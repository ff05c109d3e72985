"""Calibration scores against closed forms of Gaussian forecasts."""

import numpy as np
import pytest
from scipy import stats

from cohgen_jax.scores import calibration


def forecast(scale, num_draws=10, num_samples=4000, dim=3, seed=0):
    """Truth N(m_n, 1) and draws N(m_n, scale^2), m_n known to both."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(num_samples, dim))
    draws = mean + scale * rng.normal(size=(num_draws, num_samples, dim))
    return draws.astype(np.float32), (mean + rng.normal(size=mean.shape)).astype(np.float32)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_crps_is_that_of_the_gaussian_whatever_the_number_of_draws(scale):
    # E|X - Y| - E|X - X'| / 2 with X ~ N(0, s^2), Y ~ N(0, 1).
    expected = np.sqrt(2 / np.pi) * (np.sqrt(1 + scale**2) - scale / np.sqrt(2))
    for num_draws in (2, 20):
        draws, real = forecast(scale, num_draws)
        assert np.mean(calibration.crps(draws, real)) == pytest.approx(expected, abs=0.02)


def test_crps_is_its_definition():
    draws, real = forecast(1.0, 5, 4)
    pairs = np.abs(draws[:, None] - draws[None]).sum(axis=(0, 1)) / (2 * 5 * 4)
    assert np.allclose(
        calibration.crps(draws, real), np.abs(draws - real).mean(0) - pairs, atol=1e-5
    )


def test_the_variogram_score_sees_lost_dependence_and_no_shift():
    rng = np.random.default_rng(1)
    root = np.linalg.cholesky(0.9 + 0.1 * np.eye(4))
    real = rng.normal(size=(3000, 4)) @ root.T
    right = rng.normal(size=(50, 3000, 4)) @ root.T
    apart = rng.normal(size=(50, 3000, 4))
    scores = [calibration.variogram_score(x, real) for x in (right, right + 3, apart)]
    assert np.allclose(scores[0], scores[1], atol=1e-3)
    # E|Z|^(1/2) of Z ~ N(0, 2 (1 - rho)): the score is the truth's own variance plus the squared
    # difference of forecast and truth in it.
    root_moment = stats.norm.expect(lambda z: abs(z) ** 0.5)
    own, theirs = (root_moment * v**0.25 for v in (0.2, 2.0))
    gap = np.mean(scores[2]) - np.mean(scores[0])
    assert gap == pytest.approx((theirs - own) ** 2, rel=0.1)


@pytest.mark.parametrize(("scale", "kind"), [(1.0, "flat"), (0.5, "bowl"), (2.0, "hill")])
def test_ranks_and_reliability_of_a_gaussian_forecast(scale, kind):
    draws, real = forecast(scale)
    shares = np.asarray(calibration.rank_shares(draws, real))
    assert shares.sum() == pytest.approx(1)
    assert np.allclose(calibration.exact_levels(10), np.array([1, 3, 5, 7, 9]) / 11)
    gap = np.asarray(calibration.coverages(shares)) - calibration.exact_levels(10)
    ends, middle = shares[[0, -1]].mean(), shares[5]
    if kind == "flat":
        assert np.allclose(shares, 1 / 11, atol=0.01)
        assert np.abs(gap).max() < 0.015
    else:
        assert (ends > middle) == (kind == "bowl")
        assert np.all(gap < 0 if kind == "bowl" else gap > 0)


def test_scores_of_a_calibrated_and_a_collapsed_forecast():
    honest = calibration.calibration_scores(*forecast(1.0))
    collapsed = calibration.calibration_scores(*forecast(0.5))
    assert honest["spread"] == pytest.approx(1, abs=0.02)
    assert honest["error"] == pytest.approx(1, abs=0.03)
    assert honest["calibration_error"] < 0.01
    assert collapsed["spread"] == pytest.approx(0.5, abs=0.01)
    assert collapsed["calibration_error"] > 0.1
    assert collapsed["crps"] > honest["crps"]
