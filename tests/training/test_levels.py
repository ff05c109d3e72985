"""Which noise levels are seen in training, and how much each counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.schedule import linear_schedule, signal_and_noise, straight_time, target_of
from cohgen_jax.training.levels import draw_levels, level_distribution, level_weights

pytestmark = pytest.mark.usefixtures("strict_dtypes")

SCHEDULE = linear_schedule(1000)


def drawn(kind, stratified):
    """[500 batches, 10]"""
    distribution = jnp.asarray(level_distribution(kind, SCHEDULE), jnp.float32)
    keys = jax.random.split(jax.random.key(0), 500)
    return np.asarray(jax.vmap(lambda key: draw_levels(key, 10, distribution, stratified))(keys))


def test_stratified_levels_cover_the_range_evenly_and_each_is_uniform():
    levels = drawn("uniform", True)
    assert np.all(np.sort(levels, axis=1) // 100 == np.arange(10))  # one in every stratum
    assert levels[:, 0].mean() == pytest.approx(499.5, abs=45)  # the order is random
    assert levels.min() >= 0
    assert levels.max() <= 999


def test_levels_that_are_not_stratified_are_uniform_and_independent():
    levels = drawn("uniform", False)
    assert levels.mean() == pytest.approx(499.5, abs=15)
    assert levels.std() == pytest.approx(288.7, abs=10)
    # The mean of 10 independent ones spreads 288.7 / sqrt(10); stratified ones less than half.
    assert levels.mean(axis=1).std() == pytest.approx(91.3, rel=0.15)


@pytest.mark.parametrize("stratified", [True, False])
def test_log_normal_levels_have_the_mean_and_spread_asked_for(stratified):
    """A level is the first at or above a draw of log(s / a) ~ N(-1.2, 1.2)."""
    log_sigma = -0.5 * SCHEDULE.log_snr[drawn("log_normal", stratified)]
    assert log_sigma.mean() == pytest.approx(-1.2, abs=0.1)
    assert log_sigma.std() == pytest.approx(1.2, abs=0.1)


@pytest.mark.parametrize("predicts", ["x_0", "v", "eps"])
def test_min_snr_says_the_same_of_every_prediction(predicts):
    """An error d of x_0 is one of -d a/s in eps and of -d/s in v; its weighted square agrees."""
    a2 = SCHEDULE.alpha_bar
    s2 = 1 - a2
    per_x_0 = {"x_0": 1.0, "v": 1 / s2, "eps": a2 / s2}[predicts]
    loss = level_weights("min_snr", SCHEDULE, predicts) * per_x_0
    expected = np.minimum(a2 / s2, 5.0)
    assert np.allclose(loss / loss[500], expected / expected[500])


@pytest.mark.parametrize("predicts", ["x_0", "v", "eps"])
def test_straight_paths_weigh_the_error_of_their_velocity(predicts):
    """u = eps - x_0 at z = (1 - tau) x_0 + tau eps = x_t / (a + s): an error d of x_0 is one of
    -d / tau in u."""
    levels = np.arange(50, 1000, 50)
    a, s = (part[:, 0] for part in signal_and_noise(SCHEDULE, levels))
    x_0, eps, off = jax.random.normal(jax.random.key(0), (3, len(levels)))
    x_t, wrong = a * x_0 + s * eps, x_0 + off

    def squared_error(says):
        return np.asarray(jnp.square(says(wrong) - says(x_0)))

    error = squared_error(lambda x: target_of(predicts, x, (x_t - a * x) / s, a, s))
    of_velocity = squared_error(lambda x: (x_t / (a + s) - x) * (a + s) / s)
    ratio = level_weights("straight", SCHEDULE, predicts)[levels] * error / of_velocity
    assert ratio == pytest.approx(np.full(len(levels), ratio.mean()), rel=1e-3)


def test_the_time_of_straight_paths_is_uniform():
    time = straight_time(SCHEDULE)[drawn("straight", False)]
    assert np.histogram(time, 10, (0, 1))[0] == pytest.approx(np.full(10, 500), abs=80)


def test_weights_have_mean_one():
    for kind in ("none", "min_snr", "straight"):
        assert level_weights(kind, SCHEDULE, "v").mean() == pytest.approx(1.0)
