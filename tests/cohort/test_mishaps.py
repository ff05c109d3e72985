"""A damaged cohort is read to the same values, refused, or told of: never silently another one."""

import dataclasses
import functools
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from cohgen_jax.cohort import Cohort
from cohgen_jax.errors import InputError
from tests.cohort.mishaps import IDS, MISHAPS, differences, draft, load, silent, torn_patients

Seeded = tuple[int, str, bool, bool]
"""The arguments of `draft`."""
COHORTS = st.tuples(st.integers(0, 999), st.sampled_from(sorted(IDS)), st.booleans(), st.booleans())
MENDED = (
    *("row numbers before the ids of one table", "row numbers before the ids of clinical"),
    *("row numbers before the ids of all tables, ids called otherwise", "one table transposed"),
    *("all tables transposed", "rows that end with a separator", "ids behind the values"),
    *("all lines end with a separator", "another separator than the suffix says"),
    *("clinical with semicolons", "decimal comma", "a byte-order mark", "UTF-16", "a GCT file"),
    *("lines of Windows and empty lines at the end", "comments above the header"),
    *("a title above the header", "a header that is one name short", "quotes around all cells"),
    *("fields separated by blanks, as R writes them", "a folder of Parquet parts"),
    *("a suffix .txt", "a suffix in upper case", "spaces around ids"),
)
"""Mishaps after which all is still there, in one reading."""
TWO = st.lists(st.sampled_from(sorted(MISHAPS)), min_size=2, max_size=2, unique=True)


def settings(examples: int):
    return hypothesis.settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


@functools.cache
def whole(cohort: Seeded) -> Cohort:
    with tempfile.TemporaryDirectory() as place:
        return load(draft(*cohort).write(Path(place) / "cohort"))


def silently_different(cohort: Seeded, mishaps: list[str]) -> list[str]:
    """What is another than in the whole cohort, and told by nobody."""
    damaged = draft(*cohort)
    for k, name in enumerate(mishaps):
        MISHAPS[name](damaged, np.random.default_rng([cohort[0], k]))
    with tempfile.TemporaryDirectory() as place:
        try:
            found = load(damaged.write(Path(place) / "cohort"))
        except InputError:
            return []
    torn = [f"{patient} is on two sides of the split" for patient in torn_patients(found)]
    return [*silent(found, whole(cohort), damaged.instead), *torn]


def seeded(k: int) -> Seeded:
    return (k % 4, sorted(IDS)[k % 4], k % 3 == 0, k % 2 == 0)


@pytest.mark.parametrize("k", range(8))
def test_a_whole_cohort_is_read_as_it_was_written(k):
    wanted, found = draft(*seeded(k)), whole(seeded(k))
    assert set(found.modalities) == set(wanted.files)
    for name, file in wanted.files.items():
        table = found.tables[name].loc[file.table.index, file.table.columns]
        np.testing.assert_allclose(table, file.table, rtol=1e-6, equal_nan=True)
    assert found.kinds == {
        "rna": "continuous",
        "cna": "continuous",
        "mut": "binary",
        "rppa": "continuous",
    }
    facts = wanted.facts.table.loc[found.samples.index]
    for label in facts:
        assert found.samples[label].fillna("").tolist() == facts[label].fillna("").tolist()


@pytest.mark.parametrize("what", MISHAPS)
def test_a_mishap(what):
    assert silently_different(seeded(list(MISHAPS).index(what)), [what]) == []


@pytest.mark.parametrize("what", MENDED)
@pytest.mark.parametrize("cohort", [seeded(k) for k in range(4)])
def test_a_mishap_that_leaves_no_doubt_is_mended(what, cohort):
    """Neither refused nor told alone: the values are those of the whole cohort."""
    damaged = draft(*cohort)
    MISHAPS[what](damaged, np.random.default_rng(cohort[0]))
    with tempfile.TemporaryDirectory() as place:
        found = load(damaged.write(Path(place) / "cohort"))
    assert differences(found, whole(cohort)) == {}


@settings(30)
@hypothesis.given(COHORTS, TWO)
def test_two_mishaps(cohort, mishaps):
    assert silently_different(cohort, mishaps) == []


@pytest.mark.heavy
@pytest.mark.parametrize("what", MISHAPS)
@settings(4)
@hypothesis.given(COHORTS)
def test_a_mishap_of_many_cohorts(what, cohort):
    assert silently_different(cohort, [what]) == []


@pytest.mark.heavy
@settings(200)
@hypothesis.given(COHORTS, TWO)
def test_two_mishaps_of_many_cohorts(cohort, mishaps):
    assert silently_different(cohort, mishaps) == []


def test_what_nobody_tells_is_found():
    """The judge of the tests above, on cohorts that differ without a word."""
    truth = whole(seeded(0))

    def judged(**changes) -> list[str]:
        return silent(dataclasses.replace(truth, **changes), truth, {})

    def table(name: str, change) -> dict[str, pd.DataFrame]:
        return {**truth.tables, name: change(truth.tables[name].copy())}

    assert judged() == []
    assert judged(tables=table("cna", lambda t: t + 0.01)) == ["cna has other values"]
    assert judged(tables=table("cna", lambda t: t.iloc[:-1])) == [
        "cna has other samples (36, not 37)"
    ]
    shifted = table("rna", lambda t: t.set_axis(np.roll(t.columns, 1), axis=1))
    assert judged(tables=shifted) == ["rna has other values"]
    strangers = table("rppa", lambda t: t.set_axis(np.roll(t.index, 1), axis=0))
    assert judged(tables=strangers) == ["rppa has other values"]
    kept = {m: t for m, t in truth.tables.items() if m != "mut"}
    lost = {"tables": kept, "modalities": tuple(kept)}
    assert judged(**lost) == ["mut is not there"]
    assert judged(**lost, notes=("The split was drawn of rna, cna and mut.",)) == [
        "mut is not there"
    ]
    assert judged(**lost, notes=("mut.csv.gz was not read.",)) == []
    months = truth.samples.assign(os_days=truth.samples["os_days"] / 30.4)
    assert judged(samples=months) == ["os_days has other values"]
    assert differences(truth, truth) == {}
    twice = truth.samples.rename(index={truth.samples.index[0]: truth.samples.index[1].lower()})
    sides = ["train", "test", *twice["split"].iloc[2:]]
    torn = dataclasses.replace(truth, tables={}, modalities=(), samples=twice.assign(split=sides))
    assert len(torn_patients(torn)) == 1
    assert torn_patients(truth) == []
