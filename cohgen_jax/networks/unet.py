"""The published U-shaped networks: unet, and unet_v2 that sees the condition less often.

With P(.) a linear projection of the time embedding plus one of the fused condition embedding,
each to the width of what it is added to:

    s_0  = ReLU(W_0 [x_t, time, cond])
    s_i  = ReLU(W_i s_{i-1} + P_i)                      i = 1 .. n-1
    h    = ReLU(W (s_{n-1} + P))                        the bottleneck
    h   <- ReLU(W'_j ([h, s_{n-1-j}] + P'_j))           j = 0 .. n-1
    out  = W_out ([h, x_t] + P_out)

unet projects time and condition everywhere; unet_v2 the condition at the bottleneck only (and at
the input, as both do). n = config.num_layers levels. Submodules bear the names of the published
parameters.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from cohgen_jax.networks.config import NetworkConfig
from cohgen_jax.networks.embedding import check_inputs, embed_conditions, embed_time
from cohgen_jax.networks.layers import Linear


def level_widths(config: NetworkConfig) -> tuple[int, ...]:
    """Widths int(w (b/w)^(i/n)) of the encoder's levels, from w towards the bottleneck b."""
    w, b, n = config.width, config.bottleneck, config.num_layers
    return tuple(int(w * (b / w) ** (i / n)) for i in range(n))


class UNet(nn.Module):
    """x_t [N, D], t [N], conds C arrays [N, C_i], mask [N, C] (1 = present) -> [N, D]."""

    config: NetworkConfig
    x_dim: int
    cond_dims: tuple[int, ...]

    cond_everywhere: bool = True
    """True is unet, False unet_v2."""

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
        widths = level_widths(config)
        time = embed_time(t, config)
        cond = embed_conditions(conds, mask, config)

        def project(
            h: jax.Array, name: Callable[[str], str], with_cond: bool = self.cond_everywhere
        ) -> jax.Array:
            """h plus the projections called name("time") and name("cond")."""
            h = h + Linear(h.shape[-1], name=name("time"))(time)
            return h + Linear(h.shape[-1], name=name("cond"))(cond) if with_cond else h

        def hidden(h: jax.Array) -> jax.Array:
            return nn.Dropout(config.dropout, deterministic=not train)(nn.relu(h))

        h = jnp.concatenate([x_t, time, cond], axis=-1)
        h = hidden(Linear(widths[0], name="encoder_layers_0")(h))
        skips = [h]
        for i, width in enumerate(widths[1:], start=1):
            h = Linear(width, name=f"encoder_layers_{i}")(h)
            h = hidden(project(h, lambda kind, i=i: f"encoder_{kind}_projs_{i - 1}"))
            skips.append(h)

        h = project(h, "bottleneck_{}_proj".format, with_cond=True)
        h = hidden(Linear(config.bottleneck, name="bottleneck")(h))

        for j, skip in enumerate(reversed(skips)):
            h = jnp.concatenate([h, skip], axis=-1)
            h = project(h, lambda kind, j=j: f"decoder_{kind}_projs_{j}")
            h = hidden(Linear(skip.shape[-1], name=f"decoder_layers_{j}")(h))

        h = project(jnp.concatenate([h, x_t], axis=-1), "final_{}_proj".format)
        return Linear(self.x_dim, name="output_layer")(h)
