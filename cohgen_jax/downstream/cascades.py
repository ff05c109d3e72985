"""Two assays missing: does it matter which one is generated first?

For every pair of modalities: `a, b` generates a from what is left and then b from that and a;
`b, a` the other way round; `apart` generates each from what is left, knowing nothing of the other.
The energy score of both together (lower is better) sees whether they belong to one patient.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cohgen_jax.downstream.draws import Draws, pair_orders
from cohgen_jax.downstream.options import Options, Result, Workers
from cohgen_jax.downstream.statistics import bootstrap_interval, claims, patient_weights
from cohgen_jax.downstream.study import NotPossible, Study
from cohgen_jax.figures import analyses as plots
from cohgen_jax.runs.families import METHODS
from cohgen_jax.scores.draws import energy_score, r2_inf

APART = "apart"


def cascades(study: Study, draws: Draws, options: Options, workers: Workers) -> Result:
    """Table: pair, order, method, energy_score of both with ci_low and ci_high over patients, and
    r2_inf of both. Claims, mean over pairs: sorted order less reverse, and cascade less apart.
    """
    pairs = pair_orders(study.modalities)
    if not pairs:
        raise NotPossible(
            f"a cascade needs three modalities or more; this run has {len(study.modalities)}"
        )
    rows, latents = study.test, study.latents
    weights = patient_weights(study.patients[rows], options.bootstrap, options.seed)
    share = weights / weights.sum(axis=1, keepdims=True)
    methods = draws.with_spread
    table, contrasts = [], {}
    for number, method in enumerate(methods, start=1):
        replicates: dict[str, list[np.ndarray]] = {"sorted": [], "reverse": [], APART: []}
        for one, other in pairs:
            forward, backward = draws.cascades[method][one], draws.cascades[method][other]
            a, b = one
            # a comes first in the one order, b in the other: drawn with unrelated noise.
            versions = {
                "sorted": (", ".join(one), forward[a], forward[b]),
                "reverse": (", ".join(other), backward[a], backward[b]),
                APART: (APART, forward[a], backward[b]),
            }
            real = np.concatenate([_own(study, m, latents.z[rows]) for m in one], axis=-1)
            for kind, (order, first, second) in versions.items():
                drawn = np.concatenate([_cut(study, a, first), _cut(study, b, second)], axis=-1)
                values = share @ np.asarray(energy_score(drawn, real), float)
                replicates[kind].append(values)
                interval = bootstrap_interval(values)
                table.append(
                    {
                        "pair": f"{a} + {b}",
                        "order": kind,
                        "generated": order,
                        "method": method,
                        "energy_score": interval.estimate,
                        "ci_low": interval.ci_low,
                        "ci_high": interval.ci_high,
                        "r2_inf": float(r2_inf(drawn, real)),
                    }
                )
        workers.report(number, len(methods))
        if method in (*METHODS, "kernel_ridge"):
            mean = {kind: np.mean(values, axis=0) for kind, values in replicates.items()}
            contrasts[f"{method}: sorted - reverse"] = mean["sorted"] - mean["reverse"]
            both = (mean["sorted"] + mean["reverse"]) / 2
            contrasts[f"{method}: cascade - apart"] = both - mean[APART]
    count = len(np.unique(study.patients[rows]))
    told = claims("cascades", "energy_score", contrasts, count)
    return Result(pd.DataFrame(table), told, pd.DataFrame())


def _own(study: Study, modality: str, z: np.ndarray) -> np.ndarray:
    """[n, M, D] -> [n, width of the modality]."""
    return _cut(study, modality, z[:, study.modalities.index(modality)])


def _cut(study: Study, modality: str, values: np.ndarray) -> np.ndarray:
    return values[..., : int(study.latents.widths[study.modalities.index(modality)])]


def figure(table: pd.DataFrame) -> Figure:
    """Energy score by pair, a panel a method: models and kernel ridge, without them all others."""
    there = list(dict.fromkeys(table["method"]))
    methods = [m for m in (*METHODS, "kernel_ridge") if m in there] or there
    return plots.dots(
        table[table["method"].isin(methods)].drop(columns=["ci_low", "ci_high"]),
        x="pair",
        y="energy_score",
        series="order",
        order=["sorted", "reverse", APART],
        panel="method",
    )
