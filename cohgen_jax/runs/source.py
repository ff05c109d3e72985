"""The cohort that a configuration names, and checksums that hold a run to it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.util import hash_pandas_object

from cohgen_jax.cohort import Cohort, demo_cohort, load_cohort, set_aside
from cohgen_jax.cohort.cohort import SET_ASIDE
from cohgen_jax.cohort.kinds import asked_kinds
from cohgen_jax.errors import InputError, need, unreadable
from cohgen_jax.interop.annotated import SUFFIXES, register
from cohgen_jax.interop.processed import is_processed, load_processed
from cohgen_jax.interop.tfds_cohort import load_tfds_cohort
from cohgen_jax.runs.config import ExperimentConfig
from cohgen_jax.storage import rundir


def register_formats(source: str | Path) -> None:
    """Let the cohort readers open this file if it is MuData or AnnData."""
    if Path(source).suffix.lower() in SUFFIXES:
        register()


def load_any_cohort(config: ExperimentConfig) -> Cohort:
    """The cohort a configuration names (a path, `tfds:...`, or `demo`), less whom it excludes."""
    if config.cohort == "demo" or config.cohort.startswith("tfds:"):
        for option in ("layers", "id_column", "transpose"):
            if getattr(config, option):
                raise InputError(f"{option}: {config.cohort} has none, it is about tables in files")
    if config.cohort == "demo":
        cohort = _of_kinds(demo_cohort(), config.kinds)
    elif config.cohort.startswith("tfds:"):
        need(f"--cohort {config.cohort}", "prep", "tensorflow_datasets", "array_record")
        cohort = _of_kinds(load_tfds_cohort(config.cohort), config.kinds)
    elif is_processed(config.cohort):
        cohort = load_processed(config.cohort, config.modalities or None)
    else:
        register_formats(config.cohort)
        path = Path(config.cohort)
        carried = path.name == rundir.COHORT and (path.parent / "config.json").exists()
        as_read = {}  # a run's own tables were read already
        if not carried:
            names = ("layers", "id_column", "transpose")
            as_read = {name: getattr(config, name) for name in names}
        cohort = load_cohort(path, **as_read, **cohort_settings(config))
    if config.modalities and set(config.modalities) != set(cohort.modalities):
        raise InputError(
            f"{config.cohort} has the modalities {', '.join(cohort.modalities)}, all used"
        )
    return set_aside(cohort, config.exclude)


def cohort_settings(config: ExperimentConfig) -> dict[str, Any]:
    """What a configuration says about making a cohort of tables (`cohort.cohort_from`)."""
    return {
        "earlier": None if config.extends is None else _sides_of(Path(config.extends)),
        "modalities": config.modalities or None,
        "seed": config.split_seed,
        "val_fraction": config.val_fraction,
        "test_fraction": config.test_fraction,
        "max_missing": config.max_missing,
        "kinds": config.kinds,
        "min_train": max(config.single.least_patients, config.multi.least_patients),
    }


def _sides_of(run_dir: Path) -> pd.Series:
    """Side of the split of each patient of a run, by patient id, and by sample id for tables
    without any; of those set aside, who are set aside again, train."""
    rundir.read_config(run_dir)
    rundir.refuse_shared(run_dir, "training beside it")
    file = run_dir / "samples.parquet"
    try:
        samples = pd.read_parquet(file, columns=["patient_id", "split"])
    except (OSError, ValueError) as error:
        raise unreadable(file, error) from error
    sides = pd.concat([samples.set_index("patient_id")["split"], samples["split"]])
    sides = sides[~sides.index.duplicated()]
    return sides.replace(SET_ASIDE, "train").rename(str(run_dir))


def _of_kinds(cohort: Cohort, settings: Sequence[str]) -> Cohort:
    """The cohort with the kinds that were asked for."""
    asked = asked_kinds(settings, cohort.tables)
    return dataclasses.replace(cohort, kinds={**cohort.kinds, **asked})


def samples_checksum(samples: pd.DataFrame) -> str:
    """Of everything that is known of the patients, whatever the types of the columns."""
    return hashlib.sha256(samples.to_csv().encode()).hexdigest()[:16]


def data_checksum(cohort: Cohort) -> str:
    """Of names, tables and split, so that a run is resumed on the data that it began with."""
    digest = hashlib.sha256()
    frames = {m: cohort.tables[m] for m in cohort.modalities}
    for name, frame in (*frames.items(), ("", cohort.samples[["patient_id", "split"]])):
        digest.update(hash_pandas_object(frame).to_numpy().tobytes())  # pyright: ignore
        digest.update("\0".join((name, *map(str, frame.columns))).encode())
    return digest.hexdigest()[:16]
