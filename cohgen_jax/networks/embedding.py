"""Time and condition embeddings: what every published denoiser does with its inputs first.

Axes    N samples, C conditions of widths C_i, E embedding width
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.networks.config import NetworkConfig
from cohgen_jax.networks.layers import Linear


def time_embedding(t: jax.Array, dim: int) -> jax.Array:
    """Sinusoidal embedding of the time index, t [N] -> [N, dim].

    With half = dim // 2 frequencies w_k = exp(-k ln(10000) / (half - 1)): first sin(t w_k), then
    cos(t w_k), then a zero where dim is odd (Ho et al. 2020, after Vaswani et al. 2017).
    """
    # t reaches 1000, where one unit in the last place of a frequency is worth 1e-5 of the result:
    # the frequencies are rounded as a float32 implementation rounds them, on every platform.
    half = dim // 2
    step = np.float32(-np.log(10000.0) / max(half - 1, 1))
    exponent = (np.arange(half, dtype=np.float32) * step).astype(np.float64)
    frequency = jnp.asarray(np.exp(exponent), jnp.float32)
    angle = t.astype(jnp.float32)[:, None] * frequency[None, :]
    parts = [jnp.sin(angle), jnp.cos(angle), jnp.zeros((t.shape[0], dim % 2), jnp.float32)]
    return jnp.concatenate(parts, axis=-1)


def embed_time(t: jax.Array, config: NetworkConfig) -> jax.Array:
    """ReLU(W emb(t) + b), [N, time_embedding]. To be called inside a compact module."""
    embedding = time_embedding(t, config.time_embedding)
    return nn.relu(Linear(config.time_embedding, name="time_embedding_dense")(embedding))


def embed_conditions(
    conds: Sequence[jax.Array], mask: jax.Array | None, config: NetworkConfig
) -> jax.Array:
    """Fuse mask_i ReLU(W_i cond_i + b_i): [N, C E] ("concat") or [N, E] ("sum").

    The mask multiplies the embedding: an absent condition contributes nothing at all, whatever
    its values are. To be called inside a compact module.
    """
    embedded = [
        nn.relu(Linear(config.cond_embedding, name=f"cond_embeddings_{i}")(cond))
        for i, cond in enumerate(conds)
    ]
    if mask is not None:
        embedded = [e * mask[:, i, None].astype(e.dtype) for i, e in enumerate(embedded)]
    if config.fusion == "sum":
        return sum(embedded[1:], start=embedded[0])
    return jnp.concatenate(embedded, axis=-1)


def check_inputs(
    x_t: jax.Array,
    t: jax.Array,
    conds: Sequence[jax.Array],
    mask: jax.Array | None,
    x_dim: int,
    cond_dims: tuple[int, ...],
) -> None:
    """Refuse arguments whose shapes do not fit the denoiser (costs nothing once compiled)."""
    count = x_t.shape[0]
    expected = {"x_t": (x_t, (count, x_dim)), "t": (t, (count,))}
    if len(conds) != len(cond_dims):
        raise ValueError(f"denoiser takes {len(cond_dims)} conditions, got {len(conds)}")
    for i, (cond, width) in enumerate(zip(conds, cond_dims, strict=True)):
        expected[f"conds[{i}]"] = (cond, (count, width))
    if mask is not None:
        expected["mask"] = (mask, (count, len(cond_dims)))
    for name, (array, shape) in expected.items():
        if array.shape != shape:
            raise ValueError(f"denoiser takes {name} of shape {shape}, got {array.shape}")
