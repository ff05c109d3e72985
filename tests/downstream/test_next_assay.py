"""The next test of a patient: planted cases in which the answer is known."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.downstream.classification import Classification, random_forest
from cohgen_jax.downstream.next_assay import CANNOT_TELL, Drawn, Question, rank_assays
from cohgen_jax.downstream.statistics import patient_weights
from cohgen_jax.downstream.study import Study
from cohgen_jax.downstream.survival import ForestSize, SurvivalOutcome
from tests.downstream.conftest import FakeLatents

NAMES = ("a", "b", "c", "d")
WIDTH, NUM, PATIENTS, DRAWS = 2, 400, 12, 20


def study_where(truth) -> Study:
    """a, b, c, d independent, but for what `truth` plants: z [N, 4, 2] -> score [N]."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((NUM, 4, WIDTH)).astype(np.float32)
    score = truth(z)
    death = rng.exponential(1000 * np.exp(-2 * score))
    samples = pd.DataFrame(
        {
            "patient_id": [f"P{i}" for i in range(NUM)],
            "split": np.where(np.arange(NUM) % 4, "train", "test"),
            "group": np.where(score > 0, "high", "low"),
            "os_event": 1.0,
            "os_days": np.ceil(death),
        },
        index=pd.Index([f"S{i}" for i in range(NUM)], name="sample_id"),
    )
    latents = FakeLatents(z, np.ones((NUM, 4), bool), np.full(4, WIDTH), NAMES)
    return Study(latents, samples)


def outcomes(study: Study):
    return (
        Classification.of_study(study, "group", random_forest(20)),
        SurvivalOutcome.of_study(study, ForestSize(10, 5)),
    )


def asked(study: Study, outcome, draws: dict[str, np.ndarray], flagged=()) -> Question:
    """Patients who have a alone, exactly average, and lack the assays of `draws`."""
    z, present = np.zeros((PATIENTS, 4, WIDTH), np.float32), np.zeros((PATIENTS, 4), bool)
    present[:, 0] = True
    missing = {
        name: Drawn(np.arange(PATIENTS), own, np.full(PATIENTS, name in flagged))
        for name, own in draws.items()
    }
    return Question(study, outcome, z, present, np.zeros((PATIENTS, 0)), missing)


def unknowable(seed: int) -> np.ndarray:
    """Draws of an assay of which nothing is known."""
    rng = np.random.default_rng([seed, 9])
    return rng.standard_normal((DRAWS, PATIENTS, WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def deciding():
    """b decides, c and d are noise."""
    return study_where(lambda z: z[:, 1, 0])


@pytest.mark.parametrize("which", [0, 1], ids=["class", "survival"])
def test_the_assay_that_decides_comes_first(deciding, which):
    outcome = outcomes(deciding)[which]
    question = asked(deciding, outcome, {"c": unknowable(1), "b": unknowable(2)})
    table = rank_assays(question, forests=8)
    first = table[table["rank"] == 1]
    assert (first["modality"] == "b").all()
    assert (first["advice"] == "b").sum() >= PATIENTS - 1
    assert (table["ci_low"] <= table["ci_high"]).all()
    assert list(table.index) == np.repeat(np.arange(PATIENTS), 2).tolist()
    if which == 0:  # from one half to nearly 0 or 1
        assert first["expected_change"].mean() == pytest.approx(0.45, abs=0.08)


def test_costs_turn_the_order_and_flags_the_advice(deciding):
    outcome = outcomes(deciding)[0]
    draws = {"b": unknowable(2), "c": unknowable(1), "d": unknowable(3)}
    question = asked(deciding, outcome, draws, flagged=("d",))
    costs = {"b": 1000.0, "c": 1.0, "d": 1.0}
    dear = rank_assays(question, costs, forests=8)
    assert (dear.loc[dear["rank"] == 3, "modality"] == "b").all()
    np.testing.assert_allclose(dear["value"], dear["expected_change"] / dear["cost"])
    assert (dear["advice"] == CANNOT_TELL).all()  # d is among the first two
    assert dear["why"].str.contains("draws of d are wider").all()
    free = rank_assays(question, forests=8)
    assert (free.loc[free["rank"] == 1, "modality"] == "b").all()
    np.testing.assert_array_equal(free["value"], free["expected_change"])
    assert free["cost"].isna().all()


def test_two_assays_that_tell_the_same_cannot_be_told_apart():
    def copied(z):
        z[:, 2] = z[:, 1]
        return z[:, 1, 0]

    study = study_where(copied)
    same = unknowable(2)
    for outcome in outcomes(study):
        table = rank_assays(asked(study, outcome, {"b": same, "c": same}), forests=8)
        assert (table["advice"] == CANNOT_TELL).mean() > 0.8


def test_an_assay_that_the_others_determine_is_not_asked_for():
    """b is what a says, and decides as much as c, of which nothing is known."""

    def echoed(z):
        z[:, 1] = z[:, 0]
        return z[:, 1, 0] + z[:, 2, 0]

    study = study_where(echoed)
    known = np.zeros((DRAWS, PATIENTS, WIDTH), np.float32)
    for outcome in outcomes(study):
        table = rank_assays(asked(study, outcome, {"b": known, "c": unknowable(2)}), forests=8)
        assert (table["advice"] == "c").all()
        assert (table.loc[table["modality"] == "b", "expected_change"] < 1e-9).all()


def test_bootstrap_draws_without_deaths_are_left_out(deciding, monkeypatch):
    monkeypatch.setattr("cohgen_jax.downstream.rescue.MIN_EVENTS", 1)
    outcome = outcomes(deciding)[1]
    died = np.arange(NUM) == deciding.train[7]
    one = dataclasses.replace(outcome, survival=outcome.survival._replace(event=died))
    drawn = patient_weights(deciding.patients[deciding.train], 6, 0)[1:, 7]
    assert 0 < (drawn == 0).sum() < 6
    table = rank_assays(asked(deciding, one, {"b": unknowable(2)}), forests=6)
    assert np.isfinite(table["expected_change"]).all()


def test_the_only_one_missing_is_the_advice(deciding):
    table = rank_assays(
        asked(deciding, outcomes(deciding)[0], {"c": unknowable(1)}, flagged=("c",)), forests=5
    )
    assert (table["advice"] == "c").all()
    assert (table["why"] == "the only one missing").all()


def test_company_does_not_change_a_ranking(deciding):
    question = asked(deciding, outcomes(deciding)[0], {"b": unknowable(2), "c": unknowable(1)})
    alone = rank_assays(question, forests=5)
    another = Drawn(np.array([3]), unknowable(3)[:, :1], np.zeros(1, bool))
    more = {"d": another, **question.missing}
    table = rank_assays(question._replace(missing=more), forests=5)
    pd.testing.assert_frame_equal(table.drop(index=3), alone.drop(index=3))
