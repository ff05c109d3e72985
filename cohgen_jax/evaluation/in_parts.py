"""An evaluation in parts: one method and target each, with everything that is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.evaluation.fidelity import Condition, Evaluation, joined
from cohgen_jax.storage.parts import Parts

Pair = tuple[str, str]
"""Method and target."""


class Scored(NamedTuple):
    """What comes of a method and target, and of all of them."""

    evaluation: Evaluation
    tempered: pd.DataFrame
    """Scores between draws and posterior mean, from the fullest sources; may be empty."""
    shown: dict[Pair, np.ndarray]
    """[N, D], one draw from the fullest sources."""


def make_parts(
    jobs: Sequence[tuple[str, Condition]],
    score: Callable[[Pair, Callable[[int, int, str], None]], Scored],
    parts: Parts,
    progress: Callable[[int, int, str], None],
) -> list[Pair]:
    """Make those of this process; returned are all.

    jobs: what is judged; score: told of its progress; progress: of the conditions of this process.
    """
    pairs = {_name(pair): pair for pair in [(m, condition.target) for m, condition in jobs]}
    mine = parts.deal([[name] for name in pairs])
    conditions = [_name((m, condition.target)) for m, condition in jobs]
    done, total = 0, sum(name in mine for name in conditions)
    for name in mine:
        scored = score(pairs[name], lambda k, _, what, done=done: progress(done + k, total, what))
        with parts.making(name) as folder:
            _write(folder, scored)
        done += conditions.count(name)
    return list(pairs.values())


def read_parts(folder: Path, pairs: Sequence[Pair]) -> Scored:
    """All parts, in this order, as one."""
    every = [_read(folder / _name(pair), pair) for pair in pairs]
    tempered = [one.tempered for one in every if len(one.tempered)]
    return Scored(
        joined([one.evaluation for one in every]),
        pd.concat(tempered, ignore_index=True) if tempered else pd.DataFrame(),
        {pair: draw for one in every for pair, draw in one.shown.items()},
    )


def _name(pair: Pair) -> str:
    return "-".join(pair)


def _write(folder: Path, scored: Scored) -> None:
    tables = {**scored.evaluation._asdict(), "tempered": scored.tempered}
    for name, table in tables.items():
        if len(table):
            table.to_parquet(folder / f"{name}.parquet")
    for draw in scored.shown.values():
        np.save(folder / "shown.npy", draw)


def _read(folder: Path, pair: Pair) -> Scored:
    tables = {
        name: pd.read_parquet(path)
        if (path := folder / f"{name}.parquet").exists()
        else pd.DataFrame()
        for name in (*Evaluation._fields, "tempered")
    }
    shown = folder / "shown.npy"
    tempered = tables.pop("tempered")
    return Scored(Evaluation(**tables), tempered, {pair: np.load(shown)} if shown.exists() else {})
