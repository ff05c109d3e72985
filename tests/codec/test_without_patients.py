"""Quantile functions without the values of single patients."""

import numpy as np
import pytest

from cohgen_jax.codec.marginal import fit_marginals, from_scores, to_scores
from cohgen_jax.codec.without_patients import LEAST, without_extremes


@pytest.fixture(scope="module")
def values():
    """Continuous, heavy-tailed, zero-inflated, 0/1 with a single 1, and one with missing cells."""
    rng = np.random.default_rng(0)
    normal, heavy = rng.normal(10, 2, 200), rng.standard_t(2, 200)
    inflated = np.where(rng.random(200) < 0.6, 0, rng.exponential(size=200))
    binary = (np.arange(200) == 7).astype(float)
    holed = np.where(rng.random(200) < 0.5, np.nan, rng.normal(size=200))
    return np.stack([normal, heavy, inflated, binary, holed], axis=1).astype(np.float32)


def test_extremes_are_not_to_be_read_off(values):
    before = fit_marginals(values)
    after = without_extremes(before)
    for f in (0, 1, 4):
        known = np.sort(values[~np.isnan(values[:, f]), f])
        outer = np.concatenate([known[: LEAST - 1], known[1 - LEAST :]])
        held = [np.isclose(before.value[:, f], v, rtol=1e-6).any() for v in outer[[0, -1]]]
        assert all(held)  # so that this test can fail
        for v in outer:
            assert not np.isclose(after.value[:, f], v, rtol=1e-5, atol=1e-5).any()
    top = values[:, 2].max()
    assert np.isclose(before.value[:, 2], top, rtol=1e-6).any()
    assert not np.isclose(after.value[:, 2], top, rtol=1e-5).any()


def test_all_others_keep_their_scores(values):
    before = fit_marginals(values)
    after = without_extremes(before)
    assert (np.diff(after.value, axis=0) >= 0).all()
    for f in range(values.shape[1]):
        column = values[:, f]
        order = np.argsort(column)[: (~np.isnan(column)).sum()]
        inner = order[2 * LEAST : -2 * LEAST]
        same = to_scores(after, values)[inner, f] - to_scores(before, values)[inner, f]
        assert np.abs(same).max() < 0.1, f
    np.testing.assert_array_equal(after.value[:, 3], before.value[:, 3])  # atoms alone


def test_scores_and_values_still_undo_each_other(values):
    after = without_extremes(fit_marginals(values))
    z = np.linspace(-4, 4, 81, dtype=np.float32)[:, None].repeat(2, axis=1)
    continuous = type(after)(*(part[:, :2] for part in after))
    np.testing.assert_allclose(to_scores(continuous, from_scores(continuous, z)), z, atol=1e-3)
