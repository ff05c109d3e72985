"""Spread scale, conformal intervals and expected errors, against known truths."""

import numpy as np
import pytest

from cohgen_jax.calibrate import Calibration, conformal_half_width, fit_scale

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("truth", [0.7, 1.0, 1.4])
def test_the_scale_undoes_a_wrong_spread(truth):
    mean = RNG.normal(size=(3000, 4))
    real = mean + RNG.normal(size=mean.shape)
    draws = mean + RNG.normal(size=(10, *mean.shape)) / truth
    assert fit_scale(draws, mean, real) == pytest.approx(truth, rel=0.05)


def test_conformal_intervals_hold_new_patients_whatever_the_draws_say():
    """Draws of a tenth of the spread, a shift, heavy tails and missing cells."""

    def patients(num):
        mean = RNG.normal(size=(num, 50))
        draws = mean + 0.3 + 0.1 * RNG.normal(size=(10, num, 50))
        real = mean + RNG.standard_t(3, size=mean.shape)
        return draws, np.where(RNG.random(mean.shape) < 0.1, np.nan, real)

    half_width = conformal_half_width(*patients(200))
    draws, real = patients(4000)
    mean, sd = draws.mean(axis=0), draws.std(axis=0, ddof=1)
    known = np.isfinite(real)
    coverage = (np.abs(real - mean) <= half_width * sd)[known].mean()
    # Exchangeability promises LEVEL on average, and LEVEL + 1 / (n + 1) at most.
    assert coverage == pytest.approx(0.8, abs=0.02)


def test_the_quantile_is_of_the_conformal_order():
    scores = np.arange(1.0, 10.0)[:, None]  # nine patients: the eighth of nine
    draws = np.stack([-np.ones((9, 1)), np.ones((9, 1))]) / np.sqrt(2)  # mean 0, sd 1
    assert conformal_half_width(draws, scores) == pytest.approx([8.0])


def test_expected_errors_are_means_over_patients_of_like_spread():
    spread = np.linspace(1, 2, 100)
    known = Calibration(np.float32(1), np.ones(1), spread, spread**2)
    rank, error = known.expected(np.array([0.5, 1.5, 3.0]))
    assert rank.tolist() == [0.0, 0.5, 1.0]
    assert error[0] == pytest.approx(np.mean(spread[:20] ** 2))
    assert error[1] == pytest.approx(1.5**2, rel=0.02)
    assert error[2] == pytest.approx(np.mean(spread[-20:] ** 2))
