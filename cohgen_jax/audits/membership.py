"""Membership inference: can it be told from a model, or from what it generates, who trained it?

An attack gives every candidate patient a score, higher for those it takes for members; half of the
candidates are members. Its strength is the area under the ROC curve (0.5 is guessing) and the share
of members found at 1 % false accusations (Carlini et al. 2022, arXiv:2112.03570: an attack that is
sure of a few is a breach that an average hides).

Denoising loss    how well the model denoises the candidate's own record, at several noise levels
                  with noise that all candidates share (Carlini et al. 2023, arXiv:2301.13188)
Calibration       the same record given the sources of other patients says how hard it is in itself
                  (difficulty calibration, Watson et al. 2022, arXiv:2111.08440, without the shadow
                  models)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.sampling.bank import Bank
from cohgen_jax.schedule import Schedule

REPEATS = 1000
"""Bootstrap samples of candidates behind an interval."""
FALSE_ACCUSATIONS = 0.01
BATCH = 512
"""Candidates whose losses are computed at once."""


class Rates(NamedTuple):
    """Of one attack; low and high bound the central 95 % of bootstrapped candidates."""

    auc: float
    auc_low: float
    auc_high: float
    tpr_at_1fpr: float
    tpr_low: float
    tpr_high: float


def rates(members: np.ndarray, others: np.ndarray, seed: int = 0) -> Rates:
    """How well scores [m] of members stand out from scores [n] of others; ties count half."""
    members, others = np.asarray(members, float), np.asarray(others, float)
    rng = np.random.default_rng(seed)
    wins = (members[:, None] > others) + 0.5 * (members[:, None] == others)
    m, n = len(members), len(others)
    count_members = rng.multinomial(m, np.full(m, 1 / m), REPEATS)
    count_others = rng.multinomial(n, np.full(n, 1 / n), REPEATS)
    aucs = np.sum((count_members @ wins) * count_others, axis=1) / (m * n)
    order = np.argsort(-others)
    # The threshold is the score of the first false accusation too many.
    too_many = np.cumsum(count_others[:, order], axis=1) > FALSE_ACCUSATIONS * n
    thresholds = others[order][too_many.argmax(axis=1)]
    resampled = np.sum(count_members * (members > thresholds[:, None]), axis=1) / m
    auc_low, auc_high = np.quantile(aucs, [0.025, 0.975]).tolist()
    tpr_low, tpr_high = np.quantile(resampled, [0.025, 0.975]).tolist()
    return Rates(
        float(wins.mean()),
        auc_low,
        auc_high,
        float(np.mean(members > others[order][int(FALSE_ACCUSATIONS * n)])),
        tpr_low,
        tpr_high,
    )


def denoising_losses(
    bank: Bank,
    x_0: np.ndarray,
    conds: Sequence[np.ndarray],
    width: int,
    schedule: Schedule,
    *,
    levels: np.ndarray,
    num_noises: int,
    seed: int = 0,
) -> np.ndarray:
    """Squared error of the noise prediction, mean over models, noises and features: [L, N].

    Args:
      x_0: [N, D] the records of the bank's target, `width` of the D true.
      conds: latents of the sources that the models are shown, S arrays [N, D] in the order of the
        bank, then the covariates if it knows them.
      levels: int [L] noise levels; num_noises: at each, the same for all records.
    """
    alpha_bar = schedule.alpha_bar[levels]
    scales = jnp.asarray(np.sqrt([alpha_bar, 1 - alpha_bar]), jnp.float32)
    steps, key = jnp.asarray(levels, jnp.int32), jax.random.key(seed)
    shown = np.ones((len(x_0), len(bank.sources)), bool)
    seen = bank.conditions([jnp.asarray(cond, jnp.float32) for cond in conds], shown)
    noises = jax.vmap(lambda t: jax.random.fold_in(key, t))(steps)
    eps = jax.vmap(lambda k: jax.random.normal(k, (num_noises, x_0.shape[1]), jnp.float32))(noises)
    batches = range(0, len(x_0), BATCH)
    losses = [
        _losses(
            bank.unnamed(),
            jnp.asarray(x_0[start : start + BATCH]),
            tuple(jnp.asarray(cond[start : start + BATCH]) for cond in seen),
            jnp.asarray(shown[start : start + BATCH]),
            jnp.asarray(np.arange(x_0.shape[1]) < width, jnp.float32),
            (steps, *scales, eps),
        )
        for start in batches
    ]
    return np.concatenate(losses, axis=1)


@jax.jit
def _losses(bank, x_0, conds, shown, dim_mask, levels):
    def at(level):
        t, signal, noise, eps = level
        x_t = signal * x_0[None] + noise * eps[:, None]  # [R, N, D]
        error = bank.predict_eps(x_t, t, conds, shown, signal, noise) - eps[None, :, None]
        squared = jnp.square(error) * dim_mask[None, None, None]
        return squared.sum(axis=-1).mean(axis=(0, 1)) / dim_mask.sum()

    return jax.lax.map(at, levels)


def supervised_scores(features: np.ndarray, is_member: np.ndarray, seed: int = 0) -> np.ndarray:
    """Scores [N] of an adversary who knows the membership of most candidates and asks for the rest.

    Logistic regression on features [N, F], ten-fold: each candidate is scored by a model fitted on
    the others.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    folds = StratifiedKFold(10, shuffle=True, random_state=seed)
    return np.asarray(
        cross_val_predict(model, features, is_member, cv=folds, method="decision_function")
    )
