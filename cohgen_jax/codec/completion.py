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
from cohgen_jax.evenly import evenly

COMPONENTS = (1, 2, 4, 8, 16, 32)
HIDDEN = 0.1
FIT_CELLS, FIT_ROWS = 10**7, 500
"""Of a large table that components are fitted on, evenly spaced rows, at least so many."""
CHOICE_ROWS, CHOICE_FEATURES = 1000, 500
"""On which their number is chosen."""
FIT_STEPS, STEPS = 30, 60
TOLERANCE = 1e-3
"""Mean change of a missing cell, in standard deviations, at which iterations stop."""


class Completion(NamedTuple):
    """K components of F features."""

    centre: np.ndarray  # float32 [F]
    components: np.ndarray  # float32 [F, K]
    factor: np.ndarray  # float32 [K], (l - s^2) / l


def rows_to_fit(num_rows: int, num_features: int) -> np.ndarray:
    """int: the rows of a table that `fit_completion` takes."""
    return evenly(num_rows, max(FIT_ROWS, FIT_CELLS // num_features))


def fit_completion(x: np.ndarray, seed: int) -> Completion:
    """From train values x [n, F] in standard deviations, NaN where missing (`rows_to_fit`)."""
    some = x[evenly(len(x), CHOICE_ROWS)][:, evenly(x.shape[1], CHOICE_FEATURES)]
    return _fit(x, _number(some, seed), seed)


def complete(fitted: Completion, x: np.ndarray) -> np.ndarray:
    """float32 [N, F]: x with its missing cells filled, each patient's for itself."""
    missing = np.isnan(x)
    x = np.where(missing, fitted.centre[None, :], x).astype(np.float32)
    rows = np.flatnonzero(missing.any(axis=1))
    for _ in range(STEPS):
        if not len(rows):
            break
        holes, before = missing[rows], x[rows]
        x[rows] = np.where(holes, _said(fitted, before), before)
        change = np.abs(x[rows] - before).sum(axis=1) / holes.sum(axis=1)
        rows = rows[change >= TOLERANCE]
    return x


def _fit(x: np.ndarray, num_components: int, seed: int) -> Completion:
    """With K components; x [n, F] with NaN."""
    missing = np.isnan(x)
    known = np.maximum((~missing).sum(axis=0), 1)
    centre = (np.where(missing, 0, x).sum(axis=0) / known).astype(np.float32)
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
        change = np.abs(filled - x).sum() / max(missing.sum(), 1)
        x = filled
        if change < TOLERANCE:
            break
    return fitted


def _number(x: np.ndarray, seed: int) -> int:
    """The K of COMPONENTS, or 0, with the least error on hidden cells of x [n, F]."""
    hidden = (np.random.default_rng([seed, 1]).random(x.shape) < HIDDEN) & ~np.isnan(x)
    if not hidden.any():
        return 0
    shown = np.where(hidden, np.nan, x)
    errors = {
        k: np.mean(np.square(complete(_fit(shown, k, seed), shown) - x)[hidden])
        for k in (0, *(k for k in COMPONENTS if k < min(x.shape) / 2))
    }
    return min(errors, key=errors.__getitem__)


def _said(fitted: Completion, x: np.ndarray) -> np.ndarray:
    pca = Pca(fitted.centre, fitted.components)
    return pca_decode(pca, pca_encode(pca, x) * fitted.factor).astype(np.float32)
