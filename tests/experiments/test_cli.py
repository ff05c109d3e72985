"""`cohgen COMMAND`, and the scripts of a checkout that are the same."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from cohgen_jax import cli

ROOT = Path(__file__).parents[2]


def cohgen(*args):
    command = [sys.executable, "-m", "cohgen_jax.cli", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_every_command_is_there_and_has_its_script():
    scripts = {file.stem for file in (ROOT / "experiments").glob("*.py")}
    assert scripts == cli.COMMANDS.keys() - {"prepare"}
    for name in scripts:
        module = importlib.import_module(f"cohgen_jax.cli.{name}")
        assert callable(module.main)
        assert f'main("{name}")' in (ROOT / "experiments" / f"{name}.py").read_text()
    for module in cli.PREPARE.values():
        assert callable(importlib.import_module(module).main)


@pytest.mark.parametrize("wrong", [["trian"], [], ["prepare", "tgca"]])
def test_an_unknown_command_is_told_those_there_are(wrong):
    done = cohgen(*wrong)
    assert done.returncode == 2
    known = cli.PREPARE if wrong[:1] == ["prepare"] else cli.COMMANDS
    assert all(name in done.stderr for name in known)
    assert "Traceback" not in done.stderr


def test_command_and_script_are_one(tmp_path):
    told = cohgen("--help")
    assert told.returncode == 0
    assert "evaluate" in told.stdout
    missing = ("--run", str(tmp_path / "nowhere"))
    script = subprocess.run(
        [sys.executable, str(ROOT / "experiments" / "evaluate.py"), *missing],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    command = cohgen("evaluate", *missing)
    assert command.returncode == script.returncode == 2
    assert command.stderr == script.stderr
    assert command.stderr.startswith("error: ")


def test_a_script_imports_nothing_that_reads_sys_path():
    """Commands are found because the package is installed, from any directory."""
    for file in (*ROOT.glob("cohgen_jax/**/*.py"), *ROOT.glob("experiments/*.py")):
        assert "sys.path" not in file.read_text(), file
