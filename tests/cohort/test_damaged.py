"""Cohorts damaged on their way: read to the same values, refused, or told; never silently other."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cohgen_jax.cohort import Cohort, load_cohort
from cohgen_jax.errors import InputError
from tests.cohort.damages import DAMAGES, STYLES, Files, cohort_files, tables_of, write

_FOLDERS = itertools.count()


def loaded(files: Files, place) -> Cohort | str:
    """The cohort, or why it was refused."""
    try:
        return load_cohort(write(files, place / f"cohort{next(_FOLDERS)}"), min_train=8)
    except InputError as error:
        return str(error)


def difference(cohort: Cohort, files: Files) -> str:
    """The first table that is not what was measured, in words; empty where all are."""
    for name in tables_of(files):
        if name not in cohort.tables:
            return f"{name} is not there"
        table, truth = cohort.tables[name], files[name].frame.dropna(how="all")
        if set(table.index) != set(truth.index) or set(table.columns) != set(truth.columns):
            return f"{name}: {list(table.index[:2])} x {list(table.columns[:2])}"
        if not np.allclose(table, truth.loc[table.index, table.columns], atol=1e-5, equal_nan=True):
            return f"{name}: other values"
    others = cohort.tables.keys() - set(tables_of(files))
    if others:
        return f"{others} were added"
    types = cohort.samples.get("cancer_type", pd.Series(dtype=object))
    facts = files["samples"].frame["cancer_type"]
    return "" if facts.reindex(types.index).equals(types) and len(types) else "facts differ"


def truth_of(style: str, seed: int) -> tuple[Files, Files]:
    """The same cohort twice: to be damaged, and to be compared with."""
    return cohort_files(style, seed), cohort_files(style, seed)


@pytest.mark.parametrize("style", STYLES)
def test_an_undamaged_cohort_is_read_as_it_is(style, tmp_path):
    files, truth = truth_of(style, 0)
    cohort = loaded(files, tmp_path)
    assert not isinstance(cohort, str), cohort
    assert difference(cohort, truth) == ""
    assert not any(".csv" in note for note in cohort.notes if "samples.csv" not in note)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("what", DAMAGES)
def test_one_damage(what, style, tmp_path):
    """What can be mended without a doubt is; the rest is refused or told by its file."""
    damage = DAMAGES[what]
    for seed, name in ((1, "rna"), (2, "rppa")):
        files, truth = truth_of(style, seed)
        damage.apply(files, name, np.random.default_rng(seed))
        cohort = loaded(files, tmp_path)
        if isinstance(cohort, str):
            ambiguous = what == "all_tables_across" and "--transpose" in cohort
            assert not damage.read or ambiguous, cohort
            assert name in cohort or ambiguous
        elif damage.read:
            assert difference(cohort, truth) == "", cohort.notes
        else:
            assert any(f"{name}." in note for note in cohort.notes), cohort.notes


def _check_damaged(place, style: str, seed: int, chosen: list[tuple[str, str]]) -> str:
    """What came of several damages of tables: "same", "refused" or "told"."""
    files, truth = truth_of(style, seed)
    rng = np.random.default_rng(seed)
    whole_cohort = loaded({n: dataclasses.replace(f) for n, f in files.items()}, place)
    assert not isinstance(whole_cohort, str), whole_cohort
    formed: set[str] = set()
    about_all = False
    for what, name in chosen:
        damage = DAMAGES[what]
        if damage.alone and (about_all or name in formed):
            continue
        formed |= {name} if damage.alone else set()
        about_all |= what.startswith(("all_", "row_numbers_in_front"))
        damage.apply(files, name, rng)
    cohort = loaded(files, place)
    if isinstance(cohort, str):
        return "refused"
    differs = difference(cohort, truth)
    if not differs:
        return "same"
    kept = all(DAMAGES[what].keeps for what, _ in chosen)
    assert not kept or differs.endswith("is not there"), (differs, cohort.notes)
    new = [note for note in cohort.notes if note not in whole_cohort.notes]
    assert any(f"{name}." in note for _, name in chosen for note in new), (differs, new)
    return "told"


_DAMAGED = {
    "style": st.sampled_from(sorted(STYLES)),
    "seed": st.integers(0, 1000),
    "chosen": st.lists(
        st.tuples(
            st.sampled_from(sorted(DAMAGES)), st.sampled_from(["rna", "mut", "meth", "rppa"])
        ),
        min_size=1,
        max_size=3,
    ),
}
_SETTINGS = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "phases": [Phase.explicit, Phase.generate],  # a smaller failing example takes too long to find
    "suppress_health_check": list(HealthCheck),
}


@settings(max_examples=60, **_SETTINGS)
@given(**_DAMAGED)
def test_damaged_cohorts(tmp_path, style, seed, chosen):
    _check_damaged(tmp_path, style, seed, chosen)


@pytest.mark.heavy
@settings(max_examples=300, **_SETTINGS)
@given(**_DAMAGED)
def test_many_damaged_cohorts(tmp_path, style, seed, chosen):
    _check_damaged(tmp_path, style, seed, chosen)
