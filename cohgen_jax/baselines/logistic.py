"""Logistic regression of every binary feature, on the leading components and covariates.

What a statistician would do for mutations: one penalised regression a feature, fitted on the
patients of whom it is known; the penalty is the one of INVERSE_PENALTIES with the least held-out
deviance over the commonest features. A draw throws a coin for each feature.
"""

import warnings

import numpy as np

from cohgen_jax.baselines.patterns import Fitted
from cohgen_jax.baselines.view import View

COMPONENTS = 128
"""Leading ones of each source."""
COVARIATES = 15.0
"""Factor on covariates, which brings them to the scale of leading components: as they are, the
penalty leaves little of them (AUC of TCGA mutations .80 instead of .82)."""
INVERSE_PENALTIES = (1e-3, 3e-3, 1e-2)
"""C of scikit-learn, on inputs in natural scale."""
TUNED_ON = 4
"""Features by which it is chosen."""
FOLDS = 2
GOLDEN = 0.6180339887498949
"""From one feature to the next, coins of one draw are shifted by this."""


def seen_by_logistic(view: View, target: int) -> View:
    """Fewer components of the sources, and louder covariates."""
    widths = np.minimum(view.widths, COMPONENTS)
    widths[target] = view.widths[target]
    scale = view.scale.copy()
    scale[len(view.modalities) :] *= COVARIATES
    return view._replace(widths=widths, scale=scale)


def logistic(x: np.ndarray, y: np.ndarray) -> Fitted:
    """y [n, F]: two different numbers in each column, NaN where unknown."""
    low, high = np.nanmin(y, axis=0), np.nanmax(y, axis=0)
    events = np.where(np.isnan(y), np.nan, y > (low + high) / 2)
    rarer = np.minimum(np.nansum(events, axis=0), np.nansum(1 - events, axis=0))
    common = np.argsort(-rarer, kind="stable")[:TUNED_ON]
    penalty = min(INVERSE_PENALTIES, key=lambda c: _deviance(x, events[:, common], c))
    models = [_fit(x, column, penalty) for column in events.T]

    def probability(new: np.ndarray) -> np.ndarray:
        return np.stack([model(new) for model in models], axis=1)

    def mean(new: np.ndarray) -> np.ndarray:
        return (low + (high - low) * probability(new)).astype(np.float32)

    def draw(new: np.ndarray, u: np.ndarray) -> np.ndarray:
        coins = (u[..., None] + GOLDEN * np.arange(1, len(models) + 1)) % 1
        return np.where(coins < probability(new), high, low).astype(np.float32)

    return Fitted(draw, mean)


def _fit(x: np.ndarray, events: np.ndarray, penalty: float):
    """x -> probability [N]; the frequency where only one value is known."""
    from sklearn.linear_model import LogisticRegression

    known = np.isfinite(events)
    share = float(events[known].mean()) if known.any() else 0.0
    if min(share, 1 - share) <= 0 or not x.shape[1]:
        return lambda new: np.full(len(new), share)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged to the last digit
        model = LogisticRegression(C=penalty, max_iter=200).fit(x[known], events[known])
    return lambda new: model.predict_proba(new)[:, 1]


def _deviance(x: np.ndarray, events: np.ndarray, penalty: float) -> float:
    total, fold = 0.0, np.arange(len(x)) % FOLDS
    for k in range(FOLDS):
        for column in events.T:
            known = (fold == k) & np.isfinite(column)
            p = np.clip(_fit(x[fold != k], column[fold != k], penalty)(x[known]), 1e-6, 1 - 1e-6)
            total -= np.sum(np.log(np.where(column[known] == 1, p, 1 - p)))
    return total
