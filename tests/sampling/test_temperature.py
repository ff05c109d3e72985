"""The knob between draws and the best guess, on a Gaussian whose posterior is known."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.sampling import Bank, Rejection, coherent_sample
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.scores import draws as metrics
from cohgen_jax.solvers import dpmpp_2m

SCHEDULE = linear_schedule(1000)
SOLVER = dpmpp_2m(SCHEDULE, 100, eta=1.0)
GAIN, VARIANCE = 0.8, 0.36  # x_0 = GAIN y + sqrt(VARIANCE) n, of unit variance


class GaussianV(nn.Module):
    """The exact v-prediction for x_0 | y ~ N(GAIN y, VARIANCE)."""

    x_dim: int
    cond_dims: tuple[int, ...]

    @nn.compact
    def __call__(self, x_t, t, conds, mask=None, *, train=False):
        a2 = jnp.asarray(SCHEDULE.alpha_bar, jnp.float32)[t][:, None]
        a, s2 = jnp.sqrt(a2), 1 - a2
        gain = self.param("gain", nn.initializers.constant(GAIN), (), jnp.float32)
        mean = gain * conds[0] * mask[:, :1]
        return jnp.sqrt(s2) * (a * (1 - VARIANCE) * x_t - mean) / (a2 * VARIANCE + s2)


MODEL = (GaussianV(3, (3,)), {"params": {"gain": jnp.float32(GAIN)}})
BANK = Bank.from_models("x", ["y"], [MODEL], predicts="v")


def sample(y, temperature, bank=BANK, **kwargs):
    return np.asarray(
        coherent_sample(
            jax.random.key(0),
            bank,
            [y],
            schedule=SCHEDULE,
            solver=SOLVER,
            temperature=temperature,
            **kwargs,
        ).draws
    )


@pytest.fixture(scope="module")
def patients():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(4000, 3)).astype(np.float32)
    return y, GAIN * y + np.sqrt(VARIANCE) * rng.normal(size=y.shape).astype(np.float32)


@pytest.fixture(scope="module")
def draws(patients):
    return {tau: sample(patients[0], tau, num_draws=3) for tau in (0.0, 0.5, 1.0)}


def test_temperature_scales_the_spread_about_the_posterior_mean(patients, draws):
    mean = GAIN * patients[0]
    assert np.allclose(draws[0.0], mean[None], atol=1e-3)
    assert np.allclose(draws[0.5], mean + 0.5 * (draws[1.0] - mean), atol=1e-3)
    assert np.var(draws[1.0] - mean) == pytest.approx(VARIANCE, rel=0.03)


def test_r2_of_single_draws_falls_with_the_square_of_the_temperature(patients, draws):
    """R2(tau) = R2_inf - tau^2 s^2 / SS_tot, s^2 the variance of honest draws."""
    _, real = patients
    best = 1 - VARIANCE
    for tau, own in draws.items():
        expected = best - tau**2 * VARIANCE
        assert np.mean(metrics.r2(own, real)) == pytest.approx(expected, abs=0.02)


def test_rejection_does_not_undo_the_temperature(patients):
    rule = Rejection(cos_threshold=0.5, prop_threshold=0.1, max_retries=2)
    y = patients[0][:8]
    assert np.allclose(sample(y, 0.0, rejection=rule)[0], GAIN * y, atol=1e-3)


def test_the_spread_of_a_bank_scales_each_component_under_the_stacked_rule_alone(patients):
    """A factor for each, times the temperature, about the same mean."""
    y, spread = patients[0][:8], np.array([0.5, 1.0, 1.7], np.float32)
    bank = BANK.replace(spread=spread)
    mean, plain = sample(y, 0.0)[0], sample(y, 1.0, num_draws=3)
    for temperature in (1.0, 0.5):
        wide = sample(y, temperature, bank, num_draws=3, consensus="stacked")
        np.testing.assert_allclose(wide, mean + temperature * spread * (plain - mean), atol=2e-6)
    np.testing.assert_array_equal(sample(y, 1.0, bank, num_draws=3), plain)
    # A number is the same factor for all.
    wide = sample(y, 1.0, BANK.replace(spread=1.7), num_draws=3, consensus="stacked")
    np.testing.assert_allclose(wide, mean + 1.7 * (plain - mean), atol=2e-6)


@pytest.mark.parametrize("wrong", [-0.1, 1.5])
def test_temperatures_outside_the_unit_interval_are_refused(wrong, patients):
    with pytest.raises(InputError, match="temperature must lie in"):
        sample(patients[0], wrong)


def test_networks_that_predict_the_noise_are_refused(patients):
    with pytest.raises(InputError, match="posterior mean"):
        sample(patients[0], 0.5, BANK.replace(predicts="eps"))
    uneven = BANK.replace(predicts="eps", spread=np.array([1.0, 1.0, 0.9]))
    with pytest.raises(InputError, match="posterior mean"):
        sample(patients[0], 1.0, uneven, consensus="stacked")
