"""Every file of the published chain is reproduced from the raw files; the default mode differs
only where the published one has a flaw."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import load_cohort
from data_prep import tcga
from data_prep.barcodes import patients
from data_prep.slides.embeddings import h5_files, slide_samples

RTOL = 1e-5
RARE = 25
"""The golden chain's threshold for rare diagnoses (600 in production)."""


def _slides(golden: Path) -> Path:
    return next((golden / "raw").glob("slide_features*"))


def _slides_as_listed_when_published(golden: Path, folder: Path) -> Path:
    """The slide folder whose listing order keeps the slides that the published run kept.

    Of several slides of a sample the published code kept the first that the file system listed. A
    copy of the folder may list them in another order: then the other slides are left out.
    """
    table = golden / "expected" / "wsi_embeddings_filtered.csv"
    kept = pd.read_csv(table, usecols=["slide_id", "sample_id"])
    kept_of = dict(zip(kept["sample_id"], kept["slide_id"], strict=True))
    listed: dict[str, str] = {}
    for path in h5_files(_slides(golden), listing_order=True):
        sample = slide_samples([path.stem])[0]
        if sample in kept_of:
            listed.setdefault(sample, path.stem)
    if listed == kept_of:
        return _slides(golden)
    folder.mkdir()
    for path in h5_files(_slides(golden)):
        if kept_of.get(slide_samples([path.stem])[0], path.stem) == path.stem:
            (folder / path.name).symlink_to(path.resolve())
    return folder


def _run(golden: Path, out: Path, *more: str, slides: Path | None = None) -> int:
    slides = slides or _slides(golden)
    arguments = ["--out", out, "--offline", golden / "raw", "--slides", slides, *more]
    return tcga.main([str(a) for a in [*arguments, "--rare-diagnosis", RARE]])


def _latent_width(golden: Path) -> int:
    header = pd.read_csv(golden / "expected" / "05b_embeddings" / "wsi_train.csv", nrows=0)
    return len(header.columns) - 1


@pytest.fixture(scope="module")
def published(golden, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    out, slides = folder / "cohort", _slides_as_listed_when_published(golden, folder / "slides")
    width = ("--latent-dim", str(_latent_width(golden)))
    assert _run(golden, out, "--published", "--embedding", "columns", *width, slides=slides) == 0
    return out


@pytest.fixture(scope="module")
def default(golden, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("default") / "cohort"
    assert _run(golden, out) == 0
    return out


def _compare(expected: pd.DataFrame, ours: pd.DataFrame, name: str, same_order: bool) -> None:
    assert list(ours.columns) == list(expected.columns), name
    assert len(ours) == len(expected), name
    key = expected.columns[0]
    if not same_order:
        expected, ours = expected.sort_values(key), ours.sort_values(key)
    for column in expected.columns:
        want, got = expected[column], ours[column]
        if pd.api.types.is_numeric_dtype(want) and want.notna().any():
            np.testing.assert_allclose(
                got.to_numpy(float),
                want.to_numpy(float),
                rtol=RTOL,
                atol=1e-9,
                err_msg=f"{name}: {column}",
            )
        else:
            assert got.fillna("").astype(str).tolist() == want.fillna("").astype(str).tolist(), (
                f"{name}: {column}"
            )


def test_every_published_file_is_reproduced(golden, published):
    expected = golden / "expected"
    files = sorted(p for p in expected.rglob("*") if p.suffix in (".csv", ".tsv"))
    assert len(files) > 40
    for file in files:
        name = file.relative_to(expected)
        ours = published / "prep" / "published" / name
        assert ours.exists(), f"{name} is not written"
        sep = "\t" if file.suffix == ".tsv" else ","
        # The order of projects in merged tables is the order of the command line, no fact.
        same_order = name.parts[0] != "merged"
        _compare(pd.read_csv(file, sep=sep), pd.read_csv(ours, sep=sep), str(name), same_order)


def test_published_run_loads_without_a_patient_on_two_sides(golden, published):
    cohort = load_cohort(published)
    split = pd.read_csv(golden / "expected" / "train_test_split_ids.csv")
    test = set(split.loc[split["split"] == "test", "sample_id"])
    assert set(cohort.samples.index[cohort.samples["split"] == "test"]) == test
    sides = cohort.samples.groupby("patient_id")["split"].nunique()
    assert sides.max() == 1


def test_default_split_keeps_patients_together(golden, default):
    cohort = load_cohort(default)
    sides = cohort.samples.groupby("patient_id")["split"].nunique()
    assert sides.max() == 1
    held_out = cohort.samples["split"].isin(["val", "test"]).to_numpy()
    assert cohort.present[held_out].all()
    # The published split of the same samples does tear patients apart: that is the difference.
    ids = pd.read_csv(golden / "expected" / "train_test_split_ids.csv")
    torn = ids.assign(patient=patients(ids["sample_id"])).groupby("patient")["split"].nunique()
    assert (torn > 1).any()
    notes = json.loads((default / "cohort.json").read_text())["notes"]
    assert any("by patient" in note for note in notes)


def test_default_split_has_the_sizes_of_the_specification(default):
    samples = pd.read_parquet(default / "samples.parquet")
    split = pd.read_parquet(default / "prep" / "split" / "split.parquet")
    per_type = split.groupby("cancertype")["sample_id"].apply(lambda s: len(set(patients(s))))
    drawn = samples.groupby(["cancer_type", "split"])["patient_id"].nunique().unstack()
    for cancer_type, total in per_type.items():
        assert drawn.loc[cancer_type, "val"] == int(0.05 * total)
        assert drawn.loc[cancer_type, "test"] == int(0.15 * total)


def test_cohort_holds_raw_values_of_the_published_merge(golden, default):
    cohort = load_cohort(default)
    ids = pd.read_csv(golden / "expected" / "IDs_file.csv").set_index("sample_id")["original_id"]
    for modality, name in (("cna", "cna"), ("rnaseq", "rnaseq_QC"), ("rppa", "rppa")):
        table = cohort.tables[modality]
        merged = pd.read_csv(golden / "expected" / "merged" / f"merged_{name}.csv", index_col=0)
        wanted = merged.loc[ids[table.index], table.columns]
        np.testing.assert_allclose(table.to_numpy(), wanted.to_numpy(), rtol=1e-4, atol=5e-6)


def test_labels_and_survival(golden, default):
    cohort = load_cohort(default)
    expected = pd.read_csv(golden / "expected" / "merged" / "reduced_clinical.csv", index_col=0)
    ids = cohort.samples["original_id"]
    wanted = expected.reindex(ids)["ajcc_pathologic_stage"].map(
        {1: "I", 2: "II", 3: "III", 4: "IV"}
    )
    assert cohort.samples["stage"].fillna("").tolist() == wanted.fillna("").tolist()
    raw = pd.concat(
        pd.read_csv(p, sep="\t", index_col="sample")
        for p in sorted((golden / "raw").glob("*/raw_data/*.survival.tsv"))
    )
    both = ids[ids.isin(raw.index)]
    np.testing.assert_array_equal(
        cohort.samples.loc[both.index, "os_days"], raw.loc[both, "OS.time"]
    )
    np.testing.assert_array_equal(cohort.samples.loc[both.index, "os_event"], raw.loc[both, "OS"])


def test_second_run_does_nothing_and_a_changed_setting_only_what_depends_on_it(
    golden, default, capfd
):
    before = {p: p.stat().st_mtime_ns for p in default.glob("*.parquet")}
    assert _run(golden, default) == 0
    assert "0 stages run" in capfd.readouterr().err
    assert before == {p: p.stat().st_mtime_ns for p in default.glob("*.parquet")}


def test_normal_samples_can_be_left_out(golden, tmp_path):
    out = tmp_path / "tumours"
    assert _run(golden, out, "--sample-types", "01", "02", "06") == 0
    cohort = load_cohort(out)
    assert set(cohort.samples.index.str[13:15]) <= {"01", "02", "06"}
    assert "Sample types kept: 01, 02, 06" in (out / "data_card.md").read_text()


def test_data_card_counts_what_is_there(default):
    card = (default / "data_card.md").read_text()
    samples = pd.read_parquet(default / "samples.parquet")
    assert f"{len(samples)} samples of {samples['patient_id'].nunique()} patients" in card
    for part in ("## Split", "## Samples per project", "## Missing patterns", "## Features"):
        assert part in card
    assert "| train | " in card
    assert "sha256" in card
    for modality in ("cna", "rnaseq", "rppa", "wsi"):
        fate = pd.read_csv(default / "prep" / "features" / f"{modality}.csv")["fate"]
        kept = pd.read_parquet(default / f"{modality}.parquet").shape[1]
        assert (fate == "kept").sum() == kept
        if modality == "rnaseq":
            assert (fate == "not expressed").any()
