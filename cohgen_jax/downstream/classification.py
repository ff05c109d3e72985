"""Predicting classes (stage, cancer type) with random forests.

Claims use balanced accuracy, the mean over classes of the share recognised: a prediction without
information scores 1 / classes whatever it predicts. Macro F1, the published metric, rises without
any information when rare classes are predicted more often; it is reported beside.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from cohgen_jax.downstream.outcome import Predict
from cohgen_jax.downstream.study import Labels, Study

Factory = Callable[[int], Any]
"""seed -> an unfitted scikit-learn classifier that takes NaN."""


def random_forest(num_trees: int) -> Factory:
    def make(seed: int):
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(num_trees, random_state=seed)

    return make


@dataclasses.dataclass(frozen=True)
class Classification:
    """The classes of a column as an `Outcome`."""

    name: str
    labels: Labels
    factory: Factory
    metric: str = "balanced_accuracy"

    @classmethod
    def of_study(
        cls, study: Study, column: str, factory: Factory, *, tested: bool = True
    ) -> Classification:
        """tested: whether it is for the tested samples of the study, or for other patients."""
        return cls(column, study.labels(column, tested=tested), factory)

    @property
    def chance(self) -> float:
        return 1 / len(self.labels.names)

    @property
    def known(self) -> np.ndarray:
        return self.labels.codes >= 0

    @property
    def left_out(self) -> str:
        return self.labels.left_out

    def cases(self, rows: np.ndarray) -> int:
        return int(self.known[rows].sum())

    def fit(self, x: np.ndarray, rows: np.ndarray, seed: int) -> Predict:
        model = self.factory(seed).fit(x, self.labels.codes[rows])
        columns = model.classes_

        def predict(x: np.ndarray) -> np.ndarray:
            probability = np.zeros((len(x), len(self.labels.names)))
            probability[:, columns] = model.predict_proba(x)
            return probability

        return predict

    def scores(self, predicted: np.ndarray, rows: np.ndarray) -> dict[str, float]:
        from sklearn.metrics import f1_score

        truth, guess = self.labels.codes[rows], predicted.argmax(axis=-1)
        balanced = self.score(predicted[None], rows, np.ones((1, len(rows))))
        return {
            "balanced_accuracy": float(balanced.squeeze()),
            "macro_f1": float(f1_score(truth, guess, average="macro", zero_division=0)),  # pyright: ignore[reportArgumentType]
            "accuracy": float(np.mean(truth == guess)),
        }

    def score(self, predicted: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        truth = self.labels.codes[rows]
        hit = (predicted.argmax(axis=-1) == truth).astype(float)  # [P, n]
        recalls = []
        for code in np.unique(truth):
            weights_of_class = weights[:, truth == code]
            total = weights_of_class.sum(axis=1)
            hits = hit[:, truth == code] @ weights_of_class.T
            recalls.append(hits / np.where(total > 0, total, np.nan))
        return np.nanmean(recalls, axis=0)

    def curve_scores(self, predicted: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
        truth, guess = self.labels.codes[rows], predicted.argmax(axis=-1)
        f1 = []
        for code in range(len(self.labels.names)):
            guessed, real = guess == code, truth == code
            both, either = (guessed & real).sum(axis=-1), guessed.sum(axis=-1) + real.sum()
            f1.append(np.where(either > 0, 2 * both / np.maximum(either, 1), np.nan))
        balanced = self.score(predicted, rows, np.ones((1, len(rows))))[:, 0]
        return {"balanced_accuracy": balanced, "macro_f1": np.nanmean(f1, axis=0)}

    def random_area(
        self, before: np.ndarray, real: np.ndarray, rows: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """Recalls are linear in who is recognised: halfway between both predictions."""
        return self.score(np.stack([before, real]), rows, weights).mean(axis=0)

    def change(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Share of the draws that change the predicted class."""
        return np.mean(after.argmax(axis=-1) != before.argmax(axis=-1), axis=0)

    def shift(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Mean total variation distance of the class probabilities over the draws."""
        return np.mean(np.abs(after - before).sum(axis=-1) / 2, axis=0)

    def words(self, predicted: np.ndarray) -> list[str]:
        return [self.labels.names[code] for code in predicted.argmax(axis=-1)]
