"""The numbers of a recipe that shape no program: each model of a farm has its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.errors import InputError
from cohgen_jax.schedule import Prediction, Schedule
from cohgen_jax.training.config import PER_MODEL, TrainConfig
from cohgen_jax.training.levels import level_distribution, level_weights


class Hyper(NamedTuple):
    """Hyperparameters; leaves have a leading axis K in `FarmData`, none where one model trains."""

    learning_rate: jax.Array
    weight_decay: jax.Array
    grad_clip: jax.Array  # inf leaves gradients alone
    cond_dropout: jax.Array
    cond_noise: jax.Array
    ema_decay: jax.Array
    level_weight: jax.Array  # [T], mean 1
    level_distribution: jax.Array  # [T], increasing to 1

    @classmethod
    def make(
        cls, configs: Sequence[TrainConfig], schedule: Schedule, predicts: Prediction
    ) -> Hyper:
        def one(config: TrainConfig) -> Hyper:
            return cls(
                learning_rate=config.learning_rate,  # pyright: ignore
                weight_decay=config.weight_decay,  # pyright: ignore
                grad_clip=config.grad_clip or np.inf,  # pyright: ignore
                cond_dropout=config.cond_dropout,  # pyright: ignore
                cond_noise=config.cond_noise,  # pyright: ignore
                ema_decay=config.ema_decay,  # pyright: ignore
                level_weight=level_weights(config.level_weight, schedule, predicts),  # pyright: ignore
                level_distribution=level_distribution(config.level_density, schedule),  # pyright: ignore
            )

        return jax.tree.map(
            lambda *leaves: jnp.asarray(np.stack(leaves), jnp.float32), *map(one, configs)
        )


def common_shape(configs: Sequence[TrainConfig]) -> TrainConfig:
    """The configuration that stands for all in what they share.

    Raises:
      InputError: they differ in more than numbers that may differ within a farm.
    """

    def shape(config: TrainConfig) -> dict:
        return {k: v for k, v in vars(config).items() if k not in PER_MODEL}

    for config in configs:
        for name, value in shape(config).items():
            if value != getattr(configs[0], name):
                raise InputError(f"models of one farm must have the same {name}")
    return configs[0]
