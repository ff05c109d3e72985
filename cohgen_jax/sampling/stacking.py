"""Stacked consensus: the combination of the models that predicted best on validation patients.

At noise level t, feature d and for a pattern of present sources, the weights w minimise

    E (v_d - sum_k w_k v_kd)^2 + PULL |w - w_shared|^2,        v = a eps - s x_0   (schedule.py)

stacked regression (Wolpert 1992; Breiman 1996) of the truth on the models' v-predictions, pulled
to the weights that are best for all features together. In v, because there the errors of all levels
are of one size and 0 is the prediction of the prior N(0, I): the weights need not sum to 1, and
what they lack is left to the prior. The minimum is the best denoiser in the models' span, so that a
chain that it drives has the posterior's mean *and* spread as far as the span can say them.

States  for jointly Gaussian x_0, y_1..y_K with x_0 ~ N(0, 1) and models that know their posteriors
        x_0 | y_k ~ N(m_k, S_k), the weights are

            w_k(t) = c_k (a^2 S_k + s^2) / (a^2 S + s^2),    E[x_0 | y] = sum_k c_k m_k,

        S the variance of x_0 given all, and the chain ends in the *joint* posterior
        N(E[x_0 | y], S), however the sources depend on each other: no rule of fixed weights does.

The problem of any subset of sources is a sub-block of one table of second moments, which are
measured once, after training. A further source adds its row and column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

PULL = 1.0
"""Of a feature's weights to the shared ones, in units of the mean second moment of a source."""
RIDGE = 1e-3
"""Of the shared weights to 0, in the same units."""


class Moments(NamedTuple):
    """Second moments of the v-predictions of S sources, over validation patients and noise."""

    log_snr: np.ndarray  # [L], increasing
    second: np.ndarray  # [L, D, S + 1, S + 1]: E[v_i v_j]; the last is the true v
    patients: np.ndarray  # [S + 1, S + 1], in each entry

    def of(self, sources: Sequence[int]) -> Moments:
        """Those of some of the sources, in the given order."""
        kept = np.append(np.asarray(sources, int), len(self.patients) - 1)
        return self._replace(
            second=self.second[:, :, kept[:, None], kept],
            patients=self.patients[kept[:, None], kept],
        )


def stacked_weights(moments: Moments, heard: np.ndarray, log_snr: np.ndarray) -> np.ndarray:
    """Weights [T, P, S, D] at the levels of a chain for patterns of sources.

    heard: [P, S] bool; log_snr: [T]. A source that is not heard gets 0. Between the levels of the
    moments weights are interpolated, linearly in log SNR.
    """
    weights = np.zeros((len(moments.log_snr), *heard.shape, moments.second.shape[1]))
    for pattern, sources in enumerate(map(np.flatnonzero, heard)):
        if len(sources):
            weights[:, pattern, sources] = _solve(moments.of(sources.tolist()))
    at = np.clip(log_snr, moments.log_snr[0], moments.log_snr[-1])
    above = np.clip(np.searchsorted(moments.log_snr, at), 1, len(moments.log_snr) - 1)
    low, high = moments.log_snr[above - 1], moments.log_snr[above]
    share = ((at - low) / (high - low))[:, None, None, None]
    return (1 - share) * weights[above - 1] + share * weights[above]


def _solve(moments: Moments) -> np.ndarray:
    """Weights [L, S, D] of all sources of the moments."""
    second = moments.second.astype(float)
    own, shared = _positive(second), _positive(second.mean(axis=1))
    num_sources = own.shape[-1] - 1
    size = np.trace(shared[:, :-1, :-1], axis1=1, axis2=2)[:, None, None] / num_sources
    size = np.maximum(size, 1e-6)  # models that predict 0, as before training, get 0
    identity = np.eye(num_sources)
    best = np.linalg.solve(shared[:, :-1, :-1] + RIDGE * size * identity, shared[:, :-1, -1:])
    pulled = own[:, :, :-1, -1:] + PULL * (size * best)[:, None]
    weights = np.linalg.solve(own[:, :, :-1, :-1] + PULL * (size * identity)[:, None], pulled)
    return np.moveaxis(weights[..., 0], 1, 2)


def _positive(matrix: np.ndarray) -> np.ndarray:
    """The closest positive semidefinite matrix: moments over different patients may not be one."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 0)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
