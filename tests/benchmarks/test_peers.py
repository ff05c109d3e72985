"""Rivals in one program: what they are shown, how they are judged, and what becomes of one that
cannot be had."""

import json
import types
from pathlib import Path

import numpy as np
import pytest

from benchmarks import peers, peers_table
from benchmarks.readme import _table
from benchmarks.rivals import RIVALS, scoring
from benchmarks.rivals.environments import ENVIRONMENTS, Environment, Unavailable, python_of
from benchmarks.rivals.mofa import Mofa, View
from benchmarks.rivals.protocol import load
from benchmarks.rivals.worker import work
from tests.benchmarks.tiny import tiny_cohort


def test_every_rival_has_an_environment_and_a_file():
    for rival in RIVALS.values():
        assert rival.environment in ENVIRONMENTS
        assert (Path(peers.__file__).parent / "rivals" / f"{rival.module}.py").exists()


def test_nobody_learns_from_held_out_patients_and_the_target_is_hidden():
    cohort = tiny_cohort()
    known = cohort.known()
    learnt = known.patients.components[known.train]
    np.testing.assert_array_equal(learnt, cohort.patients.components[cohort.train])
    assert len(known.patients.present) == len(cohort.train) + len(cohort.val)
    target = 2
    rows = cohort.asked(target)
    assert set(rows) <= set(cohort.test)
    given = cohort.patients.of(rows).hiding(target)
    assert not given.present[:, target].any()
    assert not given.components[:, target].any()
    assert np.isnan(given.features["mid"]).all()
    assert cohort.patients.present[rows, target].all()  # the cohort itself keeps it, to be judged
    assert np.isfinite(cohort.patients.features["mid"][rows]).all()
    absent = ~given.present[:, 0]
    inputs = known.inputs(given, target, 2)
    assert np.isnan(inputs[absent, :2]).all()
    assert np.isfinite(inputs[:, 2:]).all()


def test_a_rival_in_a_process_is_the_same_as_here(tmp_path):
    """Kernel ridge finds the planted factor; what it draws comes back through files unchanged."""
    cohort = tiny_cohort(80)
    cohort.save(tmp_path / "cohort.npz")
    again = load(tmp_path / "cohort.npz")
    np.testing.assert_array_equal(again.patients.components, cohort.patients.components)
    assert again.modalities == cohort.modalities
    report = work("kernel_ridge", tmp_path / "cohort.npz", tmp_path / "out", 30, 0)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["peak_mb"] > 10
    rows = cohort.asked(1)
    draws = np.load(tmp_path / "out" / "wide.npy")
    assert draws.shape == (30, len(rows), 30)
    assert report["targets"]["wide"]["patients"] == len(rows)
    truth = cohort.patients.features["wide"][rows]
    assert np.mean((draws.mean(axis=0) - truth) ** 2) < 0.5 * np.mean(truth**2)


def test_scores_are_those_of_the_definitions():
    """CRPS from pairs of draws, coverage from ranks: nothing of the library's own formulas."""
    rng = np.random.default_rng(0)
    x, truth = rng.normal(size=(9, 30, 3)), rng.normal(size=(30, 3))
    truth[rng.random(truth.shape) < 0.2] = np.nan
    mean, sd = np.array([0.5, 0.0, -1.0]), np.array([2.0, 1.0, 0.5])
    found = scoring.scores_of(x, truth, mean, sd)
    cells, inside = [], []
    for n, f in np.argwhere(np.isfinite(truth)):
        own, y = x[:, n, f] / sd[f], truth[n, f] / sd[f]
        pairs = [abs(own[i] - own[j]) for i in range(9) for j in range(9) if i != j]
        cells.append(np.mean(np.abs(own - y)) - np.mean(pairs) / 2)
        inside.append(own.min() <= y <= own.max())  # of 9 draws the 80 % interval is their range
    assert found["crps"] == pytest.approx(np.mean(cells), abs=1e-9)
    assert found["coverage"] == pytest.approx(np.mean(inside), abs=1e-6)


def test_a_difference_is_paired_and_its_error_counts_patients():
    mine, other = np.array([1.0, 2.0, 3.0, np.nan]), np.array([0.5, 1.0, 3.0, 1.0])
    found = scoring.against(mine, other, np.array(list("abcd")))
    assert found["difference"] == pytest.approx(0.5)
    assert found["se"] == pytest.approx(np.std([0.5, 1.0, 0.0], ddof=1) / np.sqrt(3))


def test_draws_of_components_become_whole(tmp_path):
    """True components of a table give back its leading part; the rest is another patient's."""
    cohort = tiny_cohort(60)
    name, m = "wide", 1
    rows = cohort.asked(m)
    codec = types.SimpleNamespace(units=lambda x: 10 * x)
    judge = scoring.Judge.__new__(scoring.Judge)
    judge.cohort = cohort
    judge.run = types.SimpleNamespace(modalities=cohort.modalities, codecs={name: codec})
    judge.units = {name: types.SimpleNamespace(columns=np.arange(4))}
    z = cohort.patients.components[rows, m][None]
    features = judge._in_units(np.repeat(z, 200, axis=0), "components", m, 0)
    truth = 10 * cohort.patients.features[name][rows][:, :4]
    assert features.shape == (200, len(rows), 4)
    error = np.mean((features.mean(axis=0) - truth) ** 2)
    assert error < 0.3 * np.mean(truth**2)


def test_mofa_draws_the_posterior_of_its_factors():
    """One factor, two views: against the Gaussian conditional, from its joint covariance."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(4, 1)), rng.normal(size=(3, 1))]
    tau = [np.full(4, 2.0), np.full(3, 5.0)]
    views = [View(np.zeros(len(w)), w, w**2, t) for w, t in zip(weights, tau, strict=True)]
    mofa = Mofa.__new__(Mofa)
    mofa.names, mofa.covariates, mofa.views = ("a", "b"), False, views
    mofa.used = [np.ones(4, bool), np.ones(3, bool)]
    a = rng.normal(size=(2, 4)).astype(np.float32)
    given = types.SimpleNamespace(
        features={"a": a, "b": np.full((2, 3), np.nan, np.float32)},
        covariates=np.zeros((2, 0)),
        present=np.array([[True, False]] * 2),
    )
    draws = mofa.draw(1, given, 20_000, 0)
    w = np.concatenate(weights)
    joint = w @ w.T + np.diag(1 / np.concatenate(tau))
    gain = joint[4:, :4] @ np.linalg.inv(joint[:4, :4])
    np.testing.assert_allclose(draws.mean(axis=0), a @ gain.T, atol=0.03)
    expected = joint[4:, 4:] - gain @ joint[:4, 4:]
    np.testing.assert_allclose(np.cov(draws[:, 0].T), expected, atol=0.05)


def test_a_rival_that_cannot_be_installed_is_skipped_with_the_reason(tmp_path):
    lacking = Environment((str(tmp_path / "nowhere-1.0-py3-none-any.whl"),), False)
    with pytest.raises(Unavailable, match=r"pip install failed: .*nowhere"):
        python_of(lacking, tmp_path / "envs" / "mofapy2")
    settings = peers.Settings(tmp_path, tmp_path / "envs", tmp_path / "peers.json")
    judge = types.SimpleNamespace()
    found = peers.measure("mofa", tmp_path, judge, settings, {**ENVIRONMENTS, "mofapy2": lacking})
    assert found["status"] == "skipped"
    assert "nowhere" in found["reason"]


def test_a_limit_ends_a_rival(tmp_path):
    log = tmp_path / "log.txt"
    ended = peers._process(["sleep", "60"], log, 0.2)
    assert ended == "not within 0 s"
    assert peers._process(["sh", "-c", "echo 'what went wrong' >&2; exit 3"], log, 5) == (
        "what went wrong"
    )


def test_the_tables_say_who_is_ahead_and_what_was_not_run(tmp_path, monkeypatch):
    def of(crps, difference):
        beside = {m: {"difference": difference, "se": 0.01} for m in ("coherent", "multi")}
        scores = {"crps": crps, "coverage": 0.8, "against": beside if difference else {}}
        scores["patients"] = 3
        return {"targets": {"rna": scores}, "status": "measured", **costs}

    costs = {"train_s": 1, "train_cpu_s": 2, "draw_s": 3, "draw_cpu_s": 4, "compile_s": 0}
    costs |= {"peak_mb": 5, "versions": {"numpy": "1"}, **peers._about()}
    skipped = {"status": "skipped", "reason": "pip install failed: no | such", **peers._about()}
    methods = {"coherent": of(0.41, 0), "multi": of(0.40, 0), "mofa": of(0.45, 0.05)}
    methods |= {"kernel_ridge": of(0.37, -0.03), "engression": skipped}
    monkeypatch.setattr(peers_table, "RESULT", tmp_path / "peers.json")
    facts = {"patients": {"train": 9, "val": 3, "test": 3}, "recipe": "demo", "trained": True}
    peers._keep(tmp_path / "peers.json", "demo", facts, methods)
    text = peers_table.full(_table)
    assert "| MOFA+ (mofapy2) | 0.450 (+0.050 ± 0.010), 80% | 1 (2) | 3.0 (4.0) | 5 |" in text
    assert "| Engression | skipped: pip install failed: no / such |" in text
    assert "| Treeffuser | not run |" in text
    assert (
        "multi-condition model ahead on 0 of 1 tables, level on 0, behind on demo rna (3.0 se)"
        in (next(line for line in text.splitlines() if line.startswith("- Kernel ridge: ")))
    )
    assert "| MOFA+ (mofapy2) | 0.450 |" in peers_table.short(_table)

    again = {"multi": of(0.40, 0), "kernel_ridge": of(0.42, 0.02)}
    peers._keep(tmp_path / "peers.json", "demo-1", {**facts, "of": "demo"}, again)
    text = peers_table.full(_table)
    assert "**demo-1**" in text  # two splits, -.03 and .02 ± .01 each: together -.005 ± .007
    assert "multi-condition model ahead on 0 of 1 tables, level on 1." in text
    assert "demo-1" not in peers_table.short(_table)
