"""The regressions of a run: every target on its other modalities, fitted, kept and read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cohgen_jax.codec import Latents
from cohgen_jax.runs.consensus import pattern_name, pattern_named
from cohgen_jax.storage.checkpoint import load_tree, save_tree
from cohgen_jax.training.regression import (
    Regression,
    Regressions,
    fit_regressions,
    rebuilt,
)

if TYPE_CHECKING:
    from cohgen_jax.runs.run import Run


def fit_run_regressions(run: Run, directory: Path, tell: Callable[[str], None]) -> None:
    """Every target on the other modalities and the covariates, by pattern."""
    arrays = {}
    for t, target in enumerate(run.modalities):
        rows, conds = _regressed(run.latents, run.rows("train"), t)
        width, unseen = int(run.latents.widths[t]), np.square(run.codecs[target].kept)
        fitted = fit_regressions(
            conds,
            np.delete(run.latents.present[rows], t, axis=1),
            run.latents.z[rows, t, :width],
            run.latents.scale[t, :width] ** 2,
        )
        arrays[target] = {}
        for pattern, regression in fitted.by_pattern.items():
            # The codec was fitted on these patients: of others less varies.
            saved = regression._replace(variance=regression.variance * unseen)._asdict()
            del saved["x"]  # rows of the latents
            arrays[target][pattern_name(pattern)] = saved
        tell(f"{target}: regressions on {len(fitted.by_pattern)} patterns of sources")
    save_tree(directory, "regressions", arrays, {})


def _regressed(
    latents: Latents, train: np.ndarray, target: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """(training patients with the target, other modalities and covariates in natural scale)."""
    rows = train[latents.present[train, target]]
    others = [m for m in range(len(latents.modalities)) if m != target]
    conds = [latents.z[rows, m] * latents.scale[m] for m in others]
    if latents.z.shape[1] > len(latents.modalities):
        conds.append(latents.z[rows, -1, : latents.widths[-1]])
    return rows, conds


def load_regressions(
    directory: Path, latents: Latents, train: np.ndarray
) -> dict[str, Regressions]:
    arrays, _ = load_tree(directory, "regressions")
    loaded = {}
    for target, saved in arrays.items():
        _, conds = _regressed(latents, train, latents.modalities.index(target))
        by_pattern = {}
        for name, kept in saved.items():
            pattern = pattern_named(name)
            by_pattern[pattern] = rebuilt(kept, pattern, conds)
        loaded[target] = Regressions(by_pattern)
    return loaded


def save_whole_regressions(directory: Path, regressions: Mapping[str, Regressions]) -> None:
    """Regressions with their centres, which are not patients of a run (`training/inducing.py`)."""
    arrays = {
        target: {pattern_name(pattern): own._asdict() for pattern, own in fitted.by_pattern.items()}
        for target, fitted in regressions.items()
    }
    save_tree(directory, "regressions", arrays, {})


def load_whole_regressions(directory: Path) -> dict[str, Regressions]:
    arrays, _ = load_tree(directory, "regressions")
    return {
        target: Regressions(
            {pattern_named(name): Regression(**kept) for name, kept in saved.items()}
        )
        for target, saved in arrays.items()
    }
