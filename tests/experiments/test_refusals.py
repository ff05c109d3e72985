"""What a user can get wrong with train.py and evaluate.py: one line, and nothing is touched."""

import gc
import json
import os
import shutil
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
import pytest

from cohgen_jax.baselines import OPTIONAL
from cohgen_jax.errors import InputError
from cohgen_jax.runs import prepare, train
from cohgen_jax.runs.run import open_run
from tests.experiments.conftest import DEBUG, demo_tables, set_apart, write_tables


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path under a folder, with what is in the files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.name != ".lock"
    }


@pytest.fixture
def no_work(monkeypatch):
    """Fails the test if a refused command begins to fit."""

    def work(*args, **kwargs):
        pytest.fail("work began")

    monkeypatch.setattr(prepare, "fit_codecs", work)
    monkeypatch.setattr(train, "train_farm", work)


@pytest.fixture
def refused(command, no_work, cohort_dir, tmp_path):
    """The message of a refused train.py; whatever is at --out stays as it was."""

    def run(*args, cohort=cohort_dir, out=tmp_path / "out") -> str:
        before = contents(out) if out.is_dir() else None
        message = command("train", *DEBUG, "--cohort", cohort, "--out", out, *args).refused()
        assert (contents(out) if out.is_dir() else None) == before
        return message

    return run


# ---- the run directory ------------------------------------------------------------------------


@pytest.fixture
def done(run_dir, tmp_path):
    """A finished run that may be damaged."""
    return Path(shutil.copytree(run_dir, tmp_path / "done"))


def test_a_run_is_neither_overwritten_nor_resumed_unasked(refused, done):
    message = refused(out=done)
    assert "already holds this run: --resume continues it, --overwrite replaces it" in message
    for flags in ((), ("--resume",)):
        message = refused("--single.num-epochs", 6, *flags, out=done)
        assert "another configuration (single.num_epochs: 4 -> 6)" in message
    assert "exclude each other" in refused("--resume", "--overwrite", out=done)


def test_a_run_is_resumed_on_its_own_data_only(refused, done, cohort_dir, tmp_path):
    tables, facts = demo_tables(0, 200)
    tables["cna"].iloc[3, 3] += 1
    changed = write_tables(tmp_path / "changed", tables, facts)
    assert "is not, or no longer, what it began with" in refused(
        "--resume", cohort=changed, out=done
    )
    renamed = tmp_path / "renamed"
    shutil.copytree(cohort_dir, renamed)
    (renamed / "cna.parquet").rename(renamed / "cnv.parquet")
    assert "holds a run on other data" in refused("--resume", cohort=renamed, out=done)


def test_the_place_of_the_data_does_not_matter(command, done, cohort_dir, tmp_path, no_work):
    moved = shutil.copytree(cohort_dir, tmp_path / "moved")
    args = (*DEBUG, "--cohort", moved, "--out", done, "--resume")
    assert command("train", *args).status == 0


def test_labels_are_taken_over_when_resuming(command, done, tmp_path, no_work):
    tables, facts = demo_tables(0, 200)
    facts["grade"] = np.arange(len(facts)) % 3
    facts.loc[facts.index[5], "stage"] = "IV" if facts["stage"].iloc[5] == "I" else "I"
    mended = write_tables(tmp_path / "mended", tables, facts)
    args = ("train", *DEBUG, "--cohort", mended, "--out", done, "--resume")
    before = pd.read_parquet(done / "samples.parquet")
    outcome = command(*args)
    assert outcome.status == 0, outcome.err
    assert "as it is now: stage, grade" in outcome.err
    after = open_run(done).samples
    assert after["stage"].iloc[5] == facts["stage"].iloc[5] != before["stage"].iloc[5]
    assert (after["grade"] == facts.loc[after.index, "grade"]).all()
    pd.testing.assert_frame_equal(
        after.drop(columns="grade").drop(index=after.index[5]), before.drop(index=before.index[5])
    )
    assert "as it is now" not in command(*args).err


@pytest.mark.parametrize("flag", ["--overwrite", "--resume", None])
def test_a_foreign_folder_is_left_alone(refused, tmp_path, flag):
    foreign = tmp_path / "foreign"
    (foreign / "models").mkdir(parents=True)
    (foreign / "models" / "weights.bin").write_bytes(b"precious")
    flags = [flag] if flag else []
    assert "not a run directory (no config.json, but models)" in refused(*flags, out=foreign)
    (foreign / "config.json").write_text('{"architectures": ["Bert"]}')
    assert "its config.json is not ours" in refused(*flags, out=foreign)
    (foreign / "config.json").write_text('{"archi')
    assert "is not JSON" in refused(*flags, out=foreign)


def test_a_file_at_out_is_left_alone(refused, tmp_path):
    file = tmp_path / "file"
    file.write_text("precious")
    assert "is a file: name a directory" in refused(out=file)
    assert "Not a directory" in refused(out=file / "below")
    assert file.read_text() == "precious"


def test_a_directory_that_may_not_be_written(refused, tmp_path, monkeypatch):
    def forbidden(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", forbidden)
    assert "Permission denied" in refused()
    monkeypatch.undo()
    if os.getuid() != 0:  # nothing is forbidden to root
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        assert "Permission denied" in refused(out=closed / "run")


def test_one_process_works_in_a_run_directory(refused, done, command):
    with filelock.FileLock(done / ".lock"):
        assert "another process is working in" in refused("--resume", out=done)
        assert "another process is working in" in refused("--overwrite", out=done)
        assert "another process" in command("evaluate", "--run", done).refused()


# ---- configurations ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--single.batch-size", "0"], "batch_size must be at least 1"),
        (["--multi.cond-dropout", "1.5"], r"cond_dropout must lie in \[0, 1\)"),
        (["--codec.latent-dim", "0"], "latent_dim must be at least 1"),
        (["--single.network.dropout", "2"], "dropout must lie in"),
        (["--single.val-solver.num-steps", "0"], "num_steps must be at least 1"),
        (["--single.val-solver.eta", "3"], r"eta must lie in \[0, 1\]"),
        (["--diffusion.num-steps", "4"], "4 steps of the linear schedule"),
        (
            ["--diffusion.num-steps", "4", "--diffusion.schedule", "cosine"],
            "a solver of 5 steps needs as many",
        ),
        (["--val-fraction", "1.5"], "val_fraction must lie in"),
        (["--max-missing", "0"], "max_missing is a share"),
        (["--seed", "-1"], "seed must lie in"),
        (["--recipe", "foo"], "invalid choice 'foo'"),
        (["--single.network.architecture", "gpt"], "invalid choice 'gpt'"),
        (["--bach-size", "3"], "Unrecognized"),
    ],
)
def test_settings_out_of_range(command, no_work, tmp_path, args, message, cohort_dir):
    out = tmp_path / "out"
    outcome = command("train", *DEBUG, "--cohort", cohort_dir, "--out", out, *args)
    assert outcome.status == 2
    shown = " ".join(outcome.err.replace("│", " ").split())
    assert pd.Series([shown]).str.contains(message).all(), outcome.err
    assert "Traceback" not in outcome.err
    assert not out.exists()


# ---- cohorts ----------------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path):
    """Write the small cohort after a change."""

    def write(change, name="damaged"):
        tables, facts = demo_tables(0, 200)
        tables = {m: t.copy() for m, t in tables.items()}
        facts = change(tables, facts)
        return write_tables(tmp_path / name, tables, facts)

    return write


def _set_cell(name, value):
    def change(tables, facts):
        tables[name] = tables[name].astype(object)
        tables[name].iloc[4, 2] = value

    return change


def _duplicate(tables, facts):
    tables["rnaseq"] = pd.concat([tables["rnaseq"], tables["rnaseq"].iloc[:2]])


def _rename_ids(tables, facts):
    tables["rppa"].index = [f"other-{i}" for i in range(len(tables["rppa"]))]


def _split_of(side, *lacking):
    """A split in which nobody of one side has some modalities."""

    def change(tables, facts):
        sides = np.resize(["train"] * 6 + ["val", "test"], len(facts))
        facts = facts.assign(split=sides, patient_id=facts.index)
        gone = facts.index[sides == side]
        for name in lacking:
            tables[name] = tables[name].drop(gone, errors="ignore")
        return facts

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_duplicate, "rnaseq.csv: 2 sample ids occur more than once"),
        (_set_cell("rnaseq", "high"), "rnaseq.csv, column 'GENE002': 1 cells are not numbers"),
        (_set_cell("rppa", "inf"), "rppa.tsv, column 'PROT002'"),
        (_rename_ids, "rppa shares no sample with any other modality"),
        (_split_of("val", "rppa"), "val has 0 patients with rppa beside another modality"),
        (_split_of("test", "cna", "rnaseq"), "test has no two modalities that 2 of its patients"),
    ],
)
def test_bad_tables(refused, damaged, change, message):
    assert message in refused(cohort=damaged(change))


def test_too_few_patients(refused, damaged):
    few = damaged(lambda tables, facts: tables.update(rppa=tables["rppa"].iloc[:14]), "few")
    message = refused(cohort=few)
    assert message.startswith("rppa is present for ")
    assert "patients in train, fewer than 12" in message

    def apart(tables, facts):
        changed, facts = set_apart(tables, facts)
        tables.update(changed)
        return facts

    message = refused(cohort=damaged(apart, "apart"))
    assert message.startswith("no single source of rppa has enough patients, 6 in train")
    assert "rppa from cna (train " in message


def test_cohorts_that_are_not_there(refused, tmp_path):
    assert "no such cohort" in refused(cohort=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "has no tables" in refused(cohort=tmp_path / "empty")
    assert "unknown modality wsi; known: cna, rnaseq, rppa" in refused("--modalities", "cna", "wsi")
    assert "demo has the modalities" in refused("--modalities", "cna", "x", cohort="demo")


def test_a_folder_with_one_table(refused, tmp_path):
    tables, facts = demo_tables(0, 200)
    alone = write_tables(tmp_path / "alone", {"cna": tables["cna"]}, facts)
    assert "two modalities or more" in refused(cohort=alone)


# ---- finished, unfinished and damaged runs ----------------------------------------------------


@pytest.fixture
def both_refuse(command, done, new_dir, tmp_path):
    """The message with which evaluate.py and impute.py refuse the run."""

    def run(place=done) -> str:
        out = tmp_path / "out"
        one = command("evaluate", "--run", place).refused()
        other = command("impute", "--run", place, "--input", new_dir, "--out", out).refused()
        assert one == other
        assert not out.exists()
        return one

    return run


def test_an_unfinished_run_is_named(both_refuse, done, tmp_path):
    (done / "models" / "multi" / "about.json").unlink()
    assert "is not finished: it has no multi-condition models" in both_refuse()
    assert "is not a run directory" in both_refuse(tmp_path)
    assert "is not a run directory" in both_refuse(tmp_path / "nowhere")
    assert "is not a run directory" in both_refuse(done / "config.json")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _largest(folder: Path) -> Path:
    return max((f for f in folder.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)


DAMAGE = {
    "model arrays": (
        lambda run: _cut(_largest(run / "models/single/arrays")),
        "single does not hold whole models: arrays/ cannot be read",
    ),
    "no model arrays": (
        lambda run: shutil.rmtree(run / "models/multi/arrays"),
        "multi does not hold whole models",
    ),
    "models described by another program": (
        lambda run: (run / "models/multi/about.json").write_text("[]"),
        "multi does not hold whole models: about.json is missing or not ours",
    ),
    "arrays of another run": (
        lambda run: [
            shutil.rmtree(run / "codec/arrays"),
            shutil.copytree(run / "models/single/arrays", run / "codec/arrays"),
        ],
        "codec does not hold whole codecs",
    ),
    "models in the place of codecs": (
        lambda run: [
            shutil.rmtree(run / "codec"),
            shutil.copytree(run / "models/single", run / "codec"),
        ],
        "codec does not hold whole codecs: it holds models",
    ),
    "no codecs": (lambda run: shutil.rmtree(run / "codec"), "no codecs"),
    "latents": (
        lambda run: _cut(run / "latents/cna.parquet"),
        "latents/cna.parquet is missing or damaged",
    ),
    "samples": (
        lambda run: (run / "samples.parquet").unlink(),
        "samples.parquet is missing or damaged",
    ),
    "configuration of another version": (
        lambda run: _edit(run / "config.json", {"colour": "blue"}),
        "config.json is not of this version: ExperimentConfig has no entry 'colour'",
    ),
    "configuration out of range": (
        lambda run: _edit(run / "config.json", {"val_fraction": "much"}),
        "config.json is not of this version",
    ),
    "models of another version": (
        lambda run: _edit(run / "models/single/about.json", {"schema_version": 99}),
        "was written with schema version 99, this program reads",
    ),
}


def _edit(file: Path, changes: dict) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


# The reads of damaged arrays that Orbax gives up complain when they are collected.
abandoned_reads = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@abandoned_reads
@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_run_is_named(both_refuse, done, what):
    damage, message = DAMAGE[what]
    damage(done)
    assert message in both_refuse()
    gc.collect()


@abandoned_reads
def test_damage_is_named_when_resuming(command, no_work, cohort_dir, done):
    _cut(_largest(done / "codec" / "arrays"))
    shutil.rmtree(done / "models")
    message = command("train", *DEBUG, "--cohort", cohort_dir, "--out", done, "--resume").refused()
    assert "does not hold whole codecs" in message
    gc.collect()


def test_evaluations_that_cannot_be(command, done):
    def refused(*args):
        before = contents(done)
        outcome = command("evaluate", "--run", done, *args)
        assert contents(done) == before
        assert outcome.status == 2
        return " ".join(outcome.err.replace("│", " ").split())

    assert "unknown modality 'wsi'; this run knows cna, rnaseq, rppa" in refused("--targets", "wsi")
    assert "unknown method 'magic'; one of coherent" in refused("--methods", "magic")
    assert "no methods to evaluate; known: coherent" in refused("--methods")
    assert "seed must lie in" in refused("--seed", -1)
    assert "draws must be at least 2" in refused("--draws", 0)
    assert "invalid choice 'train'" in refused("--split", "train")


def test_a_baseline_that_is_not_installed_is_skipped(command, done, monkeypatch):
    monkeypatch.setitem(OPTIONAL, "multimodal_vae", lambda: "no such library")
    monkeypatch.setitem(OPTIONAL, "engression", lambda: "none of this either")
    asked = ("evaluate", "--run", done, "--draws", 2, "--no-report", "--targets", "rppa")
    asked += ("--methods",)
    names = ("disagreement", "temperature", "consensus_verdicts")
    left = [*(f"metrics/{name}.csv" for name in names), "generated/multi/cna_from_rppa.parquet"]
    for file in left:  # by an evaluation with other methods and targets
        (done / file).parent.mkdir(parents=True, exist_ok=True)
        (done / file).write_text("old\n")
    outcome = command(*asked, "ridge", "multimodal_vae", "engression")
    assert outcome.status == 0, outcome.err
    assert outcome.err.count("multimodal_vae is skipped: no such library") == 1
    assert outcome.err.count("engression is skipped: none of this either") == 1
    assert set(pd.read_csv(done / "metrics" / "fidelity.csv")["method"]) == {"ridge"}
    assert not any((done / file).exists() for file in left)
    assert "no methods to evaluate" in command(*asked, "multimodal_vae").refused()


def test_a_target_is_no_source(run_dir):
    run = open_run(run_dir)
    with pytest.raises(InputError, match="the target 'cna' cannot also be a source"):
        run.coherent_bank("cna", ["cna", "rppa"])
    with pytest.raises(InputError, match="unknown modality 'wsi'; this run knows"):
        run.multi_bank("wsi")
