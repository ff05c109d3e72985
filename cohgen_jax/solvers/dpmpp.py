"""DPM-Solver++(2M) and its stochastic variant (Lu et al. 2022, arXiv:2211.01095, alg. 2, app. A).

With a = sqrt(alpha_bar), s = sqrt(1 - alpha_bar), lambda = log(a / s), h = lambda_s - lambda_t:

    x_s = (s_s / s_t) e^(-eta h) x_t + a_s (1 - e^(-(1 + eta) h)) D + s_s sqrt(1 - e^(-2 eta h)) z
    D   = (1 + 1/(2r)) x_0(t) - 1/(2r) x_0(previous t),   r the previous h over this one

eta = 0 is the deterministic solver, eta = 1 SDE-DPM-Solver++(2M); between them the noise is
scaled as in k-diffusion's sampler of that name. The first step and the last, to clean data where
lambda is infinite, are of first order (D = x_0), which for the last is x_s = x_0 exactly.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from cohgen_jax.errors import InputError
from cohgen_jax.schedule import Schedule
from cohgen_jax.solvers.base import Grid, Solver, SolverState, levels, next_levels, on_device


def dpmpp_2m(
    schedule: Schedule, num_steps: int = 20, *, eta: float = 0.0, grid: Grid = "uniform"
) -> Solver:
    """DPM-Solver++(2M) on `num_steps` levels; deterministic given x_T unless eta > 0."""
    if not 0 <= eta <= 1:
        raise InputError(f"eta must lie in [0, 1], got {eta}")
    timesteps = levels(schedule, num_steps, grid)
    ab_t = schedule.alpha_bar_at(timesteps)
    ab_s = schedule.alpha_bar_at(next_levels(timesteps))
    half_log_snr = 0.5 * (np.log(ab_t) - np.log1p(-ab_t))
    h = np.append(np.diff(half_log_snr), np.inf)
    correction = np.zeros(num_steps)  # 1 / (2 r), 0 where the step is of first order
    correction[1:-1] = 0.5 * h[1:-1] / h[:-2]

    decay = np.exp(-eta * h) if eta else np.ones(num_steps)
    shrink = np.sqrt((1 - ab_s) / (1 - ab_t)) * decay  # 0 at the last step
    gain = -np.sqrt(ab_s) * np.expm1(-(1 + eta) * h)
    spread = np.sqrt((1 - ab_s) * (1 - decay**2))
    to_x, to_eps = 1 / np.sqrt(ab_t), np.sqrt(1 - ab_t) / np.sqrt(ab_t)
    shrink, gain, spread, to_x, to_eps, correction = on_device(
        shrink, gain, spread, to_x, to_eps, correction
    )

    def init(x_T):
        return SolverState(x_T, memory=jnp.zeros_like(x_T))

    def step(state, eps, i, noise):
        x_0 = to_x[i] * state.x - to_eps[i] * eps
        blend = x_0 + correction[i] * (x_0 - state.memory)
        x = shrink[i] * state.x + gain[i] * blend
        return SolverState(x if eta == 0 else x + spread[i] * noise, memory=x_0)

    return Solver(init, step, timesteps, schedule, ("dpmpp_2m", eta))
