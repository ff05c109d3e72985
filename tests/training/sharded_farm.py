"""Trains a farm on meshes of all devices and on one, prints what test_sharding.py compares."""

import json
import re
import sys
from collections import Counter

import jax
import numpy as np

from cohgen_jax.training import pair_specs
from cohgen_jax.training.config import MeshConfig
from cohgen_jax.training.farm import fresh_state, init_state, share_out, train_epoch, validate
from cohgen_jax.training.mesh import make_mesh
from tests.training.test_farm import CONFIG, MODALITIES, farm_of

COLLECTIVES = r"(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("


def main(config: MeshConfig) -> dict:
    farm, data = farm_of(pair_specs(MODALITIES))
    alone, _ = train_epoch(init_state(data, farm=farm), data, farm=farm)
    alone, alone_scores = validate(alone, data, farm=farm)
    mesh = make_mesh(config, len(farm.specs), CONFIG.batch_size)
    like, data = share_out(data, farm=farm, mesh=mesh)
    state = fresh_state(data, like, farm=farm)
    train, judge = (
        Counter(re.findall(COLLECTIVES, program.compile().as_text()))
        for program in (
            train_epoch.lower(state, data, farm=farm),
            validate.lower(state, data, farm=farm),
        )
    )
    state, _ = train_epoch(state, data, farm=farm)
    state, scores = validate(state, data, farm=farm)
    pairs = zip(jax.tree.leaves(alone.best), jax.tree.leaves(state.best), strict=True)
    return {
        "mesh": dict(mesh.shape),
        "train": train,
        "validate": judge,
        "weights": max(float(np.max(np.abs(a - np.asarray(b)))) for a, b in pairs),
        "scores": max(float(np.max(np.abs(alone_scores[m] - scores[m]))) for m in scores),
    }


if __name__ == "__main__":
    meshes = [MeshConfig(**each) for each in json.loads(sys.argv[1])]
    print(json.dumps([main(each) for each in meshes]))
