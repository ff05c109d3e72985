"""Covariates: what is taken, how it is encoded, and every way a table of facts can be awkward."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort.covariates import (
    Categorical,
    Covariates,
    Numeric,
    choose_covariates,
    fit_covariates,
    with_values,
)
from cohgen_jax.errors import InputError

AGES = [40.0 + i for i in range(36)]


@pytest.fixture
def train() -> pd.DataFrame:
    """40 patients: 20 LUAD, 17 LUSC, 2 rare MESO, 1 unknown; sex as 1/2; 4 without an age."""
    return pd.DataFrame(
        {
            "patient_id": [f"P{i:02d}" for i in range(40)],
            "split": "train",
            "Cancer Type": ["LUAD"] * 20 + ["LUSC"] * 17 + ["MESO"] * 2 + [None],
            "SEX": [1, 2] * 20,
            "Age_At_Diagnosis": [*AGES, None, "not reported", "", np.nan],
            "stage": ["I", "II", "III", "IV"] * 10,
            "os_event": [0.0, 1.0] * 20,
            "batch": "one",
        },
        index=pd.Index([f"P{i:02d}-01" for i in range(40)], name="sample_id"),
    )


@pytest.fixture
def fitted(train) -> Covariates:
    return fit_covariates(train, ["Cancer Type", "SEX", "Age_At_Diagnosis"])


def test_encoding_of_train_by_hand(train, fitted):
    notes: list[str] = []
    encoded = fitted.encode(train, notes)
    assert notes == []
    assert fitted.names == (
        *("Cancer Type=LUAD", "Cancer Type=LUSC", "Cancer Type=unknown"),
        *("SEX=1", "SEX=2", "SEX=unknown"),
        *("Age_At_Diagnosis", "Age_At_Diagnosis=unknown"),
    )
    assert encoded.dtype == np.float32
    z = (np.array(AGES) - np.mean(AGES)) / np.std(AGES)
    np.testing.assert_allclose(encoded[:36, 6], z, rtol=1e-6)
    np.testing.assert_array_equal(encoded[36:, 6:], [[0, 1]] * 4)
    np.testing.assert_array_equal(encoded[0, :6], [1, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(encoded[21, :6], [0, 1, 0, 0, 1, 0])
    np.testing.assert_array_equal(encoded[37:, :3], [[0, 0, 1]] * 3, "MESO and none: unknown")
    assert fitted.notes == (
        "Cancer Type: values that fewer than 5 training patients have count as unknown: MESO.",
    )
    np.testing.assert_array_equal(fitted.owner, [0, 0, 0, 1, 1, 1, 2, 2])
    np.testing.assert_array_equal(fitted.unknown, [0, 0, 1, 0, 0, 1, 0, 1])


def test_levels_are_counted_by_patient(train):
    """Five samples of one patient are not five patients."""
    train.loc[train.index[:5], "Cancer Type"] = "MESO"
    train.loc[train.index[:5], "patient_id"] = "P00"
    assert fit_covariates(train, ["Cancer Type"]).columns == (
        Categorical("Cancer Type", ("LUAD", "LUSC"), ("MESO",)),
    )


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([0, 1] * 20, Categorical("x", ("0", "1"))),
        ([0.0, 1.0, np.nan, 1.0] * 10, Categorical("x", ("0", "1"))),
        (["0", "1.0", "1", "0"] * 10, Categorical("x", ("0", "1"))),
        ([True, False] * 20, Categorical("x", ("false", "true"))),
        ([True, False, None, True] * 10, Categorical("x", ("false", "true"))),
        (pd.array([1, 2, None, 2] * 10, dtype="Int64"), Categorical("x", ("1", "2"))),
        (["Male", "female", " male", "male"] * 10, Categorical("x", ("female", "male"))),
        (pd.Categorical([3, 1, 2, 1] * 10), Categorical("x", ("1", "2", "3"))),
        ([0, 1, 2, 1] * 10, Numeric("x", 1.0, 0.5**0.5, 0.0, 2.0)),
        (["0", "1", "2", "1"] * 10, Numeric("x", 1.0, 0.5**0.5, 0.0, 2.0)),
        ([0, 1, 2, 1] * 9 + ["0", "1", "2", ">2"], Numeric("x", 1.0, (20 / 39) ** 0.5, 0.0, 2.0)),
        (["a", "b", "1", "2"] * 10, Categorical("x", ("1", "2", "a", "b"))),
    ],
)
def test_numbers_or_levels(cells, expected):
    (column,) = fit_covariates(pd.DataFrame({"x": cells}), ["x"]).columns
    assert type(column) is type(expected)
    if isinstance(expected, Numeric):
        numbers = dataclasses.astuple(column)[1:]
        np.testing.assert_allclose(numbers, dataclasses.astuple(expected)[1:], rtol=1e-12)
    else:
        assert column == expected


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (["one"] * 40, "x was left out of the covariates: 'one' for all training patients."),
        ([7.5] * 40, "x was left out of the covariates: '7.5' for all training patients."),
        (
            ["a"] * 37 + ["b", "b", "c"],
            "x was left out of the covariates: 'a' for all training patients, but for 3.",
        ),
        (
            ["a", "b", "c", "d"] + [None] * 36,
            "x was left out of the covariates: no value is had by enough training patients.",
        ),
        (
            [61.0, 62.0, 63.5] + [None] * 37,
            "x was left out of the covariates: known for 3 training patients, fewer than 5.",
        ),
    ],
)
def test_what_teaches_nothing_is_left_out(cells, note):
    fitted = fit_covariates(pd.DataFrame({"x": cells}), ["x"])
    assert fitted == Covariates((), (note,))
    assert fitted.encode(pd.DataFrame({"x": cells}), []).shape == (40, 0)
    assert fitted.unknown.shape == fitted.owner.shape == (0,)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([None] * 40, "x: no training patient has a value"),
        (["[Not Available]", "NA", "", "unknown"] * 10, "x: no training patient has a value"),
        ([f"T{i}" for i in range(40)], "x: 40 different values in 40 training patients look like"),
        ([f"T{i % 70}" for i in range(700)], "x: 70 different values in 700 training patients"),
        (pd.date_range("2020-01-01", periods=40), "x: dates are no covariate"),
        (pd.to_timedelta(range(40), unit="D"), "x: dates are no covariate"),
        (["2001-02-03", "2001-02-04"] * 20, "x: dates are no covariate"),
        (["3/2/2001", None] * 20, "x: dates are no covariate"),
        ([pd.Timestamp("2020-01-01").date(), None] * 20, "x: dates are no covariate"),
    ],
)
def test_refused_columns(cells, message):
    with pytest.raises(InputError, match=message):
        fit_covariates(pd.DataFrame({"x": cells}), ["x"])


def test_a_column_that_is_not_there(train):
    with pytest.raises(InputError, match="no column 'age'"):
        fit_covariates(train, ["age"])


def test_new_patients_in_another_spelling(fitted):
    """Other names, other case, unknown levels, no number, another unit: told, and unknown."""
    new = pd.DataFrame(
        {
            "cancertype": ["lusc", "KIRC", "KIRC", "MESO", None],
            "Gender": ["1", 2.0, "male", None, 1],
            "age_at_diagnosis": ["57.5", "old", 21000, "60", None],
        }
    )
    notes: list[str] = []
    encoded = fitted.encode(new, notes)
    unknown_type, unknown_sex, unknown_age = [0, 0, 1], [0, 0, 1], [0, 1]
    z = (60 - np.mean(AGES)) / np.std(AGES)
    expected = [
        [0, 1, 0, 1, 0, 0, 0, 0],
        [*unknown_type, 0, 1, 0, *unknown_age],
        [*unknown_type, *unknown_sex, *unknown_age],
        [*unknown_type, *unknown_sex, z, 0],
        [*unknown_type, 1, 0, 0, *unknown_age],
    ]
    np.testing.assert_allclose(encoded, expected, rtol=1e-6)
    assert notes == [
        "Cancer Type counts as unknown for 2 of 5 samples: not seen in training ('KIRC').",
        "SEX was read from the column 'Gender'.",
        "SEX counts as unknown for 1 of 5 samples: not seen in training ('male').",
        "Age_At_Diagnosis counts as unknown for 1 of 5 samples: no number ('old').",
        "Age_At_Diagnosis counts as unknown for 1 of 5 samples: far from the 40 to 75 in training, "
        "check the unit ('21000').",
    ]


def test_absent_columns_are_unknown_for_everybody(train, fitted):
    notes: list[str] = []
    encoded = fitted.encode(train[["patient_id", "Cancer Type"]], notes)
    np.testing.assert_array_equal(encoded[0], [1, 0, 0, 0, 0, 1, 0, 1])
    np.testing.assert_array_equal(encoded[:, 3:], [fitted.unknown[3:]] * 40)
    assert notes == ["The samples have no SEX, Age_At_Diagnosis: unknown for everybody."]


def test_two_covariates_never_read_the_same_column(train):
    """With age and age_at_diagnosis as covariates, the absent one is not read as the other."""
    train["age"] = np.arange(40.0)
    fitted = fit_covariates(train, ["age", "Age_At_Diagnosis"])
    encoded = fitted.encode(train.drop(columns="age"), [])
    np.testing.assert_array_equal(encoded[:, :2], [[0, 1]] * 40)


def test_another_unit_within_reach_is_told(fitted):
    notes: list[str] = []
    encoded = fitted.encode(pd.DataFrame({"Age": [10.0, 12.0, 14.0, 50.0]}), notes)
    assert (
        "Age_At_Diagnosis: most numbers lie outside the 40 to 75 in training; check the unit."
        in (notes)
    )
    np.testing.assert_array_equal(encoded[:, 7], 0)


def test_json_round_trip(train, fitted):
    saved = json.loads(json.dumps(fitted.to_json()))
    again = Covariates.from_json(saved)
    assert again == fitted
    np.testing.assert_array_equal(again.encode(train, []), fitted.encode(train, []))
    for damaged in (
        {},
        {"columns": [{"kind": "other"}], "notes": []},
        {"columns": [3], "notes": []},
    ):
        with pytest.raises(InputError, match="not the covariates of a run"):
            Covariates.from_json(damaged)


def test_defaults_are_type_sex_and_age(train):
    taken, notes = choose_covariates(train, None)
    assert taken == ("Cancer Type", "SEX", "Age_At_Diagnosis")
    assert len(notes) == 1
    assert "Cancer Type, SEX, Age_At_Diagnosis" in notes[0]
    assert "--covariates none" in notes[0]


def test_defaults_prefer_the_first_spelling_and_leave_outcomes_and_labels(train):
    train["age"] = [f"{a % 50}" for a in range(40)]
    train["subtype"] = ["basal", "luminal"] * 20
    assert choose_covariates(train, None)[0] == ("Cancer Type", "SEX", "age")
    labels = train[["patient_id", "split", "stage", "os_event", "subtype", "batch"]]
    assert choose_covariates(labels, None) == ((), [])


def test_defaults_that_teach_nothing_are_told_and_not_refused(train):
    train["Cancer Type"], train["SEX"] = "LUAD", None
    taken, notes = choose_covariates(train, None)
    assert taken == ("Age_At_Diagnosis",)
    assert notes[1:] == [
        "Cancer Type was left out of the covariates: 'LUAD' for all training patients.",
        "Left out: SEX: no training patient has a value; leave it out of the covariates.",
    ]


def test_explicit_choice(train):
    assert choose_covariates(train, ("none",)) == ((), [])
    assert choose_covariates(train, ("None",)) == ((), [])
    assert choose_covariates(train, ("sex", "gender")) == (
        ("SEX",),
        ["Every model knows SEX."],
    )
    taken, notes = choose_covariates(train, ("BATCH", "Stage"))
    assert taken == ("batch", "stage")
    assert "predicts that from generated assays is circular" in notes[1]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("smoking", "no column 'smoking'; they have Cancer Type, SEX, Age_At_Diagnosis, stage, b"),
        ("Split", "keeps the books"),
        ("patient_id", "keeps the books"),
        ("os_event", "how the patient fared"),
        ("OS.time", "how the patient fared"),
        ("PFI", "how the patient fared"),
        ("Overall Survival (Months)", "how the patient fared"),
        ("vital_status.demographic", "how the patient fared"),
        ("days_to_death", "how the patient fared"),
        ("days_to_last_followup", "how the patient fared"),
        ("Disease Free (Months)", "how the patient fared"),
    ],
)
def test_refused_choices(train, wanted, message):
    with pytest.raises(InputError) as error:
        choose_covariates(train, ("sex", wanted))
    assert message in str(error.value)


def test_none_stands_alone(train):
    with pytest.raises(InputError, match="'none' cannot be joined"):
        choose_covariates(train, ("none", "sex"))


def test_counterfactuals(train, fitted):
    before = train.copy()
    changed = with_values(train, ["cancer_type=lusc", "sex = 2", "age=60"], fitted)
    encoded = fitted.encode(changed, [])
    z = (60 - np.mean(AGES)) / np.std(AGES)
    np.testing.assert_allclose(encoded, [[0, 1, 0, 0, 1, 0, z, 0]] * 40, rtol=1e-6)
    pd.testing.assert_frame_equal(train, before)
    hidden = fitted.encode(with_values(train, ["age=unknown"], fitted), [])
    np.testing.assert_array_equal(hidden[:, :6], fitted.encode(train, [])[:, :6])
    np.testing.assert_array_equal(hidden[:, 6:], [[0, 1]] * 40)


def test_counterfactual_of_a_column_the_samples_lack(train, fitted):
    """The setting is what counts, whatever spelling the table has."""
    new = pd.DataFrame({"sex": [1, 1]}, index=["a", "b"])
    notes: list[str] = []
    encoded = fitted.encode(with_values(new, ["SEX=2", "cancer type=LUAD"], fitted), notes)
    np.testing.assert_array_equal(encoded[:, :6], [[1, 0, 0, 0, 1, 0]] * 2)
    assert notes == ["The samples have no Age_At_Diagnosis: unknown for everybody."]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stage=I", "stage is no covariate of the models; they have Cancer Type, SEX, Age_At_D"),
        ("cancer_type=KIRC", "no training patient had it; known are LUAD, LUSC and unknown"),
        ("cancer_type=MESO", "too few training patients"),
        ("age=old", "a number like those of training is needed (40 to 75), or unknown"),
        ("age=21000", "a number like those of training is needed"),
        ("age=", "is not like cancer_type=LUSC"),
        ("LUSC", "is not like cancer_type=LUSC"),
        ("sex=2", "SEX is set twice"),
    ],
)
def test_refused_counterfactuals(train, fitted, setting, message):
    with pytest.raises(InputError) as error:
        with_values(train, ["SEX=1", setting], fitted)
    assert message in str(error.value)


def test_counterfactual_without_covariates(train):
    with pytest.raises(InputError, match="they have none at all"):
        with_values(train, ["sex=1"], Covariates())
