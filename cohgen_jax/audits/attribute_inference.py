"""Attribute inference: what an adversary who holds a patient's other assays learns of the rest.

The adversary wants the value of an assay, or a label such as the stage, of a patient whose other
assays it holds. What a good model tells of patients it has never seen is its purpose; what it tells
beyond that of those it was trained on is a leak (the comparison of Giomi et al. 2023,
arXiv:2211.10459). So every score is given for members, for others, and as their gap; the baseline
is what the adversary reaches about the others without the model.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

REPEATS = 1000
FEWEST_OF_A_CLASS = 5


class Shares(NamedTuple):
    """A score over patients: the mean over classes of sum(part) / sum(whole), [C, N] each.

    R2 has one class: the part of the total squares that is explained. Balanced accuracy has the
    share found of every class.
    """

    part: np.ndarray
    whole: np.ndarray

    def score(self, counts: np.ndarray) -> np.ndarray:
        """With patient n counted counts[..., n] times: [..., N] -> [...]."""
        whole = counts @ self.whole.T
        shares = np.where(whole > 0, counts @ self.part.T / np.where(whole > 0, whole, 1), np.nan)
        return np.nanmean(shares, axis=-1)


def explained(draws: np.ndarray, real: np.ndarray) -> Shares:
    """R2 of the posterior mean, free of the number of draws: [R, N, D], [N, D]."""
    noise = draws.var(axis=0, ddof=1) / len(draws)
    unexplained = np.sum((draws.mean(axis=0) - real) ** 2 - noise, axis=1)
    total = np.sum((real - real.mean()) ** 2, axis=1)
    return Shares((total - unexplained)[None], total[None])


def recalls(predicted: np.ndarray, labels: np.ndarray) -> Shares:
    """Balanced accuracy of predicted labels [N]."""
    of_class = labels == np.unique(labels)[:, None]
    return Shares((of_class & (predicted == labels)).astype(float), of_class.astype(float))


def compared(members: Shares, others: Shares, baseline: Shares, seed: int) -> dict[str, Any]:
    """Scores of both, and their gap with the central 95 % over bootstrapped patients."""
    rng = np.random.default_rng(seed)

    def resampled(shares: Shares) -> np.ndarray:
        n = shares.part.shape[1]
        return shares.score(rng.multinomial(n, np.full(n, 1 / n), REPEATS))

    on_members, on_others, without = (
        float(shares.score(np.ones(shares.part.shape[1]))) for shares in (members, others, baseline)
    )
    low, high = np.quantile(resampled(members) - resampled(others), [0.025, 0.975])
    return {
        "members": on_members,
        "others": on_others,
        "gap": on_members - on_others,
        "gap_low": float(low),
        "gap_high": float(high),
        "without_model": without,
    }


class Known(NamedTuple):
    """What there is about a group of patients."""

    sources: np.ndarray  # [N, F], the assays that the adversary holds
    generated: np.ndarray  # [N, D], mean of the draws of another assay
    labels: np.ndarray  # object [N], None where unknown

    def where(self, keep: np.ndarray) -> Known:
        return Known(*(values[keep] for values in self))


def label_inference(
    public: Known, members: Known, others: Known, seed: int
) -> dict[str, Any] | None:
    """Infer a label with and without the generated assay, learning from patients known in public.

    Classes with fewer than FEWEST_OF_A_CLASS public patients are left out; None when that leaves
    fewer than two, or nobody to ask about.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = [label for label in public.labels if label is not None]
    classes = {c for c in set(known) if known.count(c) >= FEWEST_OF_A_CLASS}
    public, members, others = (
        group.where(np.array([label in classes for label in group.labels], bool))
        for group in (public, members, others)
    )
    if len(classes) < 2 or not len(members.labels) or not len(others.labels):
        return None
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=500)
    )

    def inferred(group: Known, with_model: bool) -> Shares:
        def features(of: Known) -> np.ndarray:
            return np.concatenate([of.sources, of.generated], axis=1) if with_model else of.sources

        model.fit(features(public), public.labels.astype(str))
        return recalls(model.predict(features(group)), group.labels.astype(str))

    scores = compared(
        inferred(members, True), inferred(others, True), inferred(others, False), seed
    )
    return {"score": "balanced accuracy", **scores}
