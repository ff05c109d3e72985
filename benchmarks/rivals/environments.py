"""Environments of the rivals: made by venv and pip where their packages collide with the library's.

One is made once and kept under a folder. One that cannot be made says why in a line, and its rivals
are skipped with that reason.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple


class Environment(NamedTuple):
    """What a rival is run with."""

    requirements: tuple[str, ...]
    with_library: bool
    """Whether it sees the packages of this environment too, its own before them."""


ENVIRONMENTS: dict[str, Environment] = {
    "library": Environment((), True),  # this one
    "torch": Environment(("torch==2.13.0", "engression==1.1.0", "multivae==1.0.3"), True),
    "mofapy2": Environment(("mofapy2==0.7.5",), False),
    "treeffuser": Environment(("treeffuser==0.2.0",), False),
    "forestdiffusion": Environment(("ForestDiffusion==1.0.6",), False),
}


class Unavailable(Exception):
    """An environment that cannot be had here; its text says why."""


def python_of(environment: Environment, folder: Path) -> Path:
    """The interpreter of an environment, installed into `folder` unless it is there already.

    Raises:
      Unavailable: venv or pip failed.
    """
    if not environment.requirements:
        return Path(sys.executable)
    python, done = folder / "bin" / "python", folder / "installed.json"
    wanted = {**environment._asdict(), "python": sys.version}
    if done.exists() and json.loads(done.read_text()) == json.loads(json.dumps(wanted)):
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], "venv")
    if environment.with_library:
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        site = Path(_run([str(python), "-c", code], "python").strip())
        (site / "library.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    _run([*pip, *environment.requirements], "pip install")
    done.write_text(json.dumps(wanted))
    return python


def _run(command: list[str], what: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")]
        lines = lines or ended.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise Unavailable(f"{what} failed: {lines[0].removeprefix('ERROR: ')}")
    return ended.stdout
