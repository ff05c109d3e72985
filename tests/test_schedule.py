"""The noise schedule and the three parameterisations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.schedule import (
    PREDICTIONS,
    cosine_schedule,
    eps_from,
    linear_schedule,
    q_sample,
    signal_and_noise,
    target_of,
    x_0_from,
)
from tests import golden

SCHEDULES = [linear_schedule(1000), linear_schedule(50), cosine_schedule(1000)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_noise_only_grows(schedule):
    assert np.all(np.diff(schedule.alpha_bar) < 0)
    assert np.all(np.diff(schedule.log_snr) < 0)
    assert schedule.alpha_bar_at(np.array([-1]))[0] == 1
    assert np.allclose(1 / (1 + np.exp(-schedule.log_snr)), schedule.alpha_bar)


def test_a_schedule_refuses_impossible_betas():
    with pytest.raises(ValueError, match="beta"):
        linear_schedule(10, beta_end=1.5)


@pytest.mark.parametrize("t", [0, 10, 500, 999])
def test_the_forward_process_keeps_unit_variance(t):
    schedule = linear_schedule()
    x_key, eps_key = jax.random.split(jax.random.key(0))
    x_0, eps = jax.random.normal(x_key, (20_000, 4)), jax.random.normal(eps_key, (20_000, 4))
    x_t = q_sample(schedule, x_0, jnp.full(20_000, t), eps)
    assert np.allclose(np.var(np.asarray(x_t), axis=0), 1, atol=0.04)


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_every_parameterisation_says_the_same(kind):
    schedule = linear_schedule()
    t = jnp.arange(1, 999, 37)
    x_0, eps = jax.random.normal(jax.random.key(1), (2, len(t), 5), jnp.float32)
    a, s = signal_and_noise(schedule, t)
    x_t = q_sample(schedule, x_0, t, eps)
    out = target_of(kind, x_0, eps, a, s)
    assert np.allclose(eps_from(kind, out, x_t, a, s), eps, atol=2e-4)
    # Reading x_0 off eps divides by a, which is 0.0063 at the far end.
    assert np.allclose(x_0_from(kind, out, x_t, a, s), x_0, atol=5e-4 if kind == "eps" else 1e-5)


@pytest.mark.parametrize("path", golden.files("core/schedule.npz"))
def test_linear_schedule_agrees_with_the_published_code(path):
    arrays = golden.load(path)
    beta = arrays["betas"]
    schedule = linear_schedule(len(beta), float(beta[0]), float(beta[-1]))
    assert np.allclose(schedule.beta, beta, atol=1e-7)
    assert np.allclose(schedule.alpha_bar, arrays["alphas_cumprod"], atol=1e-6)


@pytest.mark.parametrize("path", golden.files("core/q_sample.npz"))
def test_forward_process_agrees_with_the_published_code(path):
    arrays = golden.load(path)
    steps = golden.load(path.parent / "schedule.npz")["betas"]
    schedule = linear_schedule(len(steps))
    x_0, t, noise = (jnp.asarray(arrays[name]) for name in ("x_start", "t", "noise"))
    x_t = q_sample(schedule, x_0, t, noise)
    assert np.allclose(x_t, arrays["x_noisy"], atol=1e-5)
