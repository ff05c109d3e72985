"""Intervals, adjusted p-values and tests against closed forms and SciPy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cohgen_jax.downstream.statistics import (
    adjusted,
    bootstrap_interval,
    claims,
    paired_tests,
    patient_weights,
    repeated_measures,
)


def mean_replicates(values, weights):
    return weights @ values / weights.sum(axis=1)


def test_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(0).standard_normal(400) + 0.3
    weights = patient_weights(np.arange(400), 4000, 0)
    found = bootstrap_interval(mean_replicates(values, weights))
    half = 1.96 * values.std() / 20
    assert found.estimate == pytest.approx(values.mean())
    assert found.ci_low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.ci_high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert found.p < 0.01


def test_samples_of_a_patient_are_drawn_together():
    """Each patient twice: the interval is that of half as many, not sqrt(2) narrower."""
    values = np.random.default_rng(1).standard_normal(100)
    once = patient_weights(np.arange(100), 500, 3)
    twice = patient_weights(np.repeat(np.arange(100), 2), 500, 3)
    np.testing.assert_array_equal(twice[:, ::2], twice[:, 1::2])
    np.testing.assert_allclose(
        mean_replicates(values, once), mean_replicates(np.repeat(values, 2), twice)
    )


def test_no_difference_is_found_where_there_is_none():
    """At most the 99.9 % quantile of Binomial(200, 5 %)."""
    rng, found = np.random.default_rng(2), 0
    for repeat in range(200):
        values = rng.standard_normal(60)
        weights = patient_weights(np.arange(60), 400, repeat)
        found += bootstrap_interval(mean_replicates(values, weights)).p < 0.05
    assert 0 < found <= stats.binom.ppf(0.999, 200, 0.05)


def test_claims_are_one_family():
    weights = patient_weights(np.arange(50), 400, 0)
    values = np.random.default_rng(0).standard_normal((3, 50)) + np.array([[0.0], [0.3], [1.0]])
    table = claims(
        "a", "m", {str(i): mean_replicates(v, weights) for i, v in enumerate(values)}, 50
    )
    order = np.argsort(table["p"])
    expected = np.maximum.accumulate(table["p"].to_numpy()[order] * [3, 2, 1]).clip(max=1)
    np.testing.assert_allclose(table["p_holm"].to_numpy()[order], expected)


def test_adjusted_p_values_skip_what_is_not_known():
    found = adjusted([0.01, np.nan, 0.04], "bonferroni")
    np.testing.assert_allclose(found, [0.02, np.nan, 0.08])
    np.testing.assert_allclose(adjusted([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])


@pytest.fixture(scope="module")
def repeats():
    rng = np.random.default_rng(0)
    own = rng.standard_normal(10)
    values = {"a": own + 1 + 0.3 * rng.standard_normal(10), "b": own, "c": own}
    return values, pd.DataFrame(
        [
            {"seed": seed, "method": name, "value": value[seed]}
            for name, value in values.items()
            for seed in range(10)
        ]
    )


def test_paired_tests_are_scipys(repeats):
    values, table = repeats
    found = paired_tests(table, "value", "method", "seed", reference="b").set_index("a")
    test = stats.ttest_rel(values["a"], values["b"])
    assert found.loc["a", "t"] == pytest.approx(test.statistic)
    assert found.loc["a", "p"] == pytest.approx(test.pvalue)
    assert found.loc["a", "d_z"] == pytest.approx(test.statistic / np.sqrt(10))
    assert found.loc["a", "hedges_g"] == pytest.approx(found.loc["a", "d_z"] * (1 - 3 / 35))
    assert np.isnan(found.loc["c", "t"])  # no difference at all


def test_anova_of_two_is_the_squared_t(repeats):
    values, table = repeats
    two = table[table["method"].isin(["a", "b"])]
    found = repeated_measures(two, "value", "method", "seed").iloc[0]
    test = stats.ttest_rel(values["a"], values["b"])
    assert found["F"] == pytest.approx(test.statistic**2)
    assert found["p"] == pytest.approx(test.pvalue)
