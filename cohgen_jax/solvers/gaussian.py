"""A solver of few steps: exact, in one, where posteriors are Gaussian of the variance it is given.

With x_0 ~ N(m, V) given all that is known of a patient, component by component, x_t ~ N(a m, c^2)
with c^2 = a^2 V + s^2, and the probability-flow ODE carries (x_t - a m) / c along unchanged. The
prediction at x_t implies a mean, by Bayes' rule of networks/posterior.py solved for it,

    m_t = x_0 - (a V / s) eps

in which the ODE reads d(x / c) = m_t d(a / c) whatever the posterior is, so that a step is

    x_s = (c_s / c_t) x_t + (a_s - a_t c_s / c_t) D,    D = m_t + h / (2 h') (m_t - previous m_t)

with D the mean in the middle of the step, on a line in the angle arcsin(a), in which h is this step
and h' the one before; D = m_t in the first. What is linear is solved exactly, as in DPM-Solver-v3,
whose linear part comes from statistics of a network (Zheng et al. 2023, arXiv:2310.13268); where
V = 0, a first step is DDIM's. What networks say beyond a Gaussian is left to the steps: at high
noise it is little (Wang & Vastola 2024, arXiv:2412.09726). V is what the bank's regression says.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from cohgen_jax.schedule import Schedule
from cohgen_jax.solvers.base import Grid, Solver, SolverState, levels, next_levels, on_device


def gaussian(
    schedule: Schedule,
    num_steps: int = 3,
    *,
    grid: Grid = "angle",
    timesteps: np.ndarray | None = None,
) -> Solver:
    """The solver on `num_steps` levels, or on those given, int [S], decreasing from T-1;
    deterministic given x_T."""
    if timesteps is None:
        timesteps = levels(schedule, num_steps, grid)
    ab_t = schedule.alpha_bar_at(timesteps)
    ab_s = schedule.alpha_bar_at(next_levels(timesteps))
    h = np.arcsin(np.sqrt(ab_s)) - np.arcsin(np.sqrt(ab_t))
    correction = np.append(0, 0.5 * h[1:] / h[:-1])
    a, s, a_next, s_next, correction = on_device(
        np.sqrt(ab_t), np.sqrt(1 - ab_t), np.sqrt(ab_s), np.sqrt(1 - ab_s), correction
    )

    def init(x_T, variance):
        return SolverState(x_T, memory=(variance, jnp.zeros_like(x_T)))

    def step(state, eps, i, noise):
        variance, before = state.memory
        c, c_next = (
            jnp.sqrt(jnp.square(signal[i]) * variance + jnp.square(noise[i]))
            for signal, noise in ((a, s), (a_next, s_next))
        )
        mean = (state.x - s[i] * eps) / a[i] - a[i] * variance / s[i] * eps
        middle = mean + correction[i] * (mean - before)
        ratio = c_next / c
        x = ratio * state.x + (a_next[i] - a[i] * ratio) * middle
        return SolverState(x, memory=(variance, mean))

    return Solver(init, step, timesteps, schedule, ("gaussian",), needs_variance=True)
