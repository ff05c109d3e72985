"""A results folder of the published trainer -> models that our samplers use.

    results/<dim>/<target>_from_<source>/train/best_by_<metric>.pth      one condition
    results/<dim>/<target>_from_multi/cond_order.json, train/...         many, in the listed order

Several configurations were searched for each model. best_by_<metric>.pth comes from the one that
scored best by that metric (mse and cosine of generated validation samples, timestep: error of the
noise prediction) and holds its weights at the best epoch by each metric, best_model_<metric>.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from cohgen_jax.errors import InputError
from cohgen_jax.interop.convert import denoiser_from_torch
from cohgen_jax.interop.torch_pickle import load_torch_checkpoint
from cohgen_jax.sampling.bank import Bank
from cohgen_jax.schedule import Schedule, linear_schedule

MULTI = "multi"


@dataclasses.dataclass(frozen=True)
class PublishedModel:
    """One trained denoiser; it predicts the noise."""

    target: str
    sources: tuple[str, ...]
    """Its conditions, in the order in which it takes them."""
    module: nn.Module
    variables: dict
    loss: float
    """Validation loss by the metric it was kept for."""
    schedule: Schedule
    """Noise levels it was trained at."""
    config: Mapping[str, Any]
    """The searched configuration, by its published names."""


@dataclasses.dataclass(frozen=True)
class PublishedRun:
    """The models found in a results folder; each is read when it is asked for."""

    folders: Mapping[tuple[str, str], Path]
    """Where the model of (target, source) lies; the source "multi" is the multi-condition one."""

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(sorted({target for target, _ in self.folders}))

    def sources(self, target: str) -> tuple[str, ...]:
        """Sources that have a single-condition model of the target, in alphabetical order."""
        self._known(target)
        return tuple(sorted(s for t, s in self.folders if t == target and s != MULTI))

    def metrics(self, target: str, source: str) -> tuple[str, ...]:
        """Metrics by which a best model of the pair was kept."""
        paths = self._folder(target, source).glob("train/best_by_*.pth")
        return tuple(sorted(path.stem.removeprefix("best_by_") for path in paths))

    def model(self, target: str, source: str, metric: str = "mse") -> PublishedModel:
        """Read one model; source "multi" is the multi-condition model of the target."""
        folder = self._folder(target, source)
        if metric not in (known := self.metrics(target, source)):
            raise InputError(
                f"{folder.name} has no model kept by {metric!r}; known: {', '.join(known)}"
            )
        path = folder / "train" / f"best_by_{metric}.pth"
        checkpoint = load_torch_checkpoint(path)
        state, config, loss = (
            _entry(checkpoint, name, kind, path)
            for name, kind in (
                (f"best_model_{metric}", dict),
                ("config", dict),
                ("best_loss", int | float),
            )
        )
        conditions = _cond_order(folder) if source == MULTI else (source,)
        try:
            module, variables = denoiser_from_torch(
                state, config | _cond_dims(config, folder, conditions)
            )
            schedule = _schedule(state)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        if len(module.cond_dims) != len(conditions):  # pyright: ignore[reportAttributeAccessIssue]
            raise InputError(f"{path}: the network does not take the conditions {conditions}")
        return PublishedModel(target, conditions, module, variables, float(loss), schedule, config)

    def bank(self, target: str, metric: str = "mse", sources: Sequence[str] | None = None) -> Bank:
        """The single-condition models of a target (from `sources`, all by default)."""
        models = [self.model(target, s, metric) for s in sources or self.sources(target)]
        if not models:
            raise InputError(f"target {target!r} has no single-condition model")
        return Bank.from_models(
            target,
            [model.sources[0] for model in models],
            [(model.module, model.variables) for model in models],
            predicts="eps",
            losses=[model.loss for model in models],
        )

    def multi(self, target: str, metric: str = "mse") -> Bank:
        """The multi-condition model of a target, as a bank of one."""
        model = self.model(target, MULTI, metric)
        return Bank.from_models(
            target,
            model.sources,
            [(model.module, model.variables)],
            predicts="eps",
            losses=[model.loss],
        )

    def _known(self, target: str) -> None:
        if target not in self.targets:
            raise InputError(
                f"no published model generates {target!r}; known: {', '.join(self.targets)}"
            )

    def _folder(self, target: str, source: str) -> Path:
        self._known(target)
        if (target, source) not in self.folders:
            known = sorted(s for t, s in self.folders if t == target)
            raise InputError(
                f"no published model of {target!r} from {source!r}; known: {', '.join(known)}"
            )
        return self.folders[target, source]


def load_published_results(folder: str | Path) -> PublishedRun:
    """Find all models below results/<dim>, or below results if it holds one <dim> only.

    Raises FileNotFoundError where there is no folder, InputError where it holds no models, or
    models of several latent widths.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no results folder at {folder}")
    folders = _model_folders(folder)
    if not folders:
        below = {
            child: _model_folders(child) for child in sorted(folder.iterdir()) if child.is_dir()
        }
        below = {child: models for child, models in below.items() if models}
        if len(below) > 1:
            names = ", ".join(child.name for child in below)
            raise InputError(f"{folder} holds models of several latent widths: {names}; name one")
        folders = next(iter(below.values()), {})
    if not folders:
        raise InputError(f"{folder} holds no <target>_from_<source>/train/best_by_<metric>.pth")
    return PublishedRun(folders)


def _model_folders(folder: Path) -> dict[tuple[str, str], Path]:
    folders = {}
    for child in sorted(folder.glob("*_from_*")):
        target, _, source = child.name.partition("_from_")
        if any(child.glob("train/best_by_*.pth")):
            folders[target, source] = child
    return folders


def _cond_order(folder: Path) -> tuple[str, ...]:
    path = folder / "cond_order.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: without it the order of the conditions is unknown"
        )
    try:
        order = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(order, list) or not order or not all(isinstance(s, str) for s in order):
        raise InputError(f"{path} must list the names of the conditions")
    return tuple(order)


def _cond_dims(config: dict, folder: Path, conditions: tuple[str, ...]) -> dict:
    """norm_mlp_v2 does not show its conditions' widths; all are <dim>, the folder's name."""
    dim = folder.parent.name
    if config.get("architecture") != "norm_mlp_v2" or "cond_dims" in config or not dim.isdecimal():
        return {}
    return {"cond_dims": [int(dim)] * len(conditions)}


def _entry(checkpoint: dict, name: str, kind: Any, path: Path) -> Any:
    if not isinstance(checkpoint.get(name), kind):
        raise InputError(
            f"{path} is not a checkpoint of the published trainer: no usable {name!r};"
            f" it has {', '.join(map(str, checkpoint))}"
        )
    return checkpoint[name]


def _schedule(state: Mapping[str, np.ndarray]) -> Schedule:
    """The noise levels saved with the weights; the published ones where they are not."""
    beta = state.get("diffusion.betas")
    if beta is None:
        return linear_schedule()
    beta = np.asarray(beta, np.float64)
    if beta.ndim != 1 or not np.all((beta > 0) & (beta < 1)):
        raise InputError("diffusion.betas must be numbers inside (0, 1)")
    return Schedule(beta, np.cumprod(1 - beta))
