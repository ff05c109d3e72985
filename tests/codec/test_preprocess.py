"""Filter, scale and imputation: fitted on train, applied to anyone."""

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.codec.preprocess import fit_preprocess, standardise, unstandardise
from cohgen_jax.errors import InputError


@pytest.fixture
def train():
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 2.0, (200, 6)).astype(np.float32)
    values[:5, 2] = np.nan
    frame = pd.DataFrame(values, columns=list("abcdef"), index=[f"s{i}" for i in range(200)])
    frame["constant"] = np.float32(7.0)
    frame["hollow"] = frame["a"].where(np.arange(200) >= 20)  # exactly 10 % missing
    return frame


def test_features_are_filtered_and_scaled_on_train(train):
    fitted = fit_preprocess(train, max_missing=0.10, imputer="median")
    assert fitted.features == tuple("abcdef")
    x = standardise(fitted, train, allow_absent=0.0)
    assert x.dtype == np.float32
    observed = train[list("abcdef")].notna().to_numpy()
    for j in range(6):
        assert abs(x[observed[:, j], j].mean()) < 1e-5
        assert abs(x[observed[:, j], j].std() - 1) < 1e-5
    back = unstandardise(fitted, x)
    np.testing.assert_allclose(
        back[observed], train[list("abcdef")].to_numpy()[observed], rtol=1e-5, atol=1e-5
    )


def test_missing_cells_become_the_train_median(train):
    fitted = fit_preprocess(train, max_missing=0.10, imputer="median")
    new = pd.DataFrame([[np.nan] * 6, [1.0] * 6], columns=list("abcdef"), index=["x", "y"])
    filled = unstandardise(fitted, standardise(fitted, new, allow_absent=0.0))
    np.testing.assert_allclose(filled[0], train[list("abcdef")].median(), rtol=1e-5)
    np.testing.assert_allclose(filled[1], 1.0, rtol=1e-5)


def test_knn_uses_the_nearest_train_samples():
    """Two clusters: a missing cell takes the mean of its own cluster, not the overall median."""
    rng = np.random.default_rng(0)
    centre = np.where(np.arange(100) < 50, -5.0, 5.0)[:, None]
    values = (centre + 0.01 * rng.normal(size=(100, 4))).astype(np.float32)
    train = pd.DataFrame(values, columns=list("abcd"))
    fitted = fit_preprocess(train, max_missing=0.10, imputer="knn")
    new = pd.DataFrame({"a": [5.0, -5.0], "b": [5.0, -5.0], "c": [5.0, -5.0], "d": [np.nan] * 2})
    filled = unstandardise(fitted, standardise(fitted, new, allow_absent=0.0))
    np.testing.assert_allclose(filled[:, 3], [5.0, -5.0], atol=0.05)


def test_columns_are_matched_by_name(train):
    fitted = fit_preprocess(train, max_missing=0.10, imputer="median")
    shuffled = train[list("fedcba")]
    np.testing.assert_array_equal(
        standardise(fitted, shuffled.assign(extra="text"), allow_absent=0.0),
        standardise(fitted, train, allow_absent=0.0),
    )


def test_absent_columns_are_refused_or_imputed(train):
    fitted = fit_preprocess(train, max_missing=0.10, imputer="median")
    some = train.drop(columns=["b", "e"])
    with pytest.raises(InputError, match=r"has 4 of the 6 features.*it lacks b, e; add them"):
        standardise(fitted, some, allow_absent=0.2)
    filled = standardise(fitted, some, allow_absent=0.4)
    assert (filled[:, 1] == fitted.median[1]).all()


def test_unusable_tables_are_named(train):
    with pytest.raises(InputError, match=r"no feature of 2 is usable.*1 are missing.*1 are const"):
        fit_preprocess(train[["constant", "hollow"]], max_missing=0.10, imputer="median")
    train.iloc[3, 1] = np.inf
    with pytest.raises(InputError, match="column 'b', row 's3': infinite value"):
        fit_preprocess(train, max_missing=0.10, imputer="median")


def test_missing_cells_are_imputed_in_normal_scores(train):
    """By either imputer; what is observed comes back as it was."""
    train.loc[:, "a"] = np.exp(train["a"])
    for imputer in ("median", "knn"):
        fitted = fit_preprocess(train, max_missing=0.10, imputer=imputer, marginals="normal_scores")
        x = standardise(fitted, train, allow_absent=0.0)
        assert np.isfinite(x).all()
        assert np.abs(x.mean(axis=0)).max() < 0.05
        assert np.abs(x.std(axis=0) - 1).max() < 0.05
        kept = train[list("abcdef")].to_numpy()
        observed = ~np.isnan(kept)
        back = unstandardise(fitted, x)[observed]
        np.testing.assert_allclose(back, kept[observed], rtol=1e-4, atol=1e-5)
        some = standardise(fitted, train.drop(columns="b"), allow_absent=0.2)
        assert np.abs(some[:, 1]).max() < 0.1 or imputer == "knn"
