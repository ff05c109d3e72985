"""Parameters that do not fit their configuration are refused by name; those that fit, kept."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from cohgen_jax.errors import InputError
from cohgen_jax.interop import autoencoder_from_torch, denoiser_from_torch
from cohgen_jax.interop.convert import PUBLISHED, torch_name
from cohgen_jax.networks import NetworkConfig, build, init

X_DIM, COND_DIMS = 5, (4, 3)
CONFIG = {
    "initial_size": 12,
    "bottleneck_size": 3,
    "n_layers": 3,
    "time_embedding_dimension": 7,
    "cond_embedding_dim": 6,
}


def published(architecture, cond_dims=COND_DIMS, fusion="concat"):
    """A state_dict of random numbers and its configuration, in the published form."""
    config = NetworkConfig(
        architecture=architecture,
        width=12,
        bottleneck=3,
        num_layers=3,
        time_embedding=7,
        cond_embedding=6,
        fusion=fusion,
    )
    module = build(config, X_DIM, cond_dims)
    template = flatten_dict(jax.eval_shape(lambda: init(module, jax.random.key(0))))
    rng = np.random.default_rng(0)
    params = {
        torch_name(path): rng.random(leaf.shape[::-1], np.float32)
        for path, leaf in template.items()
    }
    return module, params, {**CONFIG, "architecture": architecture}


@pytest.mark.parametrize("fusion", ["concat", "sum"])
@pytest.mark.parametrize("architecture", PUBLISHED)
def test_every_parameter_arrives_at_its_place(architecture, fusion):
    module, params, config = published(architecture, fusion=fusion)
    config |= {"x_dim": X_DIM, "cond_dims": list(COND_DIMS), "fusion_method": fusion}
    converted, variables = denoiser_from_torch(params, config)
    assert converted.x_dim == module.x_dim
    assert converted.cond_dims == module.cond_dims
    for path, leaf in flatten_dict(variables).items():
        assert leaf.dtype == np.float32
        np.testing.assert_array_equal(leaf, params[torch_name(path)].T)
    assert len(flatten_dict(variables)) == len(params)


@pytest.mark.parametrize(
    ("architecture", "cond_dims", "fusion"),
    [
        ("mlp", (4,), "concat"),
        ("norm_mlp", (4, 3), "concat"),
        ("norm_mlp_v2", (4,), "concat"),
        ("unet", (4, 3), "sum"),
        ("unet_v2", (4, 3, 2), "concat"),
    ],
)
def test_sizes_absent_from_the_configuration_are_read_off_the_parameters(
    architecture, cond_dims, fusion
):
    _, params, config = published(architecture, cond_dims, fusion)
    module, _ = denoiser_from_torch(params, config)
    assert (module.x_dim, module.cond_dims) == (X_DIM, cond_dims)
    if len(cond_dims) > 1:
        assert module.config.fusion == fusion


def test_a_model_of_a_bank_takes_its_own_condition():
    _, params, config = published("norm_mlp", (4,))
    module, _ = denoiser_from_torch(params, config | {"cond_dims": [9, 4, 2]})
    assert module.cond_dims == (4,)


def test_noise_schedule_and_counters_are_not_parameters():
    _, params, config = published("norm_mlp")
    extra = {"diffusion.betas": np.ones(9), "bn_layers.0.num_batches_tracked": np.array(3)}
    denoiser_from_torch(params | extra, config)


@pytest.mark.parametrize("architecture", PUBLISHED)
def test_missing_parameter(architecture):
    _, params, config = published(architecture)
    config |= {"cond_dims": COND_DIMS}
    for name in params:
        with pytest.raises(InputError, match=r"missing: |has shape|no place for"):
            denoiser_from_torch({k: v for k, v in params.items() if k != name}, config)
    del params["time_embedding_dense.bias"]
    with pytest.raises(InputError, match=r"missing: time_embedding_dense\.bias"):
        denoiser_from_torch(params, config)


def test_unexpected_parameter():
    _, params, config = published("mlp")
    with pytest.raises(InputError, match=r"no place for: mlp_layers\.3\.weight"):
        denoiser_from_torch(params | {"mlp_layers.3.weight": np.ones((2, 2))}, config)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("mlp_layers.1.bias", np.ones(11), r"mlp_layers\.1\.bias has shape \(11,\).*\(12,\)"),
        ("mlp_layers.1.weight", np.ones((19, 12)), r"mlp_layers\.1\.weight has shape \(19, 12\)"),
        ("bn_layers.0.running_var", np.ones((12, 1)), "running_var has shape"),
        ("mlp_layers.2.weight", np.ones(4), "has 1 axes, not 2"),
        ("mlp_layers.1.bias", np.ones(12, np.int64), "holds int64, not real numbers"),
    ],
)
def test_misshapen_parameter(name, value, said):
    _, params, config = published("norm_mlp")
    with pytest.raises(InputError, match=said):
        denoiser_from_torch(params | {name: value}, config)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "transformer"}, "'transformer'; known: mlp, norm_mlp"),
        ({"architecture": "adaln_mlp"}, "'adaln_mlp'; known: mlp, norm_mlp"),
        ({"n_layers": None}, "n_layers is None"),
        ({"initial_size": 1.5}, "initial_size is 1.5"),
        ({"initial_size": 13}, "has shape"),
        ({"fusion_method": "mean"}, "unknown fusion 'mean'"),
        ({"fusion_method": "sum"}, "has shape"),
        ({"x_dim": 6}, "has shape"),
    ],
)
def test_configuration_that_does_not_fit(change, said):
    _, params, config = published("norm_mlp")
    with pytest.raises(InputError, match=said):
        denoiser_from_torch(params, config | change)


def test_configuration_that_lacks_a_size():
    _, params, config = published("mlp")
    del config["n_layers"]
    with pytest.raises(InputError, match="lacks 'n_layers'"):
        denoiser_from_torch(params, config)


def test_autoencoder_of_another_size():
    config = {"input_dim": 9, "bottleneck_dim": 2, "n_layers": 1, "shrink_exponent": 1.0}
    with pytest.raises(InputError, match="autoencoder: parameters missing"):
        autoencoder_from_torch({}, config)
    with pytest.raises(InputError, match="lacks 'bottleneck_dim'"):
        autoencoder_from_torch({}, {"input_dim": 9})
