"""Where the parts of a farm lie: a mesh of devices, of all hosts, with two axes.

model   models are dealt out; they do not look at each other, so nothing is said along this axis
data    the batches of a part's models are shared; gradients are added up along this axis
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cohgen_jax.errors import InputError
from cohgen_jax.training.config import MeshConfig


def make_mesh(config: MeshConfig, num_models: int, batch_size: int) -> Mesh:
    """The mesh for this many models.

    Raises:
      InputError: too few devices, models or examples for the mesh; or it leaves out devices of a
        process that takes part.
    """
    devices = jax.devices()
    most = len(devices) // config.data
    model = config.model or max((n for n in range(1, most + 1) if num_models % n == 0), default=1)
    wanted = f"a mesh of model {model} x data {config.data}"
    if model > most:
        raise InputError(f"{wanted} needs {model * config.data} devices, there are {len(devices)}")
    if num_models % model:
        raise InputError(f"{wanted}: {num_models} models cannot be dealt into {model} equal parts")
    if batch_size % config.data:
        raise InputError(f"{wanted}: a batch of {batch_size} is no multiple of {config.data}")
    used = devices[: model * config.data]
    if {device.process_index for device in used} != set(range(jax.process_count())):
        raise InputError(
            f"{wanted} leaves out some of the {jax.process_count()} processes: {num_models} models "
            f"and {len(devices)} devices; give compute.mesh.model and compute.mesh.data, or start "
            "fewer processes"
        )
    return Mesh(np.array(used).reshape(model, config.data), ("model", "data"))


def place(leaf: Any, mesh: Mesh, *axes: str | None) -> jax.Array:
    """An array that every process has, as one array of the mesh, split along the given axes."""
    host = np.asarray(leaf)
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def num_parts(leaf: jax.Array) -> int:
    """Into how many parts the first axis is split."""
    return len(leaf) // leaf.sharding.shard_shape(leaf.shape)[0]
