"""A solver by name and settings, whatever the noise schedule."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal

from cohgen_jax.errors import InputError, check_choices
from cohgen_jax.schedule import Prediction, Schedule
from cohgen_jax.solvers.base import Grid, Solver, clipped
from cohgen_jax.solvers.ddim import ddim
from cohgen_jax.solvers.ddpm import ddpm
from cohgen_jax.solvers.dpmpp import dpmpp_2m
from cohgen_jax.solvers.gaussian import gaussian


@dataclasses.dataclass(frozen=True, kw_only=True)
class SolverConfig:
    """How samples are drawn. The default holds the energy score and the spread of the 1000-step
    ancestral sampler, on v- and on epsilon-networks (benchmarks/solver_study.py)."""

    name: Literal["ddim", "ddpm", "dpmpp_2m", "gaussian"] = "dpmpp_2m"
    """`gaussian` needs few steps where a regression tells the variance of what is generated: of the
    stacked consensus and v-networks."""
    num_steps: int | None = None
    """None is what the solver needs: 3 for gaussian, else 8 without fresh noise, 10 with it."""
    eta: float | None = None
    """Share of fresh noise in ddim and dpmpp_2m: 0 deterministic, 1 as ddpm or the SDE solver. None
    is 1 for epsilon-networks, whose errors a deterministic chain carries to its end, and else 0."""
    grid: Grid | None = None
    """Levels visited: evenly spaced in t, in log SNR, as Karras et al. 2022 space them, in the
    angle of the rotation that makes x_t of x_0, or in the time of straight paths, where ddim's are
    Euler steps of a rectified flow. None is log SNR for a deterministic dpmpp_2m, the angle for
    gaussian, and else t."""
    clip: float = 0.0
    """Bound on |x_0| where noise prevails, for epsilon-networks with few steps; 0 for none."""

    def __post_init__(self):
        check_choices(self)
        if self.num_steps is not None and self.num_steps < 1:
            raise InputError(f"num_steps must be at least 1, got {self.num_steps}")
        if self.eta is not None and not 0 <= self.eta <= 1:
            raise InputError(f"eta must lie in [0, 1], got {self.eta}")
        if self.clip < 0:
            raise InputError(f"clip must not be negative, got {self.clip}")
        if self.name == "gaussian" and self.eta:
            raise InputError("the gaussian solver is deterministic: leave eta out")

    def resolved(self, predicts: Prediction) -> SolverConfig:
        """The same with nothing left to the default."""
        if self.name == "gaussian":
            usual = (3, 0.0, "angle")
        else:
            eta = float(predicts == "eps") if self.eta is None else self.eta
            smooth = self.name == "dpmpp_2m" and eta == 0
            usual = (10 if eta else 8, eta, "log_snr" if smooth else "uniform")
        num_steps, eta, grid = usual
        return dataclasses.replace(
            self, num_steps=self.num_steps or num_steps, eta=eta, grid=self.grid or grid
        )

    def check(self, num_levels: int, predicts: Prediction) -> None:
        """Refuse more steps than the diffusion has."""
        num_steps = self.resolved(predicts).num_steps
        assert num_steps is not None
        if num_steps > num_levels:
            raise InputError(
                f"a solver of {num_steps} steps needs as many in the diffusion, which has "
                f"{num_levels}"
            )

    def build(self, schedule: Schedule, predicts: Prediction) -> Solver:
        resolved = self.resolved(predicts)
        resolved.check(schedule.num_steps, predicts)
        eta = resolved.eta or 0.0
        make: dict[str, Callable[..., Solver]] = {
            "ddpm": ddpm,
            "ddim": functools.partial(ddim, eta=eta),
            "dpmpp_2m": functools.partial(dpmpp_2m, eta=eta),
            "gaussian": gaussian,
        }
        solver = make[self.name](schedule, resolved.num_steps, grid=resolved.grid)
        return clipped(solver, self.clip) if self.clip else solver
