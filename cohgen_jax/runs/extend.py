"""A run of further modalities that takes what an earlier run has learnt of the others.

Taken    its split, covariates, codecs and single-condition models, all as they are
Trained  codecs of the further modalities, single-condition models of every pair with one of them,
         and what looks at all: multi-condition models, regressions, consensus, calibration

A single-condition model looks at two modalities: a third is no reason to train it again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from cohgen_jax.cohort import Cohort
from cohgen_jax.errors import InputError
from cohgen_jax.runs.config import ExperimentConfig
from cohgen_jax.runs.models import Models
from cohgen_jax.runs.run import Run, open_run
from cohgen_jax.storage.checkpoint import ABOUT
from cohgen_jax.storage.rundir import refuse_shared

FAMILY = "single"
"""Whose models are taken."""
SHARED = ("codec", "published_codecs", "covariates", "diffusion", "single", "exclude")
"""What the configurations of both runs have to say alike."""
LATENTS_DIFFER = 1e-3
"""Between latents of the same values, by far more than what rounding makes."""


def earlier_run(config: ExperimentConfig) -> Run | None:
    """The run that is extended, if any.

    Raises:
      InputError: it is not finished, or was trained by another configuration.
    """
    if config.extends is None:
        return None
    refuse_shared(Path(config.extends), "training beside it")
    run = open_run(config.extends)
    if config.codec.kind == "identity":
        raise InputError("extends: latents made elsewhere have a width of their own; train anew")
    if config.single.dp_noise_multiplier:
        raise InputError(
            "extends: differential privacy is accounted for within one run; train all models anew"
        )
    for name in SHARED:
        if getattr(config, name) != getattr(run.config, name):
            raise InputError(
                f"extends: {run.path} was trained with another {name}; start from its "
                f"configuration: --config {run.path / 'config.json'}"
            )
    return run


def check_extension(run: Run, cohort: Cohort) -> None:
    """Refuse a cohort whose modalities, patients or values do not go on from those of the run."""
    lacking = [name for name in run.modalities if name not in cohort.modalities]
    if lacking:
        raise InputError(
            f"extends: {run.path} knows {lacking[0]}, and this cohort lacks it: add it"
        )
    if len(cohort.modalities) == len(run.modalities):
        raise InputError(f"extends: this cohort has no modality that {run.path} does not know")
    side = cohort.samples["split"].reindex(run.samples.index)
    moved = side.index[side.notna() & (side != run.samples["split"])]
    if len(moved):
        raise InputError(
            f"extends: {len(moved)} samples are on another side of the split than in {run.path}, "
            f"first {moved[0]!r}: give the cohort the column `split` of its samples.parquet"
        )
    for m, (name, codec) in enumerate(run.codecs.items()):
        rows = np.flatnonzero(run.latents.present[:, m])
        table = cohort.table(name)
        rows = rows[run.samples.index[rows].isin(table.index)]
        ids = run.samples.index[rows]
        if not len(ids):
            raise InputError(f"extends: nobody of {run.path} has {name} here: are ids the same?")
        difference = np.abs(codec.encode(table.loc[ids]) - run.latents.z[rows, m, : codec.width])
        if difference.max() > LATENTS_DIFFER:
            raise InputError(
                f"extends: {name} of {ids[difference.max(axis=1).argmax()]!r} is not what "
                f"{run.path} was trained on: give the same table, or train anew"
            )


def with_earlier(
    run: Run, modalities: Sequence[str], models: Models, epochs: dict[str, Any], table: pd.DataFrame
) -> tuple[Models, dict[str, Any], pd.DataFrame]:
    """The models of the run and those trained beside them, with the epochs at which each metric
    kept its weights and the history of training.

    modalities: of the cohort, to which the specs of the result refer.
    """
    taken, place = run.models[FAMILY], [modalities.index(name) for name in run.modalities]
    specs = tuple(
        spec._replace(target=place[spec.target], sources=tuple(place[s] for s in spec.sources))
        for spec in taken.specs
    )
    together = Models(
        (*specs, *models.specs),
        jax.tree.map(lambda *each: np.concatenate(each), taken.variables, models.variables),
        {metric: [*taken.scores[metric], *scores] for metric, scores in models.scores.items()},
    )
    about = json.loads((run.path / "models" / FAMILY / ABOUT).read_text())
    kept_at = {metric: [*about["epochs"][metric], *kept] for metric, kept in epochs.items()}
    history = pd.read_csv(run.path / "metrics" / f"history_{FAMILY}.csv")
    return together, kept_at, pd.concat([history, table], ignore_index=True)
