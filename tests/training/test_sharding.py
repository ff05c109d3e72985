"""The farm on 8 devices: models shared out, same result, no communication."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import CACHE

ROOT = Path(__file__).parents[2]


def test_a_farm_on_several_devices_does_the_same_without_talking():
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(CACHE),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.sharded_farm"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["devices"] == 6  # as many as divide the 6 models
    assert result["collectives"] == []
    assert result["weights"] < 1e-6
    assert result["scores"] < 1e-5
