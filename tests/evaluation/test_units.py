"""Scores in units against the independent scorer and closed forms."""

import importlib.util
import types
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.codec import CodecConfig, fit_codec
from cohgen_jax.errors import InputError
from cohgen_jax.evaluation import units
from cohgen_jax.evaluation.units import MIN_CORRELATED, SCORES, patient_crps, score_units, units_of
from cohgen_jax.sampling.generator import Generated

SCORER = Path(__file__).parents[3] / "shared" / "tools" / "score_tables.py"


def awkward(features, patients=60, num_draws=7, seed=0):
    """Train table, truth with holes, and draws: unequal scales, one feature constant in train."""
    rng = np.random.default_rng(seed)
    names = [f"f{j}" for j in range(features)]
    scale, centre = 10.0 ** rng.uniform(-2, 3, features), 50 * rng.normal(size=features)
    mixing = rng.normal(size=(features, features)) + np.eye(features)

    def values(n):
        return centre + scale * (rng.normal(size=(n, features)) @ mixing)

    train = pd.DataFrame(values(80), columns=names)
    train = train.mask(rng.random(train.shape) < 0.1)
    truth = values(patients)
    draws = (truth + values(num_draws * patients).reshape(num_draws, patients, -1)) / 2
    truth[rng.random(truth.shape) < (0.2 if features < 10 else 0.002)] = np.nan
    if features > 3:
        train["f1"], truth[:, 1] = 4.0, 4.0
        truth[: patients - 15, 2] = np.nan  # of too few patients for a correlation
    return train, truth, draws


@pytest.mark.parametrize(("features", "patients"), [(3, 60), (40, 50), (350, 40), (40, 21)])
def test_scores_are_those_of_the_independent_scorer(features, patients):
    if not SCORER.exists():
        pytest.skip(f"no independent scorer at {SCORER}")
    spec = importlib.util.spec_from_file_location("score_tables", SCORER)
    assert spec is not None
    assert spec.loader is not None
    scorer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scorer)
    train, truth, draws = awkward(features, patients)
    index = [f"p{i}" for i in range(patients)]
    table = pd.concat(
        pd.DataFrame(d, index=index, columns=train.columns).assign(draw=r)
        for r, d in enumerate(draws)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant features
        real = pd.DataFrame(truth, index=index, columns=train.columns)
        expected = scorer.score(train, real, table)
    found = score_units(draws, truth, train.mean().to_numpy(), train.std().to_numpy())
    names = {
        **{"r2": "R2", "corr": "corr", "crps": "CRPS", "variance_ratio": "var"},
        **{"variance_ratio_median": "var_median", "coverage80": "cover"},
        **{"structure_slope": "slope", "structure": "structure"},
    }
    assert set(found) == set(SCORES)
    for ours, theirs in names.items():
        np.testing.assert_allclose(found[ours], expected[theirs], rtol=1e-9, err_msg=ours)


def test_pooled_correlation_and_errors_of_patients_are_their_definitions():
    train, truth, draws = awkward(5)
    draws[..., 3] = 0  # f1 is constant in the truth, f3 in the draws
    mean, sd = train.mean().to_numpy(), train.std().replace(0, 1).to_numpy()
    found = score_units(draws, truth, mean, sd)
    known = ~np.isnan(truth)
    y, m = ((t - mean) / sd for t in (truth, draws.mean(axis=0)))
    assert found["pearson_pooled"] == pytest.approx(np.corrcoef(y[known], m[known])[0, 1])
    columns = [(y[k, j], m[k, j]) for j, k in enumerate(known.T) if k.sum() > MIN_CORRELATED]
    varying = [np.corrcoef(*pair)[0, 1] for pair in columns if min(map(np.ptp, pair)) > 0]
    assert 0 < len(varying) < len(known.T)
    assert found["corr"] == pytest.approx(np.mean(varying))
    each = patient_crps(draws, truth, mean, sd)
    count = known.sum(axis=1)
    assert found["crps"] == pytest.approx(np.average(each[count > 0], weights=count[count > 0]))
    whole = known.all(axis=1)  # equally many cells each: the usual standard error
    own = score_units(draws[:, whole], truth[whole], mean, sd)
    expected = each[whole].std(ddof=1) / np.sqrt(whole.sum())
    assert own["crps_se"] == pytest.approx(expected)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_crps_is_that_of_the_gaussian(scale):
    """E|X - Y| - E|X - X'| / 2 with X ~ N(0, s^2), Y ~ N(0, 1); in units of any size."""
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=(2000, 4)), scale * rng.normal(size=(10, 2000, 4))
    expected = np.sqrt(2 / np.pi) * (np.sqrt(1 + scale**2) - scale / np.sqrt(2))
    found = score_units(7 + 3 * x, 7 + 3 * y, np.full(4, 7.0), np.full(4, 3.0))
    assert found["crps"] == pytest.approx(expected, abs=4 * found["crps_se"])
    assert found["crps_se"] < 0.02


def test_calibrated_draws_vary_and_cover_as_they_should():
    rng = np.random.default_rng(0)
    num_draws, root = 10, np.linalg.cholesky(0.5 + 0.5 * np.eye(6))
    centre = rng.normal(size=(3000, 6))
    y, x = (centre + rng.normal(size=(*s, 3000, 6)) @ root.T for s in ((), (num_draws,)))
    found = score_units(x, y, np.zeros(6), np.ones(6))
    assert found["variance_ratio"] == pytest.approx(1, abs=0.03)
    assert found["variance_ratio_median"] == pytest.approx(1, abs=0.03)
    assert found["coverage80"] == pytest.approx(0.8 * (num_draws - 1) / (num_draws + 1), abs=0.01)
    assert found["r2"] == pytest.approx(0.5, abs=0.02)
    # Var(truth) = 2, Var(mean of 10 draws) = 1 + 1 / 10, their covariance is 1.
    assert found["corr"] == pytest.approx(1 / np.sqrt(2 * 1.1), abs=0.02)


def test_lost_structure_is_seen():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(8, 8))
    y, x = rng.normal(size=(500, 8)) @ root.T, rng.normal(size=(2, 500, 8)) @ root.T
    mean, sd = y.mean(axis=0), y.std(axis=0)
    kept = score_units(x, y, mean, sd)
    lost = score_units(sd * rng.normal(size=x.shape), y, mean, sd)
    assert kept["structure"] > 0.98
    assert kept["structure_slope"] == pytest.approx(1, abs=0.1)
    assert abs(lost["structure_slope"]) < 0.1


def test_little_is_known_and_nothing_breaks():
    train, truth, draws = awkward(3)
    mean, sd = train.mean().to_numpy(), train.std().to_numpy()
    few = score_units(draws[:, :2], truth[:2], mean, sd)
    assert np.isfinite([few["crps"], few["r2"], few["coverage80"]]).all()
    assert np.isnan([few["structure"], few["corr"], few["crps_se"]]).all()
    nothing = score_units(draws, np.full_like(truth, np.nan), mean, sd)
    assert np.isnan(list(nothing.values())).all()
    assert np.isnan(patient_crps(draws, np.full_like(truth, np.nan), mean, sd)).all()
    unseen = score_units(draws, truth, np.where([1, 0, 0], np.nan, mean), sd)
    rest = score_units(draws[..., 1:], truth[:, 1:], mean[1:], sd[1:])
    assert unseen["crps"] == pytest.approx(rest["crps"])
    one = score_units(draws[..., :1], truth[:, :1], mean[:1], sd[:1])
    assert np.isnan(one["structure"])
    with pytest.raises(InputError, match="2 draws"):
        score_units(draws[:1], truth, mean, sd)
    draws[1, 3] = np.nan
    with pytest.raises(InputError, match="first: row 3"):
        patient_crps(draws, truth, mean, sd)


class Doubling:
    """A codec of two components and as many features: x = z and noise by stream; units 10 + 2 x."""

    width = 2

    def __init__(self, features):
        self.features = tuple(f"f{j}" for j in range(features))
        self.kinds = ("continuous",) * features

    def units(self, x):
        return 10 + 2 * x

    def draw_standardised(self, z, streams, seed):
        noise = [
            np.random.default_rng([seed, s]).normal(size=(len(z), len(self.features)))
            for s in streams
        ]
        return np.stack(noise, axis=1) + z.mean(axis=-1, keepdims=True)


@pytest.mark.parametrize("cells", [1, units.CELLS])
def test_latents_and_features_become_units(cells, monkeypatch):
    monkeypatch.setattr(units, "CELLS", cells)  # in blocks of one patient, and all at once
    rng = np.random.default_rng(0)
    codec, streams = Doubling(1000), np.arange(100, 120, dtype=np.uint32)
    raw = pd.DataFrame(rng.normal(size=(20, 1000)), columns=codec.features).astype(np.float32)
    raw.iloc[3], raw["f0"] = np.nan, 1.0
    own = units_of(codec, raw[raw.columns[::-1]], np.arange(12), streams)
    assert own.columns[[0, -1]].tolist() == [0, 999]
    assert len(own.columns) == 400
    assert np.ptp(np.diff(own.columns)) <= 1
    chosen = raw.iloc[:, own.columns]
    np.testing.assert_array_equal(own.truth, chosen.to_numpy())
    np.testing.assert_allclose(own.mean, chosen[:12].astype(float).mean())
    np.testing.assert_allclose(own.sd[1:], chosen[:12].astype(float).std()[1:])
    assert own.sd[0] == 1
    rows, draws = np.array([4, 17, 2]), rng.normal(size=(3, 3, 5)).astype(np.float32)
    generated = Generated(draws, np.zeros((3, 3)))
    x = codec.draw_standardised(draws[..., :2], streams[rows], 9)
    np.testing.assert_allclose(own.of(generated, rows, 9), 10 + 2 * x[..., own.columns], rtol=1e-5)
    whole = generated._replace(features=x.astype(np.float32))
    np.testing.assert_allclose(own.of(whole, rows, 1), own.of(generated, rows, 9), rtol=1e-5)


def test_draws_of_a_fitted_codec_are_in_units():
    rng = np.random.default_rng(0)
    raw = np.exp(rng.normal(size=(40, 3)) @ rng.normal(size=(3, 3)))
    table = pd.DataFrame(raw, [f"p{i}" for i in range(40)], ["f", "g", "h"])
    table.index.name = "sample_id"
    codec = fit_codec(table[:30], table[30:35], CodecConfig(latent_dim=2), 0)
    streams, rows = np.arange(40, dtype=np.uint32), np.array([3, 38])
    own = units_of(codec, table, np.arange(30), streams)
    z = np.zeros((4, 2, 6), np.float32)
    z[..., : codec.width] = codec.encode(table)[rows]
    z[..., codec.width :] = 99  # padding
    found = own.of(Generated(z, np.zeros((4, 2))), rows, 5)
    expected = codec.draw(z[..., : codec.width], streams[rows], 5)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    x = np.tile(codec.standardised(table)[rows], (4, 1, 1))
    found = own.of(Generated(z, np.zeros((4, 2)), x), rows, 5)
    np.testing.assert_allclose(found[0], table.iloc[rows], rtol=1e-3)


def test_a_table_of_three_features_is_scored_whole():
    raw = pd.DataFrame(np.random.default_rng(0).normal(size=(9, 3)), columns=["f0", "f1", "f2"])
    codec = types.SimpleNamespace(features=("f2", "f0", "f1"), width=2, kinds=["counts"] * 3)
    own = units_of(codec, raw, np.arange(5), np.arange(9))
    np.testing.assert_allclose(own.truth, raw[["f2", "f0", "f1"]], rtol=1e-6)
