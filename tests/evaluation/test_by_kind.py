"""Scores of events and counts, against scikit-learn, closed forms and forecasts that are right."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from cohgen_jax.baselines.logistic import logistic
from cohgen_jax.evaluation.by_kind import (
    binary_by_feature,
    calibration_curve,
    score_binary,
    score_counts,
)


def forecasts(n=2000, seed=0):
    """(right probabilities [n, 3], events with a third of them unknown [n, 3])."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal([-1.0, -2.0, 0.0], 1.0, (n, 3))))
    events = (rng.random(p.shape) < p).astype(float)
    events[rng.random(p.shape) < 1 / 3] = np.nan
    return p, events


@pytest.mark.parametrize("decimals", [1, 15])
def test_scores_of_features_are_those_of_scikit_learn(decimals):
    p, events = forecasts()
    p = np.round(p, decimals)  # many alike, or none
    table = binary_by_feature(p, events)
    for j in range(3):
        known = np.isfinite(events[:, j])
        pair = events[known, j], p[known, j]
        assert table["n"][j] == known.sum()
        assert table["auc"][j] == pytest.approx(roc_auc_score(*pair))
        assert table["average_precision"][j] == pytest.approx(average_precision_score(*pair))
        assert table["brier"][j] == pytest.approx(brier_score_loss(*pair))
    scores = score_binary(p, events, np.array([0.3, 0.01, 0.5]), table)
    assert scores["auc_features"] == 2  # one in a hundred is too rare to rank
    assert scores["auc"] == pytest.approx(table["auc"][[0, 2]].mean())


def test_features_without_enough_of_either_value_are_not_ranked():
    events = np.array([[1.0, 0, 1, np.nan]] * 4 + [[1.0, 0, 0, np.nan]] * 4)
    table = binary_by_feature(np.full((8, 4), 0.5), events)
    np.testing.assert_array_equal(table["n"], [8, 8, 8, 0])
    np.testing.assert_array_equal(table["auc"], [np.nan, np.nan, 0.5, np.nan])
    np.testing.assert_array_equal(table["average_precision"], [np.nan, np.nan, 0.5, np.nan])
    np.testing.assert_array_equal(table["brier"], [0.25, 0.25, 0.25, np.nan])


def test_right_probabilities_are_calibrated_and_bold_ones_are_not():
    p, events = forecasts(20_000)
    common = np.full(3, 0.3)
    right, bold = (
        score_binary(q, events, common, binary_by_feature(q, events)) for q in (p, np.round(p))
    )
    assert right["calibration_error"] < 0.01
    assert right["frequency_error"] < 0.01
    assert bold["calibration_error"] > 0.1
    assert right["brier"] < bold["brier"]
    curve = calibration_curve(p, events)
    assert curve["cells"].sum() == np.isfinite(events).sum()
    np.testing.assert_allclose(curve["predicted"], curve["observed"], atol=0.03)


def test_too_few_events_are_not_ranked():
    events = np.zeros((10, 2))
    events[:2, 0] = 1
    events[:, 1] = np.nan
    p = np.full((10, 2), 0.2)
    scores = score_binary(p, events, np.array([0.2, 0.2]), binary_by_feature(p, events))
    assert np.isnan([scores["auc"], scores["calibration_error"]]).all()
    assert scores["brier"] == pytest.approx(0.2 * 0.64 + 0.8 * 0.04)


def test_counts_are_scored_on_their_logarithm():
    rng = np.random.default_rng(0)
    truth = rng.poisson([0.5, 5.0, 50.0], (3000, 3)).astype(float)
    right = rng.poisson([0.5, 5.0, 50.0], (20, 3000, 3)).astype(float)
    shifted = score_counts(right + 1, truth)
    scores = score_counts(right, truth)
    assert scores["zero_share_error"] < 0.01
    assert shifted["zero_share_error"] == pytest.approx(np.mean((truth == 0).mean(axis=0)))
    assert scores["crps_log"] < shifted["crps_log"]
    two = score_counts(np.array([[[0.0]], [[0.0]]]), np.array([[np.e - 1]]))
    assert two["crps_log"] == pytest.approx(1.0)  # log(1 + truth) - log(1 + 0)


def test_a_logistic_regression_finds_what_drives_an_event():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 3, (900, 5)).astype(np.float32)
    p = 1 / (1 + np.exp(-x[:, :1] + 1))
    events = (rng.random((900, 2)) < np.hstack([p, np.full_like(p, 0.3)])).astype(np.float32)
    y = np.where(events == 1, 1.4, -0.4).astype(np.float32)  # as normal scores are
    y[:600][rng.random((600, 2)) < 0.4] = np.nan
    fitted = logistic(x[:600], y[:600])
    mean = fitted.mean(x[600:])
    assert roc_auc_score(events[600:, 0], mean[:, 0]) > 0.9
    assert abs(roc_auc_score(events[600:, 1], mean[:, 1]) - 0.5) < 0.1
    probability = (mean + 0.4) / 1.8
    assert np.abs(probability.mean(axis=0) - events[600:].mean(axis=0)).max() < 0.06
    draws = fitted(x[600:], rng.random((300, 300)))
    assert set(np.unique(draws)) == set(np.float32([-0.4, 1.4]))
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.3)
    np.testing.assert_allclose((draws - mean).mean(axis=(0, 1)), 0, atol=0.02)
