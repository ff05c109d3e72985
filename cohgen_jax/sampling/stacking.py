"""Stacked consensus: the combination of the models that predicted best on validation patients.

At noise level t, feature d and for a pattern of present sources, the weights w minimise

    E (v_d - sum_k w_k v_kd)^2 + pull |w - w_shared|^2,        v = a eps - s x_0   (schedule.py)

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

A network's prediction from one source does not depend on what else a patient has, that of a
regression or of a multi-condition model does: moments are those of a pattern of sources, measured
on validation patients who were shown just these (training/moments.py). Few patients know little of
weights: the fewer they are, the stronger w_shared is pulled to the weights that need none, 1 for a
regression, whose strength leave-one-out errors on train have chosen, and 0 for all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

PULL, PULL_PATIENTS = 1.0, 100.0
"""Of a feature's weights to the shared ones, in units of the mean second moment of a model: PULL +
PULL_PATIENTS / patients."""
RIDGE, RIDGE_PATIENTS = 3e-3, 100.0
"""Likewise, of the shared weights to those that need no patients."""

T = TypeVar("T")
Pattern = tuple[bool, ...]
"""Which of the sources a patient has."""


class Moments(NamedTuple):
    """Second moments of the v-predictions of K models, over validation patients and noise."""

    log_snr: np.ndarray  # [L], increasing
    second: np.ndarray  # [L, D, K + 1, K + 1]: E[v_i v_j]; the last is the true v
    worth: np.ndarray  # [D], what a component counts in the weights that all share
    patients: np.ndarray  # [], how many
    resting: np.ndarray  # [K], weights that need no patients

    def of(self, models: Sequence[int]) -> Moments:
        """Those of some of the models, in the given order."""
        kept = np.append(np.asarray(models, int), len(self.resting))
        return self._replace(
            second=self.second[:, :, kept[:, None], kept], resting=self.resting[kept[:-1]]
        )


def nearest_pattern(known: Mapping[Pattern, object], wanted: Pattern) -> Pattern | None:
    """The wanted pattern, or the largest of the known ones that lie within it; None without one."""
    inside = [p for p in known if all(w or not k for k, w in zip(p, wanted, strict=True))]
    return max(inside, key=sum, default=None)


def restricted(known: Mapping[Pattern, T], sources: Sequence[int]) -> dict[Pattern, T]:
    """What is known of the patterns that need none but these sources, in the given order."""
    return {
        tuple(pattern[s] for s in sources): value
        for pattern, value in known.items()
        if sum(pattern) == sum(pattern[s] for s in sources)
    }


def stacked_weights(moments: Moments, log_snr: np.ndarray) -> np.ndarray:
    """Weights [T, K, D] at the levels of a chain, log_snr [T].

    Between the levels of the moments weights are interpolated, linearly in log SNR.
    """
    weights = _solve(moments)
    at = np.clip(log_snr, moments.log_snr[0], moments.log_snr[-1])
    above = np.clip(np.searchsorted(moments.log_snr, at), 1, len(moments.log_snr) - 1)
    low, high = moments.log_snr[above - 1], moments.log_snr[above]
    share = ((at - low) / (high - low))[:, None, None]
    return (1 - share) * weights[above - 1] + share * weights[above]


def _solve(moments: Moments) -> np.ndarray:
    """Weights [L, K, D] of all models of the moments."""
    second = moments.second.astype(float)
    worth = moments.worth / moments.worth.sum()
    own, shared = _positive(second), _positive(np.einsum("d,ldij->lij", worth, second))
    num_models = own.shape[-1] - 1
    size = np.trace(shared[:, :-1, :-1], axis1=1, axis2=2)[:, None, None] / num_models
    size = np.maximum(size, 1e-6)  # models that predict 0, as before training, get 0
    identity = np.eye(num_models)
    patients = max(float(moments.patients), 1.0)
    ridge, pull = (RIDGE + RIDGE_PATIENTS / patients) * size, PULL + PULL_PATIENTS / patients
    resting = ridge * moments.resting[None, :, None]
    best = np.linalg.solve(shared[:, :-1, :-1] + ridge * identity, shared[:, :-1, -1:] + resting)
    pulled = own[:, :, :-1, -1:] + pull * (size * best)[:, None]
    weights = np.linalg.solve(own[:, :, :-1, :-1] + pull * (size * identity)[:, None], pulled)
    return np.moveaxis(weights[..., 0], 1, 2)


def _positive(matrix: np.ndarray) -> np.ndarray:
    """The closest positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 0)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
