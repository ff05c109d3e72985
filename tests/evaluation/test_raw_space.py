"""Raw-space comparisons against library definitions and planted relations."""

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.evaluation.raw_space import (
    FEWEST_PATIENTS,
    correlation,
    dosage,
    effect_sizes,
    effects_kept,
    shared_genes,
    structure,
)


def test_correlation_is_pandas_with_holes():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 40, 5))
    a[rng.random(a.shape) < 0.2] = np.nan
    b[rng.random(b.shape) < 0.2] = np.nan
    b[:, 4] = 1.0
    expected = pd.DataFrame(a).corrwith(pd.DataFrame(b)).to_numpy()
    np.testing.assert_allclose(correlation(a, b)[:4], expected[:4], atol=1e-12)
    assert np.isnan(correlation(a, b)[4])  # a constant feature has none
    draws = np.stack([a, -a])
    np.testing.assert_allclose(correlation(draws, b[None])[1, :4], -expected[:4], atol=1e-12)


def test_structure_is_the_upper_triangle():
    x = np.random.default_rng(0).normal(size=(30, 4))
    expected = np.corrcoef(x.T)[np.triu_indices(4, 1)]
    np.testing.assert_allclose(structure(x), expected, atol=1e-12)


def test_effect_size_is_the_planted_one():
    rng = np.random.default_rng(0)
    inside = np.arange(40_000) % 4 == 0
    x = 2 * rng.normal(size=(40_000, 3)) + np.array([1.0, 0.0, -3.0]) * inside[:, None]
    x[::7, 0] = np.nan
    np.testing.assert_allclose(effect_sizes(x, inside), [0.5, 0, -1.5], atol=0.04)


def test_effects_are_kept_by_the_same_world_and_not_by_another():
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "few"], [80, 80, FEWEST_PATIENTS - 1])
    means = {label: rng.normal(size=100) for label in "ab"} | {"few": np.zeros(100)}

    def cohort(sign=1):
        centre = np.stack([sign * means[label] for label in labels])
        return centre + 0.5 * rng.normal(size=centre.shape)

    real = cohort()
    same = effects_kept(cohort(), labels, real, labels)
    assert same["effects_r"] > 0.95
    assert same["effects_sign"] == 1
    assert same["effects_auc"] > 0.95
    holey = real.copy()
    holey[:, 0] = 1.0  # without variation among the real patients, or among the generated ones
    lost = cohort()
    lost[:, 1] = 1.0
    found = effects_kept(lost, labels, holey, labels)
    assert found == effects_kept(lost[:, 2:], labels, holey[:, 2:], labels)
    flipped = effects_kept(cohort(-1), labels, real, labels)
    assert flipped["effects_r"] < -0.95
    assert flipped["effects_sign"] == 0
    noise = effects_kept(rng.normal(size=real.shape), labels, real, labels)
    assert abs(noise["effects_r"]) < 0.35
    assert abs(noise["effects_auc"] - 0.5) < 0.35


def test_genes_are_matched_by_name_and_synonym():
    features = {"cna": ["ERBB2", "MYC", "X"], "rna": ["MYC", "ERBB2"], "rppa": ["HER2", "ERBB2"]}
    found = shared_genes(features, {"HER2": "ERBB2"})
    rows = {tuple(row) for row in found.itertuples(index=False)}
    assert rows == {
        ("ERBB2", "cna", "rna", 0, 1),
        ("MYC", "cna", "rna", 1, 0),
        ("ERBB2", "cna", "rppa", 0, 0),
        ("ERBB2", "rna", "rppa", 1, 0),
    }


def test_dosage_sums_up_the_links():
    real = np.array([0.1, 0.4, 0.2, 0.8])
    links = pd.DataFrame(
        {"a": "cna", "b": "rna", "generated": "rna", "method": "m"}, index=range(4)
    )
    links = links.assign(gene=list("wxyz"), r=0.5 * real, r_real=real, r_train=real[::-1])
    (row,) = dosage(links).to_dict("records")
    assert row["genes"] == 4
    assert row["r"] == pytest.approx(0.15)
    assert row["r_real"] == pytest.approx(0.3)
    assert row["agreement"] == pytest.approx(1)
    assert row["agreement_train"] == pytest.approx(np.corrcoef(real, real[::-1])[0, 1])
