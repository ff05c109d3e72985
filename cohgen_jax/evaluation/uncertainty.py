"""Does a generator know which patients it gets wrong?

A signal that is known without the truth (spread of the draws, disagreement of the models) is held
against the error of the posterior mean, patient by patient: by rank correlation, and by the
risk-coverage curve (El-Yaniv and Wiener 2010, JMLR 11:1605), the error left when only the patients
of lowest signal are kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cohgen_jax.evaluation.fidelity import KEY

SIGNALS = ("spread", "disagreement")
SHARES = np.linspace(0.1, 1.0, 10)
"""Shares of the patients kept in a risk-coverage curve."""
RESAMPLES = 200
CELLS = 1 << 22
"""Samples of resamples at once, at most."""


def rank_correlation(
    signal: np.ndarray,
    error: np.ndarray,
    seed: int = 0,
    resamples: int = RESAMPLES,
    patients: np.ndarray | None = None,
) -> tuple[float, float, float]:
    """Spearman's correlation and the ends of its 95 % bootstrap interval over patients, who are
    drawn with all their samples. patients: whose these are [N], by default each of its own."""
    num = len(signal)
    whose = np.arange(num) if patients is None else pd.factorize(np.asarray(patients), sort=True)[0]
    count, rng = int(whose.max()) + 1, np.random.default_rng(seed)
    drawn = rng.integers(count, size=(resamples, count))
    parts = np.array_split(drawn, -(-resamples * num // CELLS))
    times = (np.stack([np.bincount(d, minlength=count) for d in part]) for part in parts)
    resampled = [_spearman(signal, error, of_patients[:, whose]) for of_patients in times]
    low, high = np.quantile(np.concatenate(resampled), [0.025, 0.975])
    whole = _spearman(signal, error, np.ones((1, num), int))
    return float(whole[0]), float(low), float(high)


def _spearman(a: np.ndarray, b: np.ndarray, times: np.ndarray) -> np.ndarray:
    """[B]: of two values of N samples, each of which there is `times` [B, N] over."""
    centre = (times.sum(axis=1, keepdims=True) + 1) / 2
    a, b = (_ranks(values, times) - centre for values in (a, b))
    product, *squares = ((times * x * y).sum(axis=1) for x, y in ((a, b), (a, a), (b, b)))
    return product / np.maximum(np.sqrt(squares[0] * squares[1]), 1e-30)


def _ranks(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Mean ranks [B, N] of values [N], of which there are `times` [B, N] each."""
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    alike = np.add.reduceat(times[:, np.argsort(which)], np.cumsum(count) - count, axis=1)
    ranks = np.cumsum(alike, axis=1) - (alike - 1) / 2
    return ranks[:, which]


def risk_coverage(signal: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Mean error of the k patients of lowest signal, for k = 1 .. N: [N]."""
    ordered = error[np.argsort(signal, kind="stable")]
    return np.cumsum(ordered) / np.arange(1, len(error) + 1)


def uncertainty_tables(by_patient: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(one row a condition and signal, one row a point of its risk-coverage curve).

    spearman, low, high    rank correlation of signal and error, 95 % bootstrap interval
    aurc                   area under the risk-coverage curve: mean over k of the mean error of the
                           k patients of lowest signal
    aurc_random, _oracle   of a signal that knows nothing, and of the error itself
    gain                   (random - aurc) / (random - oracle): 0 knows nothing, 1 everything

    Signals that are constant in a condition, as the disagreement of a single model, are left out.
    """
    rows, curves = [], []
    for key, table in by_patient.groupby(list(KEY), sort=False):
        error = table["error"].to_numpy(float)
        identity: dict[str, Any] = dict(zip(KEY, key, strict=True))
        oracle, nothing = risk_coverage(error, error).mean(), error.mean()
        for name in SIGNALS:
            signal = table[name].to_numpy(float)
            if not np.isfinite(signal).all() or np.ptp(signal) == 0:
                continue
            risk = risk_coverage(signal, error)
            whose = table["patient"].to_numpy() if "patient" in table else None
            spearman, low, high = rank_correlation(signal, error, patients=whose)
            gain = (nothing - risk.mean()) / (nothing - oracle) if nothing > oracle else 0.0
            rows.append(
                {
                    **identity,
                    "signal": name,
                    "n": len(error),
                    "spearman": spearman,
                    "low": low,
                    "high": high,
                    "aurc": risk.mean(),
                    "aurc_random": nothing,
                    "aurc_oracle": oracle,
                    "gain": gain,
                }
            )
            kept = np.maximum(1, np.round(SHARES * len(error)).astype(int))
            points = pd.DataFrame({"share": SHARES, "error": risk[kept - 1]})
            curves.append(points.assign(signal=name, **identity))
    curve = pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()
    return pd.DataFrame(rows), curve
