"""What a generator is shown: hidden assays are 0, covariates stay."""

import numpy as np
import pytest

from cohgen_jax.evaluation.masks import shown_latents


@pytest.mark.parametrize("covariates", [0, 1])
def test_hidden_assays_are_zero_and_all_else_stays(covariates):
    rng = np.random.default_rng(0)
    z, shown = rng.normal(size=(6, 3 + covariates, 4)), rng.random((6, 3)) < 0.5
    before = z.copy()
    found = shown_latents(z, shown)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(z, before)
    assert (found[:, :3][~shown] == 0).all()
    np.testing.assert_array_equal(found[:, :3][shown], z[:, :3][shown].astype(np.float32))
    np.testing.assert_array_equal(found[:, 3:], z[:, 3:].astype(np.float32))


def test_one_pattern_is_shown_of_everybody():
    z, shown = np.ones((5, 3, 2)), np.array([True, False])
    found = shown_latents(z, shown)
    np.testing.assert_array_equal(found[:, :, 0], np.tile([1.0, 0.0, 1.0], (5, 1)))
