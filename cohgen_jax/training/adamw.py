"""AdamW with clipping and averaged weights, of one model, in one pass over memory.

    g <- g min(1, grad_clip / |g|)
    m <- b1 m + (1 - b1) g
    v <- b2 v + (1 - b2) g^2
    p <- p - rate (m_hat / (sqrt(v_hat) + eps) + weight_decay p)      decay on matrices only
    a <- keep a + (1 - keep) p                                        the averaged weights

(Loshchilov & Hutter 2019, algorithm 2; the numbers of a chain of optax.) Beside the matrix products
this is the largest part of a step of a wide network, and its time is that of memory. The barriers
have each array written where it was read before another needs it; without them XLA computes m
and v again for p, and p for a, and copies all of them before each step to be able to.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from cohgen_jax.training.config import TrainConfig
from cohgen_jax.training.hyper import Hyper

B1, B2, EPS = 0.9, 0.999, 1e-8


class Trained(NamedTuple):
    """What a step changes: trees like the parameters of one model."""

    params: Any
    moments: optax.ScaleByAdamState
    average: Any


def adamw(
    weights: Trained,
    grads: Any,
    norm: jax.Array,
    go_on: jax.Array,
    *,
    weight_decay: jax.Array,
    grad_clip: jax.Array,
    rate: jax.Array,
    keep: jax.Array,
) -> Trained:
    """One step with gradients of this global norm; all stays as it was unless `go_on`."""
    barrier = jax.lax.optimization_barrier
    count = weights.moments.count + 1
    of_mean, of_square = 1 - B1**count, 1 - B2**count
    clip = jnp.minimum(1.0, grad_clip / norm)

    def leaf(p, m, v, a, g):
        g = g * clip
        m = jnp.where(go_on, B1 * m + (1 - B1) * g, m)
        v = jnp.where(go_on, B2 * v + (1 - B2) * jnp.square(g), v)
        m, v = barrier((m, v))
        change = (m / of_mean) / (jnp.sqrt(v / of_square) + EPS)
        change += weight_decay * p if p.ndim > 1 else 0.0
        p = barrier(jnp.where(go_on, p - rate * change, p))
        return p, m, v, jnp.where(go_on, keep * a + (1 - keep) * p, a)

    params, moments, average = weights
    trees = (params, moments.mu, moments.nu, average, grads)
    leaves = [leaf(*each) for each in zip(*map(jax.tree.leaves, trees), strict=True)]
    params, mu, nu, average = (
        jax.tree.unflatten(jax.tree.structure(params), tree) for tree in zip(*leaves, strict=True)
    )
    count = jnp.where(go_on, count, moments.count)
    return Trained(params, optax.ScaleByAdamState(count, mu, nu), average)


def learning_rate(
    count: jax.Array, hyper: Hyper, config: TrainConfig, steps_per_epoch: int
) -> jax.Array:
    """After `count` steps: constant, or a cosine after a first epoch of warming up."""
    if config.lr_schedule == "constant":
        return hyper.learning_rate
    total = config.num_epochs * steps_per_epoch
    shape = optax.warmup_cosine_decay_schedule(0.0, 1.0, min(steps_per_epoch, total // 2), total)
    return hyper.learning_rate * shape(count)
