"""Denoisers and the autoencoder, as Flax Linen modules.

Every denoiser has one signature,

    module.apply(variables, x_t [N, D], t [N], conds C x [N, C_i], mask [N, C] | None, train=False)

with mask 1 where a condition is present. variables holds "params" and, for networks with batch
normalisation, "batch_stats"; training passes train=True, mutable=["batch_stats"] and, with
dropout, rngs={"dropout": key}.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from cohgen_jax.errors import InputError
from cohgen_jax.networks.adaln import AdaLNMLP
from cohgen_jax.networks.autoencoder import Autoencoder, layer_sizes
from cohgen_jax.networks.config import NetworkConfig
from cohgen_jax.networks.embedding import time_embedding
from cohgen_jax.networks.mlp import MLP, NormMLP, NormMLPv2
from cohgen_jax.networks.unet import UNet

__all__ = [
    "Autoencoder",
    "NetworkConfig",
    "build",
    "init",
    "layer_sizes",
    "time_embedding",
]

_MODULES: dict[str, Callable[[NetworkConfig, int, tuple[int, ...]], nn.Module]] = {
    "adaln_mlp": AdaLNMLP,
    "mlp": MLP,
    "norm_mlp": NormMLP,
    "norm_mlp_v2": NormMLPv2,
    "unet": UNet,
    "unet_v2": lambda config, x_dim, cond_dims: UNet(
        config, x_dim, cond_dims, cond_everywhere=False
    ),
}


def build(config: NetworkConfig, x_dim: int, cond_dims: tuple[int, ...]) -> nn.Module:
    """The denoiser of a target latent of width x_dim given conditions of widths cond_dims."""
    if x_dim < 1 or not cond_dims or min(cond_dims) < 1:
        raise InputError(
            "a denoiser needs a target and at least one condition, all of positive width;"
            f" got x_dim={x_dim}, cond_dims={tuple(cond_dims)}"
        )
    return _MODULES[config.architecture](config, int(x_dim), tuple(int(c) for c in cond_dims))


def init(module: nn.Module, key: jax.Array) -> dict:
    """Fresh variables of a denoiser from `build`; consumes key."""
    x_dim, cond_dims = module.x_dim, module.cond_dims  # pyright: ignore[reportAttributeAccessIssue]
    conds = [jnp.zeros((1, c), jnp.float32) for c in cond_dims]
    return dict(
        module.init(key, jnp.zeros((1, x_dim), jnp.float32), jnp.zeros(1, jnp.int32), conds)
    )
