"""Specialise a bank for sampling: compute once what a chain would compute at every step.

A denoiser is called with (x_t, t, conditions). Along a chain t runs over a known grid and the
conditions do not change, so a call splits into three parts, each done as seldom as it can be:

    fold       weights and step grid       once: batch normalisation folded into the weights, the
                                           time embedding and its projections tabulated by step
    condition  conditions and mask         once a patient, shared by all its draws
    denoise    x_t                         at every step

The modules' `__call__` stays the definition; `PLAIN` calls it as it is, for modules that have no
form of their own and for comparison. Parameters and conditions are arguments of the compiled
program all the way, never constants of it.

Axes    S solver steps, R draws, N patients, D latent width, F features of a layer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.errors import InputError
from cohgen_jax.networks.adaln import AdaLNMLP
from cohgen_jax.networks.embedding import time_embedding
from cohgen_jax.networks.layers import BATCH_STATS, BatchNorm
from cohgen_jax.networks.mlp import MLP, NormMLP, NormMLPv2
from cohgen_jax.networks.posterior import GaussianPosterior
from cohgen_jax.networks.unet import UNet

Precision = Literal["float32", "tf32", "bfloat16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


class Folded(NamedTuple):
    """A model made ready for one grid of steps."""

    loop: Any  # what `denoise` multiplies by
    tables: Any  # leaves [S, ...]: what depends on the step alone
    cond: Any  # what `condition` needs


class Form(NamedTuple):
    """How one kind of module is evaluated along a chain."""

    fold: Callable[[Any, Any, jax.Array], Folded]
    """(module, variables, timesteps int32 [S])"""
    condition: Callable[[Any, Any, Sequence[jax.Array], jax.Array], Any]
    """(module, folded.cond, conds C x [N, C_i], mask [N, C]) -> leaves [N, ...]"""
    denoise: Callable[[Any, Any, Any, Any, jax.Array], jax.Array]
    """(module, folded.loop, row of the tables, conditioned, x [R, N, D]) -> [R, N, D]"""


def form_of(module: nn.Module) -> Form:
    """The form of a module: its own if its class has one, otherwise PLAIN."""
    return FORMS.get(type(module), PLAIN)


def fold(form: Form, module: nn.Module, variables: Any, timesteps: np.ndarray, precision: str):
    """`form.fold`, with the loop's matrices stored as `precision` asks.

    float32   products in full float32
    tf32      float32 storage, factors rounded to 10 bits of mantissa where the device does that
              (NVIDIA from Ampere on; elsewhere float32)
    bfloat16  factors stored in bfloat16, sums in float32; biases, normalisation and the solver
              stay float32
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    folded = form.fold(module, variables, jnp.asarray(timesteps, jnp.int32))
    if precision == "bfloat16" and form is not PLAIN:
        loop = jax.tree.map(
            lambda leaf: leaf.astype(jnp.bfloat16) if leaf.ndim == 2 else leaf, folded.loop
        )
        folded = folded._replace(loop=loop)
    return folded


def dot(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x [..., I] @ kernel [I, F] in the precision that the kernel is stored in, float32 out."""
    return jnp.matmul(x.astype(kernel.dtype), kernel, preferred_element_type=jnp.float32)


def _plus(row: jax.Array, like: jax.Array) -> jax.Array:
    """A row [F] of a table, broadcast to [N, F]."""
    return jnp.broadcast_to(row[None], like.shape)


# --- the module as it is -------------------------------------------------------------------------


def _plain_denoise(module, variables, t, conditioned, x):
    conds, mask = conditioned
    steps = jnp.full(x.shape[1], t, jnp.int32)
    return jax.vmap(lambda draw: module.apply(variables, draw, steps, conds, mask))(x)


PLAIN = Form(
    fold=lambda module, variables, timesteps: Folded(variables, timesteps, ()),
    condition=lambda module, cond, conds, mask: (tuple(conds), mask),
    denoise=_plain_denoise,
)


# --- the published networks: affine layers that time and condition add to ------------------------
#
# Each of them is a chain of layers  h <- ReLU( sum_i input_i W_i + table[step] + cond W_c ),  the
# last without ReLU, whatever way time and condition enter: concatenated to the input (W splits by
# rows), projected and added before the layer (the projection is multiplied by W) or after it.


class Layer(NamedTuple):
    """One affine layer: a kernel for each input, what time adds, what the condition adds."""

    kernels: tuple[jax.Array, ...]  # [I, F] each
    table: jax.Array  # [S, F], biases included
    cond: jax.Array | None  # [E, F]


def _affine_form(layers_of, denoise) -> Form:
    """layers_of(module, variables, time [S, E]) -> layers."""

    def fold(module, variables, timesteps):
        params = variables["params"]
        dense = params["time_embedding_dense"]
        embedding = time_embedding(timesteps, module.config.time_embedding)
        layers = layers_of(module, variables, jax.nn.relu(_linear(dense, embedding)))
        embeddings = [
            params[f"cond_embeddings_{i}"]
            for i in range(len(module.cond_dims))
            if f"cond_embeddings_{i}" in params  # norm_mlp_v2 takes conditions raw
        ]
        return Folded(
            [layer.kernels for layer in layers],
            [layer.table for layer in layers],
            (embeddings, [layer.cond for layer in layers]),
        )

    def condition(module, cond, conds, mask):
        embeddings, kernels = cond
        fused = _fuse(module, embeddings, conds, mask)
        return [None if kernel is None else fused @ kernel for kernel in kernels]

    return Form(fold, condition, denoise)


def _linear(params, x: jax.Array) -> jax.Array:
    y = x @ params["kernel"]
    return y + jnp.broadcast_to(params["bias"], y.shape)


def _fuse(module, embeddings, conds, mask) -> jax.Array:
    """What the network calls its condition, [N, E]: see networks/embedding.py."""
    mask = mask.astype(jnp.float32)
    if isinstance(module, NormMLPv2):
        return jnp.concatenate([*conds, mask], axis=-1)
    embedded = [
        jax.nn.relu(_linear(params, cond)) * mask[:, i, None]
        for i, (params, cond) in enumerate(zip(embeddings, conds, strict=True))
    ]
    if module.config.fusion == "sum":
        return sum(embedded[1:], start=embedded[0])
    return jnp.concatenate(embedded, axis=-1)


def _layer(x: Sequence[jax.Array], kernels, row, patient, *, relu: bool = True) -> jax.Array:
    """x: one [R, N, I] for each kernel; row [F]; patient [N, F] or None."""
    h = sum((dot(part, kernel) for part, kernel in zip(x, kernels, strict=True)), start=0.0)
    added = row[None] if patient is None else _plus(row, patient) + patient
    h = h + added[None]
    return jax.nn.relu(h) if relu else h


def _mlp_layers(module, variables, time) -> list[Layer]:
    """mlp, norm_mlp, norm_mlp_v2: layer 0 reads [x, time, cond]; of the norm_mlps each later
    layer reads [h, time]. A layer's batch normalisation is folded into its kernel and bias."""
    params, layers = variables["params"], []
    width, embedding = module.x_dim, module.config.time_embedding
    for i in range(module.config.num_layers):
        kernel, bias = params[f"mlp_layers_{i}"]["kernel"], params[f"mlp_layers_{i}"]["bias"]
        if f"bn_layers_{i}" in params:
            norm, stats = params[f"bn_layers_{i}"], variables[BATCH_STATS][f"bn_layers_{i}"]
            gain = norm["scale"] * jax.lax.rsqrt(stats["var"] + BatchNorm.epsilon)
            kernel, bias = kernel * gain[None], (bias - stats["mean"]) * gain + norm["bias"]
        from_cond = None
        if i > 0 and isinstance(module, MLP):  # which is told the time once
            added = jnp.zeros((len(time), kernel.shape[1]), jnp.float32)
        else:
            kernel, from_time, from_cond = jnp.split(kernel, [width, width + embedding])
            added = time @ from_time
        table = added + _plus(bias, added)
        layers.append(Layer((kernel,), table, from_cond if i == 0 else None))
        width = kernel.shape[1]
    return layers


def _mlp_denoise(module, loop, row, patient, x):
    h, last = x, len(loop) - 1
    for i in range(last + 1):
        h = _layer([h], loop[i], row[i], patient[i], relu=i < last)
    return h


def _unet_layers(module, variables, time) -> list[Layer]:
    """Encoder, bottleneck, decoder, output, in the order of networks/unet.py."""
    params, config = variables["params"], module.config

    def layer(name: str, splits: Sequence[int], proj: str, *, after: bool, with_cond: bool):
        """`after`: projections are added to the layer's result, otherwise to its input."""
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        table = _linear(params[proj.format("time")], time)
        cond = None
        if with_cond:
            from_cond = params[proj.format("cond")]
            table, cond = table + _plus(from_cond["bias"], table), from_cond["kernel"]
        if not after:
            table, cond = table @ kernel, None if cond is None else cond @ kernel
        return Layer(tuple(jnp.split(kernel, splits)), table + _plus(bias, table), cond)

    first = params["encoder_layers_0"]
    ends = [module.x_dim, module.x_dim + config.time_embedding]
    from_x, from_time, from_cond = jnp.split(first["kernel"], ends)
    added = time @ from_time
    layers = [Layer((from_x,), added + _plus(first["bias"], added), from_cond)]
    everywhere = module.cond_everywhere
    for i in range(1, config.num_layers):
        proj = f"encoder_{{}}_projs_{i - 1}"
        layers.append(layer(f"encoder_layers_{i}", [], proj, after=True, with_cond=everywhere))
    layers.append(layer("bottleneck", [], "bottleneck_{}_proj", after=False, with_cond=True))
    width = config.bottleneck
    for j in range(config.num_layers):
        name, proj = f"decoder_layers_{j}", f"decoder_{{}}_projs_{j}"
        layers.append(layer(name, [width], proj, after=False, with_cond=everywhere))
        width = params[name]["kernel"].shape[1]
    output = layer("output_layer", [width], "final_{}_proj", after=False, with_cond=everywhere)
    return [*layers, output]


def _unet_denoise(module, loop, row, patient, x):
    levels, skips, h = module.config.num_layers, [], x
    for i in range(levels):
        h = _layer([h], loop[i], row[i], patient[i])
        skips.append(h)
    h = _layer([h], loop[levels], row[levels], patient[levels])
    for i, skip in enumerate(reversed(skips), start=levels + 1):
        h = _layer([h, skip], loop[i], row[i], patient[i])
    return _layer([h, x], loop[-1], row[-1], patient[-1], relu=False)


# --- ours: time and condition meet in the steering vector ----------------------------------------


def _adaln_fold(module, variables, timesteps):
    params, blocks = variables["params"], range(module.config.num_layers)
    embedding = time_embedding(timesteps, module.config.time_embedding)
    time = _linear(params["time_to_steering"], jax.nn.silu(_linear(params["Dense_0"], embedding)))
    steers = [params[f"steer_{block}"] for block in blocks] + [params["steer_output"]]
    loop = {
        "x": params["Dense_1"],
        # One product steers all blocks.
        "steer": jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=-1), *steers),
        "in": [params[f"in_{block}"] for block in blocks],
        "out": [params[f"out_{block}"] for block in blocks],
        "output": params["output"],
    }
    return Folded(loop, time, params["cond_to_steering"])


def _adaln_condition(module, cond, conds, mask):
    mask = mask.astype(jnp.float32)
    masked = [cond * mask[:, i, None] for i, cond in enumerate(conds)]
    return _linear(cond, jnp.concatenate([*masked, mask], axis=-1))


def _adaln_denoise(module, loop, row, patient, x):
    """The steering of a patient is one for all its draws: [N, .] beside h [R, N, W]."""
    steering = jax.nn.silu(_plus(row, patient) + patient)
    parts = jnp.split(_dense(loop["steer"], steering), 3 * module.config.num_layers + 2, axis=-1)

    def modulated(h, shift, scale):
        return _normalised(h) * (1 + scale[None]) + shift[None]

    h = _dense(loop["x"], x)
    for block, (into, out) in enumerate(zip(loop["in"], loop["out"], strict=True)):
        shift, scale, gate = parts[3 * block : 3 * block + 3]
        h = h + gate[None] * _dense(out, jax.nn.silu(_dense(into, modulated(h, shift, scale))))
    return _dense(loop["output"], modulated(h, *parts[-2:]))


def _dense(params, x):
    y = dot(x, params["kernel"])
    return y + jnp.broadcast_to(params["bias"], y.shape)


def _normalised(h: jax.Array) -> jax.Array:
    """Layer normalisation without gain or bias, as flax.linen.LayerNorm computes it."""
    mean = jnp.mean(h, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(h), axis=-1, keepdims=True) - jnp.square(mean)
    return (h - mean) * jax.lax.rsqrt(jnp.maximum(variance, 0) + 1e-6)


# --- a regression: levels of the steps, mean and variance of the patients ------------------------


def _posterior_fold(module, variables, timesteps):
    alpha_bar = variables["levels"]["alpha_bar"][timesteps]
    return Folded((), (jnp.sqrt(alpha_bar), jnp.sqrt(1 - alpha_bar)), ())


def _posterior_denoise(module, loop, row, patient, x):
    mean, variance = (part[None] for part in patient)
    return module.denoised(x, *row, mean, variance)


_MLP_FORM = _affine_form(_mlp_layers, _mlp_denoise)
FORMS: dict[type[nn.Module], Form] = {
    MLP: _MLP_FORM,
    NormMLP: _MLP_FORM,
    NormMLPv2: _MLP_FORM,
    UNet: _affine_form(_unet_layers, _unet_denoise),
    AdaLNMLP: Form(_adaln_fold, _adaln_condition, _adaln_denoise),
    GaussianPosterior: Form(
        _posterior_fold,
        lambda module, cond, conds, mask: tuple(jnp.split(conds[0], 2, axis=1)),
        _posterior_denoise,
    ),
}
