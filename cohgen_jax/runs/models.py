"""Trained models of one family, as a run keeps them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cohgen_jax.storage.checkpoint import load_tree, save_tree
from cohgen_jax.training import ModelSpec
from cohgen_jax.training.validation import METRICS


@dataclasses.dataclass(frozen=True)
class Models:
    """Trained models of one kind."""

    specs: tuple[ModelSpec, ...]
    variables: dict[str, Any]
    """Metric -> parameter trees stacked along the models, the best by that metric."""
    scores: dict[str, list[float]]
    """Metric -> its best value on validation, one a model."""

    def members(self, target: int, sources: tuple[int, ...]) -> list[int]:
        """Positions of the models that generate this target from these sources."""
        wanted = (target, sources)
        return [k for k, spec in enumerate(self.specs) if (spec.target, spec.sources) == wanted]


def save_models(
    directory: Path,
    specs: Sequence[ModelSpec],
    variables: Mapping[str, Any],
    scores: Mapping[str, np.ndarray],
    epochs: Mapping[str, np.ndarray],
) -> None:
    """variables: metric -> trees stacked along the models; scores, epochs: metric -> [K]."""
    save_tree(
        directory,
        "models",
        {metric: variables[metric] for metric in METRICS},
        {
            "specs": [[spec.name, spec.target, list(spec.sources)] for spec in specs],
            "scores": {metric: score.tolist() for metric, score in scores.items()},
            "epochs": {metric: epoch.tolist() for metric, epoch in epochs.items()},
        },
    )


def write_models(directory: Path, models: Models) -> None:
    """Models as they are, with whichever metrics they have weights of."""
    specs = [[spec.name, spec.target, list(spec.sources)] for spec in models.specs]
    save_tree(directory, "models", models.variables, {"specs": specs, "scores": models.scores})


def load_models(directory: Path) -> Models:
    variables, about = load_tree(directory, "models")
    specs = tuple(ModelSpec(name, t, tuple(sources)) for name, t, sources in about["specs"])
    return Models(specs, variables, about["scores"])
