"""Training the autoencoder of one modality.

Loss    mean squared error of the standardised features
Rule    AdamW; stops after `patience` epochs without a better validation loss, keeps the best
Data    device-resident; an epoch is one scan over shuffled full batches (a last, smaller batch
        would disturb the batch normalisation; its samples come round in the next shuffle)
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cohgen_jax.codec.config import CodecConfig
from cohgen_jax.networks.autoencoder import Autoencoder


class AutoencoderFit(NamedTuple):
    """F features to L latents and back."""

    module: Autoencoder
    variables: dict[str, Any]  # "params" and "batch_stats", float32 numpy
    train_loss: tuple[float, ...]  # mean squared error of each epoch, while training
    val_loss: tuple[float, ...]  # after each epoch; the variables are those of the lowest


class _State(NamedTuple):
    variables: dict[str, Any]
    opt_state: optax.OptState


def fit_autoencoder(
    x: np.ndarray,
    x_val: np.ndarray,
    width: int,
    config: CodecConfig,
    seed: int,
    progress: Callable[[str], None] | None = None,
) -> AutoencoderFit:
    """Train on x [n, F] until x_val [n_val, F] is no longer reconstructed better."""
    module = Autoencoder(
        input_dim=x.shape[1], bottleneck=width, num_layers=config.num_layers, shrink=config.shrink
    )
    optimiser = optax.adamw(config.learning_rate, weight_decay=config.weight_decay)
    batch_size = min(config.batch_size, len(x))
    data, data_val = jnp.asarray(x, jnp.float32), jnp.asarray(x_val, jnp.float32)
    key_init, key_epochs = jax.random.split(jax.random.key(seed))
    variables = dict(module.init(key_init, data[:2]))
    state = _State(variables, optimiser.init(variables["params"]))
    epoch = _epoch(module, optimiser, batch_size)

    @jax.jit
    def val_loss(variables):
        return jnp.mean((jnp.asarray(module.apply(variables, data_val)) - data_val) ** 2)

    best, losses, val_losses = state.variables, [], []
    for number in range(config.max_epochs):
        state, loss = epoch(jax.random.fold_in(key_epochs, number), state, data)
        losses.append(float(loss))
        val_losses.append(float(val_loss(state.variables)))
        best_epoch = int(np.argmin(val_losses))
        if best_epoch == number:
            best = state.variables
        if progress is not None:
            progress(f"epoch {number + 1}, loss {losses[-1]:.4f}, validation {val_losses[-1]:.4f}")
        if number - best_epoch >= config.patience:
            break
    return AutoencoderFit(module, jax.device_get(best), tuple(losses), tuple(val_losses))


def autoencoder_encode(fit: AutoencoderFit, x: np.ndarray) -> np.ndarray:
    """[N, F] -> [N, L]."""
    return np.asarray(_apply(fit.module, "encode", fit.variables, jnp.asarray(x, jnp.float32)))


def autoencoder_decode(fit: AutoencoderFit, z: np.ndarray) -> np.ndarray:
    """[..., L] -> [..., F]."""
    flat = jnp.asarray(z, jnp.float32).reshape(-1, z.shape[-1])
    x = np.asarray(_apply(fit.module, "decode", fit.variables, flat))
    return x.reshape(*z.shape[:-1], x.shape[-1])


@functools.partial(jax.jit, static_argnums=(0, 1))
def _apply(module: Autoencoder, half: str, variables, values: jax.Array) -> jax.Array:
    return jnp.asarray(module.apply(variables, values, method=half))


def _epoch(module: Autoencoder, optimiser: optax.GradientTransformation, batch_size: int):
    """(key, state, data [n, F]) -> (state, mean loss): one pass over shuffled batches."""

    def loss_fn(params, batch_stats, batch):
        output, updated = module.apply(
            {"params": params, "batch_stats": batch_stats},
            batch,
            train=True,
            mutable=["batch_stats"],
        )
        return jnp.mean((output - batch) ** 2), updated["batch_stats"]

    @jax.jit
    def epoch(key, state: _State, data):
        num_batches = data.shape[0] // batch_size
        order = jax.random.permutation(key, data.shape[0])[: num_batches * batch_size]

        def step(state: _State, rows):
            params, stats = state.variables["params"], state.variables["batch_stats"]
            (loss, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(
                params, stats, data[rows]
            )
            updates, opt_state = optimiser.update(grads, state.opt_state, params)
            params = optax.apply_updates(params, updates)
            return _State({"params": params, "batch_stats": stats}, opt_state), loss

        state, losses = jax.lax.scan(step, state, order.reshape(num_batches, batch_size))
        return state, jnp.mean(losses)

    return epoch
