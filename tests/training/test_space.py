"""Spaces of recipes: draws are distinct, within the space, and share shapes."""

import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.training import TrainConfig
from cohgen_jax.training.config import PER_MODEL
from cohgen_jax.training.space import SPACES, at_point, draw_points


@pytest.mark.parametrize("space", SPACES)
def test_points_are_distinct_in_few_shapes_and_all_can_be_trained(space):
    points = draw_points(space, 8, 4, seed=1)
    assert len({repr(point) for point in points}) == 8
    shapes = {repr({k: v for k, v in p.items() if k not in PER_MODEL}) for p in points}
    assert len(shapes) <= 4
    for point in points:
        config = at_point(TrainConfig(), point)
        for name, value in point.items():
            inner = name.removeprefix("network.")
            if inner != "bottleneck":
                assert getattr(config if inner == name else config.network, inner) == value
    assert draw_points(space, 8, 4, seed=1) == points
    assert draw_points(space, 8, 4, seed=2) != points


def test_the_published_grid_is_the_published_grid():
    published = draw_points("published", 100, 1000, seed=0)
    seen = {name: {point[name] for point in published} for name in published[0]}
    assert seen == {
        "network.architecture": {"norm_mlp"},
        "network.width": {256, 512, 1024},
        "network.bottleneck": {8, 16, 32},
        "network.num_layers": {4, 5, 6, 7},
        "network.time_embedding": {64, 128},
        "network.cond_embedding": {32},
        "batch_size": {64, 128},
        "learning_rate": {1e-4, 1e-3},
    }
    # Only U-Nets have a bottleneck: elsewhere it must not make another program of the same network.
    assert at_point(TrainConfig(), published[0]).network.bottleneck == 16


def test_more_points_than_there_are_is_told():
    assert len(draw_points("published", 2, 1, seed=0)) == 2  # the rate alone differs within a shape
    with pytest.raises(InputError, match="only 2 different configurations"):
        draw_points("published", 3, 1, seed=0)
