"""Predicting survival with random survival forests (Ishwaran et al. 2008, Ann. Appl. Stat. 2:841).

A prediction is [n, 1 + T]: the ensemble mortality (the cumulative hazard summed over the times of
death; higher is worse), then the survival curve at T times. Both are means over leaves, so a
fitted forest is kept as one table of leaves a tree and predicts thousands of draws in a moment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from cohgen_jax.downstream.outcome import Predict
from cohgen_jax.downstream.study import Study, Survival

MONTH = 365.25 / 12
"""Days. Forests are trained on whole months: a leaf holds one number for each distinct time."""
NUM_TIMES = 16
"""Times at which survival curves are kept, for the Brier score."""


@dataclasses.dataclass(frozen=True)
class ForestSize:
    num_trees: int = 30
    max_depth: int | None = 12


QUICK, LONG = ForestSize(), ForestSize(100, None)
"""The published sizes."""


@dataclasses.dataclass(frozen=True)
class SurvivalOutcome:
    """Overall survival as an `Outcome`."""

    survival: Survival
    train: np.ndarray
    """int: positions of the training samples with known survival, for censoring weights."""
    times: np.ndarray
    """float [T] days, inside the follow-up of the training samples and of those tested."""
    size: ForestSize = QUICK
    name: str = "survival"
    metric: str = "c_index"
    chance: float = 0.5

    @classmethod
    def of_study(
        cls, study: Study, size: ForestSize = QUICK, *, tested: bool = True
    ) -> SurvivalOutcome:
        """tested: whether it is for the tested samples of the study, or for other patients."""
        survival = study.survival(tested=tested)
        train = study.train[survival.known[study.train]]
        test = study.test[survival.known[study.test]] if tested else train
        deaths = survival.days[test][survival.event[test]]
        low, high = np.quantile(deaths, [0.05, 0.90])
        last = min(survival.days[train].max(), survival.days[test].max())
        return cls(survival, train, np.linspace(low, min(high, 0.99 * last), NUM_TIMES), size)

    @property
    def known(self) -> np.ndarray:
        return self.survival.known

    @property
    def left_out(self) -> str:
        return self.survival.left_out

    def cases(self, rows: np.ndarray) -> int:
        return int(self.survival.event[rows].sum())

    def _pairs(self, rows: np.ndarray, days: np.ndarray | None = None) -> np.ndarray:
        from sksurv.util import Surv

        days = self.survival.days if days is None else days
        return Surv.from_arrays(self.survival.event[rows], days[rows])

    def fit(self, x: np.ndarray, rows: np.ndarray, seed: int) -> Predict:
        from sksurv.ensemble import RandomSurvivalForest

        months = np.ceil(self.survival.days / MONTH)
        forest = RandomSurvivalForest(
            self.size.num_trees, max_depth=self.size.max_depth, random_state=seed
        ).fit(x, self._pairs(rows, months))
        # The curve is a step function: its value at t is that of the last time not after t.
        at = np.searchsorted(forest.unique_times_, self.times / MONTH, side="right") - 1
        tables = []
        for tree in forest.estimators_:
            hazard, alive = np.moveaxis(tree.tree_.value, -1, 0)  # [nodes, times]
            risk = hazard[:, tree.is_event_time_].sum(axis=1, keepdims=True)
            curve = np.where(at >= 0, alive[:, at], 1.0)
            tables.append((tree.tree_, np.hstack([risk, curve])))

        def predict(x: np.ndarray) -> np.ndarray:
            x = x.astype(np.float32)
            return np.mean([table[tree.apply(x)] for tree, table in tables], axis=0)

        return predict

    def scores(self, predicted: np.ndarray, rows: np.ndarray) -> dict[str, float]:
        """Harrell's C, Uno's C (inverse censoring weights, up to the last of `times`), and the
        integrated Brier score over `times` (lower is better)."""
        from sksurv.metrics import (
            concordance_index_censored,
            concordance_index_ipcw,
            integrated_brier_score,
        )

        risk, curves = predicted[:, 0], predicted[:, 1:]
        train, test = self._pairs(self.train), self._pairs(rows)
        inside = self.survival.days[rows] < self.survival.days[self.train].max()
        harrell = concordance_index_censored(self.survival.event[rows], test["time"], risk)[0]
        uno = concordance_index_ipcw(train, test, risk, tau=self.times[-1])[0]
        brier = integrated_brier_score(train, test[inside], curves[inside], self.times)
        return {"c_index": harrell, "c_index_ipcw": uno, "integrated_brier": brier}

    def score(self, predicted: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Harrell's C over pairs of samples, each pair as often as the product of its weights."""
        risks = predicted[..., 0]
        return self._concordance(zip(risks, risks, strict=True), rows, weights)

    def _concordance(
        self, risks: Iterable[tuple[np.ndarray, np.ndarray]], rows: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """Harrell's C when the risk [n] of who dies earlier is the first of two, of the other one
        the second -> [P, B]."""
        days, event = self.survival.days[rows], self.survival.event[rows]
        earlier = days[:, None] < days[None, :]
        tied_alive = (days[:, None] == days[None, :]) & ~event[None, :]
        comparable = event[:, None] & (earlier | tied_alive)
        weights = weights.astype(np.float32)

        def total(pairs: np.ndarray) -> np.ndarray:
            return np.einsum("bi,bi->b", weights @ pairs, weights)

        all_pairs, result = total(comparable.astype(np.float32)), []
        for first, second in risks:
            difference = np.subtract.outer(first, second)
            won = comparable * np.float32(0.5) * (np.sign(difference) + 1).astype(np.float32)
            result.append(total(won) / all_pairs)
        return np.array(result)

    def curve_scores(self, predicted: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"c_index": self.score(predicted, rows, np.ones((1, len(rows))))[:, 0]}

    def random_area(
        self, before: np.ndarray, real: np.ndarray, rows: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """A pair has both real risks with probability p^2, one of the two mixtures with p (1 - p)
        each, none with (1 - p)^2: integrals 1/3, 1/6, 1/6, 1/3."""
        b, r = before[:, 0], real[:, 0]
        pairs = [(r, r), (r, b), (b, r), (b, b)]
        return np.array([1 / 3, 1 / 6, 1 / 6, 1 / 3]) @ self._concordance(pairs, rows, weights)

    def change(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Mean squared change of the risk over the draws."""
        return np.mean((after[..., 0] - before[..., 0]) ** 2, axis=0)

    def shift(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return self.change(before, after)

    def words(self, predicted: np.ndarray) -> list[str]:
        return [f"risk {risk:.1f}" for risk in predicted[..., 0]]
