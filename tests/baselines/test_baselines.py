"""Baselines against closed forms, explicit leave-one-out and known posteriors."""

import types
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from cohgen_jax.baselines import (
    BASELINES,
    REGRESSIONS,
    fit_baselines,
    fit_patterns,
    patterns,
    regression,
    view_of,
)
from cohgen_jax.baselines.components import COMPONENTS
from cohgen_jax.baselines.gaussian import columns_of, fit_joint
from cohgen_jax.baselines.nearest import _others
from cohgen_jax.errors import InputError
from cohgen_jax.scores import draws as metrics

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
    """The mean of draws is (X'X + n a I)^-1 X'Y for a penalty of the grid, for few or many x."""
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


class Study(NamedTuple):
    latents: types.SimpleNamespace
    features: dict[str, np.ndarray]
    project: dict[str, Callable]
    train: np.ndarray
    test: np.ndarray

    def fit(self, method: str, target: str, whole: bool = True):
        what = {"features": self.features, "project": self.project} if whole else {}
        methods = {"methods": [method], "targets": [target]}
        none = np.array([], int)
        return fit_baselines(self.latents, self.train, none, **what, **methods)[method, target]

    def show(self, rows, *sources):
        """z with the covariates, which are always known, and the sources that these patients have.

        Hidden latents are nonsense."""
        columns = [self.latents.modalities.index(s) for s in sources]
        shown = np.zeros((len(rows), 3), bool)
        shown[:, columns] = self.latents.present[rows][:, columns]
        z = self.latents.z[rows].copy()
        z[:, :3][~shown] = 1e3
        return z, shown


def study(patients=40, noise=0.3, seed=0):
    """Tables of 20, 3 and 12 features as 6, 3 and 4 components of unequal scale, a few of each
    absent; covariates one-hot of three types and age. What no component carries is `noise`."""
    rng = np.random.default_rng(seed)
    names, sizes, widths = ("a", "b", "c"), (20, 3, 12), np.array([6, 3, 4])
    kind = rng.integers(3, size=patients)
    shared = rng.normal(size=(patients, 3)) + 1.5 * np.eye(3)[kind]
    z, scale = np.zeros((patients, 4, 7), np.float32), np.zeros((4, 7), np.float32)
    present = np.ones((patients, 3), bool)
    features, project = {}, {}
    for m, (name, size, width) in enumerate(zip(names, sizes, widths, strict=True)):
        axes = np.linalg.qr(rng.normal(size=(size, size)))[0][:, :width]
        own = np.sqrt(size) / 2 ** np.arange(width)
        mixed = (shared @ rng.normal(size=(3, width)) + rng.normal(size=(patients, width))) / 2
        away = rng.normal(size=(patients, size)) @ (np.eye(size) - axes @ axes.T)
        x = ((mixed * own) @ axes.T + noise * away).astype(np.float32)
        features[name] = x
        project[name] = lambda x, axes=axes, own=own: x @ (axes / own).astype(np.float32)
        z[:, m, :width], scale[m, :width] = project[name](x), own
        present[rng.permutation(patients)[: patients // 8], m] = False
        features[name][~present[:, m]] = np.nan
    z[:, :3][~present] = 0
    z[:, 3, :3], z[:, 3, 3], scale[3, :4] = np.eye(3)[kind], rng.normal(size=patients), 1
    latents = types.SimpleNamespace(z=z, present=present, modalities=names)
    latents.widths, latents.scale = np.append(widths, 4), scale
    return Study(latents, features, project, np.arange(patients * 3 // 4), np.arange(patients))


@pytest.mark.parametrize("target", ["a", "b", "c"])
@pytest.mark.parametrize("method", METHODS)
def test_small_cohorts_with_holes_get_whole_vectors_and_their_latents(method, target):
    own = study()
    sources = [m for m in own.latents.modalities if m != target]
    generated = own.fit(method, target)(*own.show(own.test, *sources), 3, 0)
    width = own.latents.widths["abc".index(target)]
    assert generated.features is not None
    assert generated.features.shape == (3, 40, own.features[target].shape[1])
    assert generated.features.dtype == generated.draws.dtype == np.float32
    assert np.isfinite(generated.features).all()
    assert np.abs(generated.features).max() < 100
    expected = [own.project[target](x) for x in generated.features]
    np.testing.assert_allclose(generated.draws[..., :width], expected, atol=1e-5)
    assert (generated.draws[..., width:] == 0).all()
    latents = own.fit(method, target, whole=False)(*own.show(own.test, *sources), 3, 0)
    assert latents.features is None
    assert (latents.draws[..., width:] == 0).all()
    if method == "climatology":  # the same patients
        np.testing.assert_allclose(latents.draws, generated.draws, atol=1e-5)
    if method in ("climatology", "nearest"):
        here = own.train[own.latents.present[own.train, "abc".index(target)]]
        real = {tuple(x) for x in own.features[target][here]}
        assert {tuple(x) for x in np.concatenate(list(generated.features))} <= real


def test_climatology_is_the_training_patients_whatever_the_sources():
    own = study()
    generate = own.fit("climatology", "a")
    drawn = generate(*own.show(own.test, "b", "c"), 400, 0).features
    np.testing.assert_array_equal(drawn, generate(*own.show(own.test), 400, 0).features)
    here = own.features["a"][own.train[own.latents.present[own.train, 0]]]
    assert {tuple(x) for x in drawn.reshape(-1, 20)} == {tuple(x) for x in here}
    np.testing.assert_allclose(drawn.mean(axis=(0, 1)), here.mean(axis=0), atol=0.05)


@pytest.mark.parametrize("method", sorted({*BASELINES} - {"climatology"}))
def test_covariates_tell_where_no_source_does(method):
    """a and what kind of patient it is: R2 of the means of three kinds."""
    own = study(600)
    test = own.test[450:][own.latents.present[450:, 0]]
    kinds, x = own.latents.z[:, 3, :3].argmax(axis=1), own.features["a"]
    here = own.train[own.latents.present[own.train, 0]]
    means = np.stack([x[here[kinds[here] == k]].mean(axis=0) for k in range(3)])
    ideal = float(metrics.r2(means[kinds[test]], x[test]))
    found = own.fit(method, "a")(*own.show(test), 20, 0).features
    r2 = float(metrics.r2_inf(found, x[test]))
    assert ideal > 0.1
    assert ideal - 0.06 < r2 < ideal + 0.05
    unknown, shown = own.show(test)
    unknown[:, 3, 4:] = 9.0  # beyond the covariates
    np.testing.assert_array_equal(own.fit(method, "a")(unknown, shown, 20, 0).features, found)


def test_covariates_without_a_scale_are_as_they_are():
    own = study()
    z, shown = own.show(own.test, "b")
    drawn = own.fit("ridge", "a")(z, shown, 2, 0).features
    own.latents.scale = own.latents.scale[:3]  # theirs was 1
    np.testing.assert_array_equal(own.fit("ridge", "a")(z, shown, 2, 0).features, drawn)


@pytest.mark.parametrize("method", sorted({*BASELINES} - {"climatology"}))
def test_what_has_no_scale_is_not_seen(method):
    own = study(120)
    own.latents.scale[1, 2] = 0
    z, shown = own.show(own.test, "b")
    drawn = own.fit(method, "a")(z, shown, 3, 0).features
    z[:, 1, 2] = 50
    np.testing.assert_array_equal(own.fit(method, "a")(z, shown, 3, 0).features, drawn)
    z[:, 1, 0] += 3
    assert np.abs(own.fit(method, "a")(z, shown, 3, 0).features - drawn).max() > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_draws_vary_as_patients_do_in_what_no_component_carries(method):
    own = study(900, noise=1.0)
    test = own.test[675:][own.latents.present[675:].all(axis=1)]
    drawn = own.fit(method, "a")(*own.show(test, "b", "c"), 10, 0).features
    real = own.features["a"][test]
    ratio = drawn.var(axis=1).mean(axis=0) / real.var(axis=0)
    assert np.abs(ratio - 1).mean() < 0.15
    pairs = np.triu_indices(20, 1)
    made, true = (np.corrcoef(x.T)[pairs] for x in (drawn[0], real))
    assert np.polyfit(true, made, 1)[0] == pytest.approx(1, abs=0.2)


def test_a_pattern_of_few_patients_is_served_by_its_largest_part():
    own = study(100)
    present = own.latents.present
    present[:] = True
    present[10:50, 1] = False  # b and c together: of 10 training patients, then of 9
    present[50:75, 2] = False
    z, shown = own.show(own.test[75:], "b", "c")
    both = own.fit("ridge", "a")(z, shown, 2, 0).draws
    present[0, 1] = False
    served = own.fit("ridge", "a")(z, shown, 2, 0).draws
    alone = own.fit("ridge", "a")(*own.show(own.test[75:], "c"), 2, 0).draws
    np.testing.assert_array_equal(served, alone)
    assert np.abs(both - alone).max() > 0.1


def test_models_are_fitted_again_rather_than_kept_when_large(monkeypatch):
    own = study()
    asked = own.show(own.test, "b", "c")
    kept = own.fit("kernel_ridge", "a")(*asked, 2, 0).draws
    monkeypatch.setattr(patterns, "KEEP_BYTES", 1)
    monkeypatch.setattr(patterns, "ROWS", 3)
    monkeypatch.setattr(regression, "BLOCK", 7)
    np.testing.assert_allclose(own.fit("kernel_ridge", "a")(*asked, 2, 0).draws, kept, atol=1e-5)


def test_combinations_of_outcomes_have_the_errors_of_all(monkeypatch):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(30, 200)) @ rng.normal(size=(200, 2000)) * rng.gamma(1, 1, 2000)
    few = rng.normal(size=(30, 5))
    np.testing.assert_array_equal(regression.sketch(few), few)
    of_all, of_some = (np.sum(part**2, axis=1) for part in (y, regression.sketch(y)))
    np.testing.assert_allclose(of_some, of_all, rtol=0.3)
    assert of_some.sum() == pytest.approx(of_all.sum(), rel=0.1)


@pytest.mark.parametrize("method", ["ridge", "kernel_ridge"])
def test_noise_is_not_fitted(method):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(22, 60)), rng.normal(size=(22, 40))
    picks = np.tile((np.arange(22)[:, None] + 0.5) / 22, (1, 22))  # each patient's residual once
    mean = REGRESSIONS[method](x, y)(x, picks).mean(axis=0)
    assert np.var(mean - y.mean(axis=0)) < 0.15


def test_inputs_that_tell_nothing_give_the_average():
    x, y = np.ones((30, 2), np.float32), np.random.default_rng(0).normal(size=(30, 4))
    picks = np.tile((np.arange(30)[:, None] + 0.5) / 30, (1, 3))
    for method in ("ridge", "kernel_ridge"):
        mean = REGRESSIONS[method](x, y)(x[:3], picks).mean(axis=0)
        np.testing.assert_allclose(mean, np.tile(y.mean(axis=0), (3, 1)), atol=1e-6)


def test_nobody_is_a_neighbour_of_their_own():
    x = np.repeat(np.arange(5.0), 6)[:, None]  # five are exactly alike with each
    others = _others(x, 7)
    assert others.shape == (30, 7)
    assert not (others == np.arange(30)[:, None]).any()
    assert (x[others[:, :5], 0] == x).all()


def test_a_gaussian_is_of_leading_components():
    own = study(40)
    wide = np.zeros((40, 4, 100), np.float32)
    wide[:, :, :7] = own.latents.z
    own.latents.z, own.latents.widths = wide, np.array([100, 3, 4, 4])
    own.latents.scale = np.linspace(1, 2, 400, dtype=np.float32).reshape(4, 100)
    columns = columns_of(view_of(own.latents, own.train), own.train)
    most = own.latents.present[own.train, 0].sum() // 3
    assert most < COMPONENTS
    of_a = columns.component[columns.modality == 0]
    np.testing.assert_array_equal(of_a, np.arange(100 - most, 100))
    assert (columns.modality == 3).sum() == 4


def test_validation_patients_are_not_needed():
    latents, train, _, test = linear_cohort()
    generate = fit_baselines(latents, train, np.array([], int))["kernel_ridge", "b"]
    real = latents.z[test, 1]
    assert metrics.r2_inf(generate(*show(latents, test, "a"), 10, 0).draws, real) > 0.5


def test_bad_requests_are_explained():
    own = study()
    with pytest.raises(InputError, match="no way from these to latents"):
        fit_baselines(own.latents, own.train, own.test, features=own.features)
    own.latents.present[:25] = False
    with pytest.raises(InputError, match="there are 4"):
        own.fit("gaussian", "b")(*own.show(own.test, "a"), 2, 0)
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
