"""Training with differential privacy: DP-SGD (Abadi et al. 2016, arXiv:1607.00133).

Each example's gradient is clipped to an L2 norm of C, the sum over a batch gets Gaussian noise of
standard deviation sigma C, and only that is used: by AdamW, by the averaged weights, and by
whatever is done with the model later. `accountant` says what it is worth.

Costs a gradient for every example: models x batch x parameters floats of memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import optax
import optax.contrib

from cohgen_jax.training.config import TrainConfig

LossOf = Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, dict]]
"""(params, key, rows [B]) -> loss and batch statistics."""


def private_gradients(
    loss_of: LossOf, params: Any, key: jax.Array, rows: jax.Array, config: TrainConfig
) -> tuple[tuple[jax.Array, dict], Any]:
    """(mean loss, {}) of a batch [B] and its clipped, noised mean gradient; consumes the key.

    Every example has noise, level and dropout of its own: levels are not stratified over the batch.
    """
    noise_key, example_key = jax.random.split(key)

    def one(key, row):
        (loss, _), gradient = jax.value_and_grad(loss_of, has_aux=True)(params, key, row[None])
        return loss, gradient

    losses, gradients = jax.vmap(one)(jax.random.split(example_key, len(rows)), rows)
    aggregate = optax.contrib.differentially_private_aggregate(
        config.dp_l2_clip, config.dp_noise_multiplier, key=noise_key
    )
    noised, _ = aggregate.update(gradients, aggregate.init(params))
    return (losses.mean(), {}), noised
