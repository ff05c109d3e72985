"""Baselines against closed forms, explicit leave-one-out and known posteriors."""

import types

import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.evaluation import metrics
from cohgen_jax.evaluation.baselines import (
    BASELINES,
    REGRESSIONS,
    fit_baselines,
    fit_patterns,
    regression,
    view_of,
)
from cohgen_jax.evaluation.baselines.gaussian import fit_joint

METHODS = sorted(BASELINES)


def linear_cohort(n=700, seed=0):
    """Three modalities of width 4: b = a W + N(0, 0.5^2), c of width 2 (padded) from a and b."""
    rng = np.random.default_rng(seed)
    a, noise = rng.normal(size=(n, 4)), rng.normal(size=(n, 4))
    b = a @ np.array([[0.6, 0.6, 0, 0], [-0.6, 0.6, 0, 0], [0, 0, 0.8, 0], [0, 0, 0, 0.8]])
    b = b + 0.5 * noise
    c = np.zeros((n, 4))
    c[:, :2] = 0.5 * a[:, :2] + 0.5 * b[:, 2:] + 0.5 * rng.normal(size=(n, 2))
    z = np.stack([a, b, c], axis=1).astype(np.float32)
    present = np.ones((n, 3), bool)
    present[: n // 5, 2] = False
    z[~present] = 0
    rows = np.arange(n)
    latents = types.SimpleNamespace(
        z=z, present=present, widths=np.array([4, 4, 2]), modalities=("a", "b", "c")
    )
    return latents, rows[: n * 5 // 7], rows[n * 5 // 7 : n * 6 // 7], rows[n * 6 // 7 :]


def show(latents, rows, *sources):
    shown = np.zeros((len(rows), len(latents.modalities)), bool)
    shown[:, [latents.modalities.index(s) for s in sources]] = True
    return np.where(shown[..., None], latents.z[rows], 0), shown


@pytest.mark.parametrize("method", METHODS)
def test_draws_are_calibrated(method):
    latents, train, val, test = linear_cohort()
    generate = fit_baselines(latents, train, val)[method, "b"]
    generated = generate(*show(latents, test, "a"), 20, 0)
    real = latents.z[test, 1]
    assert generated.draws.shape == (20, *real.shape)
    assert generated.draws.dtype == np.float32
    assert np.isnan(generated.disagreement).all()
    ideal = 1 - 0.25 / np.var(real)
    r2 = metrics.r2_inf(generated.draws, real)
    least = {"nearest": 0.3, "climatology": -0.05}
    assert least.get(method, ideal - 0.05) < r2 < ideal + 0.05
    assert 0.85 < metrics.spread_error(generated.draws, real) < 1.2


@pytest.mark.parametrize("inputs", [5, 80])
def test_ridge_is_the_closed_form(inputs, monkeypatch):
    """The mean of draws is (X'X + n a I)^-1 X'Y for a penalty of the grid, of few or many inputs."""
    monkeypatch.setattr(regression, "RIDGE_PENALTIES", [0.37])
    rng = np.random.default_rng(0)
    x, y, new = (rng.normal(size=s) for s in ((60, inputs), (60, 3), (4, inputs)))
    draw = regression.ridge(x, y)
    picks = np.tile((np.arange(50)[:, None] + 0.5) / 50, (1, 4))  # each neighbour once
    xc = x - x.mean(0)
    weights = np.linalg.inv(xc.T @ xc + 60 * 0.37 * np.eye(inputs)) @ xc.T @ (y - y.mean(0))
    expected = y.mean(0) + (new - x.mean(0)) @ weights
    np.testing.assert_allclose(draw(new, picks).mean(0), expected, atol=1e-10)


@pytest.mark.parametrize("method", ["ridge", "kernel_ridge"])
def test_residuals_are_those_of_leaving_each_patient_out(method, monkeypatch):
    n, penalty = 40, 0.3
    monkeypatch.setattr(regression, "RIDGE_PENALTIES", [penalty / n])
    monkeypatch.setattr(regression, "KERNEL_PENALTIES", (penalty,))
    monkeypatch.setattr(regression, "KERNEL_SCALES", (0.8,))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 3)), rng.normal(size=(n, 2))
    squared = np.sum((x[:, None] - x[None]) ** 2, axis=-1)
    kernel = np.exp(-0.8 / np.median(squared) * squared)

    def predict_from(rest, i):
        if method == "kernel_ridge":  # [K + a I, 1; 1', 0] [dual; b] = [y; 0]
            bordered = np.ones((n, n)) - np.eye(n)[-1] * np.eye(n)[-1, :, None]
            bordered[:-1, :-1] = kernel[np.ix_(rest, rest)] + penalty * np.eye(n - 1)
            solved = np.linalg.solve(bordered, np.vstack([y[rest], np.zeros(2)]))
            return kernel[i, rest] @ solved[:-1] + solved[-1]
        xc, yc = x[rest] - x[rest].mean(0), y[rest] - y[rest].mean(0)
        weights = np.linalg.solve(xc.T @ xc + penalty * np.eye(3), xc.T @ yc)
        return y[rest].mean(0) + (x[i] - x[rest].mean(0)) @ weights

    expected = [y[i] - predict_from(np.delete(np.arange(n), i), i) for i in range(n)]
    made = {}
    monkeypatch.setattr(
        regression, "_residual_bootstrap", lambda _, residuals, x: made.update(r=residuals)
    )
    REGRESSIONS[method](x, y)
    np.testing.assert_allclose(made["r"], expected, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_mixed_patterns_in_one_call_are_those_of_separate_calls(method):
    latents, train, val, test = linear_cohort()
    generate = fit_baselines(latents, train, val)[method, "c"]
    z, shown = show(latents, test, "a", "b")
    shown[::3, 0] = False
    shown[::4, 1] = False  # rows 0, 12, ... have no source at all
    together = generate(np.where(shown[..., None], z, 0), shown, 3, seed=5).draws
    for pattern in np.unique(shown, axis=0):
        rows = (shown == pattern).all(axis=1)
        everyone = np.tile(pattern, (len(test), 1))
        alone = generate(np.where(everyone[..., None], z, 0), everyone, 3, seed=5).draws
        np.testing.assert_allclose(together[:, rows], alone[:, rows], atol=1e-5)
    assert (together[..., 2:] == 0).all()  # padding beyond the width of c


@pytest.mark.parametrize("method", METHODS)
def test_absent_sources_are_not_looked_at(method):
    latents, train, val, test = linear_cohort(300)
    generate = fit_baselines(latents, train, val)[method, "b"]
    z, shown = show(latents, test, "a")
    garbage = np.where(shown[..., None], z, 1e6)
    np.testing.assert_array_equal(generate(z, shown, 2, 0).draws, generate(garbage, shown, 2, 0)[0])


def test_no_source_gives_targets_of_training_patients():
    latents, train, val, test = linear_cohort(300)
    draws = fit_baselines(latents, train, val)["ridge", "b"](*show(latents, test), 2, 0).draws
    real = {tuple(row) for row in latents.z[train, 1]}
    assert all(tuple(row) in real for row in draws.reshape(-1, 4))


def test_nearest_draws_are_targets_of_near_patients():
    latents, train, val, test = linear_cohort()
    generate = fit_baselines(latents, train, val)["nearest", "b"]
    draws = generate(*show(latents, test, "a"), 4, 0).draws
    real = {tuple(row) for row in latents.z[train, 1]}
    assert all(tuple(row) in real for row in draws.reshape(-1, 4))


def test_seed_fixes_draws_and_later_patients_do_not_change_them():
    latents, train, val, test = linear_cohort(300)
    generate = fit_baselines(latents, train, val)["ridge", "b"]
    z, shown = show(latents, test, "a")
    draws = generate(z, shown, 3, 7).draws
    np.testing.assert_allclose(generate(z[:5], shown[:5], 3, 7).draws, draws[:, :5], atol=1e-6)
    assert np.abs(generate(z, shown, 3, 8).draws - draws).max() > 0.1


def test_without_validation_patients_some_training_patients_choose():
    latents, train, _, test = linear_cohort()
    generate = fit_baselines(latents, train, np.array([], int))["kernel_ridge", "b"]
    real = latents.z[test, 1]
    assert metrics.r2_inf(generate(*show(latents, test, "a"), 10, 0).draws, real) > 0.5


def test_bad_requests_are_explained():
    latents, train, val, test = linear_cohort(300)
    with pytest.raises(InputError, match="both target and source"):
        fit_patterns(REGRESSIONS["ridge"], view_of(latents, train), train, 1, [0, 1])
    generate = fit_baselines(latents, train[:5], val)["ridge", "b"]
    with pytest.raises(InputError, match="there are 5"):
        generate(*show(latents, test, "a"), 2, 0)


def incomplete_gaussian(n=3000, seed=0):
    """Rows of N(mean, S) in which the first or the last features are hidden, and the truth."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(6, 6)) / 2 + np.eye(6)
    mean = np.arange(6.0)
    x = mean + rng.normal(size=(n, 6)) @ root.T
    seen = np.ones((n, 6), bool)
    seen[: n // 3, :2] = False
    seen[n // 3 : n // 2, 4:] = False
    return x, seen, mean, root @ root.T


def test_gaussian_of_complete_rows_is_ledoit_and_wolf():
    from sklearn.covariance import LedoitWolf

    x = incomplete_gaussian(50)[0]
    fitted, expected = fit_joint(x, np.ones(x.shape, bool)), LedoitWolf().fit(x)
    np.testing.assert_allclose(fitted.mean, x.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(fitted.covariance, expected.covariance_, atol=1e-12)


def test_gaussian_learns_from_incomplete_rows():
    """Hidden by chance in 5 of 10 rows, and by the value of a seen feature: complete rows alone
    would be biased, as the last check shows."""
    x, seen, mean, covariance = incomplete_gaussian(20_000)
    high = x[:, 3] > mean[3]
    seen[:, :2] &= ~high[:, None] | (np.arange(len(x)) % 3 == 0)[:, None]
    fitted = fit_joint(np.where(seen, x, 1e9), seen)
    np.testing.assert_allclose(fitted.mean, mean, atol=0.05)
    np.testing.assert_allclose(fitted.covariance, covariance, atol=0.15)
    assert np.abs(x[seen.all(axis=1)].mean(axis=0) - mean).max() > 0.3


def test_gaussian_draws_have_the_conditional_moments():
    """Of a known joint Gaussian: 20,000 draws of one patient against the textbook formula."""
    x, seen, _, _ = incomplete_gaussian(400)
    latents = types.SimpleNamespace(
        z=x.reshape(-1, 3, 2).astype(np.float32),
        present=seen.reshape(-1, 3, 2).all(axis=2),
        widths=np.array([2, 2, 2]),
        modalities=("a", "b", "c"),
    )
    rows = np.arange(400)
    mean, covariance = fit_joint(latents.z.reshape(-1, 6).astype(float), seen)
    generate = fit_baselines(latents, rows, rows)["gaussian", "b"]
    draws = generate(latents.z[:1], np.array([[True, False, True]]), 20_000, 0).draws[:, 0]
    s, t = [0, 1, 4, 5], [2, 3]
    weights = np.linalg.inv(covariance[np.ix_(s, s)]) @ covariance[np.ix_(s, t)]
    expected = mean[t] + (latents.z[0].ravel()[s] - mean[s]) @ weights
    spread = covariance[np.ix_(t, t)] - weights.T @ covariance[np.ix_(s, t)]
    np.testing.assert_allclose(draws.mean(axis=0), expected, atol=0.03)
    np.testing.assert_allclose(np.cov(draws.T), spread, atol=0.03)
