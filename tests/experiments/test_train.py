"""experiments/train.py: what it leaves and says, beside what test_resume and test_refusals hold."""

import json

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.runs.run import open_run
from cohgen_jax.storage import rundir
from tests.experiments.conftest import DEBUG, MODALITIES, demo_tables, write_tables


def test_a_run_holds_what_the_next_command_needs(run_dir, cohort_dir):
    names = {path.name for path in run_dir.iterdir()} - {".lock"}
    assert names <= set(rundir.CONTENTS)
    assert names >= {"config.json", "samples.parquet", "latents", "codec", "models", "log.jsonl"}
    run = open_run(run_dir)
    assert run.modalities == MODALITIES
    assert run.config.cohort == str(cohort_dir)
    assert run.config.codec.latent_dim == 4
    assert [len(run.models[kind].specs) for kind in ("single", "multi")] == [6, 3]
    history = pd.read_csv(run_dir / "metrics" / "history_single.csv")
    assert sorted(history["epoch"].unique()) == [2, 4]
    kept = history.groupby("model")["val_energy"].min()
    specs = run.models["single"].specs
    best = dict(zip([s.name for s in specs], run.models["single"].scores["energy"], strict=True))
    for name, score in kept.items():
        assert np.isclose(best[name], score)
    log = [json.loads(line)["event"] for line in (run_dir / "log.jsonl").read_text().splitlines()]
    assert log[0] == "start"
    assert log[-1] == "trained"
    assert log.count("validated") == 4
    assert any("The split was drawn by patient" in note for note in rundir.notes(run_dir))
    splits = run.samples["split"].value_counts()
    assert splits["train"] > splits["test"] > splits["val"] > 0


@pytest.mark.heavy
def test_event_files_say_what_the_history_says(run_dir, cohort_dir, command, tmp_path):
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    args = ("--cohort", cohort_dir, "--out", tmp_path / "run", "--tensorboard")
    assert command("train", *DEBUG, *args).status == 0
    (file,) = (tmp_path / "run" / "tensorboard" / "single").glob("events.*")
    content, seen = file.read_bytes(), {}
    while content:  # length, its checksum, the event, its checksum
        size = int.from_bytes(content[:8], "little")
        event = event_pb2.Event.FromString(content[12 : 12 + size])
        content = content[16 + size :]
        for value in event.summary.value:
            seen[value.tag, event.step] = value.simple_value
    history = pd.read_csv(run_dir / "metrics" / "history_single.csv")  # of the same configuration
    for row in history.itertuples():
        for name in ("train_loss", "val_energy"):
            assert seen[f"{name}/{row.model}", row.epoch] == pytest.approx(getattr(row, name))
    assert seen["farm/models_running", 4] == 6
    assert seen["farm/samples_per_second", 4] > 0


def test_event_files_need_their_package(cohort_dir, command, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    args = ("--cohort", cohort_dir, "--out", tmp_path / "run", "--tensorboard")
    assert "pip install 'cohgen-jax[tensorboard]'" in command("train", *DEBUG, *args).refused()
    assert not (tmp_path / "run").exists()


@pytest.mark.heavy
def test_models_that_diverge_are_named(command, tmp_path):
    tables, facts = demo_tables(0, 200)
    two = {name: tables[name] for name in ("cna", "rppa")}
    args = ("--cohort", write_tables(tmp_path / "two", two, facts), "--out", tmp_path / "run")
    outcome = command("train", *DEBUG, *args, "--single.learning-rate", "1e30")
    assert outcome.status == 0
    note = "rppa_from_cna diverged and is as it began: lower single.learning_rate"
    assert note in outcome.err
    assert note in rundir.notes(tmp_path / "run")
    run = open_run(tmp_path / "run")  # of two modalities, the multi-condition models see one source
    assert run.multi_bank("cna").sources == ("rppa",)
