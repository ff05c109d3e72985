"""What stands in a table and is no measurement: named, and left out where that is sure."""

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import load_cohort
from cohgen_jax.cohort.foreign import are_coordinates, is_row_number, without_foreign
from cohgen_jax.errors import InputError

RNG = np.random.default_rng(7)
N = 40
IDS = pd.Index([f"K{i:02d}" for i in range(N)], name="sample_id")


def _genes(num=24) -> pd.DataFrame:
    names = [f"GEN{chr(65 + i)}" for i in range(num)]
    return pd.DataFrame(RNG.gamma(2.0, 3.0, (N, num)), IDS, names)


def _kept(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    notes: list[str] = []
    return without_foreign("rna", table, notes), " ".join(notes)


def test_measurements_alone_are_left_alone():
    table = _genes().assign(MAX=1.5, TOTALLY=2.0, SUMO1=3.0, INDEX9=4.0)
    kept, notes = _kept(table)
    assert kept is table
    assert notes == ""


@pytest.mark.parametrize("name", ["Mean", "average", "TOTAL", "Std", "Median"])
def test_rows_that_sum_up_the_samples(name):
    table = _genes()
    kept, notes = _kept(pd.concat([table, table.mean().to_frame(name).T]))
    pd.testing.assert_frame_equal(kept, table, check_names=False)
    assert notes == f"rna: 1 rows sum up the others and were left out: {name}."


def test_a_row_called_max_is_one_if_it_is_the_maximum():
    table = _genes()
    kept, _ = _kept(pd.concat([table, table.max().to_frame("Max").T]))
    assert "Max" not in kept.index
    kept, _ = _kept(pd.concat([table, table.iloc[3].to_frame("Max").T]))
    assert "Max" in kept.index


@pytest.mark.parametrize(
    ("name", "how"),
    [("total", "sum"), ("row_mean", "mean"), ("MAX", "max"), ("sd", "std"), ("Median", "median")],
)
def test_features_that_sum_up_the_others(name, how):
    table = _genes(6)
    kept, notes = _kept(table.assign(**{name: getattr(table, how)(axis=1)}))
    pd.testing.assert_frame_equal(kept, table)
    assert f"summaries of the other features and were left out: {name}" in notes


def test_a_feature_called_total_that_is_none_is_named():
    kept, notes = _kept(_genes(6).assign(Total=RNG.normal(size=N)))
    assert "Total" in kept
    assert "1 features are called as summaries are (Total) and stay" in notes


def test_counters_and_features_without_a_name():
    names = {"__ambiguous": 3.0, "N_noFeature": 8.0, "Unassigned_NoFeatures": 1.0}
    table = _genes().assign(**names, **{"?|100130426": RNG.normal(size=N)})
    kept, notes = _kept(table)
    assert not {*names} & {*kept}
    assert "?|100130426" in kept
    assert "3 columns are what an aligner could not count and were left out: __ambiguous" in notes
    assert "without a name (?|100130426)" in notes


@pytest.mark.parametrize(
    "column",
    [
        "Label",
        "num_tiles",
        "n_patches",
        "age.at.diagnosis",
        "OS_MONTHS",
        "vital_status",
        "Sex",
        "Split",
        "Case_ID",
        "tumor_stage",
    ],
)
def test_labels_beside_many_features_or_coordinates(column):
    extra = {column: RNG.integers(0, 90, N).astype(float)}
    coordinates = pd.DataFrame(RNG.normal(size=(N, 5)), IDS).add_prefix("feat_")
    for table in (_genes(), coordinates):
        kept, notes = _kept(table.assign(**extra))
        pd.testing.assert_frame_equal(kept, table)
        assert f"1 columns are labels rather than measurements and were left out: {column}" in notes
    few = _genes(5).assign(**extra)
    kept, notes = _kept(few)
    pd.testing.assert_frame_equal(kept, few)
    assert f"1 features are called as labels are ({column}) and stay" in notes


def test_row_numbers_in_any_order():
    table = _genes(5)
    for numbers in (np.arange(N), RNG.permutation(N) + 1):
        kept, notes = _kept(table.assign(nr=numbers.astype(float)))
        pd.testing.assert_frame_equal(kept, table)
        assert "1 columns are row numbers and were left out: nr" in notes
    gaps = np.sort(RNG.permutation(300)[:N]).astype(float)
    assert "Unnamed: 0" not in _kept(table.assign(**{"Unnamed: 0": gaps}))[0]
    assert "dose" in _kept(table.assign(dose=gaps))[0]
    assert not is_row_number(np.array([0.0, 1.0, 2.0]))
    assert not is_row_number(np.array([*range(12), np.nan]))


def test_a_table_of_ranks_is_no_table_of_row_numbers():
    ranks = _genes(5).rank()
    kept, notes = _kept(ranks)
    assert kept is ranks
    assert notes == ""


def test_what_coordinates_are_called():
    assert are_coordinates(["0", "1", "2", "3"])
    assert are_coordinates([f"uni_emb_{i}" for i in range(9)])
    assert not are_coordinates([f"miR-{i}" for i in range(9)])
    assert not are_coordinates(["0", "1"])


def test_features_that_a_run_knows_are_spared():
    table = _genes().assign(label=RNG.normal(size=N), __ambiguous=1.0)
    notes: list[str] = []
    kept = without_foreign("rna", table, notes, needed=table.columns)
    assert kept is table
    assert notes == []


def test_labels_of_a_table_never_reach_a_cohort(tables, write):
    plain = load_cohort(write(tables))
    rna = tables["rna"].add_suffix("").rename(columns=lambda c: c.removeprefix("rna_"))
    rna.insert(0, "slide_label", np.tile([0, 1], 100))
    rna.insert(0, "target", np.tile([0, 1], 100))
    tables["rna"] = rna
    cohort = load_cohort(write(tables, "csv"))
    assert list(cohort.tables["rna"].columns) == ["slide_label", *map(str, range(12))]
    assert any("left out: target" in note for note in cohort.notes)
    assert any("slide_label (binary)" in note for note in cohort.notes), "named, as another kind"
    np.testing.assert_array_equal(cohort.tables["rna"].iloc[:, 1:], plain.tables["rna"])


# ---- copies -----------------------------------------------------------------------------------


def test_a_copy_is_left_out_unless_named(tables, write):
    plain = load_cohort(write(tables))
    tables["rna copy"] = tables["rna"].iloc[::-1, ::-1].iloc[:150]
    folder = write(tables, "csv")
    cohort = load_cohort(folder)
    assert cohort.modalities == plain.modalities
    assert "rna copy was left out: it holds the same values as rna." in cohort.notes
    with pytest.raises(InputError, match=r"rna copy holds 12 of the 12 features of rna once more"):
        load_cohort(folder, modalities=["rna", "cna", "rna copy"])


def test_a_table_in_another_unit_is_refused(tables, write):
    tables["tpm"] = np.exp(tables["rna"].iloc[:, :7]).add_prefix("t")
    with pytest.raises(InputError, match=r"tpm holds 7 of the 7 .*\(trna_0 as rna_0, "):
        load_cohort(write(tables))


@pytest.mark.parametrize("slope", [2, -2])
def test_a_feature_in_two_tables_is_told(tables, write, slope):
    tables["rppa"]["of_rna"] = 3 + slope * tables["rna"]["rna_4"]
    notes = " ".join(load_cohort(write(tables)).notes)
    assert "1 features of rppa order the samples as features of rna do (of_rna as rna_4)" in notes


def test_samples_that_are_copies_are_told(tables, write):
    rna = pd.DataFrame(RNG.normal(size=(200, 12)), tables["rna"].index).add_prefix("g")
    rna.iloc[150] = rna.iloc[20]
    tables["rna"] = rna
    (note,) = [n for n in load_cohort(write(tables)).notes if "exactly the values" in n]
    assert note.startswith("rna: 1 samples have exactly the values of another one (P150 as P020)")


# ---- names that are needed --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("mir", "mir_low", "cna"), "'mir' and 'mir_low': the completed tables of the first"),
        (("mir", "mir_sd", "cna"), "'mir' and 'mir_sd'"),
        (("Disagreement", "rna", "cna"), "'Disagreement' has the name of a file"),
        (("covariates", "rna", "cna"), "'covariates' has the name of a file"),
        (("a", "a_from_b", "b_from_b"), None),
        (("a", "b", "a_from_b", "c", "b_from_c"), "two models would be called a_from_b_from_c"),
    ],
)
def test_modalities_whose_files_would_collide(names, message, write):
    made = {n: pd.DataFrame(RNG.normal(size=(200, 9))).add_prefix("f") for n in names}
    made = {n: t.set_axis([f"P{i}" for i in range(200)], axis=0) for n, t in made.items()}
    folder = write(made)
    if message is None:
        assert load_cohort(folder).modalities == tuple(sorted(names))
        return
    with pytest.raises(InputError, match=message):
        load_cohort(folder)


@pytest.mark.parametrize("name", ["gene/protein", ".hidden", ""])
def test_modalities_that_can_be_no_file(name, tables):
    from cohgen_jax.cohort.names import check_names

    with pytest.raises(InputError, match="cannot be the name of a file"):
        check_names({name: tables["rna"], "cna": tables["cna"]})


@pytest.mark.parametrize("feature", ["draw", "sample_id", "patient_id"])
def test_features_that_generated_tables_need(feature, tables):
    from cohgen_jax.cohort.names import check_names

    with pytest.raises(InputError, match=f"rna has a feature called '{feature}'"):
        check_names({"rna": tables["rna"].rename(columns={"rna_3": feature})})
