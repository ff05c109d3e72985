"""From a folder of tables to a cohort and back, and each way the folder can be wrong."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import Cohort, load_cohort, read_tables, save_cohort
from cohgen_jax.errors import InputError

DATA = Path(os.environ.get("COHGEN_DATA", Path(__file__).parents[2] / "../shared/data"))


def assert_same(a: Cohort, b: Cohort) -> None:
    assert a.modalities == b.modalities
    for modality in a.modalities:
        pd.testing.assert_frame_equal(a.tables[modality], b.tables[modality])
    pd.testing.assert_frame_equal(a.samples, b.samples, check_dtype=False)


def test_labels_have_their_usual_names(tables, write):
    cohort = load_cohort(write(tables))
    columns = ["patient_id", "split", "cancer_type", "stage", "os_event", "os_days"]
    assert list(cohort.samples.columns) == columns
    assert set(cohort.samples["cancer_type"]) == {"LUAD", "BRCA"}
    assert cohort.modalities == ("cna", "rna", "rppa")
    assert cohort.present.shape == (200, 3)
    assert cohort.present[:, 2].sum() == 160


def test_absent_rows_and_missing_cells_stay_apart(tables, write):
    tables["rna"].iloc[0, 3] = np.nan
    tables["rna"].iloc[1] = np.nan
    cohort = load_cohort(write(tables))
    assert not cohort.present[1, 1]
    assert "P001" not in cohort.tables["rna"].index
    assert cohort.present[0, 1]
    assert np.isnan(cohort.tables["rna"].loc["P000", "rna_3"])
    assert any("rna: 1 rows without a value" in note for note in cohort.notes)
    assert np.isnan(cohort.values("rna")[1]).all()
    np.testing.assert_array_equal(cohort.values("rna")[2], tables["rna"].loc["P002"])


@pytest.mark.parametrize("form", ["csv", "tsv", "csv.gz", "tsv.gz"])
def test_all_forms_give_the_same_cohort(tables, write, form):
    assert_same(load_cohort(write(tables, form)), load_cohort(write(tables)))


def test_the_order_of_rows_does_not_matter(tables, write, tmp_path):
    cohort = load_cohort(write(tables))
    shuffled = {name: t.sample(frac=1.0, random_state=3) for name, t in tables.items()}
    assert_same(load_cohort(write(shuffled, "csv")), cohort)
    assert not (
        load_cohort(write(tables), seed=1).samples["split"] == cohort.samples["split"]
    ).all()


def test_saved_cohort_loads_unchanged(tables, write, tmp_path):
    cohort = load_cohort(write(tables), modalities=["rppa", "rna", "cna"])
    save_cohort(cohort, tmp_path / "saved")
    again = load_cohort(tmp_path / "saved")
    assert_same(again, cohort)
    assert again.name == cohort.name
    assert set(cohort.notes) < set(again.notes)
    save_cohort(again, tmp_path / "saved")  # writing over a saved cohort is allowed
    assert load_cohort(tmp_path / "saved").notes == again.notes


def test_a_cohort_that_was_not_saved_to_its_end_is_refused(tables, write, tmp_path, monkeypatch):
    cohort = load_cohort(write(tables))
    save_cohort(cohort, tmp_path / "saved")

    def full(self, path, *more):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_parquet", full)
        with pytest.raises(OSError, match="full"):
            save_cohort(cohort, tmp_path / "saved")
    with pytest.raises(InputError, match="was not written to its end"):
        load_cohort(tmp_path / "saved")
    save_cohort(cohort, tmp_path / "saved")
    assert_same(load_cohort(tmp_path / "saved"), cohort)


def test_saving_never_overwrites_other_files(tables, write):
    folder = write(tables)
    with pytest.raises(InputError, match="no saved cohort"):
        save_cohort(load_cohort(folder), folder)


def test_subset_and_table_keep_order(tables, write):
    cohort = load_cohort(write(tables))
    ids = ["P010", "P003", "P150"]
    some = cohort.subset(ids)
    assert list(some.samples.index) == ids
    assert list(some.table("rna").index) == ids
    np.testing.assert_array_equal(some.present, cohort.present[[10, 3, 150]])
    sides = [len(cohort.rows(s)) for s in ("train", "val", "test")]
    assert sum(sides) == 200
    assert list(cohort.table("cna", "val").index) == list(cohort.samples.index[cohort.rows("val")])
    with pytest.raises(InputError, match="unknown split 'dev'"):
        cohort.rows("dev")
    with pytest.raises(InputError, match="unknown modality 'mri'; known: cna, rna, rppa"):
        cohort.table("mri")


# ---- facts about samples ----------------------------------------------------------------------


def test_patients_of_tcga_barcodes(tables, write):
    barcodes = [f"TCGA-AB-{i // 2:04d}-0{1 + i % 2}" for i in range(200)]
    rename = dict(zip(tables["clinical"].index, barcodes, strict=True))
    for name in ("rna", "cna", "rppa"):
        tables[name] = tables[name].rename(index=rename)
    by_patient = tables["clinical"].iloc[::2]
    tables["clinical"] = by_patient.set_axis([b[:12] for b in barcodes[::2]], axis=0)
    cohort = load_cohort(write(tables))
    assert cohort.samples.loc["TCGA-AB-0003-02", "patient_id"] == "TCGA-AB-0003"
    assert cohort.samples["cancer_type"].notna().all()
    assert (cohort.samples.groupby("patient_id")["split"].nunique() == 1).all()


def test_patient_column_wins_and_is_filled(tables, write):
    tables["clinical"]["patient_id"] = [f"pat{i // 4}" if i < 100 else None for i in range(200)]
    cohort = load_cohort(write(tables))
    assert cohort.samples.loc["P007", "patient_id"] == "pat1"
    assert cohort.samples.loc["P150", "patient_id"] == "P150"


def test_samples_file_is_preferred_and_partial_facts_are_told(tables, write):
    tables["samples"] = tables["clinical"].iloc[:190].rename(index={"P000": "stranger"})
    cohort = load_cohort(write(tables))
    notes = " ".join(cohort.notes)
    assert "clinical.parquet was not read: samples.parquet was" in notes
    assert "11 samples have no row in samples.parquet" in notes
    assert "1 rows of samples.parquet belong to no sample" in notes


def test_no_facts_at_all(tables, write):
    del tables["clinical"]
    cohort = load_cohort(write(tables))
    assert list(cohort.samples.columns) == ["patient_id", "split"]
    assert any("which has no cancer_type" in note for note in cohort.notes)


def test_facts_of_other_samples_are_refused(tables, write):
    tables["clinical"].index = [f"X{i}" for i in range(200)]
    with pytest.raises(InputError, match=r"clinical\.parquet has none of the samples.*'X0'"):
        load_cohort(write(tables))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("os_event", "maybe", r"os_event: must be 0 \(alive\) or 1.*'P002' \('maybe'\)"),
        ("OS_event", 2, r"os_event: must be 0 \(alive\) or 1"),
        ("OS.time", -3, "os_days: must be days, not negative"),
    ],
)
def test_bad_survival_is_named(tables, write, column, value, message):
    tables["clinical"] = tables["clinical"].rename(columns={"OS": "os_event"})
    if column == "OS_event":
        tables["clinical"] = tables["clinical"].rename(columns={"os_event": "OS_event"})
    tables["clinical"][column] = tables["clinical"][column].astype(object)
    tables["clinical"].loc["P002", column] = value
    with pytest.raises(InputError, match=message):
        load_cohort(write(tables, "csv"))


@pytest.mark.parametrize(
    "cells",
    [
        [0, 1],
        ["0", "1.0"],
        [False, True],
        ["False", "TRUE"],
        ["alive", "dead"],
        ["Living", " Deceased "],
        ["no", 1],
    ],
)
@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_os_is_the_event_where_it_says_yes_or_no(tables, write, cells, form):
    tables["clinical"]["OS"] = pd.Series(
        [*cells, None, *cells, cells[1]] * 33 + cells, index=tables["clinical"].index, dtype=object
    )
    if form == "parquet":  # which knows no column of several types
        tables["clinical"]["OS"] = tables["clinical"]["OS"].map(str, na_action="ignore")
    cohort = load_cohort(write(tables, form))
    expected = [0, 1, np.nan, 0, 1, 1] * 33 + [0, 1]
    np.testing.assert_array_equal(cohort.samples["os_event"], np.array(expected, np.float32))
    assert "OS" not in cohort.samples


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        ([6.25, 0.0], "6.25"),  # years
        ([1, 2], "2"),  # codes of somebody
        (["0", "lost"], "lost"),
        ([1, -1], "-1"),
        (["yes", "2001-02-03"], "2001-02-03"),
    ],
)
def test_an_os_of_another_kind_keeps_its_name(tables, write, cells, shown):
    tables["clinical"]["OS"] = cells * 100
    cohort = load_cohort(write(tables))
    assert "os_event" not in cohort.samples
    assert list(cohort.samples["OS"]) == cells * 100
    (note,) = [note for note in cohort.notes if "os_event" in note]
    assert note.startswith("clinical.parquet: OS was not read as os_event")
    assert f"'{shown}'" in note
    assert {"os_days", "stage"} < set(cohort.samples)


def test_os_event_is_read_beside_an_os_in_years(tables, write):
    tables["clinical"] = tables["clinical"].rename(columns={"OS": "OS_event"})
    tables["clinical"].insert(0, "os", np.linspace(0, 9, 200))
    cohort = load_cohort(write(tables))
    np.testing.assert_array_equal(cohort.samples["os_event"], tables["clinical"]["OS_event"])
    np.testing.assert_array_equal(cohort.samples["os"], tables["clinical"]["os"])


def test_given_split_is_used(tables, write):
    rng = np.random.default_rng(0)
    given = rng.choice(["train", "Validation", "test"], 200, p=[0.7, 0.1, 0.2])
    tables["clinical"]["split"] = given
    cohort = load_cohort(write(tables))
    np.testing.assert_array_equal(
        cohort.samples["split"], np.where(given == "Validation", "val", given)
    )
    assert any("The split is the one given in clinical.parquet" in note for note in cohort.notes)


def test_bad_given_split_is_named(tables, write):
    tables["clinical"]["split"] = ["train"] * 199 + ["elsewhere"]
    with pytest.raises(InputError, match=r"'split': 1 samples.*first 'P199' \('elsewhere'\)"):
        load_cohort(write(tables))
    tables["clinical"]["split"] = ["train", "test"] * 100
    tables["clinical"]["patient_id"] = [f"pat{i // 2}" for i in range(200)]
    with pytest.raises(InputError, match="100 patients have samples on several sides: pat0"):
        load_cohort(write(tables))
    tables["clinical"]["split"] = ["val", "test"] * 100
    del tables["clinical"]["patient_id"]
    with pytest.raises(InputError, match=r"clinical\.parquet.*'split': nobody is in train, of 200"):
        load_cohort(write(tables))


# ---- which tables and which features ----------------------------------------------------------


def test_unknown_modality_lists_the_known(tables, write):
    with pytest.raises(InputError, match="unknown modality mri; known: cna, rna, rppa"):
        load_cohort(write(tables), modalities=["rna", "mri"])


def test_feature_annotation_is_ignored_with_a_note(tables, write):
    folder = write(tables)
    genes = pd.DataFrame({"chromosome": "1", "band": "p36"}, index=tables["cna"].columns)
    genes.to_csv(folder / "cna_positions.csv")
    (folder / "README.md").write_text("about")
    cohort = load_cohort(folder)
    assert cohort.modalities == ("cna", "rna", "rppa")
    assert any("cna_positions.csv was not read as a modality" in note for note in cohort.notes)
    assert any("README.md" in note for note in cohort.notes)


def test_a_table_that_overlaps_no_other_is_named(tables, write):
    tables["rppa"].index = [f"TCGA-{i}" for i in range(160)]
    with pytest.raises(InputError, match=r"rppa shares no sample.*'TCGA-0'.*'P000'"):
        load_cohort(write(tables))


def test_a_transposed_table_is_recognised(tables, write):
    tables["rna"] = tables["rna"].T.rename_axis("sample_id")
    with pytest.raises(InputError, match=r"rna shares no sample.*transpose it"):
        load_cohort(write(tables), modalities=["rna", "cna"])


def test_one_modality_is_no_cohort(tables, write):
    with pytest.raises(InputError, match=r"two modalities or more"):
        load_cohort(write(tables), modalities=["rna"])


def test_useless_columns_are_dropped_and_said(tables, write):
    tables["rna"]["rna_0"] = np.float32(3.5)
    tables["rna"]["rna_1"] = np.float32(np.nan)
    tables["rna"].loc["P000":"P030", "rna_2"] = np.nan  # 31 of 200
    cohort = load_cohort(write(tables), max_missing=0.10)
    assert list(cohort.tables["rna"].columns) == [f"rna_{i}" for i in range(3, 12)]
    notes = " ".join(cohort.notes)
    assert "rna: 1 features with a constant value in train were dropped: rna_0." in notes
    assert (
        "rna: 2 features with too many missing cells in train were dropped: rna_1, rna_2." in notes
    )
    as_it_comes = load_cohort(write(tables))
    assert list(as_it_comes.tables["rna"].columns) == [f"rna_{i}" for i in range(2, 12)]
    assert "rna: 1 features with too many missing cells in train were dropped: rna_1." in (
        as_it_comes.notes
    )


def test_the_filter_is_fitted_on_train_only(tables, write):
    split = load_cohort(write(tables)).samples["split"]
    train = split.index[split == "train"]
    tables["cna"].loc[train, "cna_4"] = 1.0  # varies in validation and test only
    tables["cna"].loc[split.index[split == "test"], "cna_5"] = np.nan  # missing there only
    columns = load_cohort(write(tables)).tables["cna"].columns
    assert "cna_4" not in columns
    assert "cna_5" in columns


def test_a_table_full_of_holes_is_left_out_unless_named(tables, write):
    rng = np.random.default_rng(0)
    holes = tables["cna"].add_prefix("m_")
    tables["mut"] = holes.mask(rng.random(holes.shape) < 0.4)
    cohort = load_cohort(write(tables), max_missing=0.10)
    assert "mut" not in cohort.modalities
    assert any("mut was left out: 9 of its 9 features" in note for note in cohort.notes)
    assert "mut" in load_cohort(write(tables)).modalities
    with pytest.raises(InputError, match=r"mut has no usable feature.*raise max_missing"):
        load_cohort(write(tables), modalities=["rna", "mut"], max_missing=0.10)


def test_half_of_the_features_make_a_table(tables, write):
    """cna has 9: with 4 hollow ones it stays, without them, and with 5 it is left out."""
    tables["cna"].iloc[:160, :4] = np.nan
    cohort = load_cohort(write(tables))
    assert list(cohort.tables["cna"].columns) == [f"cna_{i}" for i in range(4, 9)]
    assert any("cna: 4 features with too many missing cells" in note for note in cohort.notes)
    tables["cna"].iloc[:160, 4] = np.nan
    cohort = load_cohort(write(tables))
    assert cohort.modalities == ("rna", "rppa")
    assert any("cna was left out: 5 of its 9 features" in note for note in cohort.notes)


def test_parquet_parts_are_one_table_and_dead_links_are_told(tables, write):
    folder = write(tables)
    whole = load_cohort(folder)
    (folder / "rppa.parquet").unlink()
    (folder / "rppa.parquet").mkdir()
    for part, rows in enumerate((slice(None, 70), slice(70, None))):
        tables["rppa"].iloc[rows].to_parquet(folder / "rppa.parquet" / f"part.{part}.parquet")
    (folder / "mirna.csv").symlink_to("/annex/objects/none.csv")
    (folder / "scripts").mkdir()
    parts = load_cohort(folder)
    pd.testing.assert_frame_equal(parts.tables["rppa"], whole.tables["rppa"])
    notes = " ".join(parts.notes)
    assert "Links to files that are not there, not read: mirna.csv" in notes
    assert "Not tables, left alone: scripts." in notes


def test_samples_of_nothing_but_zeros_are_told(tables, write):
    tables["rna"].iloc[:7] = 0
    tables["mut"] = (tables["cna"] > 9).astype(np.float32)  # nobody is mutated
    tables["mut"].iloc[::2, :2] = 1
    notes = " ".join(load_cohort(write(tables)).notes)
    assert "rna: every value of 7 samples is exactly zero (" in notes
    assert "mut: every value" not in notes


def test_names_that_generated_tables_need_are_refused(tables, write):
    renamed = {"drug": tables["cna"], "drug_mean": tables["rppa"], "rna": tables["rna"]}
    with pytest.raises(
        InputError, match="'drug' and 'drug_mean': the completed tables of the first have"
    ):
        load_cohort(write(renamed, "csv"))
    tables["rna"] = tables["rna"].rename(columns={tables["rna"].columns[0]: "draw"})
    with pytest.raises(InputError, match="rna has a feature called 'draw'"):
        load_cohort(write(tables))


def test_too_few_train_patients(tables, write):
    tables["rppa"] = tables["rppa"].iloc[:14]
    with pytest.raises(
        InputError,
        match=r"rppa is present for \d+ patients in train, fewer than 12.*--single.batch-size 10 ",
    ):
        load_cohort(write(tables))
    load_cohort(write(tables), min_train=10)
    with pytest.raises(InputError, match=r"rna is present for 1.. patients in train.* than 199,"):
        load_cohort(write(tables), modalities=["rna", "cna"], min_train=199)


def test_few_train_patients_are_counted_by_patient(tables, write):
    """200 samples of 40 patients: about 31 train, which min_train is held against."""
    tables["clinical"]["patient_id"] = [f"pat{i // 5}" for i in range(200)]
    tables["clinical"]["cancertype"] = "one"
    with pytest.raises(InputError, match=r"is present for 3. patients in train, fewer than 36"):
        load_cohort(write(tables), min_train=36)
    assert load_cohort(write(tables), min_train=30).present.shape == (200, 3)


def test_nobody_in_test_or_validation(tables, write):
    with pytest.raises(
        InputError,
        match=r"val has 0 patients with cna beside another modality.*fewer than 2 \(200 patients "
        r"have\): raise val_fraction, leave out cna, or give a column 'split' in samples",
    ):
        load_cohort(write(tables), val_fraction=0.001)
    with pytest.raises(InputError, match=r"test has no two modalities.*\(0.*raise test_fraction"):
        load_cohort(write(tables), test_fraction=0.0)
    with pytest.raises(InputError, match=r"together below 1"):
        load_cohort(write(tables), val_fraction=0.6, test_fraction=0.5)


def test_two_files_of_one_modality(tables, write):
    folder = write(tables)
    tables["rna"].to_csv(folder / "rna.csv")
    with pytest.raises(InputError, match=r"rna\.csv and rna\.parquet are both"):
        load_cohort(folder)


def test_folder_that_is_no_cohort(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_cohort(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no tables"):
        load_cohort(tmp_path)
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(InputError, match="a cohort is a folder of tables"):
        load_cohort(tmp_path / "a.csv")


def test_schema_version_is_checked(tables, write, tmp_path):
    save_cohort(load_cohort(write(tables)), tmp_path / "saved")
    about = tmp_path / "saved" / "cohort.json"
    written = json.loads(about.read_text())
    about.write_text(json.dumps(written | {"schema_version": 99}))
    with pytest.raises(InputError, match="schema version 99, this program reads 1"):
        load_cohort(tmp_path / "saved")
    for text in ("{", "[]", '{"schema_version": 1}'):
        about.write_text(text)
        with pytest.raises(InputError, match="is not a cohort description"):
            load_cohort(tmp_path / "saved")


def test_read_tables_fits_nothing(tables, write):
    tables["rna"]["rna_0"] = np.float32(3.5)
    raw = read_tables(write({"rna": tables["rna"].iloc[:3]}))
    assert list(raw.tables) == ["rna"]
    pd.testing.assert_frame_equal(raw.tables["rna"], tables["rna"].iloc[:3])


# ---- real data --------------------------------------------------------------------------------


def _needs(name: str):
    return pytest.mark.skipif(
        not (DATA / name).is_dir(), reason=f"COHGEN_DATA has no folder {name}"
    )


def _sides(cohort: Cohort) -> list[int]:
    return [len(cohort.rows(side)) for side in ("train", "val", "test")]


@_needs("tcga")
def test_real_cohort_loads_as_it_stands():
    cohort = load_cohort(DATA / "tcga")
    assert cohort.modalities == ("cna", "mut", "rna", "rppa", "wsi")
    assert {m: t.shape[1] for m, t in cohort.tables.items()} == {
        **{"cna": 1500, "mut": 67, "rna": 1526, "rppa": 183, "wsi": 192},
    }
    assert len(cohort.samples) == 4250
    assert _sides(cohort) == [3329, 291, 630]
    assert cohort.present[cohort.rows("test")].all()
    assert cohort.present[cohort.rows("val")].all()
    shares = cohort.samples.groupby("cancer_type")["split"].value_counts(normalize=True)
    assert (shares.xs("test", level="split") > 0.12).all()
    notes = " ".join(cohort.notes)
    assert "binary: mut" in notes
    assert "cna_gene_positions_hg19.csv was not read as a modality" in notes


@_needs("tcga")
def test_few_missing_cells_leave_mutations_out():
    """As before mutations were a modality: the others, and who is held out, are the same."""
    strict, cohort = load_cohort(DATA / "tcga", max_missing=0.10), load_cohort(DATA / "tcga")
    assert strict.modalities == ("cna", "rna", "rppa", "wsi")
    for modality in strict.modalities:
        assert list(strict.tables[modality]) == list(cohort.tables[modality])
    assert strict.samples["split"].equals(cohort.samples["split"])
    assert "mut was left out: 63 of its 67 features" in " ".join(strict.notes)


@_needs("cll")
def test_cohort_of_few_complete_patients_loads_as_it_stands():
    """29 of 277 patients have all four, 47 have proteins: 37 of these train, and 3 validate."""
    cohort = load_cohort(DATA / "cll")
    assert cohort.tables["mutations"].shape == (277, 39)
    assert _sides(cohort) == [230, 15, 32]
    held = cohort.summary().loc[list(cohort.modalities)]
    assert (held["val"] >= 3).all()
    assert (held["test"] >= 7).all()
    assert held.loc["protein", "train"] >= 36
    assert "os_event" not in cohort.samples
    assert cohort.samples["OS"].max() > 2
    assert "samples.csv: OS was not read as os_event" in " ".join(cohort.notes)


@_needs("breast")
def test_cohort_split_in_train_and_test_loads_as_it_stands():
    """Its 70 test patients have no proteins, its 150 train patients have everything."""
    cohort = load_cohort(DATA / "breast")
    given = pd.read_csv(DATA / "breast" / "samples.csv", index_col="sample_id")["split"]
    assert _sides(cohort) == [135, 15, 70]
    assert (given[cohort.samples.index[cohort.rows("test")]] == "test").all()
    assert cohort.present[cohort.rows("val")].all()
    assert "protein cannot be judged in test, where 0 patients have it" in " ".join(cohort.notes)


@_needs("citeseq")
def test_cohort_of_single_cells_loads_as_it_stands():
    cohort = load_cohort(DATA / "citeseq")
    assert _sides(cohort) == [390, 35, 75]
    assert cohort.tables["hto"].shape == (500, 4)
