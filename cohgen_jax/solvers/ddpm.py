"""Ancestral sampling (Ho et al. 2020, algorithm 2, with sigma_t^2 = beta_t).

    x <- (x - beta_t / sqrt(1 - alpha_bar_t) eps) / sqrt(alpha_t) + sqrt(beta_t) z,  z = 0 at t = 0

On a grid with strides, alpha_t is alpha_bar_t / alpha_bar_s for the next level s and
beta_t = 1 - alpha_t; with every level visited this is the line above.
"""

from __future__ import annotations

import numpy as np

from cohgen_jax.schedule import Schedule
from cohgen_jax.solvers.base import (
    Grid,
    Solver,
    SolverState,
    levels,
    next_levels,
    on_device,
)


def ddpm(
    schedule: Schedule,
    num_steps: int | None = None,
    *,
    grid: Grid = "uniform",
    published_last_step: bool = False,
) -> Solver:
    """Ancestral solver; `num_steps` defaults to every level of the schedule.

    published_last_step: the published coherent sampler divides by 1 instead of sqrt(alpha_0)
      in its last step. Set it to agree with that code number by number.
    """
    timesteps = levels(schedule, num_steps or schedule.num_steps, grid)
    alpha_bar = schedule.alpha_bar_at(timesteps)
    alpha = alpha_bar / schedule.alpha_bar_at(next_levels(timesteps))
    divisor = np.sqrt(alpha)
    if published_last_step:
        divisor[-1] = 1.0
    noise_scale = np.sqrt(1 - alpha)
    noise_scale[-1] = 0.0
    x_scale, eps_scale, z_scale = on_device(
        1 / divisor, (1 - alpha) / np.sqrt(1 - alpha_bar) / divisor, noise_scale
    )

    def step(state, eps, i, noise):
        return SolverState(x_scale[i] * state.x - eps_scale[i] * eps + z_scale[i] * noise)

    method = ("ddpm", published_last_step)
    return Solver(SolverState, step, timesteps, schedule, method)
