"""What validation patients teach about the draws of a run: how wide they are, what to expect.

Every validation patient is generated twice, from all its sources and from a random subset of them,
by the default sampler, and compared with the truth:

scale        factor on the spread of draws about the posterior mean with which the central 80 %
             intervals of latents hold 80 % of the true values; the bank carries it, and it is
             applied whenever the run samples (a temperature fitted after training, as Guo et al.
             2017, arXiv:1706.04599, for classifiers)
half_width   of 80 % intervals of decoded features about the mean of the draws, in units of their
             standard deviation: split conformal (Lei et al. 2018, JASA 113:1094, section 5.2), so
             that what the codec lost is in them; valid for patients like those of validation
spread,      of each validation patient, and the error of its posterior mean: what is to be expected
error        of a new patient of that spread
residuals    what the codec of an assay does not bring back of each validation patient, for
             `evaluation/typicality.py`
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cohgen_jax.checkpoint import load_tree, save_tree
from cohgen_jax.evaluation.fidelity import score_patients
from cohgen_jax.evaluation.generator import Generated
from cohgen_jax.evaluation.metrics import interval_coverage
from cohgen_jax.sampling.generate import sample_rows
from cohgen_jax.solvers import Solver, ddim
from cohgen_jax.training.config import SolverConfig
from cohgen_jax.training.validation import judged, random_subsets

if TYPE_CHECKING:
    from cohgen_jax.cohort import Cohort
    from cohgen_jax.run import Run
    from cohgen_jax.sampling.bank import Bank
    from cohgen_jax.schedule import Schedule

LEVEL = 0.8
DRAWS = 10
SCALES = (0.5, 2.0)
"""Between which the scale is looked for."""
FLAGGED = 0.9
"""Share of the validation patients above whose spread a new patient is flagged."""
RESIDUALS = "residuals"
NEIGHBOURS = 0.2
"""Share of the validation patients, those nearest in spread, whose errors are averaged."""


class Calibration(NamedTuple):
    """Of one method and target."""

    scale: np.ndarray  # []
    half_width: np.ndarray  # [F]
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


def calibrate(run: Run, cohort: Cohort, solver: SolverConfig = SolverConfig()) -> dict[str, dict]:
    """Method -> target -> Calibration. cohort: the tables that the run was trained on."""
    schedule = run.config.diffusion.build()
    chain, leap = solver.build(schedule, run.config.diffusion.predicts), ddim(schedule, 1)
    return {
        method: {
            target: _calibrate(run, cohort, make(target), schedule, chain, leap)
            for target in run.modalities
        }
        for method, make in (("coherent", run.coherent_bank), ("multi", run.multi_bank))
    }


def _calibrate(
    run: Run, cohort: Cohort, bank: Bank, schedule: Schedule, chain: Solver, leap: Solver
) -> Calibration:
    """chain draws; leap goes to x_0 in one step, which is all that the posterior mean takes."""
    t, codec = run.index(bank.target), run.codecs[bank.target]
    rows, shown = _validation(run, t)
    z, real = run.latents.z[rows], run.latents.z[rows, t, : codec.width]

    def sample(num_draws: int, solver: Solver, temperature: float) -> Generated:
        samples = sample_rows(
            bank,
            run.modalities,
            z,
            shown,
            run.config.seed,
            num_draws,
            schedule=schedule,
            solver=solver,
            consensus="stacked",
            temperature=temperature,
        )
        draws = np.asarray(samples.draws)[..., : codec.width]
        return Generated(draws, np.asarray(samples.disagreement))

    draws, disagreement = sample(DRAWS, chain, 1.0)
    scale = 1.0
    if bank.predicts != "eps":  # which does not tell the posterior mean
        mean = sample(1, leap, 0.0).draws[0]
        scale = fit_scale(draws, mean, real)
        draws = mean + scale * (draws - mean)
    scores = score_patients(Generated(draws, disagreement), real).sort_values("spread")
    table, names = cohort.tables[bank.target], list(codec.features)
    raw = table.reindex(index=run.samples.index[rows], columns=names)
    return Calibration(
        np.asarray(scale, np.float32),
        conformal_half_width(codec.decode(draws), raw.to_numpy(np.float32)),
        scores["spread"].to_numpy(np.float32),
        scores["error"].to_numpy(np.float32),
    )


def _validation(run: Run, target: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, sources shown): each patient from all its sources and from a random subset."""
    rows = run.rows("val")
    has_source = np.delete(run.latents.present[rows], target, axis=1).any(axis=1)
    use = run.latents.present[rows, target] & has_source
    rows = judged(rows[use], run.latents.present, run.config.seed)
    present = run.latents.present[rows]
    present[:, target] = False
    subset = random_subsets(present[None], run.config.seed)[0]
    return np.tile(rows, 2), np.concatenate([present, subset])


def fit_scale(draws: np.ndarray, mean: np.ndarray, real: np.ndarray) -> float:
    """Factor on draws - mean with which 80 % intervals hold 80 % of the truth, by bisection.

    draws: [R, N, D]; mean, real: [N, D].
    """
    low, high = SCALES
    for _ in range(20):
        scale = (low + high) / 2
        if float(interval_coverage(mean + scale * (draws - mean), real, LEVEL)) < LEVEL:
            low = scale
        else:
            high = scale
    return (low + high) / 2


def conformal_half_width(draws: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Quantile of |truth - mean| / sd of draws that splits off 1 - LEVEL: [F].

    draws: [R, n, F] decoded; real: [n, F], NaN where not measured. The quantile is of order
    ceil((n + 1) LEVEL) / n, which makes the interval hold a further exchangeable patient with
    chance LEVEL or more.
    """
    sd = draws.std(axis=0, ddof=1)
    score = np.abs(real - draws.mean(axis=0)) / np.maximum(sd, np.finfo(np.float32).tiny)
    ordered = np.sort(score, axis=0)  # NaN last
    known = np.isfinite(real).sum(axis=0)
    order = np.clip(np.ceil((known + 1) * LEVEL).astype(int), 1, np.maximum(known, 1)) - 1
    return np.take_along_axis(ordered, order[None], axis=0)[0].astype(np.float32)


def codec_residuals(run: Run, cohort: Cohort) -> dict[str, np.ndarray]:
    """Modality -> `Codec.residual` of the validation patients that have it, increasing."""
    return {
        name: np.sort(codec.residual(cohort.table(name, "val")))
        for name, codec in run.codecs.items()
    }


def save_calibration(
    directory: Path,
    found: dict[str, dict],
    residuals: dict[str, np.ndarray],
    solver: SolverConfig,
) -> None:
    arrays = {m: {t: own._asdict() for t, own in of.items()} for m, of in found.items()}
    about = {"solver": dataclasses.asdict(solver)}
    save_tree(directory, "calibration", arrays | {RESIDUALS: residuals}, about)


def load_calibration(
    directory: Path,
) -> tuple[dict[str, dict[str, Calibration]], dict[str, np.ndarray], SolverConfig]:
    """(method -> target -> Calibration, residuals, the sampler that it was measured with).

    There are no residuals in a run that was calibrated before they were measured.
    """
    arrays, about = load_tree(directory, "calibration")
    residuals = arrays.pop(RESIDUALS, {})
    found = {m: {t: Calibration(**own) for t, own in of.items()} for m, of in arrays.items()}
    return found, residuals, SolverConfig(**about["solver"])
