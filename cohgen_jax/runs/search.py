"""Search for a recipe: random configurations, the worse part stopped at each rung.

Successive halving (Jamieson & Talwalkar 2016; the rungs of ASHA, Li et al. 2020, without its
asynchrony): all configurations train to the first rung, the best 1/eta of them go on to the next,
which lies eta times as far. Configurations of one shape train as one farm, all their models
together, and those that stop make room. Every configuration trains the same models from the same
random streams, so that differences are paired.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.codec import Latents
from cohgen_jax.cohort import Cohort
from cohgen_jax.errors import InputError, check_choices
from cohgen_jax.figures.parallel import parallel_coordinates
from cohgen_jax.figures.style import save
from cohgen_jax.runs.config import ComputeConfig, ExperimentConfig
from cohgen_jax.runs.families import families_of
from cohgen_jax.runs.prepare import Tell, prepared
from cohgen_jax.runs.train import Report
from cohgen_jax.storage import rundir
from cohgen_jax.storage.checkpoint import write_json, write_text
from cohgen_jax.training import Farm, FarmData, ModelSpec, TrainConfig, make_farm, train_farm
from cohgen_jax.training.config import PER_MODEL
from cohgen_jax.training.farm import usable_rows, work
from cohgen_jax.training.space import Point, SpaceName, at_point, draw_points
from cohgen_jax.training.trainable import trainable

TABLE, BEST = "search.csv", "best.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """What is searched, and how hard."""

    space: SpaceName = "default"
    """default: widths, depths, batch, rates, regularisation, noise levels; numbers: of these, what
    trains as a single program; networks: all architectures; published: the published grid."""
    configs: int = 16
    """Configurations to try."""
    shapes: int = 4
    """In at most so many shapes of network and batch; each is a program of its own."""
    family: Literal["single", "multi"] = "multi"
    """Of the models to search for."""
    models: tuple[str, ...] = ()
    """Names of the models that are trained, as rna_from_cna or rna_from_multi; all when empty."""
    eta: int = 3
    """At each rung the best 1/eta go on; 1 trains all to the end (random search)."""
    first_rung: int = 0
    """Epochs to the first rung; 0 for a ninth of the recipe's."""
    score: Literal["energy", "mse", "cosine", "timestep"] = "energy"
    """Validation score that decides: the mean over the models of the best so far."""
    seed: int = 0
    """Of the configurations drawn; that of training is the recipe's."""

    def __post_init__(self):
        check_choices(self)
        for name in ("configs", "shapes", "eta"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.first_rung < 0 or self.seed < 0:
            raise InputError("first_rung and seed must not be negative")


class Shape(NamedTuple):
    """Configurations of one shape and the farm of their models."""

    members: list[int]  # positions of the configurations
    farm: Farm  # models of the first configuration, then of the second, ...
    data: FarmData


def search_recipe(
    config: ExperimentConfig,
    search: SearchConfig,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    tell: Tell = lambda line: None,
    report: Report = lambda family, progress: None,
) -> pd.DataFrame:
    """Search around `config`; writes search.csv, figures/search.* and best.json into `out`.

    Returns the table, best first: a row for each configuration with the epochs it trained, its
    score, that of each model, and its entries.
    """
    if config.extends is not None:
        raise InputError("extends: a search trains all models; search without it")
    out = Path(out)
    family = families_of(config)[search.family]
    base = family.config(config)
    points = draw_points(search.space, search.configs, search.shapes, search.seed)
    trains = [at_point(base, point) for point in points]

    def chosen(cohort: Cohort) -> list[ModelSpec]:
        """Those named, or all that every configuration has enough patients for."""
        specs = family.all_specs(cohort.modalities, 1)
        if search.models:
            return _chosen(specs, search.models)
        rows = cohort.rows("train"), cohort.rows("val")
        strictest = max(trains, key=lambda train: train.least_pair)
        return trainable(specs, cohort.modalities, cohort.present, *rows, strictest)[0]

    def check(cohort: Cohort) -> Sequence[str]:
        for train in trains:
            rows = cohort.rows("train"), cohort.rows("val")
            usable_rows(chosen(cohort), cohort.present, *rows, train)
        return ()

    about = dataclasses.asdict(search)
    with prepared(config, out, resume, overwrite, tell, check, search=about) as (cohort, latents):
        if (out / TABLE).exists():
            return pd.read_csv(out / TABLE)
        specs = chosen(cohort)
        groups = _groups(trains, specs, cohort, latents, config)
        halving = _Halving(groups, len(specs), search.score, out, config.compute)
        scores = np.full((len(points), len(specs)), np.inf)
        epochs, going = np.zeros(len(points), int), list(range(len(points)))
        for rung in rung_epochs(base, search):
            for g, here in halving.going_of(going):
                scores[here] = halving.advance(g, here, rung, report)
            epochs[going] = rung
            going.sort(key=lambda c: scores[c].mean())
            best = f"best mean {search.score} {scores[going[0]].mean():.4f}"
            going = going[: max(1, len(going) // search.eta)]
            tell(f"epoch {rung}: {best}; the best {len(going)} of {len(points)} so far")
            rundir.log(out, "rung", epoch=rung, best=going)
        table = _table(points, [spec.name for spec in specs], scores, epochs)
        kept = {family.name: trains[int(np.asarray(table["config"])[0])]}
        write_json(out / BEST, dataclasses.asdict(dataclasses.replace(config, **kept)))
        save(parallel_coordinates(table, list(points[0])), out / "figures" / "search")
        write_text(out / TABLE, table.to_csv(index=False))
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
        rundir.log(out, "searched")
    return table


def rung_epochs(base: TrainConfig, search: SearchConfig) -> list[int]:
    """Epochs at which the better part is chosen, rising to the recipe's last: all validated."""
    rungs, epoch = [], search.first_rung or -(-base.num_epochs // 9)
    while search.eta > 1 and epoch < base.num_epochs:
        rungs.append(-(-epoch // base.validate_every) * base.validate_every)
        epoch = rungs[-1] * search.eta
    return [epoch for epoch in dict.fromkeys(rungs) if epoch < base.num_epochs] + [base.num_epochs]


def _chosen(specs: Sequence[ModelSpec], names: Sequence[str]) -> list[ModelSpec]:
    known = {spec.name: spec for spec in specs}
    for name in names:
        if name not in known:
            raise InputError(f"unknown model {name!r}; known: {', '.join(known)}")
    return [known[name] for name in names]


def _groups(
    trains: Sequence[TrainConfig],
    specs: Sequence[ModelSpec],
    cohort: Cohort,
    latents: Latents,
    config: ExperimentConfig,
) -> list[Shape]:
    """Configurations of one shape together, the most work first."""
    by_shape: dict[str, list[int]] = {}
    for c, train in enumerate(trains):
        shape = {k: v for k, v in dataclasses.asdict(train).items() if k not in PER_MODEL}
        by_shape.setdefault(repr(shape), []).append(c)
    groups = []
    for members in by_shape.values():
        farm, data = make_farm(
            list(specs) * len(members),
            latents.z,
            latents.present,
            latents.widths.tolist(),
            cohort.rows("train"),
            cohort.rows("val"),
            # The rungs alone say who stops.
            [
                dataclasses.replace(trains[c], patience=0).of_member(spec.member)
                for c in members
                for spec in specs
            ],
            config.diffusion,
            config.seed,
            scale=latents.scale,
        )
        groups.append(Shape(members, farm, data))
    return sorted(groups, key=lambda group: -work(group.farm))


class _Halving:
    """Groups that advance from rung to rung; what they reached is on disk."""

    def __init__(
        self, groups: list[Shape], models: int, score: str, out: Path, compute: ComputeConfig
    ):
        self.groups, self.models, self.score, self.compute = groups, models, score, compute
        self.directory = out / "checkpoints"
        self.file = self.directory / "scores.json"
        self.known = json.loads(self.file.read_text()) if self.file.exists() else {}

    def going_of(self, going: list[int]) -> list[tuple[int, list[int]]]:
        """(group, its configurations among `going`), for groups that have any."""
        members = [
            (g, [c for c in group.members if c in going]) for g, group in enumerate(self.groups)
        ]
        return [(g, here) for g, here in members if here]

    def advance(self, g: int, here: list[int], rung: int, report: Report) -> np.ndarray:
        """Train these configurations up to an epoch: their best scores so far, [here, models]."""
        group, name = self.groups[g], f"epoch {rung}, shape {g}"
        places = np.array([group.members.index(c) for c in here])
        if name not in self.known:  # a checkpoint may lie beyond an earlier rung
            positions = (places[:, None] * self.models + np.arange(self.models)).ravel()
            state, _ = train_farm(
                group.farm,
                group.data,
                self.directory / f"shape_{g}",
                lambda progress: report(name, progress),
                checkpoint_seconds=self.compute.checkpoint_seconds,
                mesh=self.compute.mesh,
                until=rung,
                only=positions.tolist(),
            )
            self.known[name] = np.asarray(state.best_score[self.score])[positions].tolist()
            write_json(self.file, self.known)
        return np.reshape(self.known[name], (len(here), self.models))


def _table(
    points: Sequence[Point], models: Sequence[str], scores: np.ndarray, epochs: np.ndarray
) -> pd.DataFrame:
    """One row a configuration: those that came furthest first, by their mean score."""
    table = pd.DataFrame(
        {
            "config": np.arange(len(points)),
            "epochs": epochs,
            "score": scores.mean(axis=1),
            **{f"score_{name}": scores[:, m] for m, name in enumerate(models)},
            **{entry: [point[entry] for point in points] for entry in points[0]},
        }
    )
    return table.sort_values(["epochs", "score"], ascending=[False, True], ignore_index=True)
