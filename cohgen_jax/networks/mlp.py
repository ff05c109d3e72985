"""The published multilayer perceptrons: mlp, norm_mlp and norm_mlp_v2.

    time  = ReLU(W emb(t))                 cond = fused, masked condition embeddings
    h     = [x_t, time, cond]
    mlp             h <- ReLU(W_l h)
    norm_mlp        h <- [ReLU(BatchNorm(W_l h)), time]
    norm_mlp_v2     as norm_mlp, with the raw conditions and their masks in place of cond
    output          W_L h

L = config.num_layers linear layers, the output one included. Submodules bear the names of the
published parameters, so that conversion is a renaming (cohgen_jax.interop.convert).
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from cohgen_jax.networks.config import NetworkConfig
from cohgen_jax.networks.embedding import check_inputs, embed_conditions, embed_time
from cohgen_jax.networks.layers import BatchNorm, Linear


class MLP(nn.Module):
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
        check_inputs(x_t, t, conds, mask, self.x_dim, self.cond_dims)
        config = self.config
        time = embed_time(t, config)
        h = jnp.concatenate([x_t, time, embed_conditions(conds, mask, config)], axis=-1)
        for i in range(config.num_layers - 1):
            h = nn.relu(Linear(config.width, name=f"mlp_layers_{i}")(h))
            h = nn.Dropout(config.dropout, deterministic=not train)(h)
        return Linear(self.x_dim, name=f"mlp_layers_{config.num_layers - 1}")(h)


class NormMLP(nn.Module):
    """MLP with batch normalisation that is told the time again after every hidden layer."""

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
        check_inputs(x_t, t, conds, mask, self.x_dim, self.cond_dims)
        time = embed_time(t, self.config)
        cond = embed_conditions(conds, mask, self.config)
        return _norm_layers(self.config, self.x_dim, [x_t, time, cond], time, train)


class NormMLPv2(nn.Module):
    """NormMLP on raw conditions and masks: [x_t, time, cond_1, ..., cond_C, mask].

    As published, a mask of 0 does not silence its condition, it only says so to the network:
    absent conditions must hold zeros. Without masks all count as present.
    """

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
        check_inputs(x_t, t, conds, mask, self.x_dim, self.cond_dims)
        time = embed_time(t, self.config)
        if mask is None:
            mask = jnp.ones((x_t.shape[0], len(conds)), x_t.dtype)
        inputs = [x_t, time, *conds, mask.astype(x_t.dtype)]
        return _norm_layers(self.config, self.x_dim, inputs, time, train)


def _norm_layers(
    config: NetworkConfig, x_dim: int, inputs: list[jax.Array], time: jax.Array, train: bool
) -> jax.Array:
    h = jnp.concatenate(inputs, axis=-1)
    for i in range(config.num_layers - 1):
        h = Linear(config.width, name=f"mlp_layers_{i}")(h)
        h = nn.relu(BatchNorm(name=f"bn_layers_{i}")(h, train=train))
        h = nn.Dropout(config.dropout, deterministic=not train)(h)
        h = jnp.concatenate([h, time], axis=-1)
    return Linear(x_dim, name=f"mlp_layers_{config.num_layers - 1}")(h)
