"""Signals of error and paired comparisons, against planted truths."""

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.evaluation.paired import against_baselines, against_members, count_verdicts
from cohgen_jax.evaluation.uncertainty import (
    rank_correlation,
    risk_coverage,
    uncertainty_tables,
)

RNG = np.random.default_rng(0)
KEY = {"method": "m", "target": "t", "sources": "a+b", "num_sources": 2}


def test_rank_correlation_is_spearmans_and_its_interval_covers_it():
    from scipy.stats import spearmanr

    signal = RNG.normal(size=300)
    error = signal + RNG.normal(size=300)
    rho, low, high = rank_correlation(signal, error)
    assert rho == pytest.approx(spearmanr(signal, error)[0])
    assert low < rho < high
    # The asymptotic standard error of a rank correlation, 1.06 (1 - rho^2) / sqrt(n).
    assert high - low == pytest.approx(2 * 1.96 * 1.06 * (1 - rho**2) / np.sqrt(300), rel=0.3)


def test_patients_of_several_samples_are_drawn_with_all_of_them():
    """The weighted ranks of the bootstrap against ranks of samples that are repeated in full."""
    from scipy.stats import spearmanr

    rng, patients = np.random.default_rng(1), np.array(list("acbbaccdef"))
    signal, error = rng.integers(4, size=(2, 10)).astype(float)  # many alike
    drawn = np.random.default_rng(7).integers(6, size=(50, 6))
    rows = [np.concatenate([np.flatnonzero(patients == "abcdef"[p]) for p in own]) for own in drawn]
    expected = np.quantile([spearmanr(signal[r], error[r])[0] for r in rows], [0.025, 0.975])
    found = rank_correlation(signal, error, 7, 50, patients)
    np.testing.assert_allclose(found, [spearmanr(signal, error)[0], *expected], atol=1e-12)


def test_monotone_signals_are_perfect_and_their_scale_does_not_matter():
    error = RNG.exponential(size=50)
    assert rank_correlation(np.log(error), error)[0] == pytest.approx(1)
    assert rank_correlation(-error, error)[0] == pytest.approx(-1)


def test_risk_coverage_is_a_running_mean_in_the_order_of_the_signal():
    assert np.allclose(risk_coverage(np.array([3, 1, 2]), np.array([9.0, 1, 5])), [1, 3, 5])


def test_gain_is_one_for_the_error_itself_and_about_zero_for_noise():
    error = RNG.exponential(size=2000)
    table = pd.DataFrame({"error": error, "spread": error**2, "disagreement": RNG.random(2000)})
    uncertainty, curve = uncertainty_tables(table.assign(**KEY))
    gains = uncertainty.set_index("signal")["gain"]
    assert gains["spread"] == pytest.approx(1)
    assert abs(gains["disagreement"]) < 0.1
    last = curve[curve["share"] == 1]
    assert np.allclose(last["error"], error.mean())
    kept_half = curve[(curve["signal"] == "spread") & np.isclose(curve["share"], 0.5)]
    assert kept_half["error"].item() == pytest.approx(np.sort(error)[:1000].mean())


def test_signals_that_do_not_vary_are_left_out():
    table = pd.DataFrame({"error": RNG.random(9), "spread": RNG.random(9), "disagreement": 1.0})
    uncertainty, _ = uncertainty_tables(table.assign(**KEY))
    assert list(uncertainty["signal"]) == ["spread"]


def by_patient(scores):
    """{(method, sources): energy scores of the same patients} as `evaluate` tells them."""
    return pd.concat(
        pd.DataFrame({"row": np.arange(len(own)), "energy_score": own}).assign(
            method=method, target="t", sources=sources, num_sources=sources.count("+") + 1
        )
        for (method, sources), own in scores.items()
    )


def test_a_consensus_is_compared_with_the_best_member_patient_by_patient():
    hard = 10 * RNG.random(100)  # what patients share does not blur the comparison
    noise = 0.1 * RNG.normal(size=(3, 100))
    table = by_patient(
        {
            ("stacked", "a"): hard + 1.0,
            ("stacked", "b"): hard + 2.0,
            ("mean", "a"): hard + 0.9,
            ("stacked", "a+b"): hard + 0.8 + noise[0],
            ("mean", "a+b"): hard + 1.5 + noise[1],
        }
    )
    result = against_members(table, ["stacked", "mean"]).set_index("method")
    assert list(result["best_member"]) == ["a", "a"]
    assert list(result["member_method"]) == ["mean", "mean"]  # its best forecast, whoever made it
    assert result.loc["stacked", "verdict"] == "better"
    assert result.loc["mean", "verdict"] == "worse"
    assert result.loc["mean", "difference"] == pytest.approx(0.6 + noise[1].mean())
    assert result.loc["mean", "se"] == pytest.approx(noise[1].std(ddof=1) / 10)
    counts = count_verdicts(result.reset_index()).set_index("method")
    assert counts.loc["mean", ["comparisons", "better", "within_1_se", "worse"]].tolist() == [
        *(1, 0, 0, 1)
    ]
    assert counts.loc["stacked", "worst_in_se"] < -1


def test_models_are_compared_with_baselines_patient_by_patient():
    hard, noise = 10 * RNG.random(100), 0.1 * RNG.normal(size=(2, 100))
    table = by_patient(
        {
            ("coherent", "a+b"): hard - 0.5 + noise[0],
            ("multi", "a+b"): hard + 0.5 + noise[1],
            ("ridge", "a+b"): hard,
            ("nearest", "a+b"): hard - 0.5,
        }
    )
    found = against_baselines(table, ["ridge", "nearest"]).set_index(["method", "baseline"])
    assert len(found) == 4
    assert set(found["score"]) == {"energy_score"}
    own = found.loc[("coherent", "ridge")]
    assert own["verdict"] == "better"
    assert own["difference"] == pytest.approx(-0.5 + noise[0].mean())
    assert own["se"] == pytest.approx(noise[0].std(ddof=1) / 10)
    assert own["mean"] - own["baseline_mean"] == pytest.approx(own["difference"])
    assert found.loc[("multi", "nearest"), "verdict"] == "worse"
    # CRPS in units decides where there is any; who is not scored by both counts for none.
    crps = (table["method"] == "ridge") * 0.3 + hard[table["row"]]
    table = table.assign(units_crps=crps.where(table["row"] > 9))
    found = against_baselines(table, ["ridge"])
    assert set(found["score"]) == {"units_crps"}
    assert (found["n"] == 90).all()
    np.testing.assert_allclose(found["difference"], -0.3)
    assert against_baselines(table, []).empty
