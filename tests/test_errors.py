"""A misspelt choice is refused where it is made, with what is known."""

import dataclasses
import importlib
import pkgutil
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

import cohgen_jax
import data_prep
from cohgen_jax.codec import CodecConfig
from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.of_run import EvaluationConfig
from cohgen_jax.networks.config import NetworkConfig
from cohgen_jax.runs.config import recipe
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import SolverConfig, ddim
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


def choices(kind: type) -> dict[str, tuple]:
    """Fields of a dataclass that take one of a few words, with these."""
    found = {}
    for name, hint in get_type_hints(kind).items():
        parts = (hint, *get_args(hint))
        literal = next((part for part in parts if get_origin(part) is Literal), None)
        if literal is not None and get_origin(hint) is not tuple:
            found[name] = get_args(literal)
    return found


def _by_keyword(kind: type) -> bool:
    return all(field.kw_only for field in dataclasses.fields(kind))


def configurations() -> list[type]:
    """Every dataclass of keywords, of either package, that offers choices; those of a command line
    are checked by it."""
    found = set()
    for package in (cohgen_jax, data_prep):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith("__main__") or ".cli" in module.name:
                continue
            for kind in vars(importlib.import_module(module.name)).values():
                ours = isinstance(kind, type) and kind.__module__ == module.name
                if ours and dataclasses.is_dataclass(kind) and _by_keyword(kind):
                    found.add(kind)
    return sorted((kind for kind in found if choices(kind)), key=lambda kind: kind.__qualname__)


def test_every_configuration_refuses_a_misspelt_choice(tmp_path):
    needed: dict[str, dict[str, Any]] = {
        "SamplerConfig": {"solver": ddim(linear_schedule(20), 2)},
        "PrepConfig": {"projects": ("TCGA-KIRC",), "out": tmp_path},
    }
    kinds = configurations()
    assert {kind.__name__ for kind in kinds} >= {"TrainConfig", "AuditConfig", "SearchConfig"}
    for kind in kinds:
        own = needed.get(kind.__name__, {})
        kind(**own)
        for name, known in choices(kind).items():
            with pytest.raises(InputError, match=f"unknown {name} 'misspelt'.*{known[-1]}"):
                kind(**own, **{name: "misspelt"})


def test_recipes_and_grids_that_there_are_not():
    with pytest.raises(InputError, match="unknown recipe 'demmo'; known: default, demo, debug"):
        recipe("demmo")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="unknown grid 'log'; known: uniform, log_snr, karras"):
        ddim(linear_schedule(20), 2, grid="log")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="num_steps must be between 1 and"):
        ddim(linear_schedule(20), 21)
    with pytest.raises(InputError, match="every beta inside"):
        linear_schedule(20, beta_end=1.5)
