"""What a run knows of its draws, and what follows: intervals, expected errors, flags.

`calibrate.py` measures it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cohgen_jax.solvers import SolverConfig
from cohgen_jax.storage.checkpoint import is_whole, load_tree, save_tree

LEVEL = 0.8
INTERVAL = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
FLAGGED = 0.9
"""Share of the validation patients above whose spread a new patient is flagged."""
RESIDUALS = "residuals"
DEFAULT, FEW_STEPS = "calibration", "calibration_few_steps"
"""Parts of a run directory: that of the default solver, and of the one of few evaluations."""
NEIGHBOURS = 0.2
"""Share of the validation patients, those nearest in spread, whose errors are averaged."""


class Calibration(NamedTuple):
    """Of one method and target."""

    scale: np.ndarray  # [D]
    width: np.ndarray  # [], see `interval`
    spread: np.ndarray  # [V], increasing
    error: np.ndarray  # [V], mean squared error over latent features

    def expected(self, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(share of validation patients of less spread, error to be expected) of spreads [n]."""
        num = len(self.spread)
        rank = np.searchsorted(self.spread, spread)
        width = max(1, round(NEIGHBOURS * num))
        sums = np.concatenate([[0.0], np.cumsum(self.error)])
        first = np.clip(rank - width // 2, 0, num - width)
        return rank / num, (sums[first + width] - sums[first]) / width


OfMethods = dict[str, dict[str, Calibration]]
"""Method -> target -> Calibration."""


def interval(x: np.ndarray, width: float | np.ndarray = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Central 80 % intervals [N, F], low and high, from x of draws [R, N, F], R >= 9.

    Between the two quantiles that hold 80 % of further draws (R of them say less of their tails
    than they have), then `width` times as far from the mean.
    """
    mean = x.mean(axis=0)
    low, high = np.quantile(x, INTERVAL, axis=0, method="weibull")
    return mean + width * (low - mean), mean + width * (high - mean)


def save_calibration(
    directory: Path,
    calibrations: OfMethods,
    residuals: dict[str, np.ndarray],
    solver: SolverConfig,
) -> None:
    arrays = {
        m: {t: of_target._asdict() for t, of_target in of.items()} for m, of in calibrations.items()
    }
    about = {"solver": dataclasses.asdict(solver)}
    save_tree(directory, "calibration", arrays | {RESIDUALS: residuals}, about)


class Calibrations(NamedTuple):
    """What a run or a shared model holds of them."""

    default: OfMethods
    residuals: dict[str, np.ndarray]
    """There are none in a run that was calibrated before they were measured."""
    solver: SolverConfig | None
    """The sampler that the default one was measured with; None of a run without any."""
    too: dict[SolverConfig, OfMethods]
    """Those of further solvers."""


def load_calibrations(run_dir: Path) -> Calibrations:
    default, residuals, solver, too = {}, {}, None, {}
    if is_whole(run_dir / DEFAULT):
        default, residuals, solver = _load(run_dir / DEFAULT)
    if is_whole(run_dir / FEW_STEPS):
        few_steps, _, with_few = _load(run_dir / FEW_STEPS)
        too[with_few] = few_steps
    return Calibrations(default, residuals, solver, too)


def _load(directory: Path) -> tuple[OfMethods, dict[str, np.ndarray], SolverConfig]:
    arrays, about = load_tree(directory, "calibration")
    residuals = arrays.pop(RESIDUALS, {})
    calibrations = {
        m: {t: Calibration(**saved) for t, saved in of.items()} for m, of in arrays.items()
    }
    return calibrations, residuals, SolverConfig(**about["solver"])
