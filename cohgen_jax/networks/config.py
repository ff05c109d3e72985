"""What a denoising network is made of."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

Architecture = Literal["adaln_mlp", "mlp", "norm_mlp", "norm_mlp_v2", "unet", "unet_v2"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Sizes of a denoiser; the published names of each size are in `cohgen_jax.interop`."""

    architecture: Architecture = "adaln_mlp"
    """adaln_mlp is ours, the other five are the published ones."""
    width: int = 192
    """Features of the hidden layers (of the first level, for the U-nets)."""
    num_layers: int = 2
    """Residual blocks (adaln_mlp), Linear layers with the output's (mlps), levels (U-nets)."""
    bottleneck: int = 16
    """Features at the bottom of the U-nets; the others ignore it."""
    time_embedding: int = 64
    """Features of the sinusoidal time embedding."""
    cond_embedding: int = 32
    """Features of each condition's embedding; adaln_mlp takes conditions as they are."""
    fusion: Literal["concat", "sum"] = "concat"
    """How the published networks fuse the embeddings of several conditions."""
    dropout: float = 0.0
    """Dropout rate inside the blocks of adaln_mlp; the published networks have none."""

    def __post_init__(self):
        if self.architecture not in get_args(Architecture):
            raise ValueError(
                f"unknown architecture {self.architecture!r}; one of "
                f"{', '.join(get_args(Architecture))}"
            )
        for name in ("width", "num_layers", "bottleneck", "time_embedding", "cond_embedding"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.fusion not in ("concat", "sum"):
            raise ValueError(f"fusion must be 'concat' or 'sum', got {self.fusion!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")
