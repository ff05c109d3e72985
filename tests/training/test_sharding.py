"""The farm on 8 devices: the same result; nothing is said between parts of the models."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.training.config import MeshConfig
from cohgen_jax.training.mesh import make_mesh
from tests.conftest import CACHE

ROOT = Path(__file__).parents[2]


def test_a_farm_on_several_devices_does_the_same():
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(CACHE),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    meshes = [{}, {"model": 2, "data": 4}]
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.sharded_farm", json.dumps(meshes)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    models, both = json.loads(done.stdout.splitlines()[-1])
    assert models["mesh"] == {"model": 6, "data": 1}  # as many as divide the 6 models
    assert models["train"] == models["validate"] == {}
    assert both["mesh"] == {"model": 2, "data": 4}
    # The gradients, and twice a number for each example of a batch, to shuffle the noise levels.
    assert both["train"] == {"all-reduce": 1, "all-gather": 2}
    assert both["validate"] == {}
    for result in (models, both):
        assert result["weights"] < 1e-6
        assert result["scores"] < 1e-5


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        ({"model": 2}, "a mesh of model 2 x data 1 needs 2 devices, there are 1"),
        ({"data": 5}, "a mesh of model 1 x data 5 needs 5 devices, there are 1"),
        ({"model": -1}, "a mesh has model >= 0 and data >= 1, got model -1, data 1"),
    ],
)
def test_a_mesh_that_cannot_be(mesh, message):
    with pytest.raises(InputError, match=message):
        make_mesh(MeshConfig(**mesh), 6, 16)


def test_what_a_mesh_cannot_share(monkeypatch):
    monkeypatch.setattr("jax.devices", lambda: [None] * 8)
    with pytest.raises(InputError, match="6 models cannot be dealt into 4 equal parts"):
        make_mesh(MeshConfig(model=4), 6, 16)
    with pytest.raises(InputError, match="a batch of 17 is no multiple of 2"):
        make_mesh(MeshConfig(data=2), 6, 17)
