"""What validation teaches the stacked consensus of a run, measured, kept and read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cohgen_jax.runs.families import METHODS
from cohgen_jax.sampling.stacking import Moments, Pattern
from cohgen_jax.storage.checkpoint import load_tree, save_tree
from cohgen_jax.training.moments import measure_moments
from cohgen_jax.training.regression import patterns_of
from cohgen_jax.training.validation import judged

if TYPE_CHECKING:
    from cohgen_jax.runs.run import Run

PatternMoments = dict[Pattern, Moments]


def measure_consensus(run: Run) -> dict[str, dict[str, PatternMoments]]:
    """Method -> target -> moments of its bank on the validation patients, by pattern of sources."""
    rows, schedule = run.rows("val"), run.config.diffusion.build()
    latents, found = run.latents, {}
    for method in METHODS:
        found[method] = {}
        for t, target in enumerate(run.modalities):
            bank = run.bank(method, target)
            columns = [run.index(source) for source in bank.sources]
            width = int(latents.widths[t])
            used = judged(rows[latents.present[rows, t]], latents.present, run.config.seed)
            train = run.rows("train")
            train = train[latents.present[train, t]]
            patterns = patterns_of(latents.present[train][:, columns])
            measured = {}
            for pattern in patterns:
                shown = [c for c, here in zip(columns, pattern, strict=True) if here]
                having = used[latents.present[used][:, shown].all(axis=1)]
                heard = bank.available(np.array([pattern], bool)).any()
                if bank.regression is None and not (heard and len(having)):
                    continue  # nothing to weigh, or nobody to learn it from
                conds, _ = run.conditions(bank, having)
                measured[pattern] = measure_moments(
                    bank,
                    latents.z[having, t],
                    conds,
                    pattern,
                    latents.scale[t, :width] ** 2,
                    schedule,
                    run.config.seed,
                )
            found[method][target] = measured
    return found


def save_moments(directory: Path, moments: Mapping[str, Mapping[str, PatternMoments]]) -> None:
    arrays = {
        method: {
            target: {pattern_name(pattern): own._asdict() for pattern, own in measured.items()}
            for target, measured in of.items()
        }
        for method, of in moments.items()
    }
    save_tree(directory, "moments", arrays, {})


def load_moments(directory: Path) -> dict[str, dict[str, PatternMoments]]:
    arrays, _ = load_tree(directory, "moments")
    return {
        method: {
            target: {pattern_named(name): Moments(**saved) for name, saved in measured.items()}
            for target, measured in of.items()
        }
        for method, of in arrays.items()
    }


def pattern_name(pattern: Pattern) -> str:
    return "".join("01"[shown] for shown in pattern)


def pattern_named(name: str) -> Pattern:
    return tuple(c == "1" for c in name)
