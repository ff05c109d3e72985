"""The published autoencoder of one modality: D features -> b latent numbers -> D features.

encoder   Linear, BatchNorm, ReLU for each width of layer_sizes, then Linear to b
decoder   the mirror image, ending in Linear to D
loss      mean squared error of the reconstruction
"""

import flax.linen as nn
import jax

from cohgen_jax.errors import InputError
from cohgen_jax.networks.layers import BatchNorm, Linear


def layer_sizes(
    input_dim: int, bottleneck: int, num_layers: int, shrink: float = 1.0
) -> tuple[int, ...]:
    """Hidden widths max(b, int(D (b/D)^((i/n)^(1/s)))), i = 1..n, of the encoder.

    A larger shrink exponent s narrows earlier: with s = 1 the widths fall geometrically.
    """
    ratio = bottleneck / input_dim
    return tuple(
        max(bottleneck, int(input_dim * ratio ** ((i / num_layers) ** (1 / shrink))))
        for i in range(1, num_layers + 1)
    )


class Autoencoder(nn.Module):
    """x [N, D] -> reconstruction [N, D]; encode and decode are its halves."""

    input_dim: int
    bottleneck: int
    num_layers: int
    shrink: float = 1.0

    def setup(self) -> None:
        for name in ("input_dim", "bottleneck", "num_layers", "shrink"):
            if not getattr(self, name) > 0:
                raise InputError(f"autoencoder: {name} must be positive")
        sizes = layer_sizes(self.input_dim, self.bottleneck, self.num_layers, self.shrink)
        self.encoder = _stack((*sizes, self.bottleneck))
        self.decoder = _stack((*sizes[::-1], self.input_dim))

    def encode(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """x [N, D] -> latents [N, b]."""
        return _run(self.encoder, x, train)

    def decode(self, z: jax.Array, *, train: bool = False) -> jax.Array:
        """Latents [N, b] -> x [N, D]."""
        return _run(self.decoder, z, train)

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        return self.decode(self.encode(x, train=train), train=train)


def _stack(widths: tuple[int, ...]) -> list:
    """Hidden layers and an output layer; the position in the list is the published number."""
    layers: list = []
    for width in widths[:-1]:
        layers += [Linear(width), BatchNorm(), nn.relu]
    return [*layers, Linear(widths[-1])]


def _run(layers: list, h: jax.Array, train: bool) -> jax.Array:
    for layer in layers:
        h = layer(h, train=train) if isinstance(layer, BatchNorm) else layer(h)
    return h
