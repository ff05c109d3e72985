"""What DP-SGD is worth: epsilon by Renyi differential privacy.

One step of noise multiplier sigma on a batch to which each record belongs with chance q has, at an
integer order a >= 2 (Mironov, Talwar & Zhang 2019, arXiv:1908.10530, section 3.3),

    R(a) = 1 / (a - 1) log sum_{k=0}^a C(a, k) (1 - q)^(a - k) q^k exp((k^2 - k) / (2 sigma^2))

which is a / (2 sigma^2) at q = 1. Steps add up, and R of all steps means (epsilon, delta) with

    epsilon = min_a R(a) + log((a - 1) / a) - (log delta + log a) / (a - 1)

(Balle et al. 2020, arXiv:1905.09982, theorem 21).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammaln, logsumexp, xlogy

from cohgen_jax.training.config import TrainConfig

DELTA = 1e-5
"""At which epsilon is told; well below one over the number of patients."""
MEANING = (
    "epsilon is the usual figure of DP-SGD, as if batches were fresh random samples; they are "
    "epochs in random order, for which epsilon_shuffled holds. It bounds what the denoisers, of "
    "each kind or together, say about one training record, added or removed. Not covered: the "
    "codecs and the scale of the latents, fitted on training patients; validation patients, who "
    "choose the weights that are kept and fit the stacked consensus; a patient with several "
    "records; kinds of model that are not named here."
)
ORDERS = np.concatenate([np.arange(2, 64), 2 ** np.arange(6, 13)])


def rdp_of_step(sampling_rate: float, noise_multiplier: float) -> np.ndarray:
    """R at each of ORDERS, of one step."""
    found = []
    for order in ORDERS:
        k = np.arange(order + 1)
        log_binomial = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
        log_chance = xlogy(order - k, 1 - sampling_rate) + xlogy(k, sampling_rate)
        log_terms = log_binomial + log_chance + (k**2 - k) / (2 * noise_multiplier**2)
        found.append(logsumexp(log_terms) / (order - 1))
    return np.array(found)


def epsilon(rdp: np.ndarray, delta: float) -> float:
    """The least epsilon that R at each of ORDERS gives, at this delta."""
    conversion = np.log1p(-1 / ORDERS) - (np.log(delta) + np.log(ORDERS)) / (ORDERS - 1)
    return float(max(np.min(rdp + conversion), 0.0))


class Spent(NamedTuple):
    """R at each of ORDERS, of the training of all models of a kind."""

    sampled: np.ndarray
    """As if every batch were a fresh random sample (Poisson): the usual figure. Batches here are
    epochs in random order, for which it is no theorem."""
    shuffled: np.ndarray
    """What holds for those: nothing is gained from sampling, and a record that may be in u batches
    of an epoch takes part in u unsampled releases."""


def spend(config: TrainConfig, num_rows: Sequence[int], steps_per_epoch: int) -> Spent:
    """Of models that train on so many records each (`num_rows` [K]), on a record that is among all
    of them. Every epoch of the configuration counts: stopping early spends less."""
    sigma = config.dp_noise_multiplier
    steps = config.num_epochs * steps_per_epoch
    uses = [-(-steps_per_epoch * config.batch_size // n) for n in num_rows]
    return Spent(
        np.sum(
            [steps * rdp_of_step(min(1.0, config.batch_size / n), sigma) for n in num_rows], axis=0
        ),
        config.num_epochs * sum(uses) * rdp_of_step(1.0, sigma),
    )


def statement(spent: Mapping[str, Spent], delta: float = DELTA) -> dict[str, Any]:
    """epsilon and epsilon_shuffled of each kind of model, and of all together."""
    together = Spent(*(np.sum(own, axis=0) for own in zip(*spent.values(), strict=True)))
    epsilons = {
        kind: {
            "epsilon": epsilon(own.sampled, delta),
            "epsilon_shuffled": epsilon(own.shuffled, delta),
        }
        for kind, own in {**spent, "together": together}.items()
    }
    return {"delta": delta, **epsilons, "meaning": MEANING}
