"""What a solver is, and the one loop that runs every solver.

A solver knows the grid of levels t_0 > t_1 > ... > t_{S-1} that it visits and how to go from
each to the next, given the noise prediction there. It knows nothing of networks, conditions
or consensus: those live in the `predict` that the loop is given. Noise is an argument too, so
that a chain can be replayed from recorded noise and does not depend on batching.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.axes import Array, Float
from cohgen_jax.errors import InputError
from cohgen_jax.schedule import Schedule, straight_time

Grid = Literal["uniform", "log_snr", "karras", "angle", "straight"]
GRIDS: tuple[str, ...] = get_args(Grid)


class SolverState(NamedTuple):
    """x: the latent at the current level [..., D]; memory: what a multistep solver keeps."""

    x: jax.Array
    memory: Any = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Solver:
    """`init(x_T) -> state` and `step(state, eps, i, noise) -> state`, i = 0 .. S-1.

    One that `needs_variance` begins by `init(x_T, variance)`, that of x_0 given all that is known.
    `step` goes from timesteps[i] to timesteps[i + 1], or to clean data after the last;
    eps and noise: [..., D]. Network evaluations of a chain: S per model.
    Compiled samplers are kept by solver; those of one method, settings, levels and schedule are
    equal.
    """

    init: Callable[..., SolverState]
    step: Callable[[SolverState, jax.Array, jax.Array, jax.Array], SolverState]
    timesteps: np.ndarray  # [S] int32, decreasing
    schedule: Schedule
    method: tuple = ()  # name and settings of what `step` does; without one, equal to itself alone
    needs_variance: bool = False

    @property
    def num_steps(self) -> int:
        return len(self.timesteps)

    def _value(self) -> Hashable:
        levels = self.timesteps.tobytes(), self.schedule.alpha_bar.tobytes()
        return (self.method, *levels) if self.method else id(self)

    def __hash__(self) -> int:
        return hash(self._value())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Solver) and self._value() == other._value()


def uniform_levels(num_train_steps: int, num_steps: int) -> np.ndarray:
    """num_steps levels from T-1 downwards, evenly spaced in t, as int32 [S].

    The next level after the last is -1, clean data: the grid is linspace(T-1, -1, S+1)[:-1].

    >>> uniform_levels(1000, 4)
    array([999, 749, 499, 249], dtype=int32)
    """
    if not 1 <= num_steps <= num_train_steps:
        raise InputError(
            f"num_steps must be between 1 and the schedule's {num_train_steps}, got {num_steps}"
        )
    return np.round(np.linspace(num_train_steps - 1, -1, num_steps + 1))[:-1].astype(np.int32)


def levels(schedule: Schedule, num_steps: int, grid: Grid = "uniform") -> np.ndarray:
    """The levels that a chain of num_steps visits, int32 [S], decreasing from T-1.

    uniform   evenly spaced in t
    log_snr   evenly spaced in log SNR, from T-1 to 0      (Lu et al. 2022, DPM-Solver)
    karras    sigma^(1/7) evenly spaced, sigma = s / a, from T-1 to 0    (Karras et al. 2022, eq. 5)
    angle     evenly spaced in phi, a = sin(phi), from 0 to clean data
                                                               (Salimans & Ho 2022, appendix D)
    straight  evenly spaced in s / (a + s), the time of straight paths    (training/levels.py)

    All but the first are rounded to trained levels, and moved apart where several round to one.
    """
    uniform = uniform_levels(schedule.num_steps, num_steps)
    if grid == "uniform":
        return uniform
    if grid not in GRIDS:
        raise InputError(f"unknown grid {grid!r}; known: {', '.join(GRIDS)}")
    at = -0.5 * schedule.log_snr  # log sigma, increasing with t
    if grid == "log_snr":
        wanted = np.linspace(at[-1], at[0], num_steps)
    elif grid == "karras":
        wanted = 7 * np.log(np.linspace(np.exp(at[-1] / 7), np.exp(at[0] / 7), num_steps))
    elif grid == "straight":
        at = straight_time(schedule)
        wanted = np.linspace(1, 0, num_steps + 1)[:-1]
    else:
        at = np.arccos(np.sqrt(schedule.alpha_bar))
        wanted = 0.5 * np.pi * np.linspace(1, 0, num_steps + 1)[:-1]
    t = np.round(np.interp(wanted, at, np.arange(schedule.num_steps))).astype(int)
    for i in range(1, num_steps):
        t[i] = min(t[i], t[i - 1] - 1)
    return np.maximum(t, np.arange(num_steps)[::-1]).astype(np.int32)


def next_levels(timesteps: np.ndarray) -> np.ndarray:
    """The level each step arrives at, [S]; -1 (clean data) after the last."""
    return np.append(timesteps[1:], -1)


def on_device(*tables: np.ndarray) -> tuple[jax.Array, ...]:
    """Coefficient tables formed on the host in float64, rounded once to float32."""
    return tuple(jnp.asarray(table, jnp.float32) for table in tables)


def clipped(solver: Solver, bound: float) -> Solver:
    """The same solver with |x_0| held to `bound` wherever the data are mostly noise.

    x_0 = (x_t - s eps) / a multiplies an error of eps by s / a, 160 at t = 999 of the linear
    schedule, and deterministic solvers carry it to the end. Thresholding (Ho et al. 2020, code;
    Saharia et al. 2022, section 2.3) bounds it. Latents are standardised but heavy-tailed: where
    the signal has the upper hand (a > s) predictions are good, large values mean it, and nothing is
    clipped.
    """
    if not bound > 0:
        raise InputError(f"clip must be positive, got {bound}")
    alpha_bar = solver.schedule.alpha_bar_at(solver.timesteps)
    a, s, limit = on_device(
        np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar), np.where(alpha_bar < 0.5, bound, np.inf)
    )

    def step(state, eps, i, noise):
        x_0 = (state.x - s[i] * eps) / a[i]
        excess = x_0 - jnp.clip(x_0, -limit[i], limit[i])
        return solver.step(state, eps + (a[i] / s[i]) * excess, i, noise)

    method = (*solver.method, "clipped", bound) if solver.method else ()
    return dataclasses.replace(solver, step=step, method=method)


def reverse_process(
    solver: Solver,
    predict: Callable[[jax.Array, Any], tuple[jax.Array, Any]],
    x_T: Float[Array, "*shape D"],
    noise: Callable[[jax.Array], jax.Array],
    *,
    levels: Any = None,
    summary: tuple[Any, Callable[[Any, Any], Any]] | None = None,
    variance: Any = None,
    first: tuple[jax.Array, Any] | None = None,
) -> tuple[Float[Array, "*shape D"], Any]:
    """Run a solver from pure noise to a sample: one `lax.scan`.

    Args:
      predict: (x [..., D], level) -> (eps [..., D], info), info any pytree.
      x_T: initial noise [..., D].
      noise: step index i -> standard normal noise [..., D] for that step.
      levels: what `predict` is told at each step, leaves [S, ...]; the solver's timesteps by
        default.
      summary: (start, add) folds the infos, summary <- add(summary, info), instead of keeping
        those of every step.
      variance: of x_0 given all that is known, [..., D], for a solver that needs it.
      first: what `predict` says of x_T, from a caller who has it already.

    Returns:
      x_0 [..., D] and the infos stacked over steps, in sampling order (t = T-1 first), or their
      summary.
    """
    start, add = summary if summary else ((), None)

    def moved(state, total, said, i):
        eps, info = said
        state = solver.step(state, eps, i, noise(i))
        return ((state, add(total, info)), ()) if add else ((state, total), info)

    def body(carry, step):
        (state, total), (i, level) = carry, step
        return moved(state, total, predict(state.x, level), i)

    levels = jnp.asarray(solver.timesteps) if levels is None else levels
    steps = (jnp.arange(solver.num_steps), levels)
    carry = (solver.init(x_T, variance) if solver.needs_variance else solver.init(x_T), start)
    if first is not None:
        carry, info = moved(*carry, first, 0)
        steps = jax.tree.map(lambda leaf: leaf[1:], steps)
    (state, total), infos = jax.lax.scan(body, carry, steps)
    if first is not None and not add:
        infos = jax.tree.map(lambda one, rest: jnp.append(one[None], rest, axis=0), info, infos)
    return state.x, total if add else infos
