"""Manifold metrics, distances between sets, and balanced masks."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from cohgen_jax.evaluation.masks import balanced_masks
from cohgen_jax.scores import distances
from cohgen_jax.scores.manifold import manifold_metrics
from cohgen_jax.scores.pairwise import neighbours

RNG = np.random.default_rng(0)
A = RNG.normal(size=(90, 5))
B = RNG.normal(size=(90, 5))


def test_identical_sets_agree_perfectly():
    same = manifold_metrics(A, A)
    assert (same.precision, same.recall, same.coverage, same.f1) == (1, 1, 1, 1)
    # Each ball holds itself and k - 1 neighbours; the k-th lies on its edge.
    np.testing.assert_allclose(same.density, 1, atol=0.1)
    # The distance of a point to itself is rounded to about 1e-8.
    assert max(distances.set_distances(A, A).values()) < 1e-3


def test_distant_sets_do_not_meet():
    apart = manifold_metrics(A + 100, A)
    assert tuple(apart) == (0, 0, 0, 0, 0)


def test_precision_and_recall_tell_collapse_from_noise():
    collapsed = manifold_metrics(0.2 * B, A)
    assert collapsed.precision > 0.95 > 0.5 > collapsed.recall
    noisy = manifold_metrics(3 * B, A)
    assert noisy.recall > 0.9 > 0.5 > noisy.precision


def test_order_of_samples_does_not_matter():
    p, q = RNG.permutation(90), RNG.permutation(90)
    np.testing.assert_allclose(manifold_metrics(B[p], A[q]), manifold_metrics(B, A), rtol=1e-12)
    before, after = distances.set_distances(B, A), distances.set_distances(B[p], A[q])
    np.testing.assert_allclose(list(after.values()), list(before.values()), rtol=1e-9)


def test_distances_are_symmetric():
    one, other = distances.set_distances(A, B), distances.set_distances(B, A)
    np.testing.assert_allclose(list(one.values()), list(other.values()), rtol=1e-9)


def test_energy_distance_of_point_masses_is_their_root_distance():
    """2 |a - b| - 0 - 0."""
    d = distances.pair_distances(np.full((4, 2), 3.0), np.full((7, 2), [3.0, 5.0]))
    np.testing.assert_allclose(distances.global_energy(d), 2.0)


@pytest.mark.parametrize("size", [90, 60, 37])
def test_pointwise_distance_is_the_wasserstein_distance_of_rows(size):
    d = distances.pair_distances(B[:size], A)
    from_real = [wasserstein_distance(d.real[i], d.between[i]) for i in range(90)]
    from_generated = [wasserstein_distance(d.generated[i], d.between[:, i]) for i in range(size)]
    expected = (np.mean(from_real) + np.mean(from_generated)) / 2
    np.testing.assert_allclose(distances.global_pointwise(d), expected, rtol=1e-9)


def test_local_distances_by_a_plain_loop():
    k, d = 10, distances.pair_distances(B, A)
    sides = []
    for points, others in ((A, B), (B, A)):
        values = []
        for point in points:
            near = points[neighbours(point[None], points, k)[0]]
            far = others[neighbours(point[None], others, k)[0]]
            values.append(distances.global_energy(distances.pair_distances(far, near)))
        sides.append(np.mean(values))
    np.testing.assert_allclose(distances.local_energy(d, k), np.mean(sides), rtol=1e-6)


def test_a_perfect_generator_falls_into_the_null_distribution():
    real, good = RNG.normal(size=(2, 300, 3))
    statistic = distances.global_energy
    null = distances.real_against_real(statistic, real, 100, repeats=60)
    same = distances.real_against_generated(statistic, good, real, 100, repeats=60)
    shifted = distances.real_against_generated(statistic, good + 0.7, real, 100, repeats=60)
    assert null.min() < same.mean() < null.max() * 1.2
    assert shifted.min() > null.max()
    with pytest.raises(ValueError, match="disjoint"):
        distances.real_against_real(statistic, real, 151)
    with pytest.raises(ValueError, match="subsets of 301"):
        distances.real_against_generated(statistic, good, real, 301)


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="more than 10"):
        manifold_metrics(A[:10], A)
    with pytest.raises(ValueError, match="need 10"):
        distances.set_distances(A[:9], A)


def test_nearest_rows_in_blocks(monkeypatch):
    monkeypatch.setattr("cohgen_jax.scores.pairwise.BLOCK", 7)
    expected = np.argsort(np.linalg.norm(B[:, None] - A[None], axis=-1), axis=1)[:, :4]
    np.testing.assert_array_equal(neighbours(B, A, 4), expected)


@pytest.mark.parametrize(("modalities", "samples"), [(3, 100), (4, 204), (5, 31), (4, 9)])
def test_every_pattern_equally_often(modalities, samples):
    masks = balanced_masks(modalities, samples, seed=1)
    assert masks.any(axis=1).all()
    patterns, counts = np.unique(masks, axis=0, return_counts=True)
    each, left = divmod(samples, 2**modalities - 1)
    complete = patterns.all(axis=1)
    assert (counts[~complete] == each).all()
    assert counts[complete] == each + left
