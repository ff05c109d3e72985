"""What kind of values a table holds, told from them or said, and what it keeps out."""

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import load_cohort, save_cohort
from cohgen_jax.cohort.kinds import (
    KINDS,
    MAX_MISSING,
    allowed,
    check_kind,
    kind_of,
    kind_of_table,
    kinds_of_features,
    nearest_allowed,
    parse_kinds,
)
from cohgen_jax.errors import InputError

RNG = np.random.default_rng(0)
N = 90
IDS = pd.Index([f"P{i:03d}" for i in range(N)], name="sample_id")
TABLES = {
    "continuous": RNG.normal(size=(N, 5)),
    "counts": RNG.poisson(np.exp(RNG.normal(1, 1, (N, 5)))),
    "binary": RNG.random((N, 5)) < 0.2,
    "fraction": RNG.beta(0.5, 0.5, (N, 5)),
    "ordinal": RNG.integers(-2, 3, (N, 5)),
}


def frame(values, name="f"):
    return pd.DataFrame(np.asarray(values, np.float32), IDS[: len(values)]).rename(
        columns=lambda i: f"{name}{i}"
    )


def holed(values, share=0.4):
    return np.where(np.random.default_rng(1).random(values.shape) < share, np.nan, values)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_told_from_the_known_values(kind):
    values = TABLES[kind].astype(np.float32)
    assert kind_of(values) == kind
    assert kind_of(holed(values)) == kind_of_table(frame(values)) == kind
    assert allowed(holed(values), kind).all()
    np.testing.assert_array_equal(nearest_allowed(values, [kind] * 5), values)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([np.nan, np.nan], "continuous"),
        ([0, 1, 2, 3], "ordinal"),  # grades, rather than counts
        (range(8), "counts"),
        (range(-1, 8), "ordinal"),
        ([0, 0.5, 1.0001], "continuous"),
        ([0, -0.001, 1], "continuous"),
        ([1, 1, 1], "binary"),
    ],
)
def test_the_narrowest_kind_is_chosen(values, kind):
    assert kind_of(np.array(values, np.float32)) == kind


def test_features_of_whole_numbers_among_others_are_their_own():
    table = frame(TABLES["continuous"]).assign(mutated=TABLES["binary"][:, 0].astype(np.float32))
    assert kinds_of_features(table, "continuous") == ["continuous"] * 5 + ["binary"]
    counts = frame(np.minimum(TABLES["counts"], 1))  # a quiet gene is still counted
    assert kinds_of_features(counts, "counts") == ["counts"] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_generated_is_brought_to_the_kind(kind):
    wild = np.random.default_rng(2).normal(0, 3, (50, 2)).astype(np.float32)
    near = nearest_allowed(wild, [kind, kind])
    assert allowed(near, kind).all()
    inside = allowed(wild, kind)
    np.testing.assert_array_equal(near[inside], wild[inside])


def test_settings_are_checked(tmp_path):
    assert parse_kinds(["mut=binary"], ["mut"]) == {"mut": "binary"}
    with pytest.raises(InputError, match="'mut' is not MODALITY=KIND; kinds: continuous, counts"):
        parse_kinds(["mut"], ["mut"])
    with pytest.raises(InputError, match="unknown modality 'rna'; there are mut"):
        parse_kinds(["rna=counts"], ["mut"])
    table = frame(TABLES["binary"])
    table.iloc[7, 2] = 2
    with pytest.raises(
        InputError, match=r"mut cannot be of kind binary: column 'f2', row 'P007' is 2 \(1 such"
    ):
        check_kind("mut", table, "binary")


def test_a_cohort_says_and_keeps_its_kinds(tmp_path):
    """Tables of all kinds, one of them with a 0/1 column, another most of whose cells are holes."""
    (tmp_path / "in").mkdir()
    for kind, values in TABLES.items():
        table = frame(values, kind)
        if kind == "fraction":
            table["grade"] = TABLES["ordinal"][:, 0].astype(np.float32)
        if kind == "binary":
            table = table.where(np.random.default_rng(3).random(table.shape) < 0.25)
            table["binary0"] = table["binary0"].where(np.arange(N) < 5)
        table.to_csv(tmp_path / "in" / f"{kind}s.csv")
    cohort = load_cohort(tmp_path / "in", kinds=["countss=continuous"], min_train=10)
    assert cohort.kinds == {f"{k}s": k for k in KINDS} | {"countss": "continuous"}
    notes = " ".join(cohort.notes)
    assert "Kinds of values: continuous: continuouss, countss; binary: binarys;" in notes
    assert "fractions: 1 features are of another kind: grade (ordinal)" in notes
    # Three in four unknown are few enough for mutations, 85 of 90 are too many.
    assert list(cohort.tables["binarys"]) == [f"binary{i}" for i in range(1, 5)]
    assert MAX_MISSING["binary"] > 0.75 > MAX_MISSING["continuous"]
    save_cohort(cohort, tmp_path / "kept")
    assert load_cohort(tmp_path / "kept", min_train=10).kinds == cohort.kinds
    with pytest.raises(InputError, match=r"countss cannot be of kind fraction: column 'counts"):
        load_cohort(tmp_path / "in", kinds=["countss=fraction"])
