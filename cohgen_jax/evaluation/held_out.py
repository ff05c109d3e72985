"""How well a run generates its held-out patients, beside what it has to beat, in one table.

Each patient's modality is hidden and generated from whatever else the patient has. (`evaluate_run`
asks the same from every subset of sources, and writes it.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from cohgen_jax.baselines import BASELINES, EVENTS, fit_baselines
from cohgen_jax.errors import InputError, check_seed
from cohgen_jax.evaluation.by_kind import score_kinds
from cohgen_jax.evaluation.masks import shown_latents
from cohgen_jax.evaluation.of_run import KNOWN, run_generators
from cohgen_jax.evaluation.tables import cohort_of, features_of_run, units_of_run
from cohgen_jax.evaluation.units import score_units
from cohgen_jax.runs.families import METHODS

if TYPE_CHECKING:
    from cohgen_jax.runs.run import Run

COMPARED = (*METHODS, "climatology", "nearest", "ridge", "kernel_ridge")
LEAST_PATIENTS = 2


def score_held_out(
    run: Run,
    split: str = "test",
    *,
    targets: Sequence[str] = (),
    methods: Sequence[str] = COMPARED,
    num_draws: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Scores in units of the tables, each feature in standard deviations of training patients.

    Args:
      targets: modalities to generate; all when empty. One that fewer than LEAST_PATIENTS patients
        of the split have, beside another one, is left out.
      methods: of the models and baselines that `cohgen evaluate` knows.

    Returns:
      Index target, method; columns patients, then those of `units.score_units` (crps: lower is
      better; r2 of the posterior mean; coverage80; ...) and, of tables of events and counts, those
      of `by_kind.score_kinds`.

    Raises:
      InputError: an unknown target, method or split, fewer than two draws, or a run whose tables
        are not to be had any more.
    """
    unknown = [method for method in methods if method not in KNOWN]
    if unknown or not methods:
        raise InputError(f"unknown method {unknown[:1]}; known: {', '.join(KNOWN)}")
    if num_draws < 2:
        raise InputError(f"num_draws must be at least 2, got {num_draws}")
    check_seed(seed)
    sides = sorted(set(run.samples["split"]))
    if split not in sides:
        raise InputError(f"no patient of this run is in {split!r}; it has {', '.join(sides)}")
    chosen = tuple(dict.fromkeys(targets)) or run.modalities
    columns = {target: run.index(target) for target in chosen}
    present = run.latents.present[run.rows(split)]
    used = {}
    for target, m in columns.items():
        shown = present.copy()
        shown[:, m] = False
        used[target] = present[:, m] & shown.any(axis=1)
    judged = [target for target in chosen if used[target].sum() >= LEAST_PATIENTS]
    if not judged:
        raise InputError(
            f"nothing can be judged: fewer than {LEAST_PATIENTS} patients in {split!r} have "
            f"{' or '.join(chosen)} beside another modality"
        )
    cohort = cohort_of(run)
    generators = run_generators(run, judged)
    baselines = [method for method in methods if method in (*BASELINES, *EVENTS)]
    if baselines:
        whole = features_of_run(run, cohort, judged)._asdict()
        train, val = run.rows("train"), run.rows("val")
        generators |= fit_baselines(
            run.latents, train, val, methods=baselines, targets=judged, **whole
        )
    units, table = units_of_run(run, cohort, judged), {}
    for target in judged:
        rows = run.rows(split)[used[target]]
        shown = run.latents.present[rows].copy()
        shown[:, columns[target]] = False
        z, measured = shown_latents(run.latents.z[rows], shown), units[target]
        for method in methods:
            if (method, target) not in generators:  # a logistic regression is of events alone
                continue
            generated = generators[method, target](z, shown, num_draws, seed)
            pair = measured.of(generated, rows, seed), measured.truth[rows]
            table[target, method] = {
                "patients": len(rows),
                **score_units(*pair, measured.mean, measured.sd),
                **score_kinds(generated, *pair, measured).scores,
            }
    scores = pd.DataFrame.from_dict(table, orient="index").astype({"patients": int})
    return scores.set_axis(pd.MultiIndex.from_tuples(table, names=["target", "method"]), axis=0)
