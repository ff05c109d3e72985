"""DDIM (Song, Meng & Ermon 2021, arXiv:2010.02502, eqs. 12 and 16).

    x_s = sqrt(alpha_bar_s) x_0 + sqrt(1 - alpha_bar_s - sigma^2) eps + sigma z
    sigma = eta sqrt((1 - alpha_bar_s) / (1 - alpha_bar_t)) sqrt(1 - alpha_bar_t / alpha_bar_s)

eta = 0 is deterministic given x_T, eta = 1 has the ancestral posterior variance.
"""

from __future__ import annotations

import numpy as np

from cohgen_jax.errors import InputError
from cohgen_jax.schedule import Schedule
from cohgen_jax.solvers.base import (
    Grid,
    Solver,
    SolverState,
    levels,
    next_levels,
    on_device,
)


def ddim(
    schedule: Schedule, num_steps: int = 50, *, eta: float = 0.0, grid: Grid = "uniform"
) -> Solver:
    """DDIM solver on `num_steps` levels."""
    if not 0 <= eta <= 1:
        raise InputError(f"eta must lie in [0, 1], got {eta}")
    timesteps = levels(schedule, num_steps, grid)
    ab_t = schedule.alpha_bar_at(timesteps)
    ab_s = schedule.alpha_bar_at(next_levels(timesteps))
    sigma = eta * np.sqrt((1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s))
    ratio = np.sqrt(ab_s / ab_t)
    # x_0 = (x - sqrt(1 - ab_t) eps) / sqrt(ab_t), put into eq. 12: x and eps each get one factor.
    x_scale, eps_scale, z_scale = on_device(
        ratio,
        np.sqrt(np.maximum(1 - ab_s - sigma**2, 0)) - ratio * np.sqrt(1 - ab_t),
        sigma,
    )

    def step(state, eps, i, noise):
        x = x_scale[i] * state.x + eps_scale[i] * eps
        return SolverState(x if eta == 0 else x + z_scale[i] * noise)

    return Solver(SolverState, step, timesteps, schedule, ("ddim", eta))
