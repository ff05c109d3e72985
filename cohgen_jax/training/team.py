"""Finished models leave the farm, so that nobody works for them.

The state of all models stays whole; those that still train are taken out of it into a farm with
fewer places, trained there, and put back. Every size of farm is a program to compile, so the sizes
are few: K, 3/4 K, K/2, 3/8 K, ... A place too many holds a model that is finished, whose updates
are masked as in the full farm. Places are given up where they would cost more than the program
does (PROGRAM); accelerators keep the farm whole: there a place costs next to nothing and a program
tens of seconds (on an H100, 20 s to save a part of epochs of 0.02 s).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from cohgen_jax.storage.distributed import to_host
from cohgen_jax.training.farm import FarmData, FarmState, has_model_axis
from cohgen_jax.training.mesh import num_parts

PROGRAM = 2e12
"""Operations that a CPU does while a farm of another size is compiled (20 to 30 s on two cores)."""


class Team(NamedTuple):
    """The models at work: `state` and `data` have one place for each of them."""

    state: FarmState
    data: FarmData
    places: np.ndarray  # [K'] positions in the whole, rising
    whole: FarmState | None  # of all models, as they were when these were taken; None: all work

    def spread(self, values: jax.Array, num_models: int) -> np.ndarray:
        """Values [K'] of the team as values of all models, NaN for those that are not in it."""
        spread = np.full(num_models, np.nan, np.float32)
        spread[self.places] = to_host(values)
        return spread

    def training(self) -> list[int]:
        """Positions in the whole of the models that still train."""
        return self.places[to_host(self.state.active)].tolist()


def assemble(whole: FarmState, data: FarmData, training: Sequence[int]) -> Team:
    """The smallest farm that holds the models to train, given by their positions in the whole."""
    num_models = len(whole.active)
    size = team_size(len(training), num_models, num_parts(whole.active))
    if size == num_models:
        return Team(whole, data, np.arange(num_models), None)
    others = np.setdiff1d(np.arange(num_models), training)
    places = np.sort([*training, *others[: size - len(training)]])
    shardings = jax.tree.map(lambda leaf: leaf.sharding, (whole, data))
    state, data = jax.device_put(_take((whole, data), places), shardings)
    return Team(state, data, places, whole)


def shrink(team: Team, data: FarmData, training: Sequence[int], to_come: float) -> Team:
    """The same models in fewer places, where that spares more than a program; `data` of all models.

    to_come: operations that a place takes until training ends.
    """
    size = team_size(len(training), len(data.target), num_parts(team.state.active))
    if (len(team.places) - size) * to_come <= PROGRAM:
        return team
    return assemble(reunite(team), data, training)


def reunite(team: Team) -> FarmState:
    """The state of all models, those at work where they are now."""
    if team.whole is None:
        return team.state
    shardings = jax.tree.map(lambda leaf: leaf.sharding, team.whole)
    return jax.device_put(_put(team.whole, team.state, team.data, team.places), shardings)


def team_size(wanted: int, num_models: int, parts: int = 1) -> int:
    """The smallest of the few sizes that holds `wanted` models: 12, 9, 6, 5, 3, 2 or 1 of 12.

    Every part keeps the same number of models.
    """
    share = num_models // parts
    sizes = {share}
    while share > 1:
        sizes |= {-(-3 * share // 4), -(-share // 2)}
        share = -(-share // 2)
    return min(parts * n for n in sizes if parts * n >= wanted)


@jax.jit
def _take(whole: tuple[FarmState, FarmData], places):
    return jax.tree.map(
        lambda leaf, stacked: leaf[places] if stacked else leaf, whole, has_model_axis(*whole)
    )


@jax.jit
def _put(whole: FarmState, part: FarmState, data: FarmData, places) -> FarmState:
    return jax.tree.map(
        lambda old, new, stacked: old.at[places].set(new) if stacked else new,
        whole,
        part,
        has_model_axis(whole, data)[0],
    )
