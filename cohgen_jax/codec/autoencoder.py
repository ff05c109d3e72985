"""Training the autoencoder of one modality.

Loss    mean squared error of the standardised features
Rule    AdamW; stops after `patience` epochs without a better validation loss, keeps the best
Data    an epoch is a pass over shuffled full batches (a last, smaller batch would disturb the
        batch normalisation; its samples come round in the next shuffle)
Place   the table lies in the device's memory, or in the host's or a memory-mapped file, from where
        the next batches stream while the device works; one program takes the steps of all three,
        with bitwise the same result
"""

import functools
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cohgen_jax.codec.config import CodecConfig, Place
from cohgen_jax.codec.matrix import Matrix
from cohgen_jax.networks.autoencoder import Autoencoder
from cohgen_jax.storage.interrupt import deferred
from cohgen_jax.storage.resumable import Checkpoints

AHEAD = 2
"""Batches on their way while the device works on one."""
MEMORY_SHARE = 0.5
"""Share of a memory that the table and the training state may take of it."""
STATE_COPIES = 6
"""Of the parameters while training: themselves, two moments, gradients, updates, the best."""
ENCODED_AT_ONCE = 1024
"""Rows."""

Batches = Callable[[Iterable[np.ndarray]], Iterator[jax.Array]]
"""Row numbers of each batch -> the batches, on the device."""


class AutoencoderFit(NamedTuple):
    """F features to L latents and back."""

    module: Autoencoder
    variables: dict[str, Any]  # "params" and "batch_stats", float32 numpy
    train_loss: tuple[float, ...]  # mean squared error of each epoch, while training
    val_loss: tuple[float, ...]  # after each epoch; the variables are those of the lowest


class _State(NamedTuple):
    variables: dict[str, Any]
    opt_state: optax.OptState


def make_module(num_features: int, width: int, config: CodecConfig) -> Autoencoder:
    return Autoencoder(
        input_dim=num_features,
        bottleneck=width,
        num_layers=config.num_layers,
        shrink=config.shrink,
    )


def fit_autoencoder(
    x: np.ndarray,
    x_val: np.ndarray,
    width: int,
    config: CodecConfig,
    seed: int,
    progress: Callable[[str], None] | None = None,
    *,
    place: Place = "device",
    checkpoints: Path | None = None,
    checkpoint_seconds: float = 0.0,
) -> AutoencoderFit:
    """Train on x [n, F] until x_val [n_val, F] is no longer reconstructed better.

    Args:
        x: float32, possibly memory-mapped.
        place: "device" copies x there; otherwise its batches are streamed.
        checkpoints: directory to continue from, and to keep the state in.

    Raises:
        Interrupted: after SIGTERM or SIGINT, when the state is kept.
    """
    module = make_module(x.shape[1], width, config)
    optimiser = optax.adamw(config.learning_rate, weight_decay=config.weight_decay)
    batches = _on_device(x) if place == "device" else _streamed(x)
    val_batches = _streamed(x_val)
    batch_size = min(config.batch_size, len(x))
    key_init, key_epochs = jax.random.split(jax.random.key(seed))
    variables = dict(jax.jit(module.init)(key_init, jnp.asarray(x[:2], jnp.float32)))
    state = _State(variables, optimiser.init(variables["params"]))
    step, squared_error = _programs(module, optimiser)

    def train(state: _State, number: int) -> tuple[_State, float]:
        order = jax.random.permutation(jax.random.fold_in(key_epochs, number), len(x))
        rows = np.asarray(order)[: len(x) // batch_size * batch_size].reshape(-1, batch_size)
        losses: list[jax.Array] = []
        for batch in batches(rows):
            state, loss = step(state, batch)
            losses.append(loss)
            if len(losses) > AHEAD:
                losses[-1 - AHEAD].block_until_ready()  # else all batches would gather there
        return state, float(jnp.mean(jnp.stack(losses)))

    def validate(variables: dict[str, Any]) -> float:
        rows = np.array_split(np.arange(len(x_val)), -(-len(x_val) // ENCODED_AT_ONCE))
        errors = [squared_error(variables, batch) for batch in val_batches(rows)]
        return float(np.sum(np.asarray(errors, np.float64)) / x_val.size)

    best = jax.tree.map(jnp.copy, state.variables)
    log: dict[str, list[float]] = {"train": [], "val": []}
    resumable = Checkpoints(checkpoints, checkpoint_seconds, shared=False)
    with resumable as kept, deferred() as stopped:
        (state, best), log = kept.restore((state, best)) or ((state, best), log)
        while not _done(log["val"], config):
            number = len(log["val"])
            state, loss = train(state, number)
            log = {"train": [*log["train"], loss], "val": [*log["val"], validate(state.variables)]}
            if int(np.argmin(log["val"])) == number:
                best = jax.tree.map(jnp.copy, state.variables)
            if progress is not None:
                progress(f"epoch {number + 1}, loss {loss:.4f}, validation {log['val'][-1]:.4f}")
            if stopped() or kept.due():
                kept.save(number + 1, (state, best), log)
            if stopped():
                break
    return AutoencoderFit(module, jax.device_get(best), tuple(log["train"]), tuple(log["val"]))


def _done(val_loss: list[float], config: CodecConfig) -> bool:
    if len(val_loss) >= config.max_epochs:
        return True
    return bool(val_loss) and len(val_loss) - 1 - int(np.argmin(val_loss)) >= config.patience


def choose_place(num_rows: int, num_features: int, width: int, config: CodecConfig) -> Place:
    """Where the table of an autoencoder's training samples goes, unless the config says.

    On the device if it fits there beside the training state; else in the host's memory if it fits
    there; else into a file.
    """
    if config.place != "auto":
        return config.place
    module = make_module(num_features, width, config)
    example = jax.ShapeDtypeStruct((2, num_features), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), example)
    state = STATE_COPIES * 4 * sum(leaf.size for leaf in jax.tree.leaves(variables))
    table = 4 * num_rows * num_features
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    device = jax.local_devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        if table + state <= MEMORY_SHARE * stats["bytes_limit"]:
            return "device"
        return "host" if table <= MEMORY_SHARE * host else "disk"
    # A CPU's memory is the host's, where a copy for the device would come on top.
    if 2 * table + state <= MEMORY_SHARE * host:
        return "device"
    return "host" if table + state <= MEMORY_SHARE * host else "disk"


def autoencoder_encode(fit: AutoencoderFit, x: Matrix) -> np.ndarray:
    """[N, F] -> [N, L]."""
    return _in_parts(fit, "encode", x)


def autoencoder_decode(fit: AutoencoderFit, z: np.ndarray) -> np.ndarray:
    """[..., L] -> [..., F]."""
    x = _in_parts(fit, "decode", z.reshape(-1, z.shape[-1]))
    return x.reshape(*z.shape[:-1], x.shape[-1])


def autoencoder_restorer(fit: AutoencoderFit) -> Callable[[jax.Array], jax.Array]:
    """`autoencoder_decode` of [B, L] on the device."""
    variables = jax.device_put(fit.variables)
    return lambda z: _apply(fit.module, "decode", variables, z)


def _in_parts(fit: AutoencoderFit, half: str, values: Matrix) -> np.ndarray:
    variables = jax.device_put(fit.variables)
    starts = range(0, max(values.shape[0], 1), ENCODED_AT_ONCE)
    parts = [jnp.asarray(values[i : i + ENCODED_AT_ONCE], jnp.float32) for i in starts]
    return np.concatenate([np.asarray(_apply(fit.module, half, variables, p)) for p in parts])


@functools.partial(jax.jit, static_argnums=(0, 1))
def _apply(module: Autoencoder, half: str, variables, values: jax.Array) -> jax.Array:
    return jnp.asarray(module.apply(variables, values, method=half))


def _on_device(x: np.ndarray) -> Batches:
    table = jax.device_put(np.asarray(x, np.float32))
    take = jax.jit(lambda table, rows: table[rows])
    return lambda orders: (take(table, rows) for rows in orders)


def _streamed(x: np.ndarray) -> Batches:
    def read(rows: np.ndarray) -> jax.Array:
        return jax.device_put(np.asarray(x[rows], np.float32))

    def batches(orders: Iterable[np.ndarray]) -> Iterator[jax.Array]:
        orders = iter(orders)
        with ThreadPoolExecutor(1) as reader:
            coming = deque(reader.submit(read, rows) for rows in itertools.islice(orders, AHEAD))
            while coming:
                batch = coming.popleft().result()
                coming.extend(reader.submit(read, rows) for rows in itertools.islice(orders, 1))
                yield batch

    return batches


def _programs(module: Autoencoder, optimiser: optax.GradientTransformation):
    """step: (state, batch [B, F]) -> (state, loss); squared_error: (variables, [n, F]) -> sum."""

    def loss_fn(params, batch_stats, batch):
        output, updated = module.apply(
            {"params": params, "batch_stats": batch_stats},
            batch,
            train=True,
            mutable=["batch_stats"],
        )
        return jnp.mean((output - batch) ** 2), updated["batch_stats"]

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: _State, batch: jax.Array) -> tuple[_State, jax.Array]:
        params, stats = state.variables["params"], state.variables["batch_stats"]
        (loss, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, stats, batch)
        updates, opt_state = optimiser.update(grads, state.opt_state, params)
        params = optax.apply_updates(params, updates)
        return _State({"params": params, "batch_stats": stats}, opt_state), loss

    @jax.jit
    def squared_error(variables, batch: jax.Array) -> jax.Array:
        return jnp.sum((jnp.asarray(module.apply(variables, batch)) - batch) ** 2)

    return step, squared_error
