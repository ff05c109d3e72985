"""Eight devices: the same samples, and nothing said between devices."""

import os
import subprocess
import sys
from pathlib import Path

CHECK = """
import re
import sys

import jax
import numpy as np
from jax.sharding import Mesh

sys.path.insert(0, ".")
import tests.conftest  # light compilation
from cohgen_jax.networks import NetworkConfig, build, init
from cohgen_jax.sampling import (
    Bank, Moments, Rejection, SamplerConfig, coherent, coherent_sample, sample_rows
)
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import ddpm

assert len(jax.devices()) == 8
schedule = linear_schedule(20)
solver = ddpm(schedule, 4)
module = build(NetworkConfig(architecture="norm_mlp", width=8), 3, (3,))
models = [(module, init(module, jax.random.key(k))) for k in range(4)]
slots = [(0,), (1,), (2,), (0,)]  # a has two models
bank = Bank.from_models("t", ["a", "b", "c"], models, slots=slots)
rng = np.random.default_rng(0)
conds = rng.normal(size=(3, 48, 3)).astype(np.float32)
present = rng.random((48, 3)) < 0.6
texts = []
original = coherent._sample

def record(*args, **kwargs):
    texts.append(original.lower(*args, **kwargs).compile().as_text())
    return original(*args, **kwargs)

coherent._sample = record
mesh = Mesh(jax.devices(), ("samples",))
for rejection in (None, Rejection(cos_threshold=0.9, prop_threshold=0.2, max_retries=3)):
    one, eight = (
        coherent_sample(
            jax.random.key(0), bank, conds, present, schedule=schedule, solver=solver,
            num_draws=2, rejection=rejection, keep_trajectory=True, mesh=m, ensemble="mixture",
        )
        for m in (None, mesh)
    )
    assert len(eight.draws.sharding.device_set) == 8
    for a, b in zip(one[:-1], eight[:-1]):
        np.testing.assert_allclose(a, b, atol=1e-5)
    if rejection:
        assert np.asarray(one.retries).max() > 0
collective = r"all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-br"
assert len(texts) == 8 and "dot" in texts[-1]
assert not re.search(collective, "".join(texts[2:4] + texts[6:8]))
coherent._sample = original

z = np.moveaxis(np.concatenate([conds, conds[:1]]), 0, 1)[:45]
shown = np.concatenate([present, np.zeros((48, 1), bool)], axis=1)[:45]
def rows(rejection=None, consensus="mean", **more):
    config = SamplerConfig(solver=solver, rejection=rejection, consensus=consensus)
    return sample_rows(bank, ("a", "b", "c", "t"), z, shown, 0, 2, config, **more)
for rejection in (None, Rejection(cos_threshold=0.9, prop_threshold=0.2, max_retries=3)):
    alone = coherent_sample(
        jax.random.key(0), bank, conds[:, :45], present[:45], schedule=schedule, solver=solver,
        num_draws=2, rejection=rejection,
    )
    for more in ({}, {"chains": 4}):  # 45 patients: the last device has some of them twice
        for a, b in zip(alone, rows(rejection=rejection, **more)):
            if a is not None:
                np.testing.assert_allclose(a, b, atol=1e-5)

# Beside a regression, on covariates: the same for any number of devices and chunks.
module = build(NetworkConfig(architecture="adaln_mlp", width=8), 3, (3, 2))
models = [(module, init(module, jax.random.key(k))) for k in range(3)]
root = rng.normal(size=(2, 3, 5, 5))
moments = Moments(
    np.array([-9.0, 6.0]), root @ np.swapaxes(root, -1, -2), np.ones(3), np.array(30), np.ones(4)
)
patterns = list(map(tuple, np.unique(present, axis=0).tolist()))[::2] + [(False,) * 3]
known = Bank.from_models(
    "t", ["a", "b", "c"], models, covariates=2, moments=dict.fromkeys(patterns, moments)
).with_regression(
    lambda conds, shown: (np.where(shown, conds[0], conds[3][:, :1]), 0.5 + 0 * conds[0]),
    schedule.alpha_bar,
)
z = np.concatenate([z, z[:, :1], rng.normal(size=(45, 1, 3))], axis=1).astype(np.float32)
alone = coherent_sample(
    jax.random.key(0), known, [*z[:, :3].swapaxes(0, 1), z[:, -1, :2]], shown[:, :3],
    schedule=schedule, solver=solver, num_draws=2, consensus="stacked",
)
bank = known
for more in ({}, {"chains": 4}):
    for a, b in zip(alone, rows(consensus="stacked", **more)):
        if a is not None:
            np.testing.assert_allclose(a, b, atol=1e-5)
print("equal")
"""


def test_eight_devices_draw_the_same_without_communication():
    root = Path(__file__).parents[2]
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "equal"
