"""How much work the analyses do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import pandas as pd

from cohgen_jax.downstream.classification import Factory, random_forest
from cohgen_jax.downstream.survival import LONG, QUICK, ForestSize
from cohgen_jax.errors import check_choices

Report = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Repeats and sizes. Every analysis gives the same result for any number of jobs."""

    seeds: int = 5
    """Repeats of every forest; the paper has 10."""
    trees: int = 100
    """Trees of a classification forest."""
    survival: Literal["quick", "long"] = "quick"
    """Random survival forests of 30 trees of depth 12, or of 100 trees without limit."""
    bootstrap: int = 2000
    """Bootstrap draws of patients behind every interval."""
    seed: int = 0

    def __post_init__(self):
        check_choices(self)

    @property
    def classifier(self) -> Factory:
        return random_forest(self.trees)

    @property
    def forest_size(self) -> ForestSize:
        return LONG if self.survival == "long" else QUICK


class Result(NamedTuple):
    table: pd.DataFrame
    """Tidy: one measurement a row."""
    claims: pd.DataFrame
    """`statistics.CLAIM_COLUMNS`: one claim a row."""
    tests: pd.DataFrame
    """Tests over the repeats (seeds); may be empty."""
    notes: tuple[str, ...] = ()
    """Who was left out and why."""


class Workers(NamedTuple):
    """Where repeats are computed, and who is told how many are done."""

    jobs: int = 1
    report: Report = lambda done, total: None

    def __call__(self, function: Callable[..., Any], calls: Iterable[tuple]) -> list:
        """[function(*call) for call in calls], in order, in `jobs` processes."""
        from joblib import Parallel, delayed

        calls = list(calls)
        results, parallel = [], Parallel(n_jobs=self.jobs, return_as="generator")
        for result in parallel(delayed(function)(*call) for call in calls):
            results.append(result)
            self.report(len(results), len(calls))
        return results
