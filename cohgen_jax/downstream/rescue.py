"""Performance rescue: does generating a missing assay save the prediction of an outcome?

A model is trained on all modalities and the cancer type of complete training patients. Then every
subset of modalities is taken away from the tested patients, and the model is given instead

ablated      nothing: missing values, which the trees send the way of the larger child
a method     its draws; the prediction is the mean over the draws, E[f(x, z)] over z | x
             (mean, nearest patients, ridge, kernel ridge, multi, coherent)

beside three references: `full` (nothing taken away), `cancer_type` (a model of the cancer type
alone) and `retrained` (a model of the modalities left, on every training patient who has them:
what one would do without a generator).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cohgen_jax.downstream.draws import Draws, Order, subsets_removed
from cohgen_jax.downstream.options import Options, Result, Workers
from cohgen_jax.downstream.outcome import Outcome
from cohgen_jax.downstream.statistics import (
    bootstrap_interval,
    claims,
    paired_tests,
    patient_weights,
)
from cohgen_jax.downstream.study import MIN_EVENTS, NotPossible, Study
from cohgen_jax.figures import analyses as plots
from cohgen_jax.runs.families import METHODS

REFERENCES = ("full", "retrained", "ablated", "cancer_type")
"""Which methods are compared with baselines in claims."""
COMPARED = ("retrained", "nearest", "kernel_ridge")
"""What the models have to beat, in claims."""
NOTHING: Order = ()


class Sides(NamedTuple):
    train: np.ndarray
    """int: complete training samples with a known outcome."""
    test: np.ndarray
    """int: tested samples with a known outcome."""
    tested: np.ndarray
    """int: positions of `test` in `study.test`, the axis of draws."""


def rows_of(study: Study, outcome: Outcome) -> Sides:
    """Who can be trained and tested on."""
    train = complete_training(study, outcome)
    tested = np.flatnonzero(outcome.known[study.test])
    if len(tested) < 10:
        raise NotPossible(f"{outcome.name}: {len(tested)} tested patients; 10 are needed")
    return Sides(train, study.test[tested], tested)


def complete_training(study: Study, outcome: Outcome) -> np.ndarray:
    """int: training samples with every modality and a known outcome."""
    train = study.train[(study.has(study.modalities) & outcome.known)[study.train]]
    if len(train) < 20:
        raise NotPossible(
            f"{outcome.name}: {len(train)} training patients have it and every modality; "
            "20 are needed"
        )
    cases = outcome.cases(train)
    if cases < MIN_EVENTS:
        raise NotPossible(
            f"{outcome.name}: {cases} deaths among the training patients who have every modality; "
            f"{MIN_EVENTS} are needed"
        )
    return train


def predict_draws(predict, study: Study, z: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Predictions of completed patients: z [R, n, M, D] -> [R, n, K]."""
    x = np.concatenate([study.features(draw, rows) for draw in z])
    return predict(x).reshape(len(z), len(rows), -1)


def one_seed(
    study: Study, draws: Draws, outcome: Outcome, seed: int
) -> dict[tuple[str, Order], np.ndarray]:
    """(method, what was taken away) -> prediction [n, K], with the forests of one seed."""
    rows, names = rows_of(study, outcome), study.modalities
    z = study.latents.z
    predict = outcome.fit(study.features(z[rows.train], rows.train), rows.train, seed)
    full = predict(study.features(z[rows.test], rows.test))
    predictions: dict[tuple[str, Order], np.ndarray] = {("full", NOTHING): full}
    if study.one_hot_type.shape[1] > 1:
        alone = outcome.fit(study.one_hot_type[rows.train], rows.train, seed)
        predictions["cancer_type", NOTHING] = alone(study.one_hot_type[rows.test])
    for removed in subsets_removed(names):
        left = [m for m in names if m not in removed]
        x = study.features(z[rows.test], rows.test, missing=removed)
        predictions["ablated", removed] = predict(x)
        train = study.train[(study.has(left) & outcome.known)[study.train]]
        retrained = outcome.fit(study.features(z[train], train, left), train, seed)
        predictions["retrained", removed] = retrained(study.features(z[rows.test], rows.test, left))
        for method in draws.methods:
            completed = draws.completed(method, removed, z[study.test])[:, rows.tested]
            predictions[method, removed] = predict_draws(predict, study, completed, rows.test).mean(
                0
            )
    return predictions


def rescue(
    name: str, study: Study, draws: Draws, outcome: Outcome, options: Options, workers: Workers
) -> Result:
    """Every subset of modalities taken away, every way to fill the gap, over seeds.

    Table: method, removed ("a+b"), num_removed, seed (-1: predictions averaged over seeds), then
    the scores of the outcome; rows with seed -1 have ci_low and ci_high of `metric` over
    patients. Rows of `removed` = "any" or "any 2" are means over subsets (of that size).
    """
    rows = rows_of(study, outcome)
    calls = [(study, draws, outcome, options.seed + s) for s in range(options.seeds)]
    repeats = workers(one_seed, calls)
    weights = patient_weights(study.patients[rows.test], options.bootstrap, options.seed)
    table, replicates = [], {}
    for key in repeats[0]:
        for s, of_seed in enumerate(repeats):
            table.append(_row(key, options.seed + s) | outcome.scores(of_seed[key], rows.test))
        mean = np.mean([of_seed[key] for of_seed in repeats], axis=0)
        replicates[key] = outcome.score(mean[None], rows.test, weights)[0]
        table.append(_row(key, -1) | outcome.scores(mean, rows.test) | _bounds(replicates[key]))
    means = {}
    for method in dict.fromkeys(method for method, _ in replicates):
        of_method = {removed: v for (m, removed), v in replicates.items() if m == method}
        means[method] = np.mean(list(of_method.values()), axis=0)
        for size in sorted({len(removed) for removed in of_method} - {0}):
            chosen = np.mean([v for r, v in of_method.items() if len(r) == size], axis=0)
            summary = {"method": method, "removed": f"any {size}", "num_removed": size, "seed": -1}
            table.append(summary | {outcome.metric: chosen[0]} | _bounds(chosen))
        if NOTHING not in of_method:
            summary = {"method": method, "removed": "any", "num_removed": 0, "seed": -1}
            table.append(summary | {outcome.metric: means[method][0]} | _bounds(means[method]))
    frame = pd.DataFrame(table)
    contrasts = {"full - ablated": means["full"] - means["ablated"]}
    if "cancer_type" in means:
        contrasts["full - cancer_type"] = means["full"] - means["cancer_type"]
    contrasts |= {f"{m} - ablated": means[m] - means["ablated"] for m in draws.methods}
    for model in (m for m in draws.methods if m in METHODS):
        contrasts |= {
            f"{model} - {other}": means[model] - means[other]
            for other in COMPARED
            if other in means
        }
    told = claims(name, outcome.metric, contrasts, len(np.unique(study.patients[rows.test])))
    return Result(frame, told, _seed_tests(frame, outcome.metric), notes(outcome))


def _row(key: tuple[str, Order], seed: int) -> dict:
    method, removed = key
    return {
        "method": method,
        "removed": "+".join(removed) or "nothing",
        "num_removed": len(removed),
        "seed": seed,
    }


def _bounds(values: np.ndarray) -> dict[str, float]:
    interval = bootstrap_interval(values)
    return {"ci_low": interval.ci_low, "ci_high": interval.ci_high}


def notes(outcome: Outcome) -> tuple[str, ...]:
    return (f"{outcome.name}: left out {outcome.left_out}",) if outcome.left_out else ()


def _seed_tests(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Each way to fill the gap against `ablated`, mean over subsets, paired by seed."""
    by_seed = table[(table["seed"] >= 0) & (table["num_removed"] > 0)]
    if by_seed["seed"].nunique() < 2:
        return pd.DataFrame()
    means = by_seed.groupby(["seed", "method"], sort=False)[metric].mean().reset_index()
    return paired_tests(means, metric, "method", "seed", reference="ablated")


def figure(table: pd.DataFrame, metric: str) -> Figure:
    """The metric against the number of modalities taken away; bars: 95 % over patients."""
    means = table[table["removed"].astype(str).str.fullmatch(r"any \d+")]
    methods = [m for m in means["method"].unique() if m not in REFERENCES]
    order = ["retrained", "ablated", *methods]
    lines = {
        m: table.loc[(table["method"] == m) & (table["seed"] == -1), metric].iloc[0]
        for m in ("full", "cancer_type")
        if (table["method"] == m).any()
    }
    return plots.dots(
        means,
        x="num_removed",
        y=metric,
        series="method",
        order=order,
        xlabel="modalities taken away (mean over subsets)",
        lines=lines,
    )
