"""Train on real, test on synthetic: does generated data carry the biology of the real one?

A random forest a modality is trained on real latents to tell the cancer type, or the stage, and
tested on the real assay of held-out patients and on what each method generated for them from
their other modalities; nothing is trained on generated data (`completion.py` does that). Generated
data as good as real are classified as well; better is no merit: a generator that exaggerates what
separates the classes is classified best. One that was told the class (a covariate) tells it again,
which says nothing: such a class is left out.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cohgen_jax.downstream.classification import Classification
from cohgen_jax.downstream.draws import Draws
from cohgen_jax.downstream.options import Options, Result, Workers
from cohgen_jax.downstream.statistics import (
    claims,
    paired_tests,
    patient_weights,
    repeated_measures,
)
from cohgen_jax.downstream.study import MIN_TRAIN, Labels, NotPossible, Study
from cohgen_jax.figures import analyses as plots
from cohgen_jax.figures.style import house_style, panels, top_legend
from cohgen_jax.runs.families import METHODS

TASKS = ("cancer_type", "stage")
REAL, TRUTH, EVERYONE = "real", "truth", "all"
MIN_TESTED = 10
"""Tested patients that a cancer type needs, for stage within it."""


class Task(NamedTuple):
    outcome: Classification
    group: str
    """`all`, or the cancer type within which stages are told apart."""


def tasks_of(study: Study, options: Options) -> tuple[list[Task], list[str]]:
    """Cancer type, stage, and stage within each cancer type that has enough; why others not."""
    tasks, told = [], []
    for column in TASKS:
        try:
            outcome = Classification.of_study(study, column, options.classifier)
        except NotPossible as reason:
            told.append(str(reason))
            continue
        tasks.append(Task(outcome, EVERYONE))
        if column == "stage" and "cancer_type" in study.samples:
            tasks += _within_types(study, outcome)
    if not tasks:
        raise NotPossible("; ".join(told))
    return tasks, told


def _within_types(study: Study, outcome: Classification) -> list[Task]:
    types = study.samples["cancer_type"].to_numpy(object)
    tasks = []
    for name in sorted({t for t in types[study.test] if not pd.isna(t)}):
        codes = np.where(types == name, outcome.labels.codes, -1)
        counts = np.bincount(codes[study.train][codes[study.train] >= 0], minlength=1)
        codes = np.where(np.isin(codes, np.flatnonzero(counts >= MIN_TRAIN)), codes, -1)
        tested = codes[study.test][codes[study.test] >= 0]
        if len(tested) >= MIN_TESTED and len(np.unique(tested)) > 1:
            labels = Labels(codes, outcome.labels.names, "")
            tasks.append(Task(dataclasses.replace(outcome, labels=labels), str(name)))
    return tasks


def one_seed(
    study: Study, draws: Draws, tasks: list[Task], seed: int, repeat: int
) -> list[dict[tuple[str, str], np.ndarray]]:
    """For each task: (modality, data) -> prediction [n, K]. Repeat i tests draw i."""
    z, results = study.latents.z, []
    for outcome, _ in tasks:
        tested = np.flatnonzero(outcome.known[study.test])
        test = study.test[tested]
        predictions = {}
        for modality in study.modalities:
            m = study.modalities.index(modality)
            train = study.train[(study.has([modality]) & outcome.known)[study.train]]
            one = {"modalities": [modality], "with_type": False}
            predict = outcome.fit(study.features(z[train], train, **one), train, seed)
            predictions[modality, REAL] = predict(study.features(z[test], test, **one))
            for method in draws.methods:
                drawn = draws.one(method, modality)
                if method == "mean":
                    continue  # one value for everyone has no class to be told
                completed = z[test].copy()
                completed[:, m, : drawn.shape[-1]] = drawn[repeat % len(drawn)][tested]
                predictions[modality, method] = predict(study.features(completed, test, **one))
        results.append(predictions)
    return results


def synthetic(study: Study, draws: Draws, options: Options, workers: Workers) -> Result:
    """Table: task, group, modality, data (`real`, a method, or `truth`), seed, metric, value, n.

    Metrics: balanced_accuracy, macro_f1, accuracy, and `share <class>`, the share of patients put
    into a class (of `truth`: who are in it). Claims: generated less real, in balanced accuracy.
    Tests: repeated-measures ANOVA over data for each task and modality, and paired tests.
    """
    tasks, told = tasks_of(study, options)
    calls = [(study, draws, tasks, options.seed + s, s) for s in range(options.seeds)]
    repeats = workers(one_seed, calls)
    table, contrasts, count = [], {}, 0
    for i, (outcome, group) in enumerate(tasks):
        rows = study.test[outcome.known[study.test]]
        truth = outcome.labels.codes[rows]
        key = {"task": outcome.name, "group": group, "n": len(rows)}
        for s, of_seed in enumerate(repeats):
            for (modality, data), predicted in of_seed[i].items():
                row = key | {"modality": modality, "data": data, "seed": options.seed + s}
                scores = outcome.scores(predicted, rows)
                scores |= _shares(outcome, predicted.argmax(axis=-1))
                table += [row | {"metric": name, "value": v} for name, v in scores.items()]
        table += [
            key | {"modality": "", "data": TRUTH, "seed": -1, "metric": name, "value": value}
            for name, value in _shares(outcome, truth).items()
        ]
        if group == EVERYONE:
            weights = patient_weights(study.patients[rows], options.bootstrap, options.seed)
            count = max(count, len(np.unique(study.patients[rows])))
            for modality in study.modalities:
                score = {
                    data: outcome.score(
                        np.stack([of_seed[i][modality, data] for of_seed in repeats]), rows, weights
                    ).mean(axis=0)
                    for data in (REAL, *(m for m in draws.methods if m in METHODS))
                }
                contrasts |= {
                    f"{outcome.name}, {modality}: {data} - real": values - score[REAL]
                    for data, values in score.items()
                    if data != REAL
                }
    frame = pd.DataFrame(table)
    return Result(
        frame,
        claims("synthetic", "balanced_accuracy", contrasts, count),
        _tests(frame),
        tuple(told),
    )


def _shares(outcome: Classification, codes: np.ndarray) -> dict[str, float]:
    names = outcome.labels.names
    share = np.bincount(codes, minlength=len(names)) / len(codes)
    return {f"share {name}": value for name, value in zip(names, share, strict=True)}


def _tests(table: pd.DataFrame) -> pd.DataFrame:
    by_seed = table[(table["metric"] == "balanced_accuracy") & (table["group"] == EVERYONE)]
    if by_seed["seed"].nunique() < 2:
        return pd.DataFrame()
    parts = []
    for (task, modality), values in by_seed.groupby(["task", "modality"], sort=False):
        key = {"task": str(task), "modality": str(modality)}
        several = values["seed"].nunique() > 2 and values["data"].nunique() > 1
        if several and values.groupby("data")["value"].std().max() > 0:
            anova = repeated_measures(values, "value", "data", "seed")
            parts.append(anova.assign(test="repeated-measures ANOVA", **key))
        pairs = paired_tests(values, "value", "data", "seed", reference=REAL)
        parts.append(pairs.assign(test="paired t-test", **key))
    return pd.concat(parts, ignore_index=True)


def figure(table: pd.DataFrame) -> Figure:
    """Balanced accuracy by modality (top), and the classes that patients are put into (bottom)."""
    everyone = table[table["group"] == EVERYONE]
    tasks = list(dict.fromkeys(everyone["task"]))
    data = [d for d in dict.fromkeys(everyone["data"]) if d != TRUTH]
    with house_style():
        figure, axes = panels(2, len(tasks), width=max(4.4, 8.0 / len(tasks)), height=2.6)
        for task, (top, bottom) in zip(tasks, axes.T, strict=True):
            of_task = everyone[everyone["task"] == task]
            accuracy = of_task[of_task["metric"] == "balanced_accuracy"]
            means = _mean(accuracy, ["modality", "data"])
            modalities = list(dict.fromkeys(means["modality"]))
            plots.dots_panel(top, means, "modality", "value", "data", data, modalities)
            top.set_title(task.replace("_", " "))
            shares = of_task[of_task["metric"].str.startswith("share ")]
            shares = shares.assign(name=shares["metric"].str.removeprefix("share "))
            means = _mean(shares, ["name", "data"])
            names = list(dict.fromkeys(means["name"]))
            plots.dots_panel(bottom, means, "name", "value", "data", [TRUTH, *data], names)
        axes[0, 0].set_ylabel("balanced accuracy")
        axes[1, 0].set_ylabel("share of patients\n(mean over modalities)")
        top_legend(figure, *axes.ravel())
    return figure


def _mean(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    return table.groupby(by, sort=False)["value"].mean().reset_index()
