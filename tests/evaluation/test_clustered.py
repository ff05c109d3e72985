"""Standard errors of patients with several samples, against simulation and known cases."""

import numpy as np
import pandas as pd

from cohgen_jax.evaluation.clustered import error_of_mean, standard_error
from cohgen_jax.evaluation.fidelity import score_draws
from cohgen_jax.evaluation.paired import against_baselines
from cohgen_jax.evaluation.uncertainty import rank_correlation
from cohgen_jax.evaluation.units import score_units


def test_one_sample_each_is_the_usual_standard_error():
    x = np.random.default_rng(0).normal(size=50)
    expected = x.std(ddof=1) / np.sqrt(50)
    np.testing.assert_allclose(error_of_mean(x), expected)
    np.testing.assert_allclose(error_of_mean(x, np.arange(50)[::-1]), expected)


def test_copies_of_a_sample_add_nothing():
    x, patients = np.random.default_rng(1).normal(size=30), np.arange(30)
    copied = np.tile(x, 4), np.tile(patients, 4)
    np.testing.assert_allclose(error_of_mean(*copied), error_of_mean(x))
    assert error_of_mean(copied[0]) < 0.6 * error_of_mean(x)


def test_it_is_the_scatter_of_the_mean_over_repetitions():
    """Patients of one to four samples that share a term."""
    rng = np.random.default_rng(2)
    patients = np.repeat(np.arange(80), rng.integers(1, 5, 80))
    means, told, naive = [], [], []
    for _ in range(1500):
        x = rng.normal(size=80)[patients] + 0.5 * rng.normal(size=len(patients))
        means.append(x.mean())
        told.append(error_of_mean(x, patients))
        naive.append(error_of_mean(x))
    assert abs(np.mean(told) / np.std(means) - 1) < 0.06
    assert np.mean(naive) < 0.75 * np.std(means)


def test_fewer_than_two_patients_say_nothing():
    assert np.isnan(standard_error(np.ones(3), patients=np.zeros(3)))


def test_scores_of_copies_have_the_errors_of_the_originals():
    rng = np.random.default_rng(3)
    draws, real = rng.normal(size=(5, 24, 3)), rng.normal(size=(24, 3))
    real[rng.random(real.shape) < 0.2] = np.nan  # unknown cells: a ratio
    whole, patients = np.nan_to_num(real), np.tile(np.arange(24), 2)
    twice = np.tile(draws, (1, 2, 1)), np.tile(whole, (2, 1))
    one, two = score_draws(draws, whole), score_draws(*twice, patients)
    np.testing.assert_allclose(two["energy_score_se"], one["energy_score_se"], rtol=1e-5)
    assert (two["n"], two["patients"]) == (48, 24)
    assert "patients" not in one
    assert "patients" not in score_draws(draws, whole, np.arange(24))
    own = (np.zeros(3), np.ones(3))
    one = score_units(draws, real, *own)
    two = score_units(twice[0], np.tile(real, (2, 1)), *own, patients)
    np.testing.assert_allclose(two["crps_se"], one["crps_se"], rtol=1e-10)
    assert score_units(twice[0], np.tile(real, (2, 1)), *own)["crps_se"] < 0.75 * one["crps_se"]


def test_paired_differences_and_rank_intervals_are_of_patients():
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(20, 2))
    table = pd.DataFrame(
        [
            {"method": method, "target": "t", "sources": "s", "num_sources": 1, "row": row}
            | {"patient": row % 20, "energy_score": scores[row % 20, m]}
            for m, method in enumerate(("multi", "ridge"))
            for row in range(60)
        ]
    )
    (found,) = against_baselines(table, ["ridge"]).to_dict("records")
    np.testing.assert_allclose(found["se"], error_of_mean(scores[:, 0] - scores[:, 1]))
    signal, error = scores.T
    patients = np.tile(np.arange(20), 3)
    r, low, high = rank_correlation(signal, error)
    again, wide, far = rank_correlation(np.tile(signal, 3), np.tile(error, 3), patients=patients)
    naive = rank_correlation(np.tile(signal, 3), np.tile(error, 3))
    np.testing.assert_allclose(again, r, atol=1e-6)
    assert abs((far - wide) / (high - low) - 1) < 0.2
    assert naive[2] - naive[1] < 0.75 * (far - wide)
