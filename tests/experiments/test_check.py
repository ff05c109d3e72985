"""check.py: what is understood of a cohort, and the same in runs and reports."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import Understood, demo_cohort, load_cohort, understood
from cohgen_jax.errors import InputError
from cohgen_jax.report.files import RunFiles
from cohgen_jax.report.sections import cohort as section
from tests.experiments.conftest import DEBUG, demo_tables, set_apart, write_tables

SIDES = ["train"] * 7 + ["val", "test", "test"]


@pytest.fixture
def folder(tmp_path):
    """40 patients in three tables of different widths and kinds; counts known beforehand."""
    rng = np.random.default_rng(3)
    ids = pd.Index([f"P{i:02d}" for i in range(40)], name="sample_id")
    rna = pd.DataFrame(rng.normal(size=(40, 9)), ids, [f"G{i}" for i in range(9)])
    rna["flat"] = 1.0
    mut = pd.DataFrame(rng.integers(0, 2, (30, 6)), ids[10:], [f"M{i}" for i in range(6)])
    rppa = pd.DataFrame(rng.normal(size=(35, 3)), ids[:35], ["AKT", "MTOR", "ERK"])
    rppa.iloc[4:11, 1] = np.nan
    facts = pd.DataFrame(
        {"Split": np.resize(SIDES, 40), "OS": [0, 1] * 20, "OS.time": range(100, 140)}, ids
    )
    tables = {"rnaseq": rna, "mut": mut, "rppa": rppa}
    return write_tables(tmp_path / "small", tables, facts)


def test_a_line_a_table_a_line_a_label(folder):
    what = understood(load_cohort(folder, min_train=10))
    assert (what.samples, what.patients, what.complete) == (40, 40, 25)
    assert what.sides == {"train": 28, "val": 4, "test": 8}
    mut, rna, rppa = what.tables
    assert [t.modality for t in what.tables] == ["mut", "rnaseq", "rppa"]
    assert [t.file for t in what.tables] == ["mut.parquet", "rnaseq.csv", "rppa.tsv"]
    assert {t.orientation for t in what.tables} == {"down"}
    assert [t.kind for t in what.tables] == ["binary", "continuous", "continuous"]
    assert (rna.features, rna.features_read, mut.features, rppa.features) == (9, 10, 6, 3)
    assert (mut.patients, rna.patients, rppa.patients) == (30, 40, 35)
    assert rppa.missing == pytest.approx(7 / 105)
    assert rppa.shared == {"mut": 25, "rnaseq": 35}
    assert mut.sides == {"train": 21, "val": 3, "test": 6}
    labels = {x.label: x for x in what.labels}
    assert {name: x.column for name, x in labels.items()} == {
        "split": "Split", "os_event": "OS", "os_days": "OS.time"
    }  # fmt: skip
    assert labels["os_event"].values == "0 (20), 1 (20)"
    assert labels["os_days"].values == "100 to 139, median 119.5"
    assert Understood.from_json(json.loads(json.dumps(what.to_json()))) == what


def test_the_command_prints_it_with_what_was_left_out(command, folder):
    (folder / "README.md").write_text("Notes.")
    outcome = command("check", folder, "--recipe", "debug")
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == (
        "small: 40 samples of 40 patients, 25 of them with every modality; split: 28 train, 4 val, "
        "8 test patients"
    )
    row = next(line.split() for line in lines if line.startswith("rnaseq"))
    assert row[:8] == ["rnaseq", "rnaseq.csv", "down", "sample_id", "40", "9", "of", "10"]
    assert "- rnaseq: 1 features with a constant value in train were dropped: flat." in lines
    assert "- The split is the one given in samples.csv." in lines
    assert any("README.md" in line for line in lines)
    chosen = command("check", folder, "--recipe", "debug", "--modalities", "rppa", "rnaseq")
    assert "mut" not in chosen.out
    assert command("check", "--cohort", folder, "--recipe", "debug").out == outcome.out
    assert "name one" in command("check", folder, "--cohort", folder).refused()


def test_what_training_refuses_is_refused(command, folder, tmp_path):
    few = pd.read_parquet(folder / "mut.parquet").iloc[:14]
    whole = shutil.copytree(folder, tmp_path / "whole")
    few.to_parquet(folder / "mut.parquet")
    assert "mut is present for " in command("check", folder).refused()
    assert "no such cohort" in command("check", tmp_path / "nowhere").refused()
    wrong = command("check", whole, "--covariates", "colour")
    assert "colour" in wrong.refused()
    apart = write_tables(tmp_path / "apart", *set_apart(*demo_tables(0, 200)))
    refused = [
        command("check", apart, *DEBUG).refused(),
        command("train", *DEBUG, "--cohort", apart, "--out", tmp_path / "out").refused(),
    ]
    assert refused[0] == refused[1]
    assert "no single source of rppa has enough patients" in refused[0]


def test_a_run_keeps_it_and_its_report_shows_it(run_dir, cohort_dir):
    what = Understood.from_json(json.loads((run_dir / "understood.json").read_text()))
    assert what == understood(load_cohort(cohort_dir, min_train=12))
    assert [t.file for t in what.tables] == ["cna.parquet", "rnaseq.csv", "rppa.tsv"]
    shown = [b for b in section.blocks(RunFiles(run_dir)) if hasattr(b, "table")]
    files = [b.table["file"].tolist() for b in shown if "file" in b.table]
    assert files == [["cna.parquet", "rnaseq.csv", "rppa.tsv"]]
    with pytest.raises(InputError, match=r"understood\.json is not of this version"):
        Understood.from_json({"colour": "blue"})


def test_training_begins_with_it(command, cohort_dir, run_dir, tmp_path):
    out = shutil.copytree(run_dir, tmp_path / "copy")
    (out / "understood.json").unlink()
    told = command("train", *DEBUG, "--cohort", cohort_dir, "--out", out, "--resume").err
    assert understood(load_cohort(cohort_dir, min_train=12)).text() in told
    assert (out / "understood.json").read_text() == (run_dir / "understood.json").read_text()


def test_a_cohort_without_files_has_it_too():
    what = understood(demo_cohort(0, 60))
    assert {table.file for table in what.tables} == {"simulated"}
    assert what.patients == 60
    assert "samples go" not in what.of_tables()
