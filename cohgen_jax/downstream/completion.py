"""Completing the training set: do generated assays let a model learn from incomplete patients?

Models of stage and of survival are trained on

complete     the patients with every modality only
incomplete   everyone, holes left to the forest (it learns where to send missing values)
a method     everyone, holes filled with one draw (each seed with another one)

and all tested on the same complete, real patients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cohgen_jax.downstream.draws import Draws
from cohgen_jax.downstream.options import Options, Result, Workers
from cohgen_jax.downstream.outcome import Outcome
from cohgen_jax.downstream.rescue import rows_of
from cohgen_jax.downstream.statistics import (
    CLAIM_COLUMNS,
    adjusted,
    bootstrap_interval,
    claims,
    paired_tests,
    patient_weights,
)
from cohgen_jax.downstream.study import NotPossible, Study, open_gaps
from cohgen_jax.figures import analyses as plots

COMPLETE, INCOMPLETE = "complete", "incomplete"


def training_sets(
    study: Study, draws: Draws, outcome: Outcome, repeat: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> (features [n, F], rows [n]) of the training patients with a known outcome."""
    rows = study.train[outcome.known[study.train]]
    holes = ~study.latents.present[rows]
    z = study.latents.z[rows]
    features = study.features(z, rows)
    whole = ~holes.any(axis=1)
    left_open = np.hstack([open_gaps(study.latents, z, ~holes), study.one_hot_type[rows]])
    sets = {COMPLETE: (features[whole], rows[whole]), INCOMPLETE: (left_open, rows)}
    for method in draws.methods:
        filled = z.copy()
        for target, drawn in draws.holes[method].items():
            m = study.modalities.index(target)
            lacking = study.train[~study.latents.present[study.train, m]]
            place = {row: i for i, row in enumerate(lacking)}
            gaps = np.flatnonzero(holes[:, m])
            chosen = drawn[repeat % len(drawn)][[place[row] for row in rows[gaps]]]
            filled[gaps, m, : drawn.shape[-1]] = chosen
        sets[method] = study.features(filled, rows), rows
    return sets


def one_seed(
    study: Study, draws: Draws, outcomes: Sequence[Outcome], seed: int, repeat: int
) -> list[dict[str, tuple[int, np.ndarray]]]:
    """For each outcome: training set -> (its size, prediction [n, K] of the tested patients)."""
    results = []
    for outcome in outcomes:
        test = rows_of(study, outcome).test
        x = study.features(study.latents.z[test], test)
        sets = training_sets(study, draws, outcome, repeat)
        results.append(
            {
                name: (len(rows), outcome.fit(x_train, rows, seed)(x))
                for name, (x_train, rows) in sets.items()
            }
        )
    return results


def completion(
    study: Study,
    draws: Draws,
    outcomes: Sequence[Outcome],
    options: Options,
    workers: Workers,
    told: Sequence[str] = (),
) -> Result:
    """Table: outcome, training, n_train, seed (-1: predictions averaged over seeds, with ci_low
    and ci_high over patients), metric, value. Claims: each training set less `complete`.

    Raises:
      NotPossible: no outcome, or no training patient lacks anything.
    """
    if not outcomes:
        raise NotPossible("; ".join(told))
    if study.latents.present[study.train].all():
        raise NotPossible("every training patient has every modality: nothing to complete")
    calls = [(study, draws, outcomes, options.seed + s, s) for s in range(options.seeds)]
    repeats = workers(one_seed, calls)
    table, parts, tests = [], [], []
    for i, outcome in enumerate(outcomes):
        test = rows_of(study, outcome).test
        weights = patient_weights(study.patients[test], options.bootstrap, options.seed)
        replicates = {}
        for name, (size, _) in repeats[0][i].items():
            each = [of_seed[i][name][1] for of_seed in repeats]
            key = {"outcome": outcome.name, "training": name, "n_train": size}
            for s, predicted in enumerate(each):
                scores = outcome.scores(predicted, test)
                row = key | {"seed": options.seed + s}
                table += [row | {"metric": k, "value": v} for k, v in scores.items()]
            replicates[name] = outcome.score(np.mean(each, axis=0)[None], test, weights)[0]
            interval = bootstrap_interval(replicates[name])
            bounds = {"ci_low": interval.ci_low, "ci_high": interval.ci_high}
            row = key | {"seed": -1, "metric": outcome.metric, "value": interval.estimate}
            table.append(row | bounds)
        contrasts = {
            f"{outcome.name}: {name} - {COMPLETE}": values - replicates[COMPLETE]
            for name, values in replicates.items()
            if name != COMPLETE
        }
        count = len(np.unique(study.patients[test]))
        parts.append(claims("completion", outcome.metric, contrasts, count))
        by_seed = pd.DataFrame(table).query(
            "outcome == @outcome.name and metric == @outcome.metric and seed >= 0"
        )
        if options.seeds > 1:
            pairs = paired_tests(by_seed, "value", "training", "seed", reference=COMPLETE)
            tests.append(pairs.assign(outcome=outcome.name))
    told_all = pd.concat(parts, ignore_index=True)
    told_all["p_holm"] = adjusted(told_all["p"].to_numpy(float))  # one family over the outcomes
    return Result(
        pd.DataFrame(table),
        told_all[list(CLAIM_COLUMNS)],
        pd.concat(tests, ignore_index=True) if tests else pd.DataFrame(),
        tuple(told),
    )


def figure(table: pd.DataFrame) -> Figure:
    """Each outcome's metric by training set; bars: 95 % over patients."""
    pooled = table[table["seed"] == -1]
    panel = pooled["outcome"] + " (" + pooled["metric"].map(plots.label) + ")"
    return plots.dots(
        pooled.assign(panel=panel, everyone="test patients"),
        x="everyone",
        y="value",
        series="training",
        order=list(dict.fromkeys(pooled["training"])),
        panel="panel",
    )
