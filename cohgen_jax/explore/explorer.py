"""A run as it is looked at: its measured tables, and one patient generated at a time.

A program is compiled for a number of patients and of sources. Here a call is always of two: the
patient, and a companion who has every assay, so that one program a target serves everybody. Draws
depend on a patient's id, data and the seed alone; the companion changes nothing but shapes.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.tables import cohort_of
from cohgen_jax.explore.neighbours import LatentMap, latent_map
from cohgen_jax.explore.usual import UsualValues, usual_values
from cohgen_jax.runs.complete import LEAST_FOR_INTERVALS, Imputation
from cohgen_jax.runs.impute import completed_frames
from cohgen_jax.runs.patients import Patients, to_generate
from cohgen_jax.runs.run import Run, open_run
from cohgen_jax.runs.typicality import usual_of
from cohgen_jax.storage import rundir

COMPANION = "\0companion"
"""No table has such an id."""


@dataclasses.dataclass(frozen=True)
class Explorer:
    """A run, with what is needed to look at its patients and at new ones."""

    run: Run
    tables: Mapping[str, pd.DataFrame]
    """Modality -> what was measured of the run's patients, in units; empty where that is not known:
    of an exported model, or where the cohort cannot be read."""
    units: Mapping[str, str]
    """Modality -> what its numbers are, in words, where the cohort says it."""
    how: Imputation
    note: str = ""
    """Why there are no measured tables, in a sentence."""
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock, compare=False)

    @property
    def has_patients(self) -> bool:
        return len(self.run.samples) > 0

    @functools.cached_property
    def usual(self) -> dict[str, UsualValues]:
        """Modality -> what its features are in the training patients."""
        return {name: usual_values(codec) for name, codec in self.run.codecs.items()}

    @functools.cached_property
    def maps(self) -> dict[str, LatentMap]:
        """Modality -> its map; none without patients."""
        found = {name: latent_map(self.run, name) for name in self.run.modalities}
        return {name: own for name, own in found.items() if own is not None}

    def patient(self, sample_id: str) -> Patients:
        """A patient of the run, N = 1, as the models know it.

        Raises:
          InputError: the run has no such sample.
        """
        run, ids = self.run, self.run.samples.index
        row = ids.get_indexer(pd.Index([sample_id]))
        if row[0] < 0:
            raise InputError(f"this run has no sample {sample_id!r}")
        tables, residual = {}, np.zeros((1, len(run.modalities)), np.float32)
        for m, (name, codec) in enumerate(run.codecs.items()):
            measured = self.tables.get(name, _nobody(codec.features))
            tables[name] = measured.loc[measured.index == sample_id, list(codec.features)]
            if len(tables[name]):
                residual[:, m] = codec.residual(tables[name])
        z, present = run.latents.z[row], run.latents.present[row]
        return Patients(ids[row], z, present, residual, tables, run.samples.iloc[row], "samples")

    def generated(self, patient: Patients) -> dict[str, pd.DataFrame]:
        """Every modality of one patient, generated from the others that it has.

        patient: of N = 1.

        Returns:
          As `Run.impute` does: `<modality>` (every draw), `<modality>_mean`, `_sd`, `_low`,
          `_high`, and `disagreement`; a modality that there is nothing to generate from is not
          among them.

        Raises:
          InputError: there is nothing to generate anything from.
        """
        targets = list(to_generate(self.run, patient.present, regenerate=True))
        if not targets:
            raise InputError(
                f"{patient.ids[0]} has a single assay, and nothing else is to be generated from it"
            )
        how = dataclasses.replace(self.how, targets=targets)
        with self.lock:
            made = completed_frames(self.run, _in_company(patient), how)
        own = {name: table.loc[table.index == patient.ids[0]] for name, table in made.items()}
        return own

    def warm(self, progress: Callable[[int, int, str], None]) -> None:
        """Compile what looking needs, a target at a time."""
        run = self.run
        alone = _companion(run, run.latents.z.shape[1:])
        for done, target in enumerate(run.modalities):
            progress(done, len(run.modalities), target)
            how = dataclasses.replace(self.how, targets=(target,))
            with self.lock:
                completed_frames(run, _in_company(alone), how)
        progress(len(run.modalities), len(run.modalities), "done")
        _ = self.usual, self.maps


def open_explorer(
    run_dir: str | Path,
    *,
    cohort: str = "",
    num_draws: int = 40,
    seed: int = 0,
    method: str = "coherent",
    tell: Callable[[str], None] = lambda line: None,
) -> Explorer:
    """Open a finished run, or an exported model, to look at.

    Args:
      cohort: where the tables of training lie now, if elsewhere.
      num_draws: of each patient and modality, 10 or more.
      method: "coherent" or "multi".

    Raises:
      InputError: no run, fewer draws than intervals need, or a cohort that was named and cannot be
        read or is another one.
    """
    if num_draws < LEAST_FOR_INTERVALS:
        raise InputError(
            f"--draws must be at least {LEAST_FOR_INTERVALS} for intervals, got {num_draws}"
        )
    how = Imputation(
        num_draws=num_draws,
        seed=seed,
        method=method,  # pyright: ignore[reportArgumentType]  # checked at birth
        regenerate=True,
        fill=False,
    )
    run = open_run(run_dir)
    if (run.path / rundir.SHARED).exists():
        if cohort:
            rundir.refuse_shared(run.path, "looking at the patients of --cohort")
        return Explorer(run, {}, {}, how)
    usual = {name: usual_of(run, m) for m, name in enumerate(run.modalities)}
    run = dataclasses.replace(run, usual=usual)  # or it is fitted anew for every patient
    try:
        measured = cohort_of(run, cohort)
    except (InputError, OSError) as error:
        if cohort:
            raise
        note = f"What was measured is not shown: {error}"
        tell(note)
        return Explorer(run, {}, {}, how, note)
    return Explorer(run, measured.tables, measured.units, how)


def _in_company(patient: Patients) -> Patients:
    """The patient, and the companion after it."""
    other = patient.z.shape[1:]
    num = patient.present.shape[1]
    return patient._replace(
        ids=patient.ids.append(pd.Index([COMPANION], name=patient.ids.name)),
        z=np.concatenate([patient.z, np.zeros((1, *other), np.float32)]),
        present=np.concatenate([patient.present, np.ones((1, num), bool)]),
        residual=np.concatenate([patient.residual, np.zeros((1, num), np.float32)]),
    )


def _companion(run: Run, shape: tuple[int, ...]) -> Patients:
    num = len(run.modalities)
    return Patients(
        ids=pd.Index(["alone"], name="sample_id"),
        z=np.zeros((1, *shape), np.float32),
        present=np.ones((1, num), bool),
        residual=np.zeros((1, num), np.float32),
        tables={name: _nobody(codec.features) for name, codec in run.codecs.items()},
        told=None,
        told_by="",
    )


def _nobody(features: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(columns=list(features), index=pd.Index([], dtype=object), dtype=np.float32)
