"""Noise schedule, forward process and the three ways to say the same prediction.

Kernel    q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I)      (Ho et al. 2020, eq. 4)
Writing   x_t = a x_0 + s eps,  a = sqrt(alpha_bar_t),  s = sqrt(1 - alpha_bar_t)
          v   = a eps - s x_0                                  (Salimans & Ho 2022, appendix D)
so that   x_0 = a x_t - s v,  eps = s x_t + a v:  an exact rotation, safe at both ends, while
          x_0 = (x_t - s eps) / a  is ill-conditioned at large t and its inverse at small t.

A schedule lives on the host in float64: it is known before anything is traced, and the
coefficients of a solver are formed from it there, rounded once.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.axes import Array, Float, Integer
from cohgen_jax.errors import InputError

Prediction = Literal["eps", "x_0", "v"]
PREDICTIONS: tuple[str, ...] = get_args(Prediction)
AnyArray = jax.Array | np.ndarray
Factor = jax.Array | np.floating | float
"""a or s: [..., 1], or one for all."""


class Schedule(NamedTuple):
    """Noise levels t = 0 .. T-1, from nearly clean to nearly pure noise."""

    beta: np.ndarray  # [T] float64, variance added by step t
    alpha_bar: np.ndarray  # [T] float64, share of the signal's variance left at t

    @property
    def num_steps(self) -> int:
        return len(self.beta)

    @property
    def log_snr(self) -> np.ndarray:
        """log(alpha_bar / (1 - alpha_bar)), [T], strictly decreasing."""
        return np.log(self.alpha_bar) - np.log1p(-self.alpha_bar)

    def alpha_bar_at(self, t: np.ndarray) -> np.ndarray:
        """alpha_bar at integer levels; t = -1 stands for clean data, where it is 1."""
        return np.append(self.alpha_bar, 1.0)[np.asarray(t)]


def linear_schedule(
    num_steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 2e-2
) -> Schedule:
    """beta linear in t (Ho et al. 2020, section 4), the published choice.

    >>> linear_schedule(3).alpha_bar.round(4)
    array([0.9999, 0.9899, 0.9701])
    """
    return _schedule(np.linspace(beta_start, beta_end, num_steps))


def cosine_schedule(num_steps: int = 1000, offset: float = 0.008) -> Schedule:
    """alpha_bar a squared cosine (Nichol & Dhariwal 2021, eq. 17), beta capped at 0.999."""
    level = np.arange(num_steps + 1) / num_steps
    curve = np.cos((level + offset) / (1 + offset) * np.pi / 2) ** 2
    return _schedule(np.clip(1 - curve[1:] / curve[:-1], 0, 0.999))


def straight_time(schedule: Schedule) -> np.ndarray:
    """s / (a + s), [T]: how far along a straight path from data to noise a level's mixture is."""
    a, s = np.sqrt(schedule.alpha_bar), np.sqrt(1 - schedule.alpha_bar)
    return s / (a + s)


def _schedule(beta: np.ndarray) -> Schedule:
    if len(beta) < 1 or not np.all((beta > 0) & (beta < 1)):
        raise InputError("a noise schedule needs at least one step, with every beta inside (0, 1)")
    return Schedule(beta, np.cumprod(1 - beta))


def signal_and_noise(
    schedule: Schedule, t: Integer[AnyArray, " *shape"]
) -> tuple[Float[Array, "*shape 1"], Float[Array, "*shape 1"]]:
    """a = sqrt(alpha_bar_t) and s = sqrt(1 - alpha_bar_t) as float32, with a trailing axis.

    t: integer array [...]; the results are [..., 1], ready to scale latents [..., D].
    """
    a = jnp.asarray(np.sqrt(schedule.alpha_bar), jnp.float32)
    s = jnp.asarray(np.sqrt(1 - schedule.alpha_bar), jnp.float32)
    return a[t][..., None], s[t][..., None]


def q_sample(
    schedule: Schedule,
    x_0: Float[AnyArray, "N D"],
    t: Integer[AnyArray, " N"],
    eps: Float[AnyArray, "N D"],
) -> Float[Array, "N D"]:
    """x_t of the forward process.

    >>> schedule = linear_schedule()
    >>> x_0, eps = jnp.ones((2, 3)), jnp.zeros((2, 3))
    >>> q_sample(schedule, x_0, jnp.array([0, 999]), eps)[:, 0].round(4)  # signal left
    Array([1.    , 0.0064], dtype=float32)
    """
    a, s = signal_and_noise(schedule, t)
    return a * x_0 + s * eps


def target_of(kind: Prediction, x_0: jax.Array, eps: jax.Array, a: Factor, s: Factor):
    """What a network that predicts `kind` is trained to output. All [..., D]; a, s: [..., 1]."""
    return {"eps": eps, "x_0": x_0, "v": a * eps - s * x_0}[kind]


def eps_from(kind: Prediction, out: jax.Array, x_t: AnyArray, a: Factor, s: Factor) -> Any:
    """The noise that an output of kind `kind` implies at x_t. s must not be 0."""
    if kind == "eps":
        return out
    if kind == "v":
        return s * x_t + a * out
    return (x_t - a * out) / s


def x_0_from(kind: Prediction, out: jax.Array, x_t: AnyArray, a: Factor, s: Factor) -> Any:
    """The clean latent that an output of kind `kind` implies at x_t. a must not be 0."""
    if kind == "x_0":
        return out
    if kind == "v":
        return a * x_t - s * out
    return (x_t - s * out) / a
