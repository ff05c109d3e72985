"""Is a set of generated patients a set of patients? Manifolds and distances, with their nulls.

Generated from all other modalities, one draw a patient, against the real tested patients; beside
`unconditional` (generated from no assay: what a model knows without them) and `train` (training
patients: what a set of other real patients scores). A distance is judged by the null distribution
of the same statistic between random halves of the real patients.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cohgen_jax.downstream.draws import Draws
from cohgen_jax.downstream.options import Options, Result, Workers
from cohgen_jax.downstream.statistics import CLAIM_COLUMNS
from cohgen_jax.downstream.study import NotPossible, Study
from cohgen_jax.figures import analyses as plots
from cohgen_jax.runs.families import METHODS
from cohgen_jax.scores.distances import (
    global_energy,
    global_pointwise,
    real_against_generated,
    real_against_real,
    set_distances,
)
from cohgen_jax.scores.manifold import manifold_metrics

NULLS = {"energy_global": global_energy, "pointwise_global": global_pointwise}
NUM_NEIGHBOURS = 10
LARGEST = 200
"""Patients in a random subset, at most."""


def sets_of(study: Study, draws: Draws, target: str) -> dict[str, np.ndarray]:
    """Name -> [n, D]: what is compared with the real tested patients, of one target."""
    t = study.modalities.index(target)
    width = int(study.latents.widths[t])
    sets = {m: draws.one(m, target)[0][:, :width] for m in draws.methods if m != "mean"}
    for method in (m for m in draws.methods if m in METHODS):
        sets[f"{method}, unconditional"] = draws.unconditional[method][target][0][:, :width]
    train = study.train[study.latents.present[study.train, t]]
    chosen = np.random.default_rng(t).permutation(train)[: len(study.test)]
    sets["train"] = study.latents.z[chosen, t, :width]
    return sets


def one_target(study: Study, draws: Draws, target: str, repeats: int, seed: int) -> list[dict]:
    """Rows of the table for one target."""
    t = study.modalities.index(target)
    real = study.latents.z[study.test, t, : int(study.latents.widths[t])]
    size, table = min(len(real) // 2, LARGEST), []

    def add(name: str, metric: str, value: float, sample: np.ndarray | None = None) -> None:
        row = {"target": target, "set": name, "metric": metric, "value": value}
        if sample is not None:
            low, high = np.quantile(sample, [0.025, 0.975])
            row |= {"ci_low": low, "ci_high": high, "n": size}
        table.append(row)

    null = {
        metric: real_against_real(statistic, real, size, repeats, seed)
        for metric, statistic in NULLS.items()
    }
    for metric, sample in null.items():
        add("real", f"{metric}, subsets", sample.mean(), sample)
    for name, points in sets_of(study, draws, target).items():
        manifold = manifold_metrics(points, real, NUM_NEIGHBOURS)._asdict()
        for metric, value in (manifold | set_distances(points, real, NUM_NEIGHBOURS)).items():
            add(name, metric, value)
        for metric, statistic in NULLS.items():
            if len(points) < size:
                continue
            sample = real_against_generated(statistic, points, real, size, repeats, seed)
            add(name, f"{metric}, subsets", sample.mean(), sample)
            above = np.mean(null[metric] >= sample.mean())
            add(name, f"{metric}, null above", float(above))
    return table


def sets(study: Study, draws: Draws, options: Options, workers: Workers) -> Result:
    """Table: target, set, metric, value; `..., subsets` are means over pairs of random subsets of n
    with the central 95 % as ci_low and ci_high; `..., null above` is the share of pairs of real
    subsets that lie at least as far apart (small: can be told from real patients).
    """
    if len(study.test) <= 2 * NUM_NEIGHBOURS:
        raise NotPossible(
            f"sets: {len(study.test)} tested patients; more than {2 * NUM_NEIGHBOURS} are needed"
        )
    repeats = max(50, options.bootstrap // 10)
    calls = [(study, draws, target, repeats, options.seed) for target in study.modalities]
    table = pd.DataFrame([row for rows in workers(one_target, calls) for row in rows])
    return Result(table, pd.DataFrame(columns=list(CLAIM_COLUMNS)), pd.DataFrame())


def figure(table: pd.DataFrame) -> Figure:
    """Energy distance of random subsets to real ones; bars: 95 % of the pairs of subsets."""
    subsets = table[table["metric"] == "energy_global, subsets"].rename(columns={"value": "energy"})
    return plots.dots(
        subsets.rename(columns={"energy": "energy distance"}),
        x="target",
        y="energy distance",
        series="set",
        order=list(dict.fromkeys(subsets["set"])),
    )
