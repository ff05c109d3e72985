"""Run directories: what may be made of a folder, and what is left when that is cut short."""

import dataclasses
import json
from typing import get_type_hints

import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.runs.config import ExperimentConfig, recipe
from cohgen_jax.storage import rundir

CONFIG = {"cohort": "here", "codec": {"latent_dim": 8}, "modalities": ("a", "b")}
DONE = {**CONFIG, rundir.DATA: "abc"}


def prepare(path, config=DONE, *, resume=False, overwrite=False):
    rundir.prepare(path, config, resume=resume, overwrite=overwrite)


def test_a_new_directory_gets_its_configuration(tmp_path):
    with rundir.locked(tmp_path / "a" / "b"):
        prepare(tmp_path / "a" / "b", resume=True)  # nothing there yet: begins
    assert rundir.read_config(tmp_path / "a" / "b") == json.loads(json.dumps(DONE))


def test_check_compares_what_is_known_so_far_and_changes_nothing(tmp_path):
    prepare(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    rundir.check(tmp_path, CONFIG, resume=True, overwrite=False)
    rundir.check(tmp_path, {**CONFIG, "cohort": "moved"}, resume=True, overwrite=False)
    other = {**CONFIG, "codec": {"latent_dim": 9}}
    with pytest.raises(InputError, match=r"another configuration \(codec.latent_dim: 8 -> 9\)"):
        rundir.check(tmp_path, other, resume=True, overwrite=False)
    rundir.check(tmp_path, other, resume=False, overwrite=True)
    with pytest.raises(InputError, match="on other data: here is not"):
        rundir.check(tmp_path, {**DONE, rundir.DATA: "abd"}, resume=True, overwrite=False)
    assert (tmp_path / "config.json").read_bytes() == before
    rundir.check(tmp_path / "absent", CONFIG, resume=False, overwrite=False)
    assert not (tmp_path / "absent").exists()


def test_a_run_of_an_earlier_version_goes_on(tmp_path):
    prepare(tmp_path)
    rundir.check(tmp_path, {**CONFIG, "pairs": "separate"}, resume=True, overwrite=False)
    with pytest.raises(InputError, match=r"pairs: separate -> shared"):
        rundir.check(tmp_path, {**CONFIG, "pairs": "shared"}, resume=True, overwrite=False)


def test_overwriting_removes_what_is_ours_only(tmp_path):
    prepare(tmp_path)
    for name in rundir.CONTENTS[1:]:
        if "." in name:
            (tmp_path / name).write_text("{}")
        else:
            (tmp_path / name / "deeper").mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (tmp_path / "models" / "deeper").rmdir()
    (tmp_path / "models").rmdir()
    (tmp_path / "models").symlink_to(elsewhere)
    prepare(tmp_path, {**DONE, "cohort": "there"}, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "elsewhere"]
    assert (elsewhere / "kept").exists()
    assert rundir.read_config(tmp_path)["cohort"] == "there"


@pytest.mark.parametrize("left", [".lock", "config.json.part"])
def test_what_a_killed_process_leaves_is_no_obstacle(tmp_path, left):
    (tmp_path / left).touch()
    prepare(tmp_path, resume=True)
    assert (tmp_path / "config.json").exists()


def test_the_lock_is_free_again_after_an_error(tmp_path):
    def work_that_fails():
        with rundir.locked(tmp_path):
            with pytest.raises(InputError, match="another process"):
                rundir.locked(tmp_path).__enter__()
            raise RuntimeError

    for _ in range(2):
        with pytest.raises(RuntimeError):
            work_that_fails()


def test_notes_are_told_once_and_a_cut_line_is_skipped(tmp_path):
    for text in ("first", "second", "first"):
        rundir.log(tmp_path, "note", text=text)
    rundir.log(tmp_path, "trained")
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"time": "20')
    assert rundir.notes(tmp_path) == ["first", "second"]


@pytest.mark.parametrize("name", ["default", "demo", "debug", "published"])
def test_configurations_survive_json(name):
    config = dataclasses.replace(recipe(name), modalities=("a", "b"))
    read = json.loads(json.dumps(dataclasses.asdict(config)))
    assert rundir.from_dict(ExperimentConfig, read) == config


def test_the_cohort_is_an_entry_of_every_configuration():
    """`check` leaves it out of the comparison by name."""
    assert "cohort" in get_type_hints(ExperimentConfig)
    assert rundir.DATA not in get_type_hints(ExperimentConfig)
