"""What a denoiser is made of, checked at birth."""

import dataclasses
from typing import Literal

from cohgen_jax.errors import InputError, check_choices

Architecture = Literal["adaln_mlp", "mlp", "norm_mlp", "norm_mlp_v2", "unet", "unet_v2"]
BATCH_NORM: tuple[Architecture, ...] = ("norm_mlp", "norm_mlp_v2")
"""Architectures in which the examples of a batch see each other."""
Fusion = Literal["concat", "sum"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """A denoiser's architecture and sizes.

    The first architecture is ours; the five others are the published ones (Marchesi, Lazzaro et
    al., PLOS Computational Biology, 10.1371/journal.pcbi.1013455), parameter for parameter.
    """

    architecture: Architecture = "adaln_mlp"
    width: int = 192
    """Units of a hidden layer; for the U-Nets those of the first, widest level."""
    bottleneck: int = 16
    """U-Nets only: units of the narrowest layer."""
    num_layers: int = 2
    """adaln_mlp: residual blocks. MLPs: linear layers, the output one included.
    U-Nets: levels of the encoder, and of the decoder."""
    time_embedding: int = 64
    """Width of the sinusoidal time embedding and of the layer upon it."""
    cond_embedding: int = 32
    """Width that each condition is embedded in; norm_mlp_v2 and adaln_mlp take them raw."""
    fusion: Fusion = "concat"
    """How condition embeddings of the published networks are put together: "concat" or "sum"."""
    dropout: float = 0.0
    """Share of hidden units dropped in training: in each residual block of adaln_mlp, after each
    hidden layer of the others. The published networks were trained without (0)."""

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("width", "bottleneck", "num_layers", "time_embedding", "cond_embedding"):
            value = getattr(self, name)
            least = 2 if name == "time_embedding" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(
                    f"network config: {name} must be a whole number of at least {least},"
                    f" not {value!r}"
                )
        if isinstance(self.dropout, bool) or not isinstance(self.dropout, int | float):
            raise InputError(f"network config: dropout must be a number, not {self.dropout!r}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"network config: dropout must lie in [0, 1), not {self.dropout}")
