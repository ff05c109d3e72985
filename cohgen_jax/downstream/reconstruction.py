"""How close generated assays are to the measured ones: overall, by cancer type, by subset.

Every modality from all others and from all but one of them, and from the smaller subsets whose
draws other analyses need (`evaluation/fidelity.py` has every subset). Claims compare methods on the
same patients by energy score (proper: mean and spread count; lower is better), each modality from
all others.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cohgen_jax.downstream.draws import Draws, Order
from cohgen_jax.downstream.options import Options, Result, Workers
from cohgen_jax.downstream.statistics import bootstrap_interval, claims, patient_weights
from cohgen_jax.downstream.study import Study
from cohgen_jax.evaluation.fidelity import score_by_label
from cohgen_jax.figures import analyses as plots
from cohgen_jax.runs.families import METHODS
from cohgen_jax.scores import draws as metrics

COMPARED = ("nearest", "kernel_ridge")
EVERYONE = "all"


def conditions(draws: Draws, target: str, method: str) -> dict[Order, np.ndarray]:
    """Sources -> draws [R, n, D] of a target generated from these alone, real ones all."""
    names = draws.modalities
    return {
        tuple(m for m in names if m not in order): drawn[target]
        for order, drawn in draws.cascades[method].items()
        if order[0] == target
    }


def reconstruction(study: Study, draws: Draws, options: Options, workers: Workers) -> Result:
    """Table: target, sources ("a+b"), method, label ("all" or a cancer type), n, r2_inf,
    energy_score; `all` from all others has ci_low and ci_high of the energy score over patients.

    A target's conditions are the orders of generation that begin with it. Of one and of two
    modalities every order is drawn, of more only the sorted one, which begins with one of them.
    """
    z, rows = study.latents.z, study.test
    weights = patient_weights(study.patients[rows], options.bootstrap, options.seed)
    share = weights / weights.sum(axis=1, keepdims=True)
    types = study.samples.get("cancer_type")
    types = None if types is None else types.to_numpy(object)[rows]
    table, contrasts = [], {}
    methods = draws.with_spread
    for target in study.modalities:
        t = study.modalities.index(target)
        width = int(study.latents.widths[t])
        real = z[rows, t, :width]
        full: dict[str, np.ndarray] = {}
        for method in methods:
            for sources, drawn in conditions(draws, target, method).items():
                values = drawn[..., :width]
                energy = np.asarray(metrics.energy_score(values, real), float)
                key = {"target": target, "sources": "+".join(sources), "method": method}
                row = key | {
                    "label": EVERYONE,
                    "n": len(rows),
                    "r2_inf": float(metrics.r2_inf(values, real)),
                    "energy_score": energy.mean(),
                }
                if len(sources) == len(study.modalities) - 1:
                    full[method] = share @ energy
                    interval = bootstrap_interval(full[method])
                    row |= {"ci_low": interval.ci_low, "ci_high": interval.ci_high}
                    if types is not None:
                        table += _by_type(key, values, real, energy, types)
                table.append(row)
        for model in (m for m in methods if m in METHODS):
            contrasts |= {
                f"{target}: {model} - {other}": full[model] - full[other]
                for other in COMPARED
                if other in full
            }
        if {*METHODS} <= set(methods):
            contrasts[f"{target}: coherent - multi"] = full["coherent"] - full["multi"]
    count = len(np.unique(study.patients[rows]))
    told = claims("reconstruction", "energy_score", contrasts, count)
    return Result(pd.DataFrame(table), told, pd.DataFrame())


def _by_type(key: dict, values, real, energy: np.ndarray, types: np.ndarray) -> list[dict]:
    scored = score_by_label(values, real, types)
    return [
        key
        | {"label": row["label"], "n": row["n"], "r2_inf": row["r2_inf"]}
        | {"energy_score": energy[types == row["label"]].mean()}
        for row in scored.to_dict("records")
    ]


def figure(table: pd.DataFrame) -> Figure:
    """R2 of the posterior mean by cancer type, a panel a target, from all other modalities."""
    most = table["sources"].str.count(r"\+").max()
    fullest = table[table["sources"].str.count(r"\+") == most]
    by_type = fullest[fullest["label"] != EVERYONE]
    chosen = by_type if len(by_type) else fullest
    return plots.dots(
        chosen.drop(columns=["ci_low", "ci_high"]),
        x="label",
        y="r2_inf",
        series="method",
        order=list(dict.fromkeys(fullest["method"])),
        panel="target",
        zero=True,
    )
