"""Scores of features that are no quantities: is a mutation's probability right, are counts counts?

Binary    of the probability of each cell (the expectation of the value); cells whose truth is not
          known count nowhere
Counts    of draws on the scale of log(1 + count), and of their zeros
Axes      R draws, N patients, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.evaluation.units import Units, crps
from cohgen_jax.sampling.generator import Generated

COMMON = 0.05
"""Share of the training patients from which a binary feature's ranking is scored."""
LEAST = 3
"""Patients with the value, and without, that this takes."""
BINS = 10
COUNT_SCORES: Sequence[str] = ("crps_log", "zero_share_error")


class OfKinds(NamedTuple):
    """Scores of one target by the kinds of its features."""

    scores: dict[str, float]
    """`binary_auc`, ..., `counts_crps_log`, ..., as far as there are such features."""
    features: pd.DataFrame
    """`binary_by_feature` and the name, `feature`, of each; empty without binary features."""
    curve: pd.DataFrame
    """`calibration_curve` of all of these."""


def score_kinds(
    generated: Generated, draws: np.ndarray, truth: np.ndarray, units: Units
) -> OfKinds:
    """Of draws in units [R, n, F] against the truth [n, F]."""
    scores, features, curve = {}, pd.DataFrame(), pd.DataFrame()
    binary, counts = units.kinds == "binary", units.kinds == "counts"
    if binary.any():
        p, true = units.expected(generated, draws)[:, binary], truth[:, binary]
        features = binary_by_feature(p, true)
        scored = score_binary(p, true, units.mean[binary], features)
        scores |= {f"binary_{name}": score for name, score in scored.items()}
        features = features.assign(feature=np.asarray(units.names)[binary])
        curve = calibration_curve(p, true)
    if counts.any():
        scored = score_counts(draws[..., counts], truth[:, counts])
        scores |= {f"counts_{name}": score for name, score in scored.items()}
    return OfKinds(scores, features, curve)


def score_binary(
    p: np.ndarray, truth: np.ndarray, frequency: np.ndarray, by_feature: pd.DataFrame
) -> dict[str, float]:
    """Scores of probabilities p [N, F] against truth [N, F], 0 or 1; frequency [F] is of train,
    by_feature what `binary_by_feature` says of them.

    auc, average_precision  mean over the auc_features features that COMMON of train have (and
                            LEAST here)
    brier                   mean over all known cells
    calibration_error       of those features: mean over cells of |predicted - observed|, by bins of
                            the predicted (Naeini et al. 2015)
    frequency_error         of those features: mean |mean predicted - observed| of a feature
    """
    common = (frequency >= COMMON) & (frequency <= 1 - COMMON)
    common &= by_feature["auc"].notna().to_numpy()
    known, chosen = np.isfinite(truth), by_feature[common]
    curve = calibration_curve(p[:, common], truth[:, common])
    off = (curve["predicted"] - curve["observed"]).abs()
    cells = curve["cells"].sum()
    return {
        "auc": float(chosen["auc"].mean()),
        "auc_features": float(len(chosen)),
        "average_precision": float(chosen["average_precision"].mean()),
        "brier": float(np.mean((p - truth)[known] ** 2)) if known.any() else np.nan,
        "calibration_error": float((curve["cells"] * off).sum() / cells) if cells else np.nan,
        "frequency_error": float((chosen["predicted"] - chosen["observed"]).abs().mean()),
    }


def binary_by_feature(p: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    """A row a feature: n known, observed and mean predicted frequency, auc, average_precision,
    brier; NaN where too few have the value or lack it."""
    known = np.isfinite(truth)
    num, true = known.sum(axis=0), np.where(known, truth, 0.0)
    with np.errstate(invalid="ignore"):
        observed, predicted, brier = (
            np.where(known, x, 0).sum(axis=0) / num for x in (true, p, (p - true) ** 2)
        )
    enough = np.minimum(true.sum(axis=0), num - true.sum(axis=0)) >= LEAST
    ranked = np.full((2, len(num)), np.nan)
    ranked[:, enough] = ranking(p[:, enough], truth[:, enough])
    return pd.DataFrame(
        {
            "n": num,
            "observed": observed,
            "predicted": predicted,
            "brier": brier,
            "auc": ranked[0],
            "average_precision": ranked[1],
        }
    )


def ranking(p: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """[2, F]: area under the ROC curve and average precision of the known cells, alike p as one
    threshold: what sklearn's functions say of each feature, of all at once."""
    known = np.isfinite(truth)
    order = np.argsort(np.where(known, -p, np.inf), axis=0)
    p, truth, known = (np.take_along_axis(x, order, axis=0) for x in (p, truth, known))
    true = np.where(known, truth, 0.0)
    hits, admitted = np.cumsum(true, axis=0), np.cumsum(known, axis=0)
    others, positive = admitted - hits, hits[-1]
    # Of every cell the first and the last with its p: before the one, up to the other.
    at, change = np.arange(len(p))[:, None], p[1:] != p[:-1]
    edge = np.ones((1, p.shape[1]), bool)
    first = np.maximum.accumulate(np.where(np.append(edge, change, axis=0), at, 0), axis=0)
    ends = np.where(np.append(change, edge, axis=0), at, len(p))
    last = np.minimum.accumulate(ends[::-1], axis=0)[::-1]
    above = np.take_along_axis(others - (known - true), first, axis=0)
    hits, admitted, others = (np.take_along_axis(x, last, axis=0) for x in (hits, admitted, others))
    mistaken = (true * (above + others) / 2).sum(axis=0) / others[-1]
    precision = (true * hits / np.maximum(admitted, 1)).sum(axis=0)
    return np.stack([1 - mistaken / positive, precision / positive])


def calibration_curve(p: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    """Of known cells, a row a bin of equal width that has any: mean predicted, observed, cells."""
    known = np.isfinite(truth)
    predicted, observed = p[known], truth[known]
    bins = np.minimum((predicted * BINS).astype(int), BINS - 1)
    table = pd.DataFrame({"predicted": predicted, "observed": observed, "cells": 1.0})
    sums = table.groupby(bins).sum()
    means = sums[["predicted", "observed"]].div(sums["cells"], axis=0)
    return means.assign(cells=sums["cells"].astype(int)).reset_index(drop=True)


def score_counts(draws: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Of draws [R, N, F] of counts against the truth [N, F].

    crps_log          fair CRPS of log(1 + count), mean over known cells
    zero_share_error  mean over features of |share of zeros in draws - in the truth|
    """
    known = np.isfinite(truth)
    if not known.any():
        return dict.fromkeys(COUNT_SCORES, np.nan)
    cells = crps(np.log1p(draws), np.log1p(np.where(known, truth, 0)))
    count = known.sum(axis=0)
    made = np.sum((draws == 0).mean(axis=0) * known, axis=0) / np.maximum(count, 1)
    real = np.sum((truth == 0) & known, axis=0) / np.maximum(count, 1)
    return {
        "crps_log": float(cells[known].mean()),
        "zero_share_error": float(np.abs(made - real)[count > 0].mean()),
    }
