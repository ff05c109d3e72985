"""A kernel regression without the patients that it was fitted on.

A regression keeps every training patient as a centre. Here its function f is fitted anew on
centres that are nobody: m points drawn from N(mean, S), S the shrunk covariance of the patients'
conditions (Ledoit & Wolf 2004), by the projection of sparse Gaussian processes (subset of
regressors; Quinonero-Candela & Rasmussen 2005, JMLR 6:1939, section 5)

    f(x) ~ k(x, Z) A,    A = (K_ZX K_XZ + penalty K_ZZ)^-1 K_ZX f(X)

so that what is left of the patients are sums over all of them: mean, S and A.
Axes    n training patients, m centres, C condition features, D latent width
"""

from __future__ import annotations

import numpy as np

from cohgen_jax.sampling.stacking import Pattern
from cohgen_jax.training.regression import (
    Regression,
    Regressions,
    matern,
    squared_distances,
)

CENTRES = 512
"""At most; and no more than half as many as there are patients, so that no patient is fitted by
itself."""
PENALTY = 0.01
"""Relative to the penalties that regressions are tuned between (`regression.PENALTIES`)."""


def without_patients(fitted: Regressions, seed: int) -> Regressions:
    """Every pattern's regression on centres of its own."""
    by_pattern: dict[Pattern, Regression] = {}
    for i, (pattern, regression) in enumerate(fitted.by_pattern.items()):
        by_pattern[pattern] = induced(regression, np.random.default_rng([seed, i]))
    return Regressions(by_pattern, fitted.order)


def induced(fitted: Regression, rng: np.random.Generator, most: int = CENTRES) -> Regression:
    """A regression of the same form on at most `most` drawn centres; its mean, gains and variances
    are the same. One that says the same of everybody is returned as it is, without patients."""
    from sklearn.covariance import LedoitWolf

    num, features = fitted.x.shape
    if not fitted.dual.any() and not fitted.size.any():
        nobody = np.zeros((1, features), np.float32)
        return fitted._replace(
            rows=np.zeros(1, np.int32), x=nobody, dual=fitted.dual[:1], size=fitted.size[:1]
        )
    usual = LedoitWolf().fit(fitted.x)
    values, vectors = np.linalg.eigh(usual.covariance_.astype(np.float64))
    root = vectors * np.sqrt(np.maximum(values, 0))
    count = max(1, min(most, num // 2))
    centres = usual.location_ + rng.standard_normal((count, features)) @ root.T
    centres = centres.astype(np.float32)
    weights = np.concatenate([fitted.dual, fitted.size[:, None]], axis=1)
    said = matern(squared_distances(fitted.x, fitted.x)) @ weights
    across = matern(squared_distances(centres, fitted.x)).astype(np.float64)
    among = matern(squared_distances(centres, centres)).astype(np.float64)
    normal = across @ across.T + PENALTY * among
    normal[np.diag_indices(count)] += 1e-6 * num  # rounding of float32 kernels
    dual = np.linalg.solve(normal, across @ said).astype(np.float32)
    return fitted._replace(
        rows=np.zeros(count, np.int32), x=centres, dual=dual[:, :-1], size=dual[:, -1]
    )
