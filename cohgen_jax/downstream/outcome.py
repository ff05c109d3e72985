"""What is predicted: one interface for classes and for survival, so that each analysis exists once.

A prediction is an array [..., n, K] that may be averaged over draws and over seeds: probabilities
of K classes (`classification.py`), or a risk and points of a survival curve (`survival.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]
"""Features [n, F] -> prediction [n, K]."""


class Outcome(Protocol):
    @property
    def name(self) -> str:
        """Column or concept predicted, e.g. `stage`."""
        ...

    @property
    def metric(self) -> str:
        """The metric of claims; higher is better, and a prediction without information scores
        `chance` whatever it predicts."""
        ...

    @property
    def chance(self) -> float: ...

    @property
    def known(self) -> np.ndarray:
        """bool [N]: samples whose outcome is known."""
        ...

    @property
    def left_out(self) -> str:
        """Who is left out and why, in words."""
        ...

    def cases(self, rows: np.ndarray) -> int:
        """How many of the samples at `rows` have something to be learnt from: a class, a death."""
        ...

    def fit(self, x: np.ndarray, rows: np.ndarray, seed: int) -> Predict:
        """Train on features [n, F] (NaN: missing) of the samples at `rows`."""
        ...

    def scores(self, predicted: np.ndarray, rows: np.ndarray) -> dict[str, float]:
        """All metrics of one prediction [n, K] of the samples at `rows`."""
        ...

    def score(self, predicted: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """`metric` of predictions [P, n, K] under weights [B, n] of the samples -> [P, B]."""
        ...

    def curve_scores(self, predicted: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Metrics of curves of predictions [P, n, K], `metric` first -> [P] each."""
        ...

    def random_area(
        self, before: np.ndarray, real: np.ndarray, rows: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """Mean of `metric` over shares p from 0 to 1 when every patient has the prediction `real`
        with probability p, else `before` (both [n, K]); under weights [B, n] -> [B]."""
        ...

    def change(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """How much predictions [R, n, K] differ from `before` [n, K], over the draws -> [n]."""
        ...

    def shift(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """As `change`, without steps: small differences of a prediction are small -> [n]."""
        ...

    def words(self, predicted: np.ndarray) -> list[str]:
        """What a prediction [n, K] says of each sample."""
        ...
