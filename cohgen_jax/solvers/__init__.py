"""Reverse-time solvers, each a pure (init, step) over a fixed grid of noise levels."""

from cohgen_jax.solvers.base import (
    GRIDS,
    Grid,
    Solver,
    SolverState,
    clipped,
    levels,
    reverse_process,
    uniform_levels,
)
from cohgen_jax.solvers.config import SolverConfig
from cohgen_jax.solvers.ddim import ddim
from cohgen_jax.solvers.ddpm import ddpm
from cohgen_jax.solvers.dpmpp import dpmpp_2m
from cohgen_jax.solvers.gaussian import gaussian

__all__ = [
    "GRIDS",
    "Grid",
    "Solver",
    "SolverConfig",
    "SolverState",
    "clipped",
    "ddim",
    "ddpm",
    "dpmpp_2m",
    "gaussian",
    "levels",
    "reverse_process",
    "uniform_levels",
]
