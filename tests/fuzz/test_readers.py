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
FEW, MANY = 4, 125
"""Files of each of 16 kinds, in the short tests and in the long ones (2,000 in all)."""


def _outcomes(folder: Path, wanted: list[tuple[str, int]]) -> list[dict]:
    """Of each kind and seed; a process that dies is begun again after the file that it died of."""
    outcomes: list[dict] = []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    while left := wanted[len(outcomes) :]:
        command = [sys.executable, "-m", "tests.fuzz.reading", str(folder), json.dumps(left)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        outcomes += [
            {**begun, **ended} for begun, ended in zip(lines[::2], lines[1::2], strict=False)
        ]
        assert lines, done.stderr[-2000:]
        if done.returncode:
            assert len(lines) % 2, done.stderr[-2000:]
            died = f"the process ended by {done.returncode} (-14: {SECONDS} s were not enough)"
            outcomes.append({**lines[-1], "fault": f"{died}\n{done.stderr[-1500:]}"})
    return outcomes


def _check(outcomes: list[dict], number: int) -> None:
    assert len(outcomes) == number
    faults = [outcome for outcome in outcomes if "fault" in outcome]
    told = "\n".join(f"{o['kind']} {o['seed']}, {o['file']}: {o['fault']}" for o in faults[:5])
    assert not faults, f"{len(faults)} of {number}:\n{told}"
    refused = [outcome["refused"] for outcome in outcomes if "refused" in outcome]
    assert all(message.strip() for message in refused)


def test_a_few_damaged_files(examples):
    wanted = [(kind, seed) for kind in KINDS for seed in range(FEW)]
    _check(_outcomes(examples, wanted), len(wanted))


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files(kind, examples):
    outcomes = _outcomes(examples, [(kind, seed) for seed in range(1000, 1000 + MANY)])
    _check(outcomes, MANY)
    assert any("refused" in outcome for outcome in outcomes)


def test_the_watch_sees_faults(examples):
    told = {
        "spawn": "ran ['os.system']",
        "hoard": "MB, the whole file",
        "raise": "ZeroDivisionError",
        "crash": "ended by -6",
    }
    outcomes = _outcomes(examples, [(drill, seed) for drill in told for seed in (0, 1)])
    assert [told[o["kind"]] in o["fault"] for o in outcomes] == [True] * 2 * len(told)


def test_damage_is_seeded_and_of_all_kinds():
    data = bytes(range(256)) * 20
    made = [damaged(data, np.random.default_rng(seed)) for seed in range(50)]
    assert made == [damaged(data, np.random.default_rng(seed)) for seed in range(50)]
    assert data not in made
    assert len({len(new) for new in made}) > 20
