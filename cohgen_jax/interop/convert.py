"""PyTorch parameters of the published networks -> our modules and variables.

Our submodules bear the published names, so that conversion is a renaming:

    <layer>.<i>.weight          params/<layer>_<i>/kernel, transposed ((out, in) -> (in, out)),
                                or params/<layer>_<i>/scale of a batch normalisation
    <layer>.<i>.bias            params/<layer>_<i>/bias
    <layer>.<i>.running_mean    batch_stats/<layer>_<i>/mean          running_var likewise
"""

import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from cohgen_jax.errors import InputError
from cohgen_jax.networks import Autoencoder, NetworkConfig, build, init

PUBLISHED = ("mlp", "norm_mlp", "norm_mlp_v2", "unet", "unet_v2")
_LEAF = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def denoiser_from_torch(
    params: Mapping[str, np.ndarray], config: Mapping[str, Any]
) -> tuple[nn.Module, dict]:
    """One of the five published denoisers from its state_dict and configuration.

    config names the architecture and the sizes (initial_size, bottleneck_size, n_layers,
    time_embedding_dimension, cond_embedding_dim). x_dim, cond_dims and fusion_method may be
    absent: then they are read off the parameters. cond_dims may also list the conditions of a
    whole bank, of which this model has one. Buffers of the noise schedule ("diffusion.*") are
    ignored. Raises InputError for a missing, unexpected or misshapen parameter.
    """
    architecture = _entry(config, "architecture")
    if architecture not in PUBLISHED:
        raise InputError(
            f"unknown published architecture {architecture!r}; known: {', '.join(PUBLISHED)}"
        )
    sizes = {
        "num_layers": _size(config, "n_layers"),
        "width": _size(config, "initial_size"),
        "time_embedding": _size(config, "time_embedding_dimension"),
        # Only the U-Nets have a bottleneck, and norm_mlp_v2 embeds no condition.
        "bottleneck": _size(config, "bottleneck_size") if "unet" in architecture else 1,
        "cond_embedding": 1
        if architecture == "norm_mlp_v2"
        else _size(config, "cond_embedding_dim"),
    }
    first, last = (
        ("encoder_layers.0.weight", "output_layer.weight")
        if "unet" in architecture
        else ("mlp_layers.0.weight", f"mlp_layers.{sizes['num_layers'] - 1}.weight")
    )
    x_dim = int(config.get("x_dim", _matrix(params, last).shape[0]))
    cond_width = _matrix(params, first).shape[1] - x_dim - sizes["time_embedding"]

    if architecture == "norm_mlp_v2":
        # Of the raw conditions the parameters tell only the sum of widths and the number of masks.
        cond_dims = _as_dims(config.get("cond_dims", cond_width - 1))
        fusion = "concat"
    else:
        cond_dims = _embedded_dims(params, config)
        fusion = config.get("fusion_method") or (
            "concat" if cond_width == len(cond_dims) * sizes["cond_embedding"] else "sum"
        )
    network = NetworkConfig(architecture=architecture, fusion=fusion, **sizes)
    module = build(network, x_dim, cond_dims)
    template = jax.eval_shape(lambda: init(module, jax.random.key(0)))
    return module, _fill(template, params, f"{architecture} denoiser")


def autoencoder_from_torch(
    params: Mapping[str, np.ndarray], config: Mapping[str, Any]
) -> tuple[Autoencoder, dict]:
    """The published autoencoder; config has input_dim, bottleneck_dim, n_layers, shrink_exponent.

    Raises InputError for a missing, unexpected or misshapen parameter.
    """
    module = Autoencoder(
        input_dim=_size(config, "input_dim"),
        bottleneck=_size(config, "bottleneck_dim"),
        num_layers=_size(config, "n_layers"),
        shrink=float(config.get("shrink_exponent", 1.0)),
    )
    x = jnp.zeros((1, module.input_dim), jnp.float32)
    template = jax.eval_shape(lambda: module.init(jax.random.key(0), x))
    return module, _fill(template, params, "autoencoder")


def torch_name(path: tuple[str, ...]) -> str:
    """("params", "mlp_layers_0", "kernel") -> "mlp_layers.0.weight"."""
    *layers, leaf = path[1:]
    return ".".join([*(re.sub(r"_(\d+)$", r".\1", layer) for layer in layers), _LEAF[leaf]])


def _fill(template: Mapping, params: Mapping[str, np.ndarray], what: str) -> dict:
    """Variables of the template's structure with the values of params."""
    shapes: dict[tuple[str, ...], Any] = flatten_dict(template)
    paths = {torch_name(path): path for path in shapes}
    given = {
        name
        for name in params
        if not name.startswith("diffusion.") and not name.endswith("num_batches_tracked")
    }
    if missing := sorted(paths.keys() - given):
        raise InputError(f"{what}: parameters missing: {_list(missing)}")
    if unexpected := sorted(given - paths.keys()):
        raise InputError(
            f"{what}: parameters that its configuration has no place for: {_list(unexpected)}"
        )

    values = {}
    for name, path in paths.items():
        value = np.asarray(params[name])
        expected = shapes[path].shape[::-1]
        if value.shape != expected:
            raise InputError(
                f"{what}: parameter {name} has shape {value.shape}; its configuration asks for"
                f" {expected}"
            )
        if not np.issubdtype(value.dtype, np.floating):
            raise InputError(f"{what}: parameter {name} holds {value.dtype}, not real numbers")
        values[path] = jnp.asarray(value.T, jnp.float32)
    return unflatten_dict(values)


def _embedded_dims(params: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> tuple[int, ...]:
    """Widths of the conditions, from their embeddings' input columns."""
    count = sum(bool(re.fullmatch(r"cond_embeddings\.\d+\.weight", name)) for name in params)
    if count == 0:
        raise InputError("denoiser: parameters missing: cond_embeddings.0.weight")
    dims = tuple(_matrix(params, f"cond_embeddings.{i}.weight").shape[1] for i in range(count))
    told = _as_dims(config.get("cond_dims", dims))
    if count == 1 < len(told):
        told = dims
    return told


def _matrix(params: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in params:
        raise InputError(f"denoiser: parameters missing: {name}")
    if np.ndim(params[name]) != 2:
        raise InputError(f"denoiser: parameter {name} has {np.ndim(params[name])} axes, not 2")
    return params[name]


def _entry(config: Mapping[str, Any], name: str) -> Any:
    if name not in config:
        raise InputError(f"published configuration lacks {name!r}; it has {_list(sorted(config))}")
    return config[name]


def _size(config: Mapping[str, Any], name: str) -> int:
    value = _entry(config, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 1 or value % 1:
        raise InputError(
            f"published configuration: {name} is {value!r}, not a positive whole number"
        )
    return int(value)


def _as_dims(dims: Any) -> tuple[int, ...]:
    return (int(dims),) if np.ndim(dims) == 0 else tuple(int(d) for d in dims)


def _list(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more
