"""One patient, several assays missing: which would change the prediction most?

For each missing assay the model predicts once for each draw of it, given what the patient has; the
other gaps stay open. The expected change is that from the prediction averaged over the draws,
which is the best one without the assay, to the prediction with a draw:

classes     the mean total variation distance of the class probabilities, in [0, 1]: how much of
            the probability goes to other classes
survival    the mean squared difference of the risk

It follows counterfactual test prioritisation in the paper (Marchesi, Lazzaro et al.,
doi 10.1371/journal.pcbi.1013455), with two differences. There the change is counted from the
prediction with the gap left open, which also counts what generating the assay changes without any
measurement, and would send for an assay that the others determine. And there a class changes or
not, as it does for whatever assay when a patient is at the border of two classes. (`prioritise.py`
has the published order, judged on a cohort.)

Interval    95 % of F forests, each trained on a bootstrap draw of the training patients and shown a
            bootstrap draw of the draws: both could have come out otherwise
Value       expected change, over the cost of the assay where costs are given; ranks go by it
Cannot tell between the first and the second in rank when the interval of the difference of their
            values, on the same forests, holds 0, or when the draws of either are flagged: wider
            than those of nine in ten validation patients, so that the model does not know such
            patients (`calibrate.py`)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.downstream.options import Workers
from cohgen_jax.downstream.outcome import Outcome
from cohgen_jax.downstream.rescue import complete_training
from cohgen_jax.downstream.statistics import Interval, bootstrap_interval, patient_weights
from cohgen_jax.downstream.study import Study, open_gaps

CANNOT_TELL = "cannot tell"


class Drawn(NamedTuple):
    """A missing assay."""

    rows: np.ndarray
    """int [n]: the patients who lack it."""
    draws: np.ndarray
    """float32 [R, n, D], from what each of them has."""
    flagged: np.ndarray
    """bool [n]."""


class Question(NamedTuple):
    """New patients, and what is to be predicted of them."""

    study: Study
    outcome: Outcome
    z: np.ndarray
    """float32 [N, M, D], or with covariates [N, M + 1, D]."""
    present: np.ndarray
    """bool [N, M]"""
    types: np.ndarray
    """float [N, types]: their cancer types as `Study.one_hot_type` has them; no column for a model
    that does not know the type."""
    missing: Mapping[str, Drawn]


def rank_assays(
    question: Question,
    costs: Mapping[str, float] | None = None,
    *,
    forests: int = 20,
    seed: int = 0,
    workers: Workers = Workers(),
) -> pd.DataFrame:
    """One row a patient (index `row`: position) and missing assay, best first.

    Columns modality, rank, expected_change, ci_low, ci_high, cost, value, predicted (with the gaps
    left open), flagged, advice (a modality, or `cannot tell`), why.

    Raises:
      NotPossible: fewer than 20 complete training patients with a known outcome, or too few deaths
        among them.
    """
    study, outcome = question.study, question.outcome
    train = complete_training(study, outcome)
    weights = patient_weights(study.patients[train], forests, seed)[1:].astype(int)
    drawn = [np.repeat(train, counts) for counts in weights]
    calls = [
        (question, rows, [seed, number])
        for number, rows in enumerate(drawn)
        if outcome.cases(rows)  # of few deaths a draw may have none
    ]
    answers = workers(one_forest, calls)
    by_patient: dict[int, list[Candidate]] = {}
    for modality, drawn in question.missing.items():
        changes = np.array([one.changes[modality] for one in answers])  # [F, 2, n]
        cost = np.nan if costs is None else costs[modality]
        for i, row in enumerate(drawn.rows.tolist()):
            one = Candidate(modality, changes[:, :, i], cost, drawn.flagged[i])
            by_patient.setdefault(row, []).append(one)
    predicted = outcome.words(np.mean([one.now for one in answers], axis=0))
    table = []
    for row, candidates in sorted(by_patient.items()):
        ranked = sorted(candidates, key=lambda one: (-one.value, one.modality))
        advice, why = verdict(ranked)
        for rank, one in enumerate(ranked, start=1):
            change = interval(*one.changes.T)
            table.append(
                {
                    "row": row,
                    "modality": one.modality,
                    "rank": rank,
                    "expected_change": change.estimate,
                    "ci_low": change.ci_low,
                    "ci_high": change.ci_high,
                    "cost": one.cost,
                    "value": one.value,
                    "predicted": predicted[row],
                    "flagged": one.flagged,
                    "advice": advice,
                    "why": why,
                }
            )
    return pd.DataFrame(table).set_index("row")


class Candidate(NamedTuple):
    """A missing assay of one patient."""

    modality: str
    changes: np.ndarray
    """[F, 2], as `OfForest` has them."""
    cost: float
    """NaN where no costs are given."""
    flagged: bool

    @property
    def values(self) -> np.ndarray:
        return self.changes if np.isnan(self.cost) else self.changes / self.cost

    @property
    def value(self) -> float:
        return float(self.values[:, 0].mean())


class OfForest(NamedTuple):
    now: np.ndarray
    """[N, K]: prediction with all gaps left open."""
    changes: dict[str, np.ndarray]
    """Modality -> [2, n]: expected change over all draws, and over a bootstrap draw of them."""


def one_forest(question: Question, rows: np.ndarray, seed: list[int]) -> OfForest:
    """Train on the samples at `rows`, which may repeat; seed: [of the ranking, of the forest]."""
    study, outcome, types = question.study, question.outcome, question.types
    x = study.features(study.latents.z[rows], rows, with_type=types.shape[1] > 0)
    predict = outcome.fit(x, rows, sum(seed))

    def of(z: np.ndarray, present: np.ndarray, patients: np.ndarray) -> np.ndarray:
        return predict(np.hstack([open_gaps(study.latents, z, present), types[patients]]))

    everyone, changes = np.arange(len(question.z)), {}
    for modality, (lacking, draws, _) in question.missing.items():
        m, width = study.modalities.index(modality), draws.shape[-1]
        z, present = question.z[lacking].copy(), question.present[lacking].copy()
        present[:, m] = True
        after = []
        for draw in draws:
            z[:, m, :width] = draw
            after.append(of(z, present, lacking))
        after = np.array(after)  # [R, n, K]
        rng = np.random.default_rng([*seed, m])
        both = (after, after[rng.integers(0, len(after), len(after))])
        changes[modality] = np.array([outcome.shift(given.mean(axis=0), given) for given in both])
    return OfForest(of(question.z, question.present, everyone), changes)


def interval(full: np.ndarray, again: np.ndarray) -> Interval:
    """Of a statistic [F] of every forest: over all draws, and over a bootstrap draw of them."""
    return bootstrap_interval(np.append(full.mean(), again))


def verdict(ranked: list[Candidate]) -> tuple[str, str]:
    """(modality to measure or `cannot tell`, why), of candidates in order of their value."""
    first, *others = ranked
    if not others:
        return first.modality, "the only one missing"
    second = others[0]
    wide = [one.modality for one in (first, second) if one.flagged]
    if wide:
        return CANNOT_TELL, f"draws of {' and '.join(wide)} are wider than usual"
    gap = interval(*(first.values - second.values).T)
    reach = f"{gap.estimate:.2g} [{gap.ci_low:.2g}, {gap.ci_high:.2g}]"
    if gap.ci_low <= 0:
        return CANNOT_TELL, f"{first.modality} and {second.modality} differ by {reach}"
    return first.modality, f"{reach} above {second.modality}"
