"""The families of models that a run trains, and the method by which each generates.

    single   a model for each pair of target and source; those of a target are made to agree. With
             `pairs` "shared" the models of a target are one network, shown one source at a time
    multi    a model for each target that looks at all other modalities, under a mask

Another family is a row of FAMILIES and a field of `ExperimentConfig` of its name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from cohgen_jax.errors import InputError
from cohgen_jax.runs.config import ExperimentConfig
from cohgen_jax.training import ModelSpec, multi_specs, pair_specs, shared_specs
from cohgen_jax.training.config import TrainConfig
from cohgen_jax.training.trainable import trainable
from cohgen_jax.training.validation import judged

Method = Literal["coherent", "multi"]
METHODS: tuple[Method, ...] = get_args(Method)


class Family(NamedTuple):
    name: str
    """In the configuration, in models/<name> and metrics/history_<name>.csv."""
    method: Method
    """As draws of its banks are called in every table."""
    all_specs: Callable[[Sequence[str], int], list[ModelSpec]]
    """(modalities, members) -> the models that there may be."""
    sources: Callable[[Sequence[int]], list[tuple[int, ...]]]
    """Sources of a bank -> those that each of its models looks at."""
    shared: bool = False
    """Whether models are one network of all sources, shown those that they look at."""

    def config(self, experiment: ExperimentConfig) -> TrainConfig:
        config = getattr(experiment, self.name)
        return dataclasses.replace(config, masking="one") if self.shared else config

    def specs(
        self,
        modalities: Sequence[str],
        present: np.ndarray,
        train: np.ndarray,
        val: np.ndarray,
        experiment: ExperimentConfig,
    ) -> tuple[list[ModelSpec], list[str]]:
        """The models that the patients are enough for, and what is to be told of the others.
        present: [N, M] bool; train, val: positions in it.

        Raises:
          InputError: a target without any (training/trainable.py).
        """
        config = self.config(experiment)
        every = self.all_specs(modalities, config.members)
        val = judged(val, present, experiment.seed)
        return trainable(every, modalities, present, train, val, config)


FAMILIES = {
    family.name: family
    for family in (
        Family("single", "coherent", pair_specs, lambda sources: [(s,) for s in sources]),
        Family("multi", "multi", multi_specs, lambda sources: [tuple(sources)]),
    )
}
SHARED = FAMILIES["single"]._replace(all_specs=shared_specs, shared=True)


def families_of(experiment: ExperimentConfig) -> dict[str, Family]:
    """FAMILIES, as this configuration trains them."""
    return {**FAMILIES, **({SHARED.name: SHARED} if experiment.pairs == "shared" else {})}


def family_of(method: str, experiment: ExperimentConfig) -> Family:
    """Raises InputError for a method that no family has."""
    for family in families_of(experiment).values():
        if family.method == method:
            return family
    raise InputError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
