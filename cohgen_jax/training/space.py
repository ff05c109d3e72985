"""Spaces of recipes: what a search may change, by name, and random draws from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import numpy as np

from cohgen_jax.errors import InputError
from cohgen_jax.training.config import PER_MODEL, TrainConfig

SpaceName = Literal["default", "numbers", "networks", "published"]
Draw = Callable[[np.random.Generator], Any]
Point = dict[str, Any]
"""Entry of a `TrainConfig` (`network.width`, `learning_rate`) -> value."""


def choice(*values: Any) -> Draw:
    return lambda rng: values[rng.integers(len(values))]


def uniform(low: float, high: float) -> Draw:
    return lambda rng: round(float(rng.uniform(low, high)), 3)


def log_uniform(low: float, high: float) -> Draw:
    return lambda rng: float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.3g}")


_NUMBERS: dict[str, Draw] = {
    "learning_rate": log_uniform(3e-4, 1e-2),
    "weight_decay": log_uniform(0.05, 5.0),
    "cond_noise": uniform(0.0, 0.8),
    "cond_dropout": uniform(0.05, 0.4),
    "ema_decay": choice(0.99, 0.998, 0.9995),
    "level_weight": choice("none", "min_snr"),
    "level_density": choice("uniform", "log_normal"),
}
SPACES: dict[str, Mapping[str, Draw]] = {
    "default": {
        "network.width": choice(96, 128, 192, 256),
        "network.num_layers": choice(2, 3, 4),
        "network.dropout": choice(0.1, 0.2, 0.4),
        "batch_size": choice(64, 128),
        **_NUMBERS,
    },
    "numbers": _NUMBERS,
    "networks": {
        "network.architecture": choice(
            "adaln_mlp", "mlp", "norm_mlp", "norm_mlp_v2", "unet", "unet_v2"
        ),
        "network.width": choice(128, 256, 512),
        "network.num_layers": choice(2, 3, 4),
        "network.dropout": choice(0.0, 0.2, 0.4),
        "learning_rate": log_uniform(3e-4, 3e-3),
    },
    "published": {
        "network.architecture": choice("norm_mlp"),
        "network.width": choice(256, 512, 1024),
        "network.bottleneck": choice(8, 16, 32),
        "network.num_layers": choice(4, 5, 6, 7),
        "network.time_embedding": choice(64, 128),
        "network.cond_embedding": choice(32),
        "batch_size": choice(64, 128),
        "learning_rate": choice(1e-4, 1e-3),
    },
}
assert set(SPACES) == set(get_args(SpaceName))


def draw_points(space: SpaceName, num: int, num_shapes: int, seed: int) -> list[Point]:
    """`num` different random points that lie in at most `num_shapes` shapes, in turn.

    Points of one shape differ in `PER_MODEL` only, and can train as one program.

    Raises:
      InputError: the space does not hold that many.
    """
    rng = np.random.default_rng(seed)
    entries = SPACES[space]

    def draw(of_shape: bool) -> Point:
        return {
            name: at(rng) for name, at in entries.items() if (name not in PER_MODEL) == of_shape
        }

    shapes = _distinct(lambda i: draw(True), num_shapes, complete=False)
    # Shapes take turns; one whose numbers are all used up is passed over.
    return _distinct(lambda i: {**shapes[i % len(shapes)], **draw(False)}, num, complete=True)


def _distinct(draw: Callable[[int], Point], num: int, complete: bool) -> list[Point]:
    points: list[Point] = []
    for _ in range(200 * num):
        if len(points) == num:
            return points
        point = draw(len(points))
        if point not in points:
            points.append(point)
    if complete:
        raise InputError(
            f"only {len(points)} different configurations were found in this space and its shapes: "
            f"ask for fewer than {num}, or for more shapes"
        )
    return points


def at_point(config: TrainConfig, point: Point) -> TrainConfig:
    """The recipe with the entries of this point."""
    network, rest = {}, {}
    for name, value in point.items():
        inner = name.removeprefix("network.")
        (network if inner != name else rest)[inner] = value
    if network.get("architecture", config.network.architecture) not in ("unet", "unet_v2"):
        network.pop("bottleneck", None)  # no other network has one: it must not make another shape
    return dataclasses.replace(
        config, network=dataclasses.replace(config.network, **network), **rest
    )
