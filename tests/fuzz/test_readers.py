"""Damaged files of every kind are read, or refused in a sentence: no other error, no crash, no
hang, no memory that the whole file would not take, nothing run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.damage import damaged
from tests.fuzz.reading import KINDS, SECONDS

ROOT = Path(__file__).parents[2]
FEW, MANY = 6, 125
"""Files of each of 16 kinds, in the short tests and in the long ones (2,000 in all)."""


def _outcomes(kind: str, folder: Path, first: int, last: int) -> list[dict]:
    """Of each seed; a process that dies is begun again after the file that it died of."""
    outcomes = []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    while first < last:
        command = [sys.executable, "-m", "tests.fuzz.reading", kind, folder, first, last]
        done = subprocess.run(
            [*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        outcomes += [
            {**begun, **ended} for begun, ended in zip(lines[::2], lines[1::2], strict=False)
        ]
        if done.returncode == 0:
            break
        assert lines, done.stderr[-2000:]
        assert len(lines) % 2, done.stderr[-2000:]
        died = f"the process ended by {done.returncode} (-14: {SECONDS} s were not enough)"
        outcomes.append({**lines[-1], "fault": f"{died}\n{done.stderr[-1500:]}"})
        first = lines[-1]["seed"] + 1
    return outcomes


def _check(outcomes: list[dict], number: int) -> None:
    assert len(outcomes) == number
    faults = [outcome for outcome in outcomes if "fault" in outcome]
    told = "\n".join(f"{o['seed']}, {o['file']}: {o['fault']}" for o in faults[:5])
    assert not faults, f"{len(faults)} of {number}:\n{told}"
    refused = [outcome["refused"] for outcome in outcomes if "refused" in outcome]
    assert all(message.strip() for message in refused)


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_damaged_files(kind, examples):
    _check(_outcomes(kind, examples / kind, 0, FEW), FEW)


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files(kind, examples):
    outcomes = _outcomes(kind, examples / kind, 1000, 1000 + MANY)
    _check(outcomes, MANY)
    assert any("refused" in outcome for outcome in outcomes)


@pytest.mark.parametrize(
    ("drill", "told"),
    [
        ("crash", "ended by -6"),
        ("spawn", "ran ['os.system']"),
        ("hoard", "MB, the whole file"),
        ("raise", "ZeroDivisionError"),
    ],
)
def test_the_watch_sees_faults(drill, told, examples):
    outcomes = _outcomes(drill, examples / "csv", 0, 2)
    assert [told in outcome["fault"] for outcome in outcomes] == [True, True]


def test_damage_is_seeded_and_of_all_kinds():
    data = bytes(range(256)) * 20
    made = [damaged(data, np.random.default_rng(seed)) for seed in range(50)]
    assert made == [damaged(data, np.random.default_rng(seed)) for seed in range(50)]
    assert data not in made
    assert len({len(new) for new in made}) > 20
