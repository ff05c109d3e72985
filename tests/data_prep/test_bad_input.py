"""What goes wrong in practice: each ends in one message that names the file and the mend."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import load_cohort
from cohgen_jax.errors import InputError
from cohgen_jax.storage import whole
from cohgen_jax.storage.whole import whole_file
from data_prep import tcga
from data_prep.config import PrepConfig
from data_prep.files import read_json
from data_prep.stages import Stages
from data_prep.xena import find_file, projects_in, read_matrix, read_rows, resolve_projects

SAMPLES = [f"TCGA-AA-{i:04d}-01A" for i in range(40)]


def _matrix(path: Path, first: str, samples=SAMPLES, features=30, low=0.5, high=9.0, prefix="F"):
    rng = np.random.default_rng(len(prefix) + features)
    table = pd.DataFrame(rng.uniform(low, high, (features, len(samples))).round(6), columns=samples)
    table.insert(0, first, [f"{prefix}{i}" for i in range(features)])
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, sep="\t", index=False)


def make_raw(folder: Path, project: str = "BRCA", samples=SAMPLES) -> Path:
    """A small project in the Xena formats."""
    stem = folder / f"TCGA-{project}"
    _matrix(Path(f"{stem}.star_counts.tsv.gz"), "Ensembl_ID", samples, prefix="ENSG")
    _matrix(Path(f"{stem}.gene-level_absolute.tsv.gz"), "Ensembl_ID", samples, prefix="ENSG")
    _matrix(Path(f"{stem}.protein.tsv.gz"), "peptide_target", samples, 12, -3, 3)
    clinical = pd.DataFrame({"sample": samples})
    clinical["gender.demographic"] = np.resize(["female", "male"], len(samples))
    clinical["ajcc_pathologic_stage.diagnoses"] = np.resize(["Stage I", "Stage IIA"], len(samples))
    clinical.to_csv(f"{stem}.clinical.tsv.gz", sep="\t", index=False)
    survival = pd.DataFrame({"sample": samples, "OS": 1, "_PATIENT": "p", "OS.time": 100})
    survival.to_csv(f"{stem}.survival.tsv.gz", sep="\t", index=False)
    return folder


@pytest.fixture
def raw(tmp_path) -> Path:
    return make_raw(tmp_path / "raw")


def _run(raw: Path, out: Path, *more) -> int:
    return tcga.main([*map(str, ["--out", out, "--offline", raw, *more])])


def _rewrite(path: Path, change) -> None:
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    path.write_bytes(gzip.compress("\n".join(change(lines)).encode() + b"\n", mtime=0))


def test_the_small_project_goes_through(raw, tmp_path):
    assert _run(raw, tmp_path / "out") == 0
    about = json.loads((tmp_path / "out" / "cohort.json").read_text())
    assert about["modalities"] == ["cna", "rnaseq", "rppa"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("star_counts", "Ensembl_ID"),
        ("protein", "peptide_target"),
        ("clinical", "sample"),
        ("survival", "sample"),
    ],
)
def test_wrong_header_names_what_was_expected(raw, tmp_path, capfd, kind, expected):
    path = raw / f"TCGA-BRCA.{kind}.tsv.gz"
    _rewrite(path, lambda lines: ["gene_name" + lines[0][lines[0].index("\t") :], *lines[1:]])
    assert _run(raw, tmp_path / "out") == 1
    error = capfd.readouterr().err
    assert f"TCGA-BRCA.{kind}.tsv.gz" in error
    assert "'gene_name'" in error
    assert repr(expected) in error


def test_rows_that_are_no_features_are_left_out_and_named(raw, tmp_path, caplog):
    """They would count as reads of a sample, too."""
    assert _run(raw, tmp_path / "plain") == 0
    path = raw / "TCGA-BRCA.star_counts.tsv.gz"
    rows = [
        f"{name}\t" + "\t".join(["20.5"] * 40) for name in ("__ambiguous", "N_unmapped", "Mean")
    ]
    _rewrite(path, lambda lines: [lines[0], rows[0], *lines[1:], *rows[1:]])
    assert _run(raw, tmp_path / "out") == 0
    plain, out = (pd.read_parquet(tmp_path / d / "rnaseq.parquet") for d in ("plain", "out"))
    pd.testing.assert_frame_equal(out, plain)
    card = (tmp_path / "out" / "data_card.md").read_text()
    assert "rnaseq, BRCA: rows that are no features: __ambiguous, N_unmapped, Mean." in card
    assert "no features, left out: __ambiguous" in caplog.text


def test_barcodes_and_survival_in_other_spellings_are_the_same(raw, tmp_path):
    assert _run(raw, tmp_path / "plain") == 0
    _rewrite(
        raw / "TCGA-BRCA.protein.tsv.gz",
        lambda lines: [lines[0].replace("-", ".").lower(), *lines[1:]],
    )
    survival = pd.DataFrame({"sample": [s.replace("-", "_") for s in SAMPLES], "_PATIENT": "p"})
    survival["OS"], survival["OS.time"] = "1:DECEASED", "100 days"
    survival.to_csv(raw / "TCGA-BRCA.survival.tsv.gz", sep="\t", index=False)
    assert _run(raw, tmp_path / "out") == 0
    for name in ("rppa", "samples"):
        plain, out = (pd.read_parquet(tmp_path / d / f"{name}.parquet") for d in ("plain", "out"))
        pd.testing.assert_frame_equal(out, plain)


def test_columns_beside_slide_vectors_are_named(raw, tmp_path, caplog):
    rng = np.random.default_rng(0)
    slides = pd.DataFrame(rng.normal(size=(40, 4))).add_prefix("z")
    slides["grade"], slides["num_tiles"] = 2, rng.integers(50, 900, 40)
    slides.insert(0, "slide", [s[:15].lower() + "z-00-dx1" for s in SAMPLES])
    slides.to_csv(tmp_path / "slides.csv")
    assert _run(raw, tmp_path / "out", "--slides", tmp_path / "slides.csv") == 0
    assert pd.read_parquet(tmp_path / "out" / "wsi.parquet").shape == (40, 4)
    names = "Unnamed: 0, grade, num_tiles"
    assert f"left out: {names}" in (tmp_path / "out" / "data_card.md").read_text()
    assert f"left out: {names}" in caplog.text
    assert f"left out: {names}" in " ".join(load_cohort(tmp_path / "out", min_train=20).notes)


def test_columns_that_are_no_samples(raw):
    path = raw / "TCGA-BRCA.protein.tsv.gz"
    _rewrite(path, lambda lines: [lines[0].replace(SAMPLES[0], "AVERAGE"), *lines[1:]])
    with pytest.raises(InputError, match="'AVERAGE' is not a TCGA sample barcode"):
        read_matrix(path, "protein")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: [*lines[:5], lines[5].replace(".", "x", 1), *lines[6:]], "must be numbers"),
        (lambda lines: [*lines[:5], lines[5][:40], *lines[6:]], "every row as long as the header"),
        (lambda lines: lines[:1], "no rows"),
    ],
)
def test_broken_matrices(raw, change, words):
    path = raw / "TCGA-BRCA.protein.tsv.gz"
    _rewrite(path, change)
    with pytest.raises(InputError, match=words):
        read_matrix(path, "protein")


def test_truncated_and_foreign_files(raw):
    path = raw / "TCGA-BRCA.protein.tsv.gz"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match=r"protein\.tsv\.gz: not a complete protein table"):
        read_matrix(path, "protein")
    path.write_text("<html>")
    with pytest.raises(InputError, match="not a readable gzip TSV"):
        read_matrix(path, "protein")
    clinical = raw / "TCGA-BRCA.clinical.tsv.gz"
    clinical.write_bytes(clinical.read_bytes()[:-20])
    with pytest.raises(InputError, match="not a complete clinical table"):
        read_rows(clinical, "clinical")


def test_raw_counts_are_not_taken_for_their_logarithm(raw, tmp_path, capfd):
    _matrix(raw / "TCGA-BRCA.star_counts.tsv.gz", "Ensembl_ID", high=90000.0)
    assert _run(raw, tmp_path / "out") == 1
    assert "are these raw counts?" in capfd.readouterr().err


def test_duplicated_genes_keep_their_first_row_and_are_told(raw, tmp_path, caplog):
    path = raw / "TCGA-BRCA.star_counts.tsv.gz"
    before = read_matrix(path, "star_counts")
    _rewrite(path, lambda lines: [*lines, "ENSG3" + lines[1][lines[1].index("\t") :]])
    after = read_matrix(path, "star_counts")
    assert after.repeated == ["ENSG3"]
    np.testing.assert_array_equal(before.values, after.values)
    assert _run(raw, tmp_path / "out") == 0
    assert "1 feature ids occur more than once (ENSG3)" in caplog.text
    assert "rnaseq, BRCA: 1 repeated feature ids" in (tmp_path / "out" / "data_card.md").read_text()


def test_samples_that_match_nothing(raw, tmp_path, capfd):
    foreign = [s.replace("AA", "ZZ") for s in SAMPLES]
    _matrix(raw / "TCGA-BRCA.protein.tsv.gz", "peptide_target", foreign, 12, -3, 3)
    assert _run(raw, tmp_path / "out") == 1
    error = capfd.readouterr().err
    assert "no rppa sample matches" in error
    assert "TCGA-ZZ-0000-01" in error


def test_slides_that_match_nothing(raw, tmp_path, capfd):
    table = pd.DataFrame(np.eye(4), columns=list("abcd"))
    table.insert(0, "slide_id", [f"TCGA-QQ-{i:04d}-01Z-00-DX1" for i in range(4)])
    table.to_csv(tmp_path / "slides.csv", index=False)
    assert _run(raw, tmp_path / "out", "--slides", tmp_path / "slides.csv") == 1
    assert "no wsi sample matches" in capfd.readouterr().err


def test_project_without_a_file_is_skipped_and_the_exit_code_says_so(raw, tmp_path, capfd):
    out = tmp_path / "out"
    assert _run(raw, out, "--projects", "BRCA", "OV") == tcga.EXIT_PROJECT_MISSING
    assert "no file at all for OV" in capfd.readouterr().err
    assert (out / "rnaseq.parquet").exists()
    assert "No file at all: OV." in (out / "data_card.md").read_text()


def test_project_without_one_assay_is_kept(raw, tmp_path):
    make_raw(raw, "OV", [s.replace("AA", "BB") for s in SAMPLES])
    (raw / "TCGA-OV.protein.tsv.gz").unlink()
    out = tmp_path / "out"
    assert _run(raw, out) == 0
    samples = pd.read_parquet(out / "samples.parquet")
    assert set(samples["cancer_type"]) == {"BRCA", "OV"}
    assert "rppa: no file for OV." in (out / "data_card.md").read_text()


def test_no_file_at_all(tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    assert _run(tmp_path / "empty", tmp_path / "out") == 1
    assert "no TCGA-<project>" in capfd.readouterr().err
    assert _run(tmp_path / "nowhere", tmp_path / "out") == 1
    assert "no such folder" in capfd.readouterr().err


@pytest.mark.parametrize("stage", ["omics", "split", "build"])
def test_a_stage_out_of_turn_says_what_to_run_first(raw, tmp_path, capfd, stage):
    arguments = [stage, "--out", str(tmp_path / "out"), "--offline", str(raw)]
    code = tcga.main(arguments)
    assert code == (0 if stage == "omics" else 1)
    if code:
        assert "first" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"projects": ("XYZ",)}, "unknown project XYZ"),
        ({"sample_types": ("tumour",)}, "unknown sample type tumour"),
        ({"val_fraction": 0.0}, "val_fraction is 0.0"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "nothing to train on"),
        ({"overlap": 600}, "overlap 600 must be below"),
        ({"mpp": 500.0}, "micrometres a pixel"),
        ({"jobs": 0}, "jobs is 0"),
    ],
)
def test_settings_are_checked_at_birth(tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        PrepConfig(out=tmp_path, **settings)


def test_project_names():
    assert resolve_projects(["tcga-luad", "BRCA"]) == ["BRCA", "LUAD"]
    assert len(resolve_projects(["all"])) == 20


def test_files_are_found_in_both_layouts(raw, tmp_path):
    assert projects_in(raw) == ["BRCA"]
    nested = tmp_path / "nested" / "tcga_OV_ucsc_xena" / "raw_data"
    nested.mkdir(parents=True)
    shutil.copy(raw / "TCGA-BRCA.protein.tsv.gz", nested / "TCGA-OV.protein.tsv.gz")
    assert find_file(tmp_path / "nested", "OV", "protein") is not None
    assert projects_in(tmp_path / "nested") == ["OV"]


def test_whole_file_or_none(tmp_path):
    path = tmp_path / "table"

    def interrupted():
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_one_message_and_leaves_nothing(raw, tmp_path, capfd, monkeypatch):
    real = whole.os.fsync

    def full(descriptor):
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if ".rnaseq.parquet" in name:
            raise OSError(28, "No space left on device")
        return real(descriptor)

    monkeypatch.setattr(whole.os, "fsync", full)
    out = tmp_path / "out"
    assert _run(raw, out) == 1
    error = capfd.readouterr().err
    assert "no space left while writing" in error
    assert "rnaseq.parquet" in error
    assert not [p for p in out.iterdir() if "rnaseq" in p.name]
    with pytest.raises(InputError, match="was not written to its end"):
        load_cohort(out)
    monkeypatch.undo()
    assert _run(raw, out) == 0


LIMITED = """
import resource, signal, sys
from data_prep import tcga
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(tcga.main(sys.argv[2:]))
"""


@pytest.mark.parametrize("size", [700, 3000, 6000])
def test_a_limit_on_file_size_is_met_like_a_full_disk(raw, tmp_path, size):
    """The real thing: the kernel refuses to write on (EFBIG), in the middle of a table."""

    out = tmp_path / "out"
    command = [sys.executable, "-c", LIMITED, str(size), "--out", str(out), "--offline", str(raw)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no space left while writing" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.rglob("*.tmp"))
    assert all(p.stat().st_size < size for p in out.rglob("*") if p.is_file())


INTERRUPTING = """
import sys
from data_prep import build, tcga
after, done = int(sys.argv[1]), []
real = build.write_wide
def writing(path, table):
    if len(done) == after:
        raise KeyboardInterrupt
    done.append(path)
    real(path, table)
build.write_wide = writing
sys.exit(tcga.main(sys.argv[2:]))
"""


def _bytes(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(out.iterdir()) if p.is_file()}


@pytest.mark.parametrize("after", [0, 2])
def test_an_interrupted_build_continues_to_the_same_bytes(raw, tmp_path, after):
    whole, cut = tmp_path / "one" / "cohort", tmp_path / "two" / "cohort"
    assert _run(raw, whole) == 0
    command = [sys.executable, "-c", INTERRUPTING, str(after)]
    command += ["--out", str(cut), "--offline", str(raw)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    with pytest.raises(InputError, match="was not written to its end"):
        load_cohort(cut)
    assert len(list(cut.glob("*.parquet"))) == after
    assert _run(raw, cut) == 0
    assert _bytes(cut) == _bytes(whole)


def test_stages_run_again_only_for_what_changed(raw, tmp_path):
    config = PrepConfig(out=tmp_path / "out", offline=raw)
    tcga.prepare(config)
    assert tcga.prepare(config).ran == []
    # A table replaced: its omics block, and what is made of it.
    _matrix(raw / "TCGA-BRCA.protein.tsv.gz", "peptide_target", SAMPLES[:30], 12, -3, 3)
    assert tcga.prepare(config).ran == [
        *("omics-rppa-BRCA", "split", "build-cna", "build-rnaseq", "build-rppa", "build-samples"),
    ]
    # An output touched by someone else.
    (config.out / "rppa.parquet").write_bytes(b"")
    assert tcga.prepare(config).ran == ["build-rppa"]
    # A setting.
    other = PrepConfig(out=config.out, offline=raw, max_missing=0.2)
    assert tcga.prepare(other).ran == ["build-cna", "build-rnaseq", "build-rppa"]


def test_a_failing_stage_is_not_recorded(tmp_path):
    stages = Stages(tmp_path)
    output = tmp_path / "x"
    with pytest.raises(RuntimeError):
        stages.run("x", [], {}, [output], lambda: (_ for _ in ()).throw(RuntimeError))
    assert stages.info("x") is None
    stages.run("x", [], {}, [output], lambda: output.write_text("1") and {"n": 1})
    assert stages.info("x") == {"n": 1}


def test_what_the_system_refuses_is_one_message(raw, tmp_path, capfd):
    (tmp_path / "file").write_text("")
    assert _run(raw, tmp_path / "file" / "cohort") == 1
    assert capfd.readouterr().err.count("error: ") == 1


def test_a_broken_record_is_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")
