"""Train a farm to its end, surviving interruption.

The farm advances by epochs and is validated every `validate_every`. Its whole state is saved
after an epoch when the last checkpoint is old enough, when the process is asked to stop, and at
the end. All randomness is a function of (seed, model, step), so a run that is killed and resumed
goes through the same states as one that was not: bitwise on CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from cohgen_jax.interrupt import deferred
from cohgen_jax.resumable import Checkpoints
from cohgen_jax.training.farm import (
    Farm,
    FarmData,
    FarmState,
    init_state,
    share_out,
    train_epochs,
    validate,
)


class Progress(NamedTuple):
    """What the loop tells at its start and after each validation."""

    epoch: int
    num_epochs: int
    models: int
    active: int  # models still training
    seconds: float  # since the last report
    rows: list[dict[str, Any]]  # history of this validation, one row a model; none at the start


def train_farm(
    farm: Farm,
    data: FarmData,
    directory: str | Path,
    report: Callable[[Progress], None] = lambda progress: None,
    *,
    checkpoint_seconds: float = 0.0,
) -> tuple[FarmState, list[dict[str, Any]]]:
    """Train until every model is done; continues from the checkpoint in `directory`, if any.

    Args:
      checkpoint_seconds: least time between two checkpoints; 0 saves after every epoch.

    Returns the final state and the history: one row for each validation and model, with
    epoch, model, train_loss (mean of the epochs since the last row) and the validation scores.

    Raises:
      InputError: a checkpoint in the directory that cannot be read or is of another farm.
      OSError: a checkpoint that cannot be written; those before it are whole.
      Interrupted: after SIGTERM or SIGINT, when the state is saved.
    """
    state, data = share_out(init_state(data, farm=farm), data)
    config = farm.config
    # History; losses of the epochs since the last validation, [epochs, K].
    log: dict[str, list] = {"rows": [], "losses": []}

    def tell(seconds: float, rows: list[dict[str, Any]]) -> None:
        active = int(np.sum(state.active))
        report(
            Progress(int(state.epoch), config.num_epochs, len(farm.specs), active, seconds, rows)
        )

    with Checkpoints(directory, checkpoint_seconds) as checkpoints, deferred() as stopped:
        state, log = checkpoints.restore(state) or (state, log)
        tell(0.0, [])
        started = time.perf_counter()
        while int(state.epoch) < config.num_epochs and bool(np.any(state.active)):
            state, losses = train_epochs(state, data, farm=farm, num_epochs=1)
            log = {**log, "losses": [*log["losses"], np.asarray(losses)[0].tolist()]}
            epoch, rows = int(state.epoch), []
            if epoch % config.validate_every == 0 or epoch == config.num_epochs:
                state, scores = validate(state, data, farm=farm)
                rows = _history_rows(farm, state, log["losses"], scores)
                log = {"rows": [*log["rows"], *rows], "losses": []}
            if stopped():
                break
            if checkpoints.due():
                checkpoints.save(epoch, state, log)
            if rows:
                tell(time.perf_counter() - started, rows)
                started = time.perf_counter()
        checkpoints.save(int(state.epoch), state, log)
    return state, log["rows"]


def _history_rows(farm: Farm, state: FarmState, losses, scores) -> list[dict[str, Any]]:
    losses = np.mean(np.asarray(losses, np.float32), axis=0)
    scores = jax.tree.map(np.asarray, scores)
    return [
        {
            "epoch": int(state.epoch),
            "model": spec.name,
            "train_loss": float(losses[k]),
            **{f"val_{metric}": float(score[k]) for metric, score in scores.items()},
            "active": bool(state.active[k]),
        }
        for k, spec in enumerate(farm.specs)
    ]
