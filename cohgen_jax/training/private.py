"""Training with differential privacy: DP-SGD (Abadi et al. 2016, arXiv:1607.00133).

Every record is in a batch with the same chance, independently of the others (Poisson sampling) and
at most once, so that adding or removing one changes the summed gradient by C at most, however few
there are. Each example's gradient is clipped to an L2 norm of C, the sum over a batch gets Gaussian
noise of standard deviation sigma C, and only that is used: by AdamW, by the averaged weights, and
by whatever is done with the model later. `accountant` says what it is worth.

Costs a gradient for every place in a batch: models x places x parameters floats of memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from cohgen_jax.training.config import TrainConfig

LossOf = Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, dict]]
"""(params, key, rows [B]) -> loss and batch statistics."""


def poisson_batch(
    key: jax.Array, rows: jax.Array, num_rows: jax.Array, places: jax.Array, batch_size: int
) -> tuple[jax.Array, jax.Array]:
    """(rows [P], whether they are in the batch: bool [P]); consumes the key.

    Each of the first `num_rows` of `rows` [N] is drawn with chance min(1, batch_size / num_rows);
    of more than there are places, a random subset is kept. places: int [P], 0 .. P-1.
    """
    num_all = rows.shape[0]
    chance = jax.random.uniform(key, (num_all,), jnp.float32)
    chance = jnp.where(jnp.arange(num_all) < num_rows, chance, jnp.inf)
    first = jnp.argsort(chance)[jnp.minimum(places, num_all - 1)]  # uniform, whoever they are
    drawn = chance[first] * num_rows.astype(jnp.float32) < batch_size
    return rows[first], drawn & (places < num_all)


def private_gradients(
    loss_of: LossOf,
    params: Any,
    key: jax.Array,
    rows: jax.Array,
    drawn: jax.Array,
    config: TrainConfig,
) -> tuple[tuple[jax.Array, dict], Any]:
    """(mean loss, {}) of the drawn rows [P] and their clipped, noised, summed gradient over
    batch_size; consumes the key.

    Every example has noise, level and dropout of its own: levels are not stratified over the batch.
    """
    noise_key, example_key = jax.random.split(key)

    def one(key, row, drawn):
        (loss, _), gradient = jax.value_and_grad(loss_of, has_aux=True)(params, key, row[None])
        kept = jax.tree.map(lambda leaf: jnp.where(drawn, leaf, jnp.zeros_like(leaf)), gradient)
        return jnp.where(drawn, loss, jnp.zeros_like(loss)), kept

    num_places = len(rows)
    losses, gradients = jax.vmap(one)(jax.random.split(example_key, num_places), rows, drawn)
    aggregate = optax.contrib.differentially_private_aggregate(
        config.dp_l2_clip, config.dp_noise_multiplier, key=noise_key
    )
    noised, _ = aggregate.update(gradients, aggregate.init(params))  # over the places
    size = num_places / config.batch_size
    mean_loss = losses.sum() / jnp.maximum(drawn.sum(), 1).astype(losses.dtype)
    return (mean_loss, {}), jax.tree.map(lambda leaf: leaf * size, noised)
