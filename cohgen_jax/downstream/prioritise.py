"""Whom to test next: does the spread of generated assays say who gains from the real one?

Every tested patient lacks one modality. The model predicts without it (`ablated`: missing values),
and once for each draw of it; patients are ordered by how much the draws change the prediction
(classes: the share of draws that change the predicted class; survival: the mean squared change of
the risk). In that order, 0 to 100 % of the patients are given the real assay; the others keep the
prediction without. The sooner the curve rises, the larger the area under it.

Orders      draws of each method; `random`; `uncertainty` of the prediction without the assay
            (classes only: 1 - largest probability, the usual rule of active learning); `oracle`,
            the change that the real assay makes
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cohgen_jax.downstream.classification import Classification
from cohgen_jax.downstream.draws import Draws
from cohgen_jax.downstream.options import Options, Result, Workers
from cohgen_jax.downstream.outcome import Outcome
from cohgen_jax.downstream.rescue import notes, predict_draws, rows_of
from cohgen_jax.downstream.statistics import claims, paired_tests, patient_weights
from cohgen_jax.downstream.study import Study
from cohgen_jax.figures import analyses as plots
from cohgen_jax.runs.families import METHODS

SHARES = np.linspace(0, 1, 21)
"""Of the patients who are given the real assay."""
NUM_RANDOM = 30
RANDOM, ORACLE, UNCERTAINTY = "random", "oracle", "uncertainty"
CLAIMED = (*METHODS, "kernel_ridge", UNCERTAINTY)
"""Orders that are compared with random ones in claims."""


class Orders(NamedTuple):
    """One modality, the forests of one seed."""

    before: np.ndarray  # [n, K] without the modality
    real: np.ndarray  # [n, K] with it
    gains: dict[str, np.ndarray]  # order -> [n]; the largest is tested first
    curves: dict[str, dict[str, np.ndarray]]  # order -> metric -> [len(SHARES)]


def orders_of_seed(study: Study, draws: Draws, outcome: Outcome, seed: int) -> dict[str, Orders]:
    """Modality -> its orders and their curves."""
    rows, z = rows_of(study, outcome), study.latents.z
    predict = outcome.fit(study.features(z[rows.train], rows.train), rows.train, seed)
    real = predict(study.features(z[rows.test], rows.test))
    rng = np.random.default_rng([seed, 4])
    orders = {}
    for modality in study.modalities:
        before = predict(study.features(z[rows.test], rows.test, missing=[modality]))
        gains = {}
        for method in (m for m in draws.methods if m != "mean"):
            completed = draws.completed(method, (modality,), z[study.test])[:, rows.tested]
            after = predict_draws(predict, study, completed, rows.test)
            gains[method] = outcome.change(before, after)
        if isinstance(outcome, Classification):
            gains[UNCERTAINTY] = 1 - before.max(axis=1)
        gains[ORACLE] = outcome.change(before, real[None])

        def scores(gain, before=before) -> dict[str, np.ndarray]:
            return outcome.curve_scores(mixtures(before, real, gain), rows.test)

        curves = {order: scores(gain) for order, gain in gains.items()}
        chance = [scores(rng.random(len(real))) for _ in range(NUM_RANDOM)]
        curves[RANDOM] = {m: np.mean([c[m] for c in chance], axis=0) for m in chance[0]}
        orders[modality] = Orders(before, real, gains, curves)
    return orders


def mixtures(before: np.ndarray, real: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Predictions [len(SHARES), n, K] when the patients of largest gain get the real assay.

    Equal gains are put in random order, so that an order by few draws is not that of the table.
    """
    ties = np.random.default_rng(5).random(len(gain))
    place = np.empty(len(gain), int)
    place[np.lexsort((ties, -gain))] = np.arange(len(gain))
    given = place[None, :] < np.round(SHARES * len(gain))[:, None]
    return np.where(given[:, :, None], real[None], before[None])


def area(curve: np.ndarray) -> np.ndarray:
    """Mean height of a curve [len(SHARES), ...] (trapezoids): in units of its metric."""
    return np.mean((curve[1:] + curve[:-1]) / 2, axis=0)


def prioritise(
    name: str, study: Study, draws: Draws, outcome: Outcome, options: Options, workers: Workers
) -> Result:
    """Every modality, every order.

    Table: modality, order, metric, share, value (mean over seeds), sd (over seeds), area. Claims:
    the area of an order less the expected area of all random orders, and of the models less that
    of `uncertainty`; predictions and gains averaged over seeds, the order held while patients are
    drawn. Tests: areas paired by seed, against random order.
    """
    rows = rows_of(study, outcome).test
    calls = [(study, draws, outcome, options.seed + s) for s in range(options.seeds)]
    repeats = workers(orders_of_seed, calls)
    weights = patient_weights(study.patients[rows], options.bootstrap, options.seed)
    table, areas, contrasts = [], [], {}
    for modality in study.modalities:
        of_modality = [repeat[modality] for repeat in repeats]
        for order in of_modality[0].curves:
            for metric in of_modality[0].curves[order]:
                lines = np.array([one.curves[order][metric] for one in of_modality])
                key = {"modality": modality, "order": order, "metric": metric}
                table += _rows(key, lines)
                areas += [
                    key | {"seed": options.seed + s, "area": area(line)}
                    for s, line in enumerate(lines)
                ]
        before, real = (
            np.mean([getattr(o, f) for o in of_modality], axis=0) for f in ("before", "real")
        )
        base = outcome.random_area(before, real, rows, weights)
        heights = {}
        for order in (o for o in CLAIMED if o in of_modality[0].gains):
            gain = np.mean([one.gains[order] for one in of_modality], axis=0)
            heights[order] = area(outcome.score(mixtures(before, real, gain), rows, weights))
            contrasts[f"{modality}: {order} - {RANDOM}"] = heights[order] - base
        if UNCERTAINTY in heights:
            contrasts |= {
                f"{modality}: {m} - {UNCERTAINTY}": heights[m] - heights[UNCERTAINTY]
                for m in METHODS
                if m in heights
            }
    count = len(np.unique(study.patients[rows]))
    told = claims(name, f"area under {outcome.metric}", contrasts, count)
    return Result(pd.DataFrame(table), told, _tests(pd.DataFrame(areas)), notes(outcome))


def _rows(key: dict, lines: np.ndarray) -> list[dict]:
    mean = lines.mean(axis=0)
    sd = lines.std(axis=0, ddof=1) if len(lines) > 1 else np.full_like(mean, np.nan)
    return [
        key | {"share": share, "value": height, "sd": spread, "area": area(mean)}
        for share, height, spread in zip(SHARES, mean, sd, strict=True)
    ]


def _tests(areas: pd.DataFrame) -> pd.DataFrame:
    if areas["seed"].nunique() < 2:
        return pd.DataFrame()
    return pd.concat(
        [
            paired_tests(group, "area", "order", "seed", reference=RANDOM).assign(
                modality=str(modality), metric=str(metric)
            )
            for (modality, metric), group in areas.groupby(["modality", "metric"], sort=False)
        ],
        ignore_index=True,
    )


def figure(table: pd.DataFrame, metric: str) -> Figure:
    """The metric against the share of patients given the real assay, a panel a modality."""
    of_metric = table[table["metric"] == metric].rename(columns={"value": metric})
    shown = [o for o in (*CLAIMED, RANDOM, ORACLE) if o in set(of_metric["order"])]
    return plots.curves(
        of_metric,
        x="share",
        y=metric,
        series="order",
        order=shown,
        panel="modality",
        xlabel="share given the real assay",
    )
