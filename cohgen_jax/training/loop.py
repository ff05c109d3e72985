"""Train a farm to its end, surviving interruption.

The farm advances by epochs and is validated every `validate_every`; models that are finished then
leave it (team.py). Its whole state is saved after an epoch or a validation when the last checkpoint
is old enough, when the process is asked to stop, and at the end. All randomness is a function of
(seed, model, step), so a run that is killed and resumed goes through the same states as one that
was not: bitwise on CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from cohgen_jax.storage.distributed import anywhere
from cohgen_jax.storage.interrupt import Interrupted, deferred
from cohgen_jax.storage.resumable import Checkpoints
from cohgen_jax.training.config import MeshConfig
from cohgen_jax.training.farm import (
    Farm,
    FarmData,
    FarmState,
    fresh_state,
    share_out,
    train_epoch,
    validate,
    work,
)
from cohgen_jax.training.mesh import make_mesh
from cohgen_jax.training.team import Team, assemble, reunite, shrink


class Progress(NamedTuple):
    """What the loop tells at its start and after each validation."""

    epoch: int
    num_epochs: int
    models: int
    active: int  # models still training
    seconds: float  # since the last report
    rows: list[dict[str, Any]]  # history of this validation, one row a model; none at the start
    samples: int = 0  # training examples that models took in since the last report

    @property
    def rate(self) -> float:
        """Training examples a second, of all models together, validation included."""
        return self.samples / self.seconds if self.seconds else 0.0


class Log(NamedTuple):
    """What was seen of training, as JSON says it."""

    rows: list[dict[str, Any]]  # history: one row for each validation and model
    losses: list[list[float]]  # [epochs since the last validation, K]
    training: list[int]  # positions of the models that trained on after the last validation
    places: Sequence[int] = ()  # of the team then; none in checkpoints of earlier versions


def train_farm(
    farm: Farm,
    data: FarmData,
    directory: str | Path,
    report: Callable[[Progress], None] = lambda progress: None,
    *,
    checkpoint_seconds: float = 0.0,
    until: int | None = None,
    only: Collection[int] | None = None,
    mesh: MeshConfig = MeshConfig(),
) -> tuple[FarmState, list[dict[str, Any]]]:
    """Train until every model is done; continues from the checkpoint in `directory`, if any.

    Args:
      checkpoint_seconds: least time between two checkpoints; 0 saves after every epoch.
      until: stop after this epoch, to be continued; the recipe's last by default.
      only: positions of the models to go on with, the others are finished; all by default.
      mesh: how devices share the work. Several processes call with the same arguments, each keeps
        the models of its devices and writes them to `directory`, which all can reach.

    Returns the final state and the history: one row for each validation and model that trained
    until then, with epoch, model, train_loss (mean of the epochs since the last row), the
    validation scores and whether it trains on.

    Raises:
      InputError: a checkpoint in the directory that cannot be read or is of another farm.
      OSError: a checkpoint that cannot be written; those before it are whole.
      Interrupted: after SIGTERM or SIGINT, when the state is saved.
    """
    config, num_models = farm.config, len(farm.specs)
    like, data = share_out(data, farm=farm, mesh=make_mesh(mesh, num_models, config.places))
    last = config.num_epochs if until is None else min(until, config.num_epochs)
    log = Log([], [], list(range(num_models)))

    with Checkpoints(directory, checkpoint_seconds) as checkpoints, deferred() as stopped:
        restored = checkpoints.restore(like)
        whole = restored[0] if restored else fresh_state(data, like, farm=farm)
        log = Log(**restored[1]) if restored else log
        if only is not None:
            log = log._replace(training=sorted({*log.training} & {*only}))
            whole = whole._replace(active=whole.active & _flags(log.training, whole.active))
        resumed = bool(log.places) and only is None  # in the same company: to the same bits
        team = assemble(whole, data, log.places if resumed else log.training)
        del whole  # the team has it, and its buffers go with the first step

        def tell(rows: list[dict[str, Any]], seconds: float, samples: int) -> None:
            running = len(team.training())
            epochs = int(team.state.epoch), config.num_epochs
            report(Progress(*epochs, num_models, running, seconds, rows, samples))

        tell([], 0.0, 0)

        def unjudged() -> bool:
            """Whether a validation is due: regularly, at the end, and when all have diverged."""
            epoch = int(team.state.epoch)
            due = epoch % config.validate_every == 0 or epoch == config.num_epochs
            return bool(log.losses) and (due or not team.training())

        of_place = 6 * work(farm) / num_models  # operations: there and back
        started, samples, stop = time.perf_counter(), 0, 0
        while unjudged() or (int(team.state.epoch) < last and team.training()):
            rows = []
            if unjudged():
                state, scores = validate(team.state, team.data, farm=farm)
                team = team._replace(state=state)
                rows = _history_rows(farm, team, log, scores)
                log = Log([*log.rows, *rows], [], team.training())
                if jax.default_backend() == "cpu":  # elsewhere a place costs less than a program
                    left = (last - int(team.state.epoch)) / config.num_epochs
                    team = shrink(team, data, log.training, left * of_place)
                log = log._replace(places=team.places.tolist())
            else:
                samples += len(team.training()) * farm.steps_per_epoch * config.batch_size
                state, losses = train_epoch(team.state, team.data, farm=farm)
                team = team._replace(state=state)
                losses = team.spread(losses, num_models).tolist()
                log = log._replace(losses=[*log.losses, losses])
            stop, due = anywhere(stopped(), checkpoints.due())
            if stop:
                break
            if due and not unjudged():
                checkpoints.save(int(team.state.epoch), reunite(team), log._asdict())
            if rows:
                tell(rows, time.perf_counter() - started, samples)
                started, samples = time.perf_counter(), 0
        whole = reunite(team)
        checkpoints.save(int(whole.epoch), whole, log._asdict())
        if stop:
            raise Interrupted(stop)
    return whole, log.rows


def _flags(positions: list[int], like: jax.Array) -> jax.Array:
    return jax.device_put(np.isin(np.arange(len(like)), positions), like.sharding)


def _history_rows(farm: Farm, team: Team, log: Log, scores) -> list[dict[str, Any]]:
    """A row for each model that trained since the last validation."""
    num_models = len(farm.specs)
    losses = np.mean(np.asarray(log.losses, np.float32), axis=0)
    scores = {metric: team.spread(score, num_models) for metric, score in scores.items()}
    still = team.training()
    return [
        {
            "epoch": int(team.state.epoch),
            "model": farm.specs[k].name,
            "train_loss": float(losses[k]),
            **{f"val_{metric}": float(score[k]) for metric, score in scores.items()},
            "active": k in still,
        }
        for k in log.training
    ]
