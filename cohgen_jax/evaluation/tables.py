"""The measured tables behind a run: what evaluation in their units needs.

A run keeps latents; truth in units is read again from the cohort that it was trained on.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cohgen_jax.baselines import Project
from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.units import Units, units_of
from cohgen_jax.runs.source import data_checksum, load_any_cohort
from cohgen_jax.storage import rundir

if TYPE_CHECKING:
    from cohgen_jax.cohort import Cohort
    from cohgen_jax.runs.run import Run


class Features(NamedTuple):
    """What baselines draw whole vectors from; both by modality."""

    features: dict[str, np.ndarray]
    """float32 [N, F], standardised as the codec does, rows as the run's; NaN where absent."""
    project: dict[str, Project]
    known: dict[str, np.ndarray]
    """bool [N, F]: which of them were measured, of tables all of whose features are binary."""


def cohort_of(run: Run, moved: str = "") -> Cohort:
    """The tables that the run was trained on, checked. moved: where they lie now, if elsewhere.

    Raises:
      InputError: they cannot be read, or are not those of the training.
    """
    config = dataclasses.replace(run.config, cohort=moved or run.config.cohort)
    if config.extends is not None:  # the split that it took is now its own
        config = dataclasses.replace(config, extends=str(run.path))
    cohort = load_any_cohort(config)
    if data_checksum(cohort) != rundir.read_config(run.path)[rundir.DATA]:
        raise InputError(
            f"{config.cohort} is not, or no longer, what {run.path} was trained on: give the "
            "folder that holds those tables with --cohort"
        )
    return cohort


def streams_of(run: Run) -> np.ndarray:
    """uint32 [N]: names the patients to the codecs' random generators, as `patients.py` does."""
    return np.array([zlib.crc32(str(name).encode()) for name in run.samples.index], np.uint32)


def units_of_run(run: Run, cohort: Cohort, targets: Sequence[str]) -> dict[str, Units]:
    """Target -> what it is scored on, in units of its table."""
    streams, train = streams_of(run), run.rows("train")
    return {
        target: units_of(
            run.codecs[target],
            cohort.table(target).reindex(run.samples.index),
            train,
            streams,
        )
        for target in targets
    }


def features_of_run(run: Run, cohort: Cohort, targets: Sequence[str]) -> Features:
    """Of these targets; as large as their tables."""
    features = Features({}, {}, {})
    for target in targets:
        codec, table = run.codecs[target], cohort.table(target)
        values = np.full((len(run.samples), len(codec.features)), np.nan, np.float32)
        values[run.samples.index.get_indexer(table.index)] = codec.standardised(table)
        features.features[target], features.project[target] = values, codec.project
        if set(codec.kinds) == {"binary"}:
            measured = table.reindex(index=run.samples.index, columns=list(codec.features))
            features.known[target] = measured.notna().to_numpy()
    return features
