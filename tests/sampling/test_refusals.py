"""Calls of the sampler that cannot be meant; what importing it costs."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from cohgen_jax.errors import InputError
from cohgen_jax.networks import NetworkConfig, build, init
from cohgen_jax.sampling import Bank, Sampler, SamplerConfig
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import ddim

WIDTHS = {"a": 4, "b": 2}


@pytest.fixture(scope="module")
def sampler():
    modules = [build(NetworkConfig(width=8), 3, (width,)) for width in WIDTHS.values()]
    models = [(module, init(module, jax.random.key(k))) for k, module in enumerate(modules)]
    bank = Bank.from_models("t", list(WIDTHS), models)
    return Sampler(bank, SamplerConfig(solver=ddim(linear_schedule(50), 3)))


def conds(a=(5, 4), b=(5, 2)):
    return [np.ones(a, np.float32), np.ones(b, np.float32)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (conds(b=(5, 4)), r"b must be \[samples, width\] = \(5, 2\), got \(5, 4\)"),
        (conds(b=(1, 2)), r"b must be .* \(5, 2\), got \(1, 2\)"),
        (conds(b=(5,)), r"b must be .*, got \(5,\)"),
        (conds(a=(5, 1)), r"a must be .* \(5, 4\), got \(5, 1\)"),
        (conds()[:1], "1 conditions for the 2 sources a, b"),
    ],
)
def test_sources_of_another_shape_are_refused(sampler, given, message):
    with pytest.raises(InputError, match=message):
        sampler(jax.random.key(0), given)


def test_sharing_out_inside_jit_is_refused(sampler):
    mesh = Mesh(jax.devices()[:1], ("samples",))
    assert sampler(jax.random.key(0), conds(), mesh=mesh).draws.shape == (1, 5, 3)
    with pytest.raises(InputError, match="outside jit"):
        jax.jit(lambda c: sampler(jax.random.key(0), c, mesh=mesh).draws)(conds())
    inside = jax.jit(lambda c: sampler(jax.random.key(0), c).draws)(conds())
    np.testing.assert_allclose(inside, sampler(jax.random.key(0), conds()).draws, atol=1e-5)


@pytest.mark.parametrize("losses", [None, [0.5, -1.0], [0.5, float("nan")]])
def test_a_weighted_consensus_needs_losses(sampler, losses):
    """Without them it was the plain mean, unasked."""
    bank = sampler.bank
    models = [(g.module, jax.tree.map(lambda leaf: leaf[0], g.variables)) for g in bank.groups]
    again = Bank.from_models("t", list(WIDTHS), models, losses=losses)
    config = SamplerConfig(solver=sampler.config.solver, consensus="loss")
    with pytest.raises(InputError, match=r"needs the validation loss of every model.*got .*nan: "):
        Sampler(again, config)(jax.random.key(0), conds())
    assert Sampler(again, sampler.config)(jax.random.key(0), conds()).draws.shape == (1, 5, 3)


@pytest.mark.parametrize("setting", [{"temperature": 1.5}, {"consensus": "mode"}, {"precision": 8}])
def test_settings_that_there_are_not_are_refused_at_birth(setting):
    with pytest.raises(InputError):
        SamplerConfig(solver=ddim(linear_schedule(50), 3), **setting)


def test_the_sampler_alone_loads_no_tables_and_no_evaluation():
    code = (
        "import sys; from cohgen_jax import coherent_sample, Sampler, SamplerConfig, ddim\n"
        "heavy = {'pandas', 'pyarrow', 'sklearn', 'matplotlib', 'tyro', 'orbax'}\n"
        "parts = {'evaluation', 'cohort', 'codec', 'training', 'run'}\n"
        "print(sorted(heavy & sys.modules.keys()),"
        " sorted(p for p in parts if f'cohgen_jax.{p}' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"
