"""Kernel regression against brute force, pure noise, planted relations and patterns of sources."""

import numpy as np
import pytest

from cohgen_jax.training.regression import (
    _solver,
    fit_regression,
    fit_regressions,
    matern,
    patterns_of,
    predict,
    rebuilt,
    squared_distances,
)


def planted(rng, num, noise=0.3):
    """Sources of 5, 3 and 1 features; three columns of the target follow the first two."""
    a, b, c = (rng.standard_normal((num, width)).astype(np.float32) for width in (5, 3, 1))
    y = np.stack([a[:, 0], a[:, 1] + b[:, 0], np.tanh(2 * b[:, 1]), 0 * a[:, 0]], axis=1)
    y += noise * rng.standard_normal(y.shape)
    return [a, b, c], y.astype(np.float32)


def test_leave_one_out_residuals_are_those_of_refits():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 3)), rng.standard_normal((12, 2))
    kernel, penalty = matern(squared_distances(x, x)), 0.4
    dual, left_out = _solver(kernel.copy(), penalty)(y)
    np.testing.assert_allclose((kernel + penalty * np.eye(12)) @ dual, y, atol=1e-6)
    for i in range(12):
        rest = np.delete(np.arange(12), i)
        own = np.linalg.solve(kernel[np.ix_(rest, rest)] + penalty * np.eye(11), y[rest])
        np.testing.assert_allclose(left_out[i], y[i] - kernel[i, rest] @ own, atol=1e-6)


def test_what_is_planted_is_found_and_what_is_not_keeps_the_average():
    rng = np.random.default_rng(1)
    blocks, y = planted(rng, 300)
    new, truth = planted(rng, 200)
    fitted = fit_regression(blocks, y, np.ones(4))
    predicted = predict(fitted, new, 200)[0]
    r2 = 1 - np.mean((truth - predicted) ** 2, axis=0) / truth.var(axis=0)
    assert (r2[:3] > 0.6).all(), r2  # observed 0.78 to 0.86
    assert abs(r2[3]) < 0.03
    # Residual variances are those of new patients.
    error = np.mean((truth - predicted) ** 2, axis=0)
    np.testing.assert_allclose(fitted.variance, error, rtol=0.35)
    # The third source says nothing, and its share of the distance between two patients is least.
    first, second, third = fitted.gains[[0, 5, 8]] ** 2 * [5, 3, 1]
    assert third < 0.3 * (first + second)


@pytest.mark.parametrize("num", [10, 22, 40])
def test_few_patients_without_a_relation_lose_nothing_to_the_average(num):
    ratios = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x, y = rng.standard_normal((num, 30)), rng.standard_normal((num, 6))
        new, truth = rng.standard_normal((200, 30)), rng.standard_normal((200, 6))
        predicted = predict(fit_regression([x], y, np.ones(6)), [new], 200)[0]
        average = np.mean((truth - y.mean(axis=0)) ** 2)
        ratios.append(np.mean((truth - predicted) ** 2) / average)
    assert np.mean(ratios) < 1.03, ratios


def test_constant_source_and_no_source():
    rng = np.random.default_rng(2)
    y = rng.standard_normal((30, 3)).astype(np.float32)
    for blocks, new in (([np.ones((30, 2))], [np.ones((4, 2))]), ([], [])):
        fitted = fit_regression(blocks, y, np.ones(3))
        np.testing.assert_allclose(
            predict(fitted, new, 4)[0], np.tile(y.mean(axis=0), (4, 1)), atol=1e-5
        )
        np.testing.assert_allclose(fitted.variance.mean(), y.var(axis=0, ddof=1).mean(), rtol=0.05)


def test_every_pattern_has_its_own_regression_or_that_of_the_largest_within():
    rng = np.random.default_rng(3)
    blocks, y = planted(rng, 300)
    present = rng.random((300, 3)) < [0.7, 0.7, 0.2]
    present[present[:, 2], :2] = False  # who has the last has nothing else
    fitted = fit_regressions(blocks, present, y, np.ones(4))
    assert (False, True, True) not in fitted.by_pattern
    assert (False, False, False) in fitted.by_pattern
    shown = np.array([[True, False, False], [True, True, True], [True, True, False]])
    new = [np.repeat(block[:1], 3, axis=0) for block in blocks]
    mean, variance = fitted(new, shown)
    np.testing.assert_allclose(mean[1], mean[2], atol=1e-6)
    assert np.abs(mean[0] - mean[2]).max() > 0.05
    # The second component follows both sources: one alone leaves more of it open.
    assert variance[0, 1] > 2 * variance[2, 1]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0), (2,), ()])
def test_fewer_sources_in_any_order_are_those_with_the_others_absent(order):
    """Covariates come last, whatever the order, and are always seen."""
    rng = np.random.default_rng(6)
    blocks, y = planted(rng, 120)
    blocks.append(rng.standard_normal((120, 2)).astype(np.float32))
    y[:, 3] += blocks[3][:, 0]
    fitted = fit_regressions(blocks, rng.random((120, 3)) < 0.8, y, np.ones(4))
    new, _ = planted(rng, 20)
    new.append(rng.standard_normal((20, 2)).astype(np.float32))
    shown = rng.random((20, 3)) < 0.7
    few, order = fitted.of(order), list(order)
    shown[:, np.setdiff1d(range(3), order)] = False
    ours = few([*(new[i] for i in order), new[3]], shown[:, order])
    for mine, theirs in zip(ours, fitted(new, shown), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
    moved, _ = few([*(new[i] for i in order), new[3] + 1], shown[:, order])
    assert np.abs(moved - ours[0]).max(axis=1).min() > 0.1  # every patient's


def test_saved_without_its_patients_it_is_rebuilt_from_them():
    rng = np.random.default_rng(4)
    blocks, y = planted(rng, 60)
    present = rng.random((60, 3)) < 0.8
    fitted = fit_regressions(blocks, present, y, np.ones(4))
    for pattern, own in fitted.by_pattern.items():
        saved = {name: value for name, value in own._asdict().items() if name != "x"}
        again = rebuilt(saved, pattern, blocks)
        new = [block[:5] for here, block in zip(pattern, blocks, strict=True) if here]
        np.testing.assert_allclose(predict(again, new, 5)[0], predict(own, new, 5)[0], atol=1e-5)


def test_patterns_of_many_modalities_are_few():
    rng = np.random.default_rng(5)
    present = rng.random((500, 9)) < 0.8
    patterns = patterns_of(present)
    assert len(patterns) <= 32
    assert (True,) * 9 in patterns
    assert (False,) * 9 in patterns


def test_the_size_of_residuals_is_regressed():
    rng = np.random.default_rng(6)

    def cohort(num):
        x = rng.standard_normal((num, 4)).astype(np.float32)
        sd = np.where(x[:, :1] > 0, 1.5, 0.3)
        return x, (x[:, 1:2] + sd * rng.standard_normal((num, 5))).astype(np.float32), sd

    x, y, _ = cohort(600)
    new, truth, sd = cohort(300)
    mean, variance = predict(fit_regression([x], y, np.ones(5)), [new], 300)
    assert np.corrcoef(variance[:, 0], sd[:, 0] ** 2)[0, 1] > 0.75  # observed 0.83
    wide = sd[:, 0] > 1
    error = np.mean((truth - mean) ** 2, axis=1)
    assert 0.8 < variance[wide].mean() / error[wide].mean() < 1.25
    assert variance[~wide].mean() < 0.5 * error.mean()  # 0.09 + error of the mean against 1.2
