"""Training many models at once: recipe, objective, validation, farm, loop."""

from cohgen_jax.training.config import DiffusionConfig, TrainConfig
from cohgen_jax.training.farm import Farm, FarmData, FarmState, make_farm
from cohgen_jax.training.loop import Progress, train_farm
from cohgen_jax.training.spec import ModelSpec, multi_specs, pair_specs, shared_specs

__all__ = [
    "DiffusionConfig",
    "Farm",
    "FarmData",
    "FarmState",
    "ModelSpec",
    "Progress",
    "TrainConfig",
    "make_farm",
    "multi_specs",
    "pair_specs",
    "shared_specs",
    "train_farm",
]
