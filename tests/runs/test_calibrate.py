"""Factors on the spread of draws and expected errors, against known truths."""

import numpy as np
import pytest

from cohgen_jax.runs.calibrate import Calibration, fit_scale, fit_width, interval

RNG = np.random.default_rng(0)


def of_errors(error, variance, num=3000):
    """(draws, mean, real) [R, N, D] whose mean squared error and spread are exactly these [D]."""
    mean = RNG.normal(size=(num, len(error)))
    sign = np.where(np.arange(num) % 2, 1.0, -1.0)[:, None]
    spread = np.sqrt(variance) * sign
    return np.stack([mean + spread, mean - spread]), mean, mean + np.sqrt(error) * sign


def test_the_scale_undoes_a_wrong_spread_of_each_component():
    truth = np.array([0.7, 1.0, 1.4])
    mean = RNG.normal(size=(20000, 3))
    real = mean + RNG.normal(size=mean.shape)
    draws = mean + RNG.normal(size=(10, *mean.shape)) / truth
    scale = fit_scale(draws, mean, real, truth, np.ones(3), 10**6)
    np.testing.assert_allclose(scale, truth, rtol=0.02)


def test_many_patients_tell_the_factor_of_each_and_few_that_of_all():
    """Exact errors and spreads: the factor is the closed form of `fit_scale`."""
    error, variance, worth = np.array([1.0, 0.5]), np.array([0.5, 0.5]), np.array([3.0, 1.0])
    data, expected = of_errors(error, variance), np.array([0.5, 0.25])
    many = fit_scale(*data, expected, worth, 10**9)
    np.testing.assert_allclose(many, np.sqrt([2.0, 1.0]), rtol=1e-5)
    shared = (3 * 1.0 + 0.5) / (3 * 0.5 + 0.25)  # each component at what it is worth
    few = fit_scale(*data, expected, worth, 20)
    pulled = (20 * shared + 20) / 40
    each = (20 * error / expected + 50 * pulled) / 70
    np.testing.assert_allclose(few, np.sqrt(each * expected / variance), rtol=1e-5)
    none = fit_scale(*data, expected, worth, 0)  # nothing but what is expected
    np.testing.assert_allclose(none, np.sqrt([1.0, 0.5]), rtol=1e-6)


def test_factors_stay_within_their_bounds():
    data = of_errors(np.array([100.0, 1e-4]), np.ones(2))
    assert fit_scale(*data, np.ones(2), np.ones(2), 10**9).tolist() == [2.0, 0.5]


def covered(ends, real):
    return np.mean((ends[0] <= real) & (real <= ends[1]))


@pytest.mark.parametrize("num_draws", [9, 10, 16, 50])
def test_intervals_of_few_draws_hold_80_of_100_further_ones(num_draws):
    """Plain quantiles of 10 draws hold 65."""
    x = RNG.normal(size=(num_draws + 1, 4000, 3))
    assert abs(covered(interval(x[:-1]), x[-1]) - 0.8) < 0.02


def test_the_width_makes_up_for_tails_that_draws_lack():
    draws = RNG.normal(size=(10, 4000, 3))
    real = RNG.standard_t(3, size=(4000, 3)) / np.sqrt(3)  # of unit variance
    assert covered(interval(draws), real) > 0.84
    real[::7] = np.nan
    width = fit_width(draws[:, :2000], real[:2000], 10**6)
    new = real[2000:]
    held = covered(interval(draws[:, 2000:], width), new) / np.isfinite(new).mean()
    assert abs(held - 0.8) < 0.02
    assert fit_width(draws, real, 0) == 1
    assert fit_width(np.zeros((10, 4, 2)), np.full((4, 2), np.nan), 9) == 1


def test_expected_errors_are_means_over_patients_of_like_spread():
    spread = np.linspace(1, 2, 100)
    known = Calibration(np.ones(3, np.float32), np.ones(()), spread, spread**2)
    rank, error = known.expected(np.array([0.5, 1.5, 3.0]))
    assert rank.tolist() == [0.0, 0.5, 1.0]
    assert error[0] == pytest.approx(np.mean(spread[:20] ** 2))
    assert error[1] == pytest.approx(1.5**2, rel=0.02)
    assert error[2] == pytest.approx(np.mean(spread[-20:] ** 2))
