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
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from cohgen_jax.cohort import Cohort
from cohgen_jax.errors import InputError, shown
from cohgen_jax.runs.config import ExperimentConfig
from cohgen_jax.runs.models import Models
from cohgen_jax.runs.run import Run, open_run
from cohgen_jax.storage.checkpoint import ABOUT
from cohgen_jax.storage.rundir import refuse_shared

FAMILY = "single"
"""Whose models are taken."""
ALIKE = ("codec", "published_codecs", "covariates", "diffusion", "pairs", "single", "exclude")
"""What the configurations of both runs have to say alike."""
LATENTS_DIFFER = 1e-3
"""Between latents of the same values, by far more than what rounding makes."""


class Taken(NamedTuple):
    """Models of an earlier run, as a cohort of more modalities has them."""

    models: Models
    epochs: dict[str, list[int]]
    """Metric -> the epoch at which it kept the weights of each."""
    history: pd.DataFrame

    def beside(
        self, models: Models, epochs: dict[str, Any], history: pd.DataFrame
    ) -> tuple[Models, dict[str, Any], pd.DataFrame]:
        """These models, and after them those that were trained beside them."""
        ours = self.models
        together = Models(
            (*ours.specs, *models.specs),
            jax.tree.map(lambda *each: np.concatenate(each), ours.variables, models.variables),
            {metric: [*ours.scores[metric], *of] for metric, of in models.scores.items()},
        )
        epochs = {metric: [*self.epochs[metric], *of] for metric, of in epochs.items()}
        return together, epochs, pd.concat([self.history, history], ignore_index=True)


def earlier_run(config: ExperimentConfig) -> Run | None:
    """The run that is extended, if any.

    Raises:
      InputError: it is not finished, or its models are not such as this configuration trains.
    """
    if config.extends is None:
        return None
    refuse_shared(Path(config.extends), "training beside it")
    run = open_run(config.extends)
    if run.config.pairs == "shared":
        raise InputError(
            f"extends: in {run.path} a network looks at all sources (--pairs shared), of which one "
            "more changes it: train anew without --extends"
        )
    if run.config.codec.kind == "identity":
        raise InputError(
            f"extends: {run.path} is of latents made elsewhere, of a width of their own: train "
            "anew without --extends"
        )
    if config.single.dp_noise_multiplier:
        raise InputError(
            "extends: differential privacy is accounted for within one run: train anew without "
            "--extends"
        )
    for name in ALIKE:
        if getattr(config, name) != getattr(run.config, name):
            raise InputError(
                f"extends: {run.path} was trained with another {name}: start from its "
                f"configuration (--config {run.path / 'config.json'})"
            )
    return run


def check_extension(run: Run, cohort: Cohort, config: ExperimentConfig) -> list[str]:
    """Refuse a cohort whose modalities, patients or values do not go on from those of the run;
    else what is to be told."""
    lacking = [name for name in run.modalities if name not in cohort.modalities]
    if lacking:
        raise InputError(
            f"extends: {run.path} has {', '.join(lacking)}, and this cohort has not: add the "
            "table, or name it (--modalities)"
        )
    new = [name for name in cohort.modalities if name not in run.modalities]
    if not new:
        raise InputError(
            f"extends: this cohort has no modality that {run.path} lacks: add a table, or name it "
            "(--modalities)"
        )
    side = cohort.samples["split"].reindex(run.samples.index)
    moved = side.index[side.notna() & (side != run.samples["split"])]
    if len(moved):
        raise InputError(
            f"extends: {len(moved)} samples are on another side of the split than in {run.path}, "
            f"first {moved[0]!r}: leave out the column 'split', or train anew without --extends"
        )
    notes = [
        f"Split, covariates, codecs and single-condition models of {', '.join(run.modalities)} are "
        f"those of {run.path}."
    ]
    for m, name in enumerate(run.modalities):
        notes += _check_table(run, m, cohort.table(name))
    width = run.latents.z.shape[2]
    narrow = [m for m in new if width < min(config.codec.latent_dim, cohort.tables[m].shape[1])]
    if narrow:
        notes.append(
            f"{', '.join(narrow)}: {width} latents at most, as many as the models of {run.path} "
            "have room for."
        )
    return notes


def _check_table(run: Run, m: int, table: pd.DataFrame) -> list[str]:
    """Refuse a table of other values than the m-th modality of the run."""
    name = run.modalities[m]
    codec = run.codecs[name]
    lost = pd.Index(codec.features).difference(table.columns)
    if len(lost):
        raise InputError(
            f"extends: {name} has no {shown(lost)}, on which {run.path} was trained: give the same "
            "table (with a higher --max-missing, where they were dropped), or train anew without "
            "--extends"
        )
    rows = np.flatnonzero(run.latents.present[:, m])
    here = run.samples.index[rows].isin(table.index)
    ids = run.samples.index[rows[here]]
    if not len(ids):
        raise InputError(f"extends: nobody of {run.path} has {name} here: use the same sample ids")
    trained_on = run.latents.z[rows[here], m, : codec.width]
    difference = np.abs(codec.encode(table.loc[ids]) - trained_on).max(axis=1)
    if difference.max() > LATENTS_DIFFER:
        raise InputError(
            f"extends: {name} of {(difference > LATENTS_DIFFER).sum()} samples, first "
            f"{ids[difference > LATENTS_DIFFER][0]!r}, is not what {run.path} was trained on: give "
            "the same table, or train anew without --extends"
        )
    notes, unknown = [], table.columns.difference(pd.Index(codec.features))
    if len(unknown):
        notes.append(f"{name}: {shown(unknown)} are not in {run.path}, and are not used.")
    if not here.all():
        notes.append(
            f"{name}: {(~here).sum()} samples of {run.path} have it no more; its models stay what "
            "they learnt of them."
        )
    return notes


def taken_models(run: Run, modalities: Sequence[str]) -> Taken:
    """Those of the run. modalities: of the cohort, to which the specs of the result refer."""
    models, place = run.models[FAMILY], [modalities.index(name) for name in run.modalities]
    specs = tuple(
        spec._replace(target=place[spec.target], sources=tuple(place[s] for s in spec.sources))
        for spec in models.specs
    )
    about = json.loads((run.path / "models" / FAMILY / ABOUT).read_text())
    history = pd.read_csv(
        run.path / "metrics" / f"history_{FAMILY}.csv", float_precision="round_trip"
    )
    return Taken(Models(specs, models.variables, models.scores), about["epochs"], history)
