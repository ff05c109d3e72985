"""A misspelt choice is refused where it is made, with what is known."""

import pytest

from cohgen_jax.codec import CodecConfig
from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.of_run import EvaluationConfig
from cohgen_jax.networks.config import NetworkConfig
from cohgen_jax.solvers import SolverConfig
from cohgen_jax.training.config import DiffusionConfig, TrainConfig


@pytest.mark.parametrize(
    ("make", "entry", "known"),
    [
        (TrainConfig, {"keep": "energie"}, "energy, mse, cosine, timestep"),
        (TrainConfig, {"masking": "counts"}, "independent, count"),
        (TrainConfig, {"lr_schedule": "linear"}, "cosine, constant"),
        (TrainConfig, {"level_weight": "minsnr"}, "none, min_snr"),
        (TrainConfig, {"level_density": "lognormal"}, "uniform, log_normal"),
        (SolverConfig, {"name": "dpm++"}, "ddim, ddpm, dpmpp_2m"),
        (SolverConfig, {"grid": "karas"}, "uniform, log_snr, karras"),
        (DiffusionConfig, {"schedule": "cosin"}, "linear, cosine"),
        (DiffusionConfig, {"predicts": "x0"}, "eps"),
        (NetworkConfig, {"architecture": "adaln"}, "adaln_mlp"),
        (CodecConfig, {"place": "gpu"}, "auto, device, host, disk"),
        (EvaluationConfig, {"split": "valid"}, "test, val"),
        (EvaluationConfig, {"keep_generated": "some"}, "all, full, none"),
    ],
)
def test_unknown_choices_are_refused_at_birth(make, entry, known):
    ((name, value),) = entry.items()
    with pytest.raises(
        InputError, match=f"unknown {name} '{value}'; known: .*{known}".replace("+", r"\+")
    ):
        make(**entry)


def test_what_may_be_left_open_may_be():
    assert SolverConfig(grid=None, eta=None).grid is None
