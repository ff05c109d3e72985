"""Outcomes: our tables and weighted scores against scikit-survival and scikit-learn."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from sksurv.ensemble import RandomSurvivalForest
from sksurv.metrics import concordance_index_censored

from cohgen_jax.downstream.classification import Classification, random_forest
from cohgen_jax.downstream.statistics import patient_weights
from cohgen_jax.downstream.study import NotPossible, open_gaps
from cohgen_jax.downstream.survival import MONTH, ForestSize, SurvivalOutcome
from tests.downstream.conftest import planted_study


@pytest.fixture(scope="module")
def study():
    return planted_study()


def test_tables_of_leaves_are_the_forest(study):
    """Missing values too: they go where scikit-survival sends them."""
    outcome = SurvivalOutcome.of_study(study, ForestSize(5, 6))
    x = study.features(study.latents.z[study.train], study.train)
    predicted = outcome.fit(x, study.train, 3)(holey := np.where(x > 1.5, np.nan, x))
    months = np.ceil(outcome.survival.days[study.train] / MONTH)
    y = np.array(
        list(zip(outcome.survival.event[study.train], months, strict=True)),
        dtype=[("event", bool), ("time", float)],
    )
    forest = RandomSurvivalForest(5, max_depth=6, random_state=3).fit(x, y)
    np.testing.assert_allclose(predicted[:, 0], forest.predict(holey), rtol=1e-6)
    curves = forest.predict_survival_function(holey)
    for curve, own in zip(curves[:20], predicted[:20, 1:], strict=True):
        np.testing.assert_allclose(own[1:], curve(outcome.times[1:] / MONTH), rtol=1e-6)


def test_weighted_concordance_counts_repeated_patients(study):
    outcome = SurvivalOutcome.of_study(study)
    rows = study.test[:80]
    risk = np.round(np.random.default_rng(1).standard_normal((2, 80, 1)), 1)  # with ties
    weights = patient_weights(study.patients[rows], 3, 0)
    found = outcome.score(risk, rows, weights)
    for p in range(2):
        for b in range(4):
            repeated = np.repeat(np.arange(80), weights[b].astype(int))
            expected = concordance_index_censored(
                outcome.survival.event[rows][repeated],
                outcome.survival.days[rows][repeated],
                risk[p, repeated, 0],
            )[0]
            assert found[p, b] == pytest.approx(expected, abs=1e-6)


def test_weighted_balanced_accuracy_counts_repeated_patients(study):
    outcome = Classification.of_study(study, "stage", random_forest(5))
    rows = study.test[:80]
    predicted = np.random.default_rng(1).random((3, 80, 4))
    weights = patient_weights(study.patients[rows], 3, 0)
    found = outcome.score(predicted, rows, weights)
    for p in range(3):
        for b in range(4):
            repeated = np.repeat(np.arange(80), weights[b].astype(int))
            expected = balanced_accuracy_score(
                outcome.labels.codes[rows][repeated], predicted[p, repeated].argmax(axis=1)
            )
            assert found[p, b] == pytest.approx(expected)


def test_survival_times_of_zero_or_missing_are_counted_out(study):
    samples = study.samples.copy()
    samples.loc[samples.index[:3], "os_days"] = 0.0
    samples.loc[samples.index[3:8], "os_event"] = np.nan
    outcome = SurvivalOutcome.of_study(type(study)(study.latents, samples))
    assert outcome.left_out == (
        "5 samples without survival time or event and 3 with a survival time of zero"
    )
    assert outcome.known.sum() == len(samples) - 8


def test_what_cannot_be_predicted_is_named(study):
    one_class = type(study)(study.latents, study.samples.assign(stage="II"))
    with pytest.raises(NotPossible, match="stage: 1 classes"):
        one_class.labels("stage")
    with pytest.raises(NotPossible, match="no 'stage'"):
        type(study)(study.latents, study.samples.drop(columns="stage")).labels("stage")
    with pytest.raises(NotPossible, match="0 deaths among the training patients"):
        SurvivalOutcome.of_study(type(study)(study.latents, study.samples.assign(os_event=0.0)))


@pytest.mark.parametrize(
    ("grades", "names"),
    [
        ({"I": 1, "II": 2, "III": 10, "IV": 10}, ("1", "10", "2")),
        ({"I": 1, "II": 2, "III": 10}, ("1", "10", "2")),  # IV unknown: a column of floats
        ({"I": False, "II": False, "III": True, "IV": True}, ("False", "True")),
    ],
    ids=["int", "float", "bool"],
)
def test_numbers_and_truths_are_classes_as_names_are(study, grades, names):
    grade = study.samples["stage"].map(grades)
    labels = type(study)(study.latents, study.samples.assign(grade=grade)).labels("grade")
    assert labels.names == names
    for stage, code in zip(study.samples["stage"], labels.codes, strict=True):
        assert code == (names.index(str(grades[stage])) if stage in grades else -1)


def test_the_tested_samples_matter_only_where_they_are_tested(study):
    nobody = study.latents._replace(present=study.latents.present.copy())
    nobody.present[study.test] = False
    other = type(study)(nobody, study.samples.copy())
    other.samples.loc[other.samples["split"] == "test", ["stage", "os_event"]] = np.nan
    for column in ("stage", "cancer_type"):
        with pytest.raises(NotPossible):
            other.labels(column)
        learnt = study.labels(column).codes[study.train]
        np.testing.assert_array_equal(other.labels(column, tested=False).codes[study.train], learnt)
    with pytest.raises(NotPossible, match="0 test patients"):
        SurvivalOutcome.of_study(other)
    times = SurvivalOutcome.of_study(other, tested=False).times
    days = study.samples["os_days"].iloc[study.train]
    died = study.samples["os_event"].iloc[study.train] == 1
    assert times[0] == pytest.approx(days[died].quantile(0.05))
    assert times[-1] <= days.max()


def test_classifiers_see_leading_components_in_every_way_in():
    """Of assays of 40 and 3 components, trained on and asked about alike."""
    study = planted_study(num=40, holes=0.3)
    z = np.zeros((40, 3, 40), np.float32)
    z[:] = np.arange(40)
    latents = study.latents._replace(z=z, widths=np.array([40, 3, 40]))
    wide = dataclasses.replace(study, latents=latents)
    seen = wide.features(z, np.arange(40), with_type=False)
    np.testing.assert_array_equal(seen[0], [*range(32), *range(3), *range(32)])
    gaps = open_gaps(latents, z, latents.present)
    np.testing.assert_array_equal(np.where(np.isnan(gaps), seen, gaps), seen)
    assert np.isnan(gaps).any()
