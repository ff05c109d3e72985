"""Regressions without patients say what those with patients say, and hold no patient."""

import numpy as np
import pytest

from cohgen_jax.training.inducing import induced, without_patients
from cohgen_jax.training.regression import fit_regression, fit_regressions, predict


def cohort(rng, num):
    """Two sources of unequal width, a target that is curved in one and linear in the other."""
    a, b = rng.normal(size=(num, 6)), rng.normal(size=(num, 3))
    signal = np.stack([np.tanh(a[:, 0]) + b[:, 0], a[:, 1] - 0.5 * b[:, 1]], axis=1)
    return [a, b], (signal + 0.3 * rng.normal(size=signal.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    blocks, y = cohort(rng, 600)
    return fit_regression(blocks, y, np.ones(2)), blocks


def test_new_patients_are_told_the_same(fitted):
    exact, _ = fitted
    anonymous = induced(exact, np.random.default_rng(1))
    blocks, y = cohort(np.random.default_rng(2), 400)
    one, other = (predict(own, blocks, 400)[0] for own in (exact, anonymous))
    agreement = 1 - ((one - other) ** 2).sum(axis=0) / ((one - one.mean(axis=0)) ** 2).sum(axis=0)
    assert (agreement > 0.95).all()
    errors = [((mean - y) ** 2).mean() for mean in (one, other)]
    assert errors[1] < 1.05 * errors[0]


def test_no_centre_is_a_patient(fitted):
    exact, _ = fitted
    anonymous = induced(exact, np.random.default_rng(1))
    assert len(anonymous.x) == len(exact.x) // 2
    nearest = ((anonymous.x[:, None] - exact.x[None]) ** 2).sum(axis=-1).min(axis=1)
    between = ((exact.x[:, None] - exact.x[None]) ** 2).sum(axis=-1)
    between[np.diag_indices(len(between))] = np.inf
    # A drawn centre is about as far from the nearest patient as another patient is.
    assert np.median(nearest) > 0.5 * np.median(between.min(axis=1))
    assert (anonymous.rows == 0).all()
    # Its mean and covariance are those of the patients, over all of them.
    np.testing.assert_allclose(anonymous.x.mean(axis=0), exact.x.mean(axis=0), atol=0.1)


def test_every_pattern_is_there_and_the_mean_stays():
    rng = np.random.default_rng(3)
    blocks, y = cohort(rng, 200)
    present = np.ones((200, 2), bool)
    present[:60, 1] = False
    exact = fit_regressions(blocks, present, y, np.ones(2))
    anonymous = without_patients(exact, seed=0)
    assert anonymous.by_pattern.keys() == exact.by_pattern.keys()
    for pattern, own in anonymous.by_pattern.items():
        np.testing.assert_array_equal(own.mean, exact.by_pattern[pattern].mean)
        if any(pattern):
            assert len(own.x) <= len(exact.by_pattern[pattern].x) // 2
    nobody = np.zeros((5, 2), bool)
    shown = [block[:5] for block in blocks]
    np.testing.assert_allclose(anonymous(shown, nobody)[0], exact(shown, nobody)[0], atol=1e-6)
