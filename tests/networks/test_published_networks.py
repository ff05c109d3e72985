"""The networks compute what the published implementation computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.interop import autoencoder_from_torch, denoiser_from_torch
from cohgen_jax.interop.convert import torch_name
from cohgen_jax.networks import layer_sizes, time_embedding
from cohgen_jax.schedule import linear_schedule, q_sample
from tests import golden


def close(ours, theirs, atol=1e-5):
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=atol)


@pytest.mark.parametrize("path", golden.files("core/time_embedding*.npz"))
def test_time_embedding(path):
    arrays = golden.load(path)
    for name, expected in arrays.items():
        if name.startswith("emb"):
            close(time_embedding(jnp.asarray(arrays["t"], jnp.int32), expected.shape[1]), expected)


@pytest.mark.parametrize("path", golden.files("core/denoiser_*.npz"))
def test_denoiser(path):
    arrays = golden.load(path)
    module, variables = denoiser_from_torch(golden.below(arrays, "param"), golden.config(arrays))
    conds = golden.numbered(arrays, "cond")
    t = arrays["t"].astype(np.int32)
    apply = jax.jit(module.apply)

    close(apply(variables, arrays["x"], t, conds), arrays["out"])
    if "out_masked" in arrays:
        close(apply(variables, arrays["x"], t, conds, golden.masks(arrays)), arrays["out_masked"])


@pytest.mark.parametrize("path", golden.files("core/autoencoder_*.npz"))
def test_autoencoder(path):
    arrays = golden.load(path)
    config = golden.config(arrays)
    module, variables = autoencoder_from_torch(golden.below(arrays, "param"), config)
    sizes = layer_sizes(module.input_dim, module.bottleneck, module.num_layers, module.shrink)
    assert sizes == tuple(arrays["encoder_sizes"])

    x = arrays["x"]
    z = jax.jit(lambda v, x: module.apply(v, x, method="encode"))(variables, x)
    close(z, arrays["z"])
    recon = jax.jit(module.apply)(variables, x)
    close(recon, arrays["recon"])
    close(jnp.mean((recon - x) ** 2), arrays["loss"])


@pytest.mark.parametrize("path", golden.files("core/train_step_*.npz"))
def test_training_step(path):
    """Loss, gradients and running statistics of one training-mode step."""
    arrays = golden.load(path)
    module, variables = denoiser_from_torch(golden.below(arrays, "param"), golden.config(arrays))
    t = arrays["t"].astype(np.int32)
    schedule = linear_schedule(golden.config(arrays).get("num_timesteps", 1000))
    x_t = q_sample(schedule, arrays["x_start"], t, arrays["noise"])
    conds = golden.numbered(arrays, "cond")
    mask = golden.masks(arrays) if "mask0" in arrays else None

    def loss(params):
        changed = {**variables, "params": params}
        out, state = module.apply(changed, x_t, t, conds, mask, train=True, mutable=["batch_stats"])
        return jnp.mean((out - arrays["noise"]) ** 2), (out, state)

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, (out, state)), grads = step(variables["params"])
    close(value, arrays["loss"], 1e-4)
    close(out, arrays["out"], 1e-4)

    ours = {_name("params", path): leaf.T for path, leaf in _leaves(grads)}
    theirs = golden.below(arrays, "grad")
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        close(ours[name], expected, 1e-4)

    after = {
        _name("batch_stats", path): leaf for path, leaf in _leaves(state.get("batch_stats", {}))
    }
    theirs = golden.below(arrays, "after")
    assert after.keys() == theirs.keys()
    for name, expected in theirs.items():
        close(after[name], expected, 1e-4)


def _leaves(tree):
    return jax.tree.leaves_with_path(tree)


def _name(collection, path):
    return torch_name((collection, *(key.key for key in path)))
