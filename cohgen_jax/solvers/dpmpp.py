"""DPM-Solver++(2M), a second-order multistep solver (Lu et al. 2022, arXiv:2211.01095, alg. 2).

With a = sqrt(alpha_bar), s = sqrt(1 - alpha_bar), lambda = log(a / s), h = lambda_s - lambda_t:

    x_s = (s_s / s_t) x_t - a_s (e^-h - 1) D,   D = (1 + 1/(2r)) x_0(t) - 1/(2r) x_0(previous t)

r the ratio of the previous h to this one. The first step and the last, to clean data where
lambda is infinite, are of first order (D = x_0), which for the last is x_s = x_0 exactly.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from cohgen_jax.schedule import Schedule
from cohgen_jax.solvers.base import (
    Solver,
    SolverState,
    next_levels,
    on_device,
    uniform_levels,
)


def dpmpp_2m(schedule: Schedule, num_steps: int = 20) -> Solver:
    """DPM-Solver++(2M) on `num_steps` levels evenly spaced in t; deterministic given x_T."""
    timesteps = uniform_levels(schedule.num_steps, num_steps)
    ab_t = schedule.alpha_bar_at(timesteps)
    ab_s = schedule.alpha_bar_at(next_levels(timesteps))
    half_log_snr = 0.5 * (np.log(ab_t) - np.log1p(-ab_t))
    h = np.diff(half_log_snr)  # steps between grid levels; the last step has none
    correction = np.zeros(num_steps)  # 1 / (2 r), 0 where the step is of first order
    correction[1:-1] = 0.5 * h[1:] / h[:-1]

    shrink = np.sqrt((1 - ab_s) / (1 - ab_t))  # s_s / s_t, 0 at the last step
    gain = np.sqrt(ab_s) - np.sqrt(ab_t) * shrink  # = -a_s (e^-h - 1)
    to_x, to_eps = 1 / np.sqrt(ab_t), np.sqrt(1 - ab_t) / np.sqrt(ab_t)
    shrink, gain, to_x, to_eps, correction = on_device(shrink, gain, to_x, to_eps, correction)

    def init(x_T):
        return SolverState(x_T, memory=jnp.zeros_like(x_T))

    def step(state, eps, i, noise):
        del noise  # deterministic
        x_0 = to_x[i] * state.x - to_eps[i] * eps
        blend = x_0 + correction[i] * (x_0 - state.memory)
        return SolverState(shrink[i] * state.x + gain[i] * blend, memory=x_0)

    return Solver(init, step, timesteps)
