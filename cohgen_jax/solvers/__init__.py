"""Reverse-time solvers, each a pure (init, step) over a fixed grid of noise levels."""

from cohgen_jax.solvers.base import Solver, SolverState, reverse_process, uniform_levels
from cohgen_jax.solvers.ddim import ddim
from cohgen_jax.solvers.ddpm import ddpm
from cohgen_jax.solvers.dpmpp import dpmpp_2m

__all__ = [
    "Solver",
    "SolverState",
    "ddim",
    "ddpm",
    "dpmpp_2m",
    "reverse_process",
    "uniform_levels",
]
