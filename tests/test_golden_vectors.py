"""Agreement with the publication, in any checkout: a few numbers that its sampler arrives at.

The vectors of tests/golden/ come from `tests/reference.py`, a reading of the paper in NumPy. Where
the recordings of the published PyTorch code are at hand (tests/golden.py), the reference is held to
them, so that the vectors are what that code computes; the package is held to the vectors always.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.interop import denoiser_from_torch
from cohgen_jax.sampling import Bank, RecordedNoise, coherent_sample
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import ddpm
from tests import golden, reference

VECTORS = json.loads(reference.VECTORS.read_text())


def published_models():
    models, *_ = reference.inputs()
    return [
        denoiser_from_torch(params, {**reference.CONFIG, "cond_dims": width})
        for params, width in zip(models, reference.WIDTHS, strict=True)
    ]


def test_the_network_predicts_what_the_publication_does():
    (module, variables), *_ = published_models()
    _, conds, x, _ = reference.inputs()
    t = jnp.array([0, 7, 19, 24], jnp.int32)
    np.testing.assert_allclose(module.apply(variables, x, t, conds[:1]), VECTORS["eps"], atol=2e-6)


@pytest.mark.parametrize("rule", ["mean", "loss"])
def test_coherent_sampling_arrives_where_the_publication_does(rule):
    _, conds, initial, noise = reference.inputs()
    bank = Bank.from_models("t", ["a", "b", "c"], published_models(), losses=reference.LOSSES)
    steps = np.concatenate([noise, np.zeros_like(noise[:1])])  # none is drawn at t = 0
    result = coherent_sample(
        jax.random.key(0),
        bank,
        conds,
        solver=ddpm(linear_schedule(reference.STEPS), published_last_step=True),
        consensus=rule,
        keep_trajectory=True,
        recorded=RecordedNoise(jnp.asarray(initial)[None], jnp.asarray(steps)[:, None]),
    )
    assert result.trajectory is not None
    np.testing.assert_allclose(result.draws[0], VECTORS[rule]["samples"], atol=1e-5)
    disagreement = result.trajectory[0, :, ::6]
    np.testing.assert_allclose(disagreement, VECTORS[rule]["disagreement"], atol=1e-5)


def test_the_vectors_are_those_of_the_reference():
    again = reference.vectors()
    np.testing.assert_allclose(again["eps"], VECTORS["eps"], atol=1e-12)
    for rule in ("mean", "loss"):
        for name, values in again[rule].items():
            np.testing.assert_allclose(values, VECTORS[rule][name], atol=1e-12)


@pytest.mark.parametrize("path", golden.files("core/denoiser_mlp_*.npz"))
def test_the_reference_is_the_published_network(path):
    arrays = golden.load(path)
    if "sum" in path.stem:
        pytest.skip("the reference concatenates conditions")
    params, conds = golden.below(arrays, "param"), golden.numbered(arrays, "cond")
    found = reference.mlp(params, arrays["x"], arrays["t"], conds)
    np.testing.assert_allclose(found, arrays["out"], atol=1e-5)
    if "out_masked" in arrays:
        masked = reference.mlp(params, arrays["x"], arrays["t"], conds, golden.masks(arrays).T)
        np.testing.assert_allclose(masked, arrays["out_masked"], atol=1e-5)


@pytest.mark.parametrize("path", golden.files("core/coherent_*_mlp_weighted.npz"))
def test_the_reference_is_the_published_sampler(path):
    arrays = golden.load(path)
    if golden.config(arrays)["architecture"] != "mlp":
        pytest.skip("of another network")
    samples, disagreement = reference.coherent(
        [golden.below(arrays, f"model{i}") for i in range(len(arrays["losses"]))],
        golden.numbered(arrays, "cond"),
        reference.loss_weights(arrays["losses"]),
        arrays["initial_noise"],
        arrays["step_noise"],
    )
    np.testing.assert_allclose(samples, arrays["samples"], atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(disagreement, arrays["cosine_distance"], atol=1e-4)
