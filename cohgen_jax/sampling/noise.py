"""The noise of chains: a function of (key, draw, sample id, attempt, step) alone, or recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.axes import Array, Float, Integer, Key

Noise = Callable[[jax.Array], jax.Array]
"""Step i -> standard normal noise [R, N, D]."""


class RecordedNoise(NamedTuple):
    """Noise of a chain to replay: x_T [R, N, D] and one array a step [S, R, N, D]."""

    initial: jax.Array
    steps: jax.Array

    def of(self, draws: np.ndarray) -> RecordedNoise:
        return RecordedNoise(self.initial[draws], self.steps[:, draws])


def chain_keys(
    key: Key[Array, ""], draw_ids: Integer[Array, " R"], sample_ids: Integer[Array, " N"]
) -> Key[Array, "R N"]:
    """One key a chain."""
    draw_keys = jax.vmap(lambda r: jax.random.fold_in(key, r))(draw_ids)
    return jax.vmap(lambda k: jax.vmap(lambda n: jax.random.fold_in(k, n))(sample_ids))(draw_keys)


def of_attempt(keys: Key[Array, " *shape"], attempt: jax.Array | int) -> Key[Array, " *shape"]:
    """fold_in for keys of any shape; attempt: scalar, or of the keys' shape."""
    flat = keys.reshape(-1)
    attempt = jnp.broadcast_to(jnp.asarray(attempt, jnp.int32), keys.shape).reshape(-1)
    return jax.vmap(jax.random.fold_in)(flat, attempt).reshape(keys.shape)


def noise_of(
    keys: Key[Array, "R N"], dims: Float[Array, " D"]
) -> tuple[Float[Array, "R N D"], Noise]:
    """Initial noise and the noise of step i, from the chains' keys; none where dims are 0."""
    dim = len(dims)

    def normal(data):
        folded = of_attempt(keys, data).reshape(-1)
        draw = jax.vmap(lambda k: jax.random.normal(k, (dim,), jnp.float32))(folded)
        return draw.reshape(*keys.shape, dim) * dims[None, None]

    return normal(0), lambda i: normal(i + 1)
