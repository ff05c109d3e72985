"""Trains a farm on all devices and on one, prints what test_sharding.py compares."""

import json
import re

import jax
import numpy as np

from cohgen_jax.training import pair_specs
from cohgen_jax.training.farm import init_state, share_out, train_epochs, validate
from tests.training.test_farm import MODALITIES, farm_of

COLLECTIVES = r"all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"


def main() -> None:
    farm, data = farm_of(pair_specs(MODALITIES))
    alone, _ = train_epochs(init_state(data, farm=farm), data, farm=farm, num_epochs=1)
    alone, alone_scores = validate(alone, data, farm=farm)
    state, data = share_out(init_state(data, farm=farm), data)
    programs = [
        train_epochs.lower(state, data, farm=farm, num_epochs=1).compile(),
        validate.lower(state, data, farm=farm).compile(),
    ]
    collectives = [name for p in programs for name in re.findall(COLLECTIVES, p.as_text())]
    state, _ = train_epochs(state, data, farm=farm, num_epochs=1)
    state, scores = validate(state, data, farm=farm)
    pairs = zip(jax.tree.leaves(alone.best), jax.tree.leaves(state.best), strict=True)
    print(
        json.dumps(
            {
                "devices": len(state.active.devices()),
                "collectives": collectives,
                "weights": max(float(np.max(np.abs(a - np.asarray(b)))) for a, b in pairs),
                "scores": max(float(np.max(np.abs(alone_scores[m] - scores[m]))) for m in scores),
            }
        )
    )


if __name__ == "__main__":
    main()
