"""Which model works on which rows: no network is evaluated where nobody needs it.

Rows of one call may each have another subset of sources (patients as they come; all subsets of an
evaluation at once), and row n needs only the models that see something of it. Every model of a
group gets the same number of slots J, as many as its busiest model needs; a slot holds a row.

    rows   [K, J]  the row in slot j of model k           x[rows[k]] is what model k works on
    seats  [N, P]  where row n finds its predictions      outputs.reshape(K J, D)[seats[n]]

P is the largest number of models of any row. J is rounded up to eighths of N, so that as few
programs are compiled as there are eighths; where there are FEW_ROWS, to N and P to all models: to
work on them costs less than to compile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

FEW_ROWS = 64
"""Of one device: all models on all of them, so that who has what makes no other program."""


class Dispatch(NamedTuple):
    """NumPy or JAX arrays with a leading axis of devices B (1 without sharding); N are the rows of
    one device."""

    rows: tuple[Any, ...]  # [B, K_g, J_g] int32 for each group of models
    seats: Any  # [B, N, P] int32, into the slots of all groups, one after the other
    models: Any  # [B, N, P] int32, the model in each seat
    taken: Any  # [B, N, P] bool; the other seats carry no weight


def dispatch(needed: np.ndarray, groups: Sequence[Sequence[int]], num_devices: int = 1) -> Dispatch:
    """Hand rows to models. needed: bool [N, K]; groups: the models of each group.

    With several devices, each gets an equal block of consecutive rows, and its own slots.
    """
    blocks = np.split(np.asarray(needed, bool), num_devices)
    num_rows, num_models = blocks[0].shape
    few = num_rows <= FEW_ROWS
    step = num_rows if few else -(-num_rows // 8)
    slots = []
    for members in groups:
        busiest = max(int(block[:, k].sum()) for block in blocks for k in members)
        slots.append(min(num_rows, -(-busiest // step) * step))
    num_seats = num_models if few else max(1, *(int(block.sum(axis=1).max()) for block in blocks))

    per_block = []
    for block in blocks:
        seat_of = np.zeros((num_rows, num_models), np.int32)
        rows, offset = [], 0
        for members, num_slots in zip(groups, slots, strict=True):
            held = np.zeros((len(members), num_slots), np.int32)
            for position, k in enumerate(members):
                needing = np.flatnonzero(block[:, k])
                held[position, : len(needing)] = needing
                seat_of[needing, k] = offset + position * num_slots + np.arange(len(needing))
            rows.append(held)
            offset += held.size
        models = np.argsort(~block, axis=1, kind="stable")[:, :num_seats].astype(np.int32)
        seats = np.take_along_axis(seat_of, models, axis=1)
        per_block.append((*rows, seats, models, np.take_along_axis(block, models, axis=1)))
    *rows, seats, models, taken = (np.stack(parts) for parts in zip(*per_block, strict=True))
    return Dispatch(tuple(rows), seats, models, taken)


def everywhere(num_rows: int, groups: Sequence[Sequence[int]]) -> Dispatch:
    """Every model on every row of one device. May be traced: nothing here looks at data."""
    num_models, order = sum(map(len, groups)), jnp.arange(num_rows, dtype=jnp.int32)
    rows = tuple(jnp.broadcast_to(order[None, None], (1, len(ks), num_rows)) for ks in groups)
    block_of = np.zeros(num_models, np.int32)  # which block of slots is the model's
    block_of[[k for members in groups for k in members]] = np.arange(num_models)
    seats = order[None, :, None] + num_rows * jnp.asarray(block_of)[None, None, :]
    models = jnp.broadcast_to(jnp.arange(num_models, dtype=jnp.int32)[None, None], seats.shape)
    return Dispatch(rows, seats, models, jnp.ones(seats.shape, bool))
