"""The default denoiser: a residual MLP steered by adaptive layer normalisation.

    c      = SiLU( W_t emb(t) + W_c [cond_1 m_1, ..., cond_C m_C, m] )          steering vector
    h      <- h + gate(c) * W_2 dropout(SiLU(W_1 (LN(h) (1 + scale(c)) + shift(c))))   per block
    output =  W_o dropout(LN(h) (1 + scale(c)) + shift(c))

(adaLN-Zero, Peebles & Xie 2023, section 3.2: gates and output start at zero, so that training
starts from the identity.) Masks enter the steering as inputs, so "absent" and "present and
average" are different things to the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from cohgen_jax.networks.config import NetworkConfig
from cohgen_jax.networks.embedding import time_embedding


class AdaLNMLP(nn.Module):
    """x_t [N, D], t [N], conds C arrays [N, C_i], mask [N, C] (1 = present) -> [N, D]."""

    config: NetworkConfig
    x_dim: int
    cond_dims: tuple[int, ...]

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
        config = self.config
        width = config.width
        if mask is None:
            mask = jnp.ones((x_t.shape[0], len(self.cond_dims)), x_t.dtype)
        masked = [cond * mask[:, i, None] for i, cond in enumerate(conds)]
        condition = jnp.concatenate([*masked, mask], axis=-1)

        embedded = nn.silu(nn.Dense(width)(time_embedding(t, config.time_embedding)))
        steering = nn.silu(
            nn.Dense(width, name="time_to_steering")(embedded)
            + nn.Dense(width, name="cond_to_steering")(condition)
        )

        def modulated(h: jax.Array, parts: Sequence[jax.Array]) -> jax.Array:
            shift, scale = parts
            return nn.LayerNorm(use_bias=False, use_scale=False)(h) * (1 + scale) + shift

        def steer(num: int, name: str) -> list[jax.Array]:
            out = nn.Dense(num * width, kernel_init=nn.initializers.zeros, name=name)(steering)
            return jnp.split(out, num, axis=-1)

        dropout = nn.Dropout(config.dropout, deterministic=not train)
        h = nn.Dense(width)(x_t)
        for block in range(config.num_layers):
            *parts, gate = steer(3, f"steer_{block}")
            inner = nn.silu(nn.Dense(width, name=f"in_{block}")(modulated(h, parts)))
            inner = dropout(inner)
            h = h + gate * nn.Dense(width, name=f"out_{block}")(inner)
        h = dropout(modulated(h, steer(2, "steer_output")))
        return nn.Dense(self.x_dim, kernel_init=nn.initializers.zeros, name="output")(h)
