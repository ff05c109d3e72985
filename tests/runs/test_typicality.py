"""p-values of known distributions."""

import numpy as np
import pytest

from cohgen_jax.runs.typicality import Usual

ROOT = np.array([[2.0, 0, 0], [1, 1, 0], [0, 0.5, 0.3]])


def p_values(train, reference, new):
    return Usual.fit(train, reference).p_values(new)


@pytest.fixture
def usual():
    rng = np.random.default_rng(0)
    return lambda n: 5 + rng.normal(size=(n, 3)) @ ROOT.T


def test_p_values_of_the_same_distribution_are_uniform(usual):
    """Whatever the training set made of it: 40 patients estimate a covariance badly."""
    for num_train in (2000, 40):
        p = p_values(usual(num_train), usual(1000), usual(4000))
        for share in (0.05, 0.2, 0.5):
            assert np.mean(p <= share) == pytest.approx(share, abs=0.03)


def test_too_far_and_too_near_are_atypical(usual):
    train, reference = usual(1000), usual(199)
    far = train.mean(axis=0) + 10 * ROOT[:, 0]
    p = p_values(train, reference, np.stack([far, train.mean(axis=0)]))
    np.testing.assert_allclose(p, 0.01)  # 2 / (199 + 1), the least there is


def test_what_counts_is_the_distance_in_standard_deviations(usual):
    """The same shift is far along a narrow direction and near along a wide one."""
    train, reference, new = usual(1000), usual(500), usual(500)
    narrow, _, wide = np.linalg.eigh(np.cov(train.T))[1].T
    flagged = [np.mean(p_values(train, reference, new + by) <= 0.05) for by in (narrow, wide)]
    assert flagged[0] > 0.7
    assert flagged[1] < 0.15
