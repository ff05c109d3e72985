"""The denoiser that a regression amounts to: the best one of a Gaussian posterior N(m, V).

    E[x_0 | x_t] = m + k (x_t - a m),    k = a V / (a^2 V + s^2),    a^2 = alpha_bar_t = 1 - s^2

(Bayes' rule of x_t = a x_0 + s eps.) It predicts as the networks do, and stands in a bank beside
them: m and V, what a regression knows of each patient, are its condition.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from cohgen_jax.schedule import Prediction, target_of


class GaussianPosterior(nn.Module):
    """x_t [N, D], t [N], conds one array [N, 2 D] of m and V -> [N, D], v or eps."""

    x_dim: int
    predicts: Prediction

    @property
    def cond_dims(self) -> tuple[int, ...]:
        return (2 * self.x_dim,)

    @nn.compact
    def __call__(
        self,
        x_t: jax.Array,
        t: jax.Array,
        conds: Sequence[jax.Array],
        mask: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """alpha_bar [T] of the schedule is the one variable; the mask is not looked at."""
        alpha_bar = self.variable("levels", "alpha_bar", jnp.ones, (1,)).value
        signal = jnp.sqrt(alpha_bar[t])[:, None]
        noise = jnp.sqrt(1 - alpha_bar[t])[:, None]
        return self.denoised(x_t, signal, noise, *jnp.split(conds[0], 2, axis=1))

    def denoised(
        self,
        x_t: jax.Array,
        signal: jax.Array,
        noise: jax.Array,
        mean: jax.Array,
        variance: jax.Array,
    ) -> jax.Array:
        """Of what broadcasts together: x_t, the level's a and s, the posterior's m and V."""
        # Both from what x_t differs by from its mean; eps = (x_t - a x_0) / s would cancel.
        share = (x_t - signal * mean) / (jnp.square(signal) * variance + jnp.square(noise))
        x_0, eps = mean + signal * variance * share, noise * share
        return target_of(self.predicts, x_0, eps, signal, noise)
