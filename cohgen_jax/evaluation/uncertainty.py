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


def rank_correlation(
    signal: np.ndarray,
    error: np.ndarray,
    seed: int = 0,
    resamples: int = RESAMPLES,
    patients: np.ndarray | None = None,
) -> tuple[float, float, float]:
    """Spearman's correlation and the ends of its 95 % bootstrap interval over patients, who are
    drawn with all their samples. patients: whose these are [N], by default each of its own."""
    from scipy.stats import rankdata

    def correlations(rows):  # [B, N]
        ranks = [rankdata(values[rows], axis=1) for values in (signal, error)]
        centred = [r - r.mean(axis=1, keepdims=True) for r in ranks]
        norms = [np.sqrt((c**2).sum(axis=1)) for c in centred]
        return (centred[0] * centred[1]).sum(axis=1) / np.maximum(norms[0] * norms[1], 1e-30)

    num, rng = len(signal), np.random.default_rng(seed)
    if patients is None or len(set(patients)) == num:
        resampled = correlations(rng.integers(num, size=(resamples, num)))
    else:
        samples = list(pd.Series(np.arange(num)).groupby(np.asarray(patients)).indices.values())
        drawn = rng.integers(len(samples), size=(resamples, len(samples)))
        resampled = [
            correlations(np.concatenate([samples[p] for p in chosen])[None])[0] for chosen in drawn
        ]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return float(correlations(np.arange(num)[None])[0]), float(low), float(high)


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
