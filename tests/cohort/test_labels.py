"""Labels and survival in the spellings that files have, one table of them for all readers."""

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import load_cohort, stage_number
from cohgen_jax.cohort.covariates import fit_covariates
from cohgen_jax.cohort.spellings import columns_called, duration, event, is_missing, stage_of
from cohgen_jax.errors import InputError
from data_prep.clinical import merge_survival
from data_prep.clinical import stage_number as stage_in_preparation

NAN = np.nan


@pytest.fixture
def said(tables, write):
    """The samples, and all that is said of them, of a cohort with these facts [200]."""

    def load(**columns):
        ids = tables["clinical"].index
        tables["clinical"] = pd.DataFrame(columns, index=ids, dtype=object).map(
            lambda c: None if c is None else str(c)
        )
        cohort = load_cohort(write(tables, "csv"))
        return cohort.samples, " ".join(cohort.notes)

    return load


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("1:DECEASED", 1),
        ("0:LIVING", 0),
        ("0 : Alive", 0),
        ("1=dead", 1),
        ("Death", 1),
        ("n", 0),
        (1, 1),
        ("0:DECEASED", "0:DECEASED"),
        ("moved away", "moved away"),
    ],
)
def test_words_for_death(cell, expected):
    assert event(cell) == expected


@pytest.mark.parametrize(
    ("cell", "stage"),
    [
        ("Stage 0", 1),
        ("0is", 1),
        ("STAGE IS", 1),
        ("stage_iib", 2),
        ("FIGO stage IIIC2", 3),
        ("IVA", 4),
        ("3.0", 3),
        ("Indeterminate", NAN),
        ("Stage X", NAN),
        ("pT2", NAN),
        ("[Not Available]", NAN),
        (5, NAN),
        (11, NAN),
    ],
)
def test_a_stage_is_the_same_wherever_it_is_read(cell, stage):
    cells = pd.Series([cell], dtype=object)
    for read in (stage_number, stage_in_preparation):
        np.testing.assert_array_equal(read(cells), [stage])
    np.testing.assert_array_equal(stage_of(cell), stage)


@pytest.mark.parametrize(
    "cell", ["NA", " n/a", "[Unknown]", "--", "'--", "<not reported>", "not_applicable", None, NAN]
)
def test_words_for_nothing(cell):
    assert is_missing(cell)


@pytest.mark.parametrize("cell", ["none", "0", 0, False, "no", "I", "NAT"])
def test_what_is_something(cell):
    assert not is_missing(cell)


@pytest.mark.parametrize(
    ("cell", "days"),
    [
        ("12 months", 365.25),
        ("1,234 d", 1234),
        ("2.5 yrs", 913.125),
        ("88", 88),
        ("3,5", "3,5"),
        ("12,34", "12,34"),
        ("soon", "soon"),
        (7.5, 7.5),
    ],
)
def test_durations(cell, days):
    assert duration(cell) == days


def test_the_preferred_column_comes_first():
    columns = ["vital_status.demographic", "OS", "Os_Event", "os_event"]
    assert columns_called("os_event", columns) == ["os_event", "Os_Event", *columns[1::-1]]


@pytest.mark.parametrize(
    ("names", "factor"),
    [
        (("OS_STATUS", "OS_MONTHS"), 30.4375),
        (("Overall Survival Status", "Overall Survival (Months)"), 30.4375),
        (("vital_status", "OS years"), 365.25),
        (("os", "OS.time"), 1),
        (("OS_Event", "os_days"), 1),
    ],
)
def test_survival_in_its_usual_columns(said, names, factor):
    time = np.round(np.random.default_rng(0).uniform(1, 900, 200), 1)
    died = ["1:DECEASED", "0:LIVING", "[Not Available]", "Dead"] * 50
    samples, notes = said(**{names[0]: died, names[1]: time})
    np.testing.assert_array_equal(samples["os_event"], np.array([1, 0, NAN, 1] * 50, np.float32))
    np.testing.assert_allclose(samples["os_days"], time * factor, rtol=1e-6)
    for name, label in zip(names, ("os_event", "os_days"), strict=True):
        assert (name == label) or f"{label} from {name}" in notes
    assert not {*names} - {"os_days"} & set(samples)


def test_days_to_death_and_to_the_last_time_seen(said):
    samples, notes = said(
        vital_status=["Dead", "Alive"] * 100,
        days_to_death=[400, "'--"] * 100,
        days_to_last_followup=[None, 1300] * 100,
    )
    np.testing.assert_array_equal(samples["os_days"], [400, 1300] * 100)
    assert "days_to_death and, where that is not known, days_to_last_followup" in notes


def test_codes_and_words_among_days(said):
    days = ["[Not Available]", "-999", "3 years", "1,461", *range(4, 200)]
    samples, notes = said(os_event=[0, 1, -9999, "NA"] * 50, os_days=days)
    np.testing.assert_array_equal(samples["os_days"].iloc[:5], [NAN, NAN, 1095.75, 1461, 4])
    np.testing.assert_array_equal(samples["os_event"].iloc[:4], [0, 1, NAN, NAN])
    assert "os_days: 1 cells hold -999 and count as missing" in notes
    assert "os_event: 50 cells hold -9999 and count as missing" in notes


def test_days_that_look_like_months_are_told(said):
    _, notes = said(os_event=[0, 1] * 100, os_days=np.linspace(0.5, 140, 200))
    assert "os_days is read as days, of which the longest are 140" in notes
    _, notes = said(os_event=[0, 1] * 100, os_days=np.linspace(9, 4000, 200))
    assert "is read as days" not in notes


def test_infinite_days_are_refused(said):
    with pytest.raises(InputError, match=r"os_days: must be days, not negative; 1 cells .*'inf'"):
        said(os_event=[0, 1] * 100, os_days=["inf", *range(199)])


def test_a_contradiction_is_no_event(said):
    samples, notes = said(OS_STATUS=["0:DECEASED", "1:LIVING"] * 100)
    assert "os_event" not in samples
    assert "OS_STATUS was not read as os_event" in notes


@pytest.mark.parametrize("name", ["Split", "DATA_SPLIT", "data split"])
def test_the_split_in_any_case_and_spelling(said, name):
    given = ["Train"] * 120 + ["dev"] * 30 + ["TEST "] * 50
    samples, notes = said(**{name: given})
    assert samples["split"].value_counts().to_dict() == {"train": 120, "test": 50, "val": 30}
    assert f"split from {name}" in notes


def test_a_split_of_another_kind_keeps_its_name(said):
    samples, notes = said(Split=[k % 5 for k in range(200)])
    assert set(samples["split"]) == {"train", "val", "test"}
    assert "Split was not read as split, for '0' is none of train, val, test" in notes


@pytest.mark.parametrize(
    "name", ["AJCC_PATHOLOGIC_TUMOR_STAGE", "ajcc_pathologic_stage.diagnoses", "Tumor Stage"]
)
def test_stage_and_type_in_other_columns(said, name):
    samples, notes = said(
        **{name: ["Stage IA", "STAGE IIIB"] * 100, "Cancer Type": ["a", "b"] * 100}
    )
    np.testing.assert_array_equal(stage_number(samples["stage"]), [1, 3] * 100)
    assert set(samples["cancer_type"]) == {"a", "b"}
    assert f"cancer_type from Cancer Type, stage from {name}" in notes


def test_a_column_of_no_stages_is_none(said):
    samples, notes = said(tumor_stage=["early", "late"] * 100)
    assert "stage" not in samples
    assert "tumor_stage was not read as stage, for most of it is no stage" in notes


def test_codes_of_an_unknown_age_do_not_count():
    ages = [float(a) for a in range(41, 79)]
    train = pd.DataFrame({"Age": [*ages, 999.0, -9999.0]})
    fitted = fit_covariates(train, ["Age"])
    (age,) = fitted.columns
    assert (age.mean, age.low, age.high) == (np.mean(ages), 41, 78)
    assert fitted.notes == ("Age: 2 cells hold -9999, 999 and count as unknown.",)
    np.testing.assert_array_equal(fitted.encode(train, [])[-2:], [[0, 1]] * 2)


def test_the_preparation_reads_the_same_words():
    survival = merge_survival(
        {
            "BRCA": pd.DataFrame(
                {
                    "sample": ["tcga.a1.a0sb.01a", "TCGA-A1-A0SD-01A", "TCGA-A1-A0SE-01A"],
                    "OS": ["1:DECEASED", "0:LIVING", "'--"],
                    "OS.time": ["14", "1,001", "[Not Available]"],
                }
            )
        }
    )
    assert list(survival.index) == ["TCGA-A1-A0SB-01A", "TCGA-A1-A0SD-01A"]
    np.testing.assert_array_equal(survival, [[1, 14], [0, 1001]])
