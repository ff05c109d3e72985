"""Train a farm to its end, surviving interruption.

Every `validate_every` epochs the farm is validated and its whole state saved (Orbax, atomic).
All randomness is a function of (seed, model, step), so a run that is killed and resumed goes
through the same states as one that was not: bitwise on CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from cohgen_jax.errors import InputError
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
) -> tuple[FarmState, list[dict[str, Any]]]:
    """Train until every model is done; continues from the checkpoint in `directory`, if any.

    Returns the final state and the history: one row for each validation and model, with
    epoch, model, train_loss (mean of the epochs since the last row) and the validation scores.

    Raises:
      InputError: a checkpoint in the directory that cannot be read or is of another farm.
    """
    import orbax.checkpoint as ocp

    directory = Path(directory).resolve()
    state, data = share_out(init_state(data, farm=farm), data)

    def tell(seconds: float, rows: list[dict[str, Any]]) -> None:
        active = int(np.sum(state.active))
        epochs = int(state.epoch), farm.config.num_epochs
        report(Progress(*epochs, len(farm.specs), active, seconds, rows))

    history: list[dict[str, Any]] = []
    options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    with ocp.CheckpointManager(directory, options=options) as manager:
        latest = manager.latest_step()
        if latest is not None:
            state, history = _restore(manager, latest, state)
        tell(0.0, [])
        while int(state.epoch) < farm.config.num_epochs and bool(np.any(state.active)):
            started = time.perf_counter()
            num_epochs = min(farm.config.validate_every, farm.config.num_epochs - int(state.epoch))
            state, losses = train_epochs(state, data, farm=farm, num_epochs=num_epochs)
            state, scores = validate(state, data, farm=farm)
            rows = _history_rows(farm, state, losses, scores)
            history.extend(rows)
            manager.save(
                int(state.epoch),
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),  # pyright: ignore[reportCallIssue]
                    history=ocp.args.JsonSave({"rows": history}),  # pyright: ignore[reportCallIssue]
                ),
            )
            tell(time.perf_counter() - started, rows)
    return state, history


def _restore(manager, step: int, like: FarmState) -> tuple[FarmState, list[dict[str, Any]]]:
    import orbax.checkpoint as ocp

    try:
        restored = manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(like),  # pyright: ignore[reportCallIssue]
                history=ocp.args.JsonRestore(),  # pyright: ignore[reportCallIssue]
            ),
        )
    except Exception as error:  # whatever Orbax and TensorStore raise on a damaged directory
        raise InputError(
            f"the checkpoint {manager.directory}/{step} cannot be restored: it is damaged or of "
            "another configuration; delete it to resume from an earlier one, or start again "
            "with --overwrite"
        ) from error
    return restored.state, restored.history["rows"]


def _history_rows(farm: Farm, state: FarmState, losses, scores) -> list[dict[str, Any]]:
    losses = np.mean(np.asarray(losses), axis=0)
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
