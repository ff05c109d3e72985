"""Trained models of one family, as a run keeps them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from cohgen_jax.storage.checkpoint import load_tree, save_tree
from cohgen_jax.training import ModelSpec


@dataclasses.dataclass(frozen=True)
class Models:
    """Trained models of one family."""

    specs: tuple[ModelSpec, ...]
    variables: dict[str, Any]
    """Metric -> parameter trees stacked along the models, the best by that metric."""
    scores: dict[str, list[float]]
    """Metric -> its best value on validation, one a model."""

    def members(self, target: int, sources: tuple[int, ...]) -> list[int]:
        """Positions of the models that generate this target from these sources."""
        wanted = (target, sources)
        return [k for k, spec in enumerate(self.specs) if (spec.target, spec.sources) == wanted]


def save_models(directory: Path, models: Models, **about: Any) -> None:
    """With whichever metrics they have weights of; about: what is kept beside, for JSON."""
    specs = [[spec.name, spec.target, list(spec.sources)] for spec in models.specs]
    about = {"specs": specs, "scores": models.scores, **about}
    save_tree(directory, "models", models.variables, about)


def load_models(directory: Path) -> Models:
    variables, about = load_tree(directory, "models")
    specs = tuple(ModelSpec(name, t, tuple(sources)) for name, t, sources in about["specs"])
    return Models(specs, variables, about["scores"])
