"""Consensus weights and disagreement."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.sampling import combine, consensus_weights, disagreement
from cohgen_jax.sampling.consensus import weigh
from tests.sampling.test_ensemble import bank_of

LOSSES = jnp.array([0.5, 0.8, 1.3], jnp.float32)
EPS = jax.random.normal(jax.random.key(0), (3, 2, 4, 6), jnp.float32)  # [K, R, N, D]
PRIOR = jax.random.normal(jax.random.key(1), (2, 4, 6), jnp.float32)
ALL = jnp.ones((4, 3), bool)


def test_published_weights():
    assert np.allclose(consensus_weights("mean", LOSSES, ALL), 1 / 3)
    inverse = np.exp(1 / np.asarray(LOSSES))
    assert np.allclose(consensus_weights("loss", LOSSES, ALL)[0], inverse / inverse.sum())


def test_absent_models_get_nothing_and_the_rest_is_renormalised():
    available = jnp.array([[1, 0, 1], [0, 0, 1], [0, 0, 0], [1, 1, 1]], bool)
    weights = np.asarray(consensus_weights("loss", LOSSES, available))
    assert np.allclose(weights.sum(axis=1), 1)
    assert weights[0, 1] == 0
    assert np.allclose(weights[1], [0, 0, 1])
    # Nothing at all: every model speaks, unconditionally.
    assert np.all(weights[2] > 0)


def test_one_hot_weights_select_a_model():
    one_hot = jnp.tile(jnp.array([[0.0, 1.0, 0.0]], jnp.float32), (4, 1))
    assert np.allclose(combine(EPS, one_hot[..., None], PRIOR), EPS[1], atol=1e-6)


def test_permuting_models_changes_nothing():
    weights, order = consensus_weights("loss", LOSSES, ALL), jnp.array([2, 0, 1])
    ours, theirs = weights[..., None], weights[:, order, None]
    assert np.allclose(combine(EPS, ours, PRIOR), combine(EPS[order], theirs, PRIOR), atol=1e-6)
    assert np.allclose(
        disagreement(EPS, weights), disagreement(EPS[order], weights[:, order]), atol=1e-6
    )


def test_disagreement_is_zero_for_equal_undefined_for_lone_and_two_for_opposite_models():
    equal = jnp.broadcast_to(EPS[:1], EPS.shape)
    third = consensus_weights("mean", LOSSES, ALL)
    assert np.allclose(disagreement(equal, third), 0, atol=1e-6)
    alone = jnp.tile(jnp.array([[1.0, 0.0, 0.0]], jnp.float32), (4, 1))
    assert np.isnan(disagreement(EPS, alone)).all()
    half = jnp.full((4, 2), 0.5, jnp.float32)
    assert np.allclose(disagreement(jnp.stack([EPS[0], -EPS[0]]), half), 2, atol=1e-6)


def test_disagreement_weights_pairs_by_their_mean_weight():
    weights = consensus_weights("loss", LOSSES, ALL)
    w = np.asarray(weights[0])
    unit = np.asarray(EPS) / np.linalg.norm(EPS, axis=-1, keepdims=True)
    pairs = [(0, 1), (0, 2), (1, 2)]
    p = np.array([(w[i] + w[j]) / 2 for i, j in pairs])
    cosines = np.stack([(unit[i] * unit[j]).sum(-1) for i, j in pairs])
    expected = 1 - np.tensordot(p / p.sum(), cosines, 1)
    assert np.allclose(disagreement(EPS, weights), expected, atol=1e-5)


def test_what_the_weights_lack_is_left_to_the_prior():
    weights = jnp.tile(jnp.array([[0.2, 0.0, 0.5]], jnp.float32), (4, 1))[..., None]
    expected = 0.2 * EPS[0] + 0.5 * EPS[2] + 0.3 * PRIOR
    assert np.allclose(combine(EPS, weights, PRIOR), expected, atol=1e-6)


def test_unknown_rule():
    with pytest.raises(InputError, match="median"):
        weigh("median", bank_of((0.2,)), None, np.zeros(3))
