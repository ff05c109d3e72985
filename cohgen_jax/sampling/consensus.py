"""How the predictions of several models become one, and how much they disagree.

    eps = sum_k w_k eps_k,   w uniform, or softmax(1 / validation loss)      (published rules)
    disagreement = 1 - sum_{i<j} p_ij cos(eps_i, eps_j),   p_ij ~ (w_i + w_j) / 2,  sum p = 1

Weights belong to a sample: models whose sources a sample lacks get none, and the rest are
renormalised. For Gaussian posteriors N(m_k, S) that share S, a chain driven by eps reaches
N(sum_k w_k m_k, S).
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

Consensus = Literal["mean", "loss"]


def consensus_weights(rule: Consensus, losses: jax.Array, available: jax.Array) -> jax.Array:
    """Weights [N, K] that sum to 1 over the models available to each sample.

    losses: [K]; available: [N, K] bool. A sample that no model can see anything of gets equal
    weights: its models then all predict unconditionally.
    """
    if rule not in ("mean", "loss"):
        raise ValueError(f"consensus must be 'mean' or 'loss', not {rule!r}")
    scores = 1 / losses if rule == "loss" else jnp.zeros_like(losses)
    usable = available | ~available.any(axis=1, keepdims=True)
    return jax.nn.softmax(jnp.where(usable, scores[None], -jnp.inf), axis=1)


def combine(eps_k: jax.Array, weights: jax.Array) -> jax.Array:
    """[K, R, N, D] and [N, K] -> [R, N, D]."""
    return jnp.einsum("krnd,nk->rnd", eps_k, weights)


def disagreement(eps_k: jax.Array, weights: jax.Array) -> jax.Array:
    """1 - weighted mean pairwise cosine, [R, N], in [0, 2]; 1 where fewer than two models speak.

    eps_k: [K, R, N, D]; weights: [N, K], 0 for models that do not take part.
    """
    norm = jnp.linalg.norm(eps_k, axis=-1, keepdims=True)
    unit = eps_k / jnp.maximum(norm, 1e-8)
    num_models = eps_k.shape[0]
    total = jnp.zeros(eps_k.shape[1:3], eps_k.dtype)
    pair_weight = jnp.zeros(eps_k.shape[2], eps_k.dtype)
    for i in range(num_models):
        for j in range(i + 1, num_models):
            both = (weights[:, i] > 0) & (weights[:, j] > 0)
            pair = jnp.where(both, (weights[:, i] + weights[:, j]) / 2, 0)
            total += pair[None] * jnp.sum(unit[i] * unit[j], axis=-1)
            pair_weight += pair
    return 1 - total / jnp.where(pair_weight > 0, pair_weight, 1)[None]
