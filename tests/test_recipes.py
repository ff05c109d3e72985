"""Recipes for other people's machines name what is there: make targets, extras, files, commands."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cohgen_jax.cli import COMMANDS

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_hosted_tests_call_the_targets_of_the_makefile():
    yaml = pytest.importorskip("yaml")
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    runs = [step["run"] for step in flow["jobs"]["test"]["steps"] if "run" in step]
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert runs
    assert {run.removeprefix("make ") for run in runs} <= targets


@pytest.mark.parametrize("name", ["Makefile", "environment.yml", "Dockerfile"])
def test_extras_that_are_installed_exist(name):
    text = (ROOT / name).read_text()
    lists = re.findall(r"(?:EXTRAS ?:?= ?|\.\[)([a-z,]+)", text)
    assert lists
    for extras in lists:
        assert set(extras.split(",")) <= set(EXTRAS), extras


def test_what_the_container_copies_is_there():
    for line in re.findall(r"^COPY (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        for name in line.split()[:-1]:
            assert (ROOT / name).exists(), name


def dry_run(folder, *config):
    snakefile = ["--snakefile", str(ROOT / "workflow" / "Snakefile")]
    command = [sys.executable, "-m", "snakemake", *snakefile, "--cores", "1", "--dry-run"]
    return subprocess.run(
        [*command, "--printshellcmds", "--config", *config],
        capture_output=True, text=True, check=False, cwd=folder, timeout=120,
    )  # fmt: skip


@pytest.mark.skipif(importlib.util.find_spec("snakemake") is None, reason="no snakemake")
def test_the_workflow_goes_from_tables_to_report_and_model(tmp_path):
    (tmp_path / "my_tables").mkdir()
    done = dry_run(tmp_path, "cohort=my_tables", "name=mine", "recipe=debug")
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    order = [word for word in re.findall(r"cohgen (\w+) --", said) if word in COMMANDS]
    assert order[:3] == ["train", "evaluate", "audit"]
    assert set(order[3:]) == {"report", "export"}
    assert "--recipe debug --cohort my_tables --out runs/mine --resume" in said


@pytest.mark.skipif(importlib.util.find_spec("snakemake") is None, reason="no snakemake")
def test_the_workflow_prepares_public_files_or_says_what_it_needs(tmp_path):
    done = dry_run(tmp_path, "projects=BRCA LUAD", "name=tcga")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "cohgen prepare tcga --projects BRCA LUAD" in said
    done = dry_run(tmp_path, "name=mine")
    assert done.returncode != 0
    assert "what to train on" in done.stdout + done.stderr
