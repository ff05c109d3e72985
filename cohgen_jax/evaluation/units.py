"""Scores in the units of the tables: what is generated against what was measured.

Axes    R draws, N patients, F features of one modality, columns of its table.
Units   each feature about its mean over the training patients, in their standard deviations: a
        score of 1 means the same for a gene and for a protein, and 0 is the training average.
        Unknown cells of the truth (NaN) count nowhere; float64.

Latent scores judge what a codec keeps. These judge all of a table, hence decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.clustered import standard_error
from cohgen_jax.sampling.generator import Generated

MOST_FEATURES = 400
"""Features of a wide table that are scored, evenly spaced."""
MOST_PAIRED = 300
"""Features whose correlations with each other are compared."""
MIN_CORRELATED = 20
"""Patients that a feature's correlation needs more of."""
MIN_PATIENTS = 3
CELLS = 1 << 26
"""Draws x patients x features that are turned into units at once."""


class Units(NamedTuple):
    """What one modality is scored on; made by `units_of`."""

    truth: np.ndarray
    """float32 [N, F]: the scored columns of the table, rows as latents.z; NaN where unknown."""
    mean: np.ndarray
    """float64 [F], over the training patients."""
    sd: np.ndarray
    """float64 [F]; 1 for a constant feature."""
    columns: np.ndarray
    """int [F]: which of the codec's features these are."""
    of: Callable[[Generated, np.ndarray, int], np.ndarray]
    """(generated, its rows [n] of latents.z, seed) -> float32 [R, n, F] in units of the table."""
    names: tuple[str, ...]
    """Of the features [F]."""
    kinds: np.ndarray
    """str [F], of the values (cohort/kinds.py)."""
    expected: Callable[[Generated, np.ndarray], np.ndarray]
    """(generated, its draws in units [R, n, F]) -> their expectation [n, F]."""


def units_of(codec: Any, table: pd.DataFrame, rows_train: np.ndarray, streams: np.ndarray) -> Units:
    """The yardstick of one modality, and the way there.

    codec: a `Codec`.
    table: raw values, rows as latents.z (all NaN where a patient has none), columns by name.
    rows_train: positions of the training patients; streams: uint32 [N], which name the patients
      to the codec's random generator.
    """
    every = len(codec.features)
    columns = np.unique(np.linspace(0, every - 1, min(every, MOST_FEATURES)).round().astype(int))
    names = tuple(codec.features[i] for i in columns)
    truth = table[list(names)].to_numpy(np.float32)
    known = pd.DataFrame(truth[rows_train].astype(float))
    mean, sd = known.mean().to_numpy(), known.std().to_numpy()

    def of(generated: Generated, rows: np.ndarray, seed: int) -> np.ndarray:
        return in_units(
            codec, generated, streams[rows], seed, lambda x: codec.units(x)[..., columns]
        )

    def expected(generated: Generated, draws: np.ndarray) -> np.ndarray:
        mean = generated.mean
        if mean is None:
            return draws.mean(axis=0)
        x = mean[0] if generated.features is not None else codec.restored(mean[0, :, : codec.width])
        return codec.expected(draws, x[:, columns], columns)

    kinds = np.array([codec.kinds[i] for i in columns])
    return Units(truth, mean, np.where(sd > 0, sd, 1.0), columns, of, names, kinds, expected)


def in_units(
    codec: Any,
    generated: Generated,
    streams: np.ndarray,
    seed: int,
    then: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """float32 [R, n, K]: whole draws in units of the table, or what `then` makes of their x.

    codec: as in `units_of`; streams: uint32 [n] of the generated patients; then: of x
      [R, some patients, F] of the draws, whose memory is bounded, to [any, some patients, K].
    """
    drawn = generated.draws if generated.features is None else generated.features
    size = max(1, CELLS // (len(drawn) * len(codec.features)))
    parts = []
    for start in range(0, len(streams), size):  # a patient's draws depend on its stream alone
        block = slice(start, start + size)
        x = drawn[:, block]
        if generated.features is None:
            x = codec.draw_standardised(x[..., : codec.width], streams[block], seed)
        parts.append((then or codec.units)(x))
    return np.concatenate(parts, axis=1)


def _standardised(
    draws: np.ndarray, truth: np.ndarray, mean: np.ndarray, sd: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws and truth in standard deviations, 0 in unknown cells of the truth, and which are known.

    A feature that no training patient has (NaN mean) is unknown in everyone.
    """
    if len(draws) < 2:
        raise InputError(f"scoring needs 2 draws or more a patient, got {len(draws)}")
    if not np.isfinite(draws).all():
        bad = np.flatnonzero(~np.isfinite(draws).all(axis=(0, 2)))
        raise InputError(
            f"generated values of {len(bad)} patients are not finite (first: row {bad[0]})"
        )
    mean, sd = np.asarray(mean, float), np.asarray(sd, float)
    scale, centre = np.where(sd > 0, sd, 1.0), np.nan_to_num(mean)
    y = np.where(np.isnan(mean), np.nan, (np.asarray(truth, float) - centre) / scale)
    known = np.isfinite(y)
    return (np.asarray(draws, float) - centre) / scale, np.where(known, y, 0.0), known


def crps(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Fair CRPS of each cell, as `calibration.crps` in float64: [R, N, F], [N, F] -> [N, F]."""
    num = len(x)
    order = 2 * np.arange(1, num + 1) - num - 1.0
    within = np.tensordot(order, np.sort(x, axis=0), 1) / (num * (num - 1))
    return np.abs(x - y).mean(axis=0) - within


def _by_patient(cells: np.ndarray, known: np.ndarray) -> np.ndarray:
    count = known.sum(axis=1)
    return np.where(count > 0, (cells * known).sum(axis=1) / np.maximum(count, 1), np.nan)


def patient_crps(
    draws: np.ndarray, truth: np.ndarray, mean: np.ndarray, sd: np.ndarray
) -> np.ndarray:
    """Fair CRPS of each patient, mean over its known features: [R, N, F], [N, F] -> [N].

    NaN for a patient of whom nothing is known; for paired comparisons of methods.
    """
    x, y, known = _standardised(draws, truth, mean, sd)
    return _by_patient(crps(x, y), known)


def score_units(
    draws: np.ndarray,
    truth: np.ndarray,
    mean: np.ndarray,
    sd: np.ndarray,
    patients: np.ndarray | None = None,
) -> dict[str, float]:
    """Scores of R >= 2 draws [R, N, F] against the truth [N, F]; mean and sd [F] are of train,
    patients [N] whose the samples are, by default each of a patient of its own.

    r2                    of the posterior mean about the training average, variance of finitely
                          many draws removed
    corr                  of truth and mean of draws over patients, mean over features that more
                          than MIN_CORRELATED patients have
    pearson_pooled        one correlation of truth and mean of draws over all cells, which rewards
                          features that differ in level from train; as often published
    crps, crps_se         fair, mean over cells; its standard error over patients (a ratio's)
    variance_ratio        mean variance over patients of one draw over that of the truth: 1 when
                          generated patients vary as measured ones do; `_median` of the features'
    coverage80            share of cells between the quantiles 0.1 and 0.9 of the draws:
                          0.8 (R - 1) / (R + 1) when truth and draws are exchangeable
    structure_slope,      of correlations between features within the first draw on those within
    structure             the truth (at most MOST_PAIRED features), and the correlation of the two

    NaN where it is not defined, as any but crps, r2 and coverage80 of fewer than MIN_PATIENTS.
    """
    x, y, known = _standardised(draws, truth, mean, sd)
    num, cells, ok = len(x), max(int(known.sum()), 1), np.where(known, 1.0, 0.0)
    if not known.any():
        return dict.fromkeys(SCORES, np.nan)
    centre, variance = x.mean(axis=0), x.var(axis=0, ddof=1)
    error = (((centre - y) ** 2 - variance / num) * ok).sum()
    low, high = np.quantile(x, [0.1, 0.9], axis=0)
    score = crps(x, y)
    count, mean_crps = ok.sum(axis=1), float((score * ok).sum() / cells)
    enough = (count > 0).sum() >= MIN_PATIENTS
    whose = None if patients is None else np.asarray(patients)[count > 0]
    # Of a ratio of sums over patients, who may have unequally many known cells.
    deviation = ((score - mean_crps) * ok).sum(axis=1)
    ratio, median = _variance_ratios(x, y, known) if enough else (np.nan, np.nan)
    slope, structure = _structure(x[0], y, known) if enough else (np.nan, np.nan)
    scores = (
        1 - _ratio(error, (y**2 * ok).sum()),
        _mean_correlation(y, centre, known),
        _correlation(y[known], centre[known]) if enough else np.nan,
        mean_crps,
        standard_error(deviation[count > 0], cells, whose) if enough else np.nan,
        ratio,
        median,
        float((((y >= low) & (y <= high)) * ok).sum() / cells),
        slope,
        structure,
    )
    return dict(zip(SCORES, map(float, scores), strict=True))


SCORES: Sequence[str] = (
    *("r2", "corr", "pearson_pooled", "crps", "crps_se"),
    *("variance_ratio", "variance_ratio_median", "coverage80", "structure_slope", "structure"),
)
"""Keys of `score_units`, in order; in the table of conditions each begins with `units_`."""


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else np.nan


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's of two vectors; NaN of fewer than two values or where one is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan
    return float(np.corrcoef(a, b)[0, 1])


def _mean_correlation(y: np.ndarray, centre: np.ndarray, known: np.ndarray) -> float:
    """Mean of Pearson's correlations of the features that vary in both and that more than
    MIN_CORRELATED patients have."""
    count = known.sum(axis=0)
    use, off = count > MIN_CORRELATED, []
    for x in (y, centre):
        low = x.min(axis=0, initial=np.inf, where=known)
        use = use & (low < x.max(axis=0, initial=-np.inf, where=known))
        average = np.where(known, x, 0).sum(axis=0) / np.maximum(count, 1)
        off.append(np.where(known, x - average, 0))
    if not use.any():
        return np.nan
    a, b = (x[:, use] for x in off)
    squares = (a**2).sum(axis=0) * (b**2).sum(axis=0)
    return float(np.mean((a * b).sum(axis=0) / np.sqrt(squares)))


def _variance_ratios(x: np.ndarray, y: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """Mean over mean, and median over features, of those that vary in the truth."""
    count = np.maximum(known.sum(axis=0), 1)
    real = np.sum(np.where(known, y - y.sum(axis=0) / count, 0) ** 2, axis=0) / count
    made, use = x.var(axis=1).mean(axis=0), real > 1e-9
    if not use.any():
        return np.nan, np.nan
    return float(made[use].mean() / real[use].mean()), float(np.median(made[use] / real[use]))


def _structure(draw: np.ndarray, y: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """Slope and correlation of correlations, of the patients that have all compared features."""
    few = min(MOST_PAIRED, y.shape[1])
    chosen = np.random.default_rng(0).choice(y.shape[1], few, replace=False)
    whole = known[:, chosen].all(axis=1)
    if whole.sum() < MIN_PATIENTS or few < 2:
        return np.nan, np.nan
    upper = np.triu_indices(few, 1)
    with np.errstate(all="ignore"):
        true, made = (np.corrcoef(t[whole][:, chosen].T)[upper] for t in (y, draw))
    varies = np.isfinite(true) & np.isfinite(made)
    true, made = true[varies], made[varies]
    if len(true) < 2 or np.ptp(true) == 0:
        return np.nan, np.nan
    return float(np.polyfit(true, made, 1)[0]), _correlation(true, made)
