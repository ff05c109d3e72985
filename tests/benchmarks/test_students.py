"""What students are taught by, against closed forms."""

import jax
import numpy as np
import pytest

from benchmarks.students import energy_loss, path_loss

WORTH = np.ones(1, np.float32)


def draws(seed, scale=1.0, shift=0.0):
    return shift + scale * jax.random.normal(jax.random.key(seed), (4, 20_000, 1))


def test_the_energy_loss_of_the_same_distribution_is_what_its_draws_are_apart():
    """2 E|x - y| - E|x - x'| of normals: E|x - x'| = 2 / sqrt(pi); no bias from four draws."""
    same = float(energy_loss(draws(0), draws(1), WORTH))
    assert same == pytest.approx(2 / np.sqrt(np.pi), abs=0.01)
    for other in (draws(0, scale=0.7), draws(0, scale=1.4), draws(0, shift=0.4)):
        assert float(energy_loss(other, draws(1), WORTH)) > same + 0.02


def test_paths_are_compared_draw_by_draw_in_what_components_are_worth():
    made = np.zeros((2, 3, 2), np.float32)
    taught = made + np.array([1, 2], np.float32)
    assert float(path_loss(made, taught, np.array([0.75, 0.25]))) == pytest.approx(1.75)
