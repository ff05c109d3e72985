"""Missing cells of a standardised table from its other cells: regularised iterative PCA.

(Josse & Husson 2012, J. Soc. Fr. Stat. 153:79; the choice of components by hidden cells as there.)

Fit      x^ = x where known, else what K components say of x^; components of x^; and again.
         Component k with variance l_k counts (l_k - s^2) / l_k, s^2 the mean variance of those
         left out: the less, the less of it is more than noise
K        with the least error on a tenth of the known cells, hidden; 0 is the mean of the feature
New      the same iteration on the cells of each patient, with the components of train
"""

from typing import NamedTuple

import numpy as np

from cohgen_jax.codec.pca import Pca, fit_pca, pca_decode, pca_encode

COMPONENTS = (1, 2, 4, 8, 16, 32)
HIDDEN = 0.1
FIT_CELLS, FIT_ROWS = 10**7, 500
"""Of a large table that components are fitted on, evenly spaced rows, at least so many."""
CHOICE_ROWS, CHOICE_FEATURES = 1000, 500
"""On which their number is chosen."""
FIT_STEPS, STEPS = 30, 60
TOLERANCE = 1e-3
"""Mean change of a cell, in standard deviations, at which iterations stop."""


class Completion(NamedTuple):
    """K components of F features."""

    centre: np.ndarray  # float32 [F]
    components: np.ndarray  # float32 [F, K]
    factor: np.ndarray  # float32 [K], (l - s^2) / l


def fit_completion(x: np.ndarray, seed: int) -> Completion:
    """From the train values x [n, F] in standard deviations, NaN where missing."""
    num_rows, num_features = x.shape
    x = x[_evenly(num_rows, max(FIT_ROWS, FIT_CELLS // num_features))]
    some = x[_evenly(len(x), CHOICE_ROWS)][:, _evenly(num_features, CHOICE_FEATURES)]
    return _fit(x, _number(some, seed), seed)


def complete(fitted: Completion, x: np.ndarray) -> np.ndarray:
    """float32 [N, F]: x with its missing cells filled."""
    missing = np.isnan(x)
    x = np.where(missing, fitted.centre[None, :], x).astype(np.float32)
    rows = np.flatnonzero(missing.any(axis=1))
    part, holes, steps = x[rows], missing[rows], 0
    while len(rows) and steps < STEPS:
        filled = np.where(holes, _said(fitted, part), part)
        change, part, steps = _change(filled, part, holes), filled, steps + 1
        if change < TOLERANCE:
            break
    x[rows] = part
    return x


def _fit(x: np.ndarray, num_components: int, seed: int) -> Completion:
    """With K components; x [n, F] with NaN."""
    missing = np.isnan(x)
    centre = np.nan_to_num(_mean(x))
    fitted = Completion(centre, np.zeros((x.shape[1], 1), np.float32), np.zeros(1, np.float32))
    if num_components == 0:
        return fitted
    x = np.where(missing, centre[None, :], x).astype(np.float32)
    for _ in range(FIT_STEPS):
        pca = fit_pca(x, num_components, seed)
        variance = pca_encode(pca, x).var(axis=0, dtype=np.float64)
        left = x.var(axis=0, dtype=np.float64).sum() - variance.sum()
        noise = left / max(min(x.shape) - len(variance), 1)
        factor = np.maximum(0, 1 - noise / np.maximum(variance, 1e-12)).astype(np.float32)
        fitted = Completion(pca.centre, pca.components, factor)
        filled = np.where(missing, _said(fitted, x), x)
        change, x = _change(filled, x, missing), filled
        if change < TOLERANCE:
            break
    return fitted


def _number(x: np.ndarray, seed: int) -> int:
    """The K of COMPONENTS, or 0, with the least error on hidden cells of x [n, F]."""
    hidden = (np.random.default_rng([seed, 1]).random(x.shape) < HIDDEN) & ~np.isnan(x)
    shown = np.where(hidden, np.nan, x)
    usable = [k for k in COMPONENTS if k < min(x.shape) / 2]
    if not hidden.any():
        return 0
    errors = {
        k: np.mean(np.square(complete(_fit(shown, k, seed), shown) - x)[hidden])
        for k in (0, *usable)
    }
    return min(errors, key=errors.__getitem__)


def _said(fitted: Completion, x: np.ndarray) -> np.ndarray:
    pca = Pca(fitted.centre, fitted.components)
    return pca_decode(pca, pca_encode(pca, x) * fitted.factor).astype(np.float32)


def _change(new: np.ndarray, old: np.ndarray, missing: np.ndarray) -> float:
    return float(np.abs(new - old)[missing].mean()) if missing.any() else 0.0


def _mean(x: np.ndarray) -> np.ndarray:
    """float32 [F], of the known cells; NaN where none is."""
    known = ~np.isnan(x)
    with np.errstate(invalid="ignore"):
        return (np.where(known, x, 0).sum(axis=0) / known.sum(axis=0)).astype(np.float32)


def _evenly(count: int, most: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, most)).astype(int)
