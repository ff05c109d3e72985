"""Patients that a run has never seen: tables with holes, read and encoded as those of training."""

from __future__ import annotations

import statistics
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.cohort import read_tables
from cohgen_jax.cohort.clean import cleaned, measured
from cohgen_jax.cohort.covariates import with_values
from cohgen_jax.cohort.folder import FACTS, table_files
from cohgen_jax.cohort.labels import sample_facts
from cohgen_jax.cohort.load import parse_layers
from cohgen_jax.cohort.read import RawTables
from cohgen_jax.errors import InputError
from cohgen_jax.runs.run import Run
from cohgen_jax.runs.source import register_formats


class Patients(NamedTuple):
    ids: pd.Index
    """Sample ids [N], in order."""
    z: np.ndarray
    """float32 [N, M, D]: latents, zero where absent; [N, M + 1, D] with the run's covariates."""
    present: np.ndarray
    """bool [N, M]."""
    residual: np.ndarray
    """float32 [N, M]: what the codecs do not bring back of the tables (`Codec.residual`)."""
    tables: dict[str, pd.DataFrame]
    """Modality -> values in the units of the run, without rows if nobody has it."""
    told: pd.DataFrame | None
    """What samples.* or clinical.* says, as it stands there."""
    told_by: str

    def with_holes(self, run: Run, modality: str) -> np.ndarray:
        """Positions of the patients with an unknown cell of what they have of a modality."""
        table = self.tables[modality][list(run.codecs[modality].features)]
        return self.ids.get_indexer(table.index[table.isna().any(axis=1)])

    @property
    def cuts(self) -> list[slice]:
        """All of them, as one part; see `streamed.ManyPatients`."""
        return [slice(0, len(self.ids))]

    def part(self, own: slice, target: str) -> Patients:
        """Some of them that follow each other."""
        return self._replace(
            ids=self.ids[own],
            z=self.z[own],
            present=self.present[own],
            residual=self.residual[own],
        )

    def facts(self, tell: Callable[[str], None]) -> pd.DataFrame:
        """Labels of the patients under their usual names, index sample_id."""
        notes: list[str] = []
        found = sample_facts(self.ids, self.told, self.told_by, notes)
        for note in notes:
            tell(note)
        return found

    @property
    def streams(self) -> np.ndarray:
        """uint32 [N]: names the patients to the sampler, whoever else is there."""
        return streams_of(self.ids)


def streams_of(ids: pd.Index) -> np.ndarray:
    """uint32 [N], of sample ids."""
    return np.array([zlib.crc32(sample_id.encode()) for sample_id in ids], np.uint32)


def read_patients(
    run: Run, source: str | Path, tell: Callable[[str], None], settings: Sequence[str] = ()
) -> Patients:
    """A folder (or MuData file) of tables, each of a modality of the run; others are not read.

    settings: COLUMN=VALUE of a covariate, which every patient is then given.

    Raises:
      InputError: no table of a known modality, no value in them, or features missing from one.
    """
    register_formats(source)
    if Path(source).is_dir():
        names, _ = table_files(Path(source))
        chosen = [name for name in run.modalities if name in names]
        others = sorted(names.keys() - {*chosen, *FACTS})
        features = {name: run.codecs[name].features for name in chosen}
        raw = read_tables(source, modalities=chosen, features=features) if chosen else None
    else:
        raw = read_tables(source, layers=parse_layers(run.config.layers), lenient=True)
        chosen = [name for name in run.modalities if name in raw.tables]
        others = sorted(raw.tables.keys() - set(chosen))
    if raw is None or not chosen:
        raise InputError(
            f"{source} has no table of {', '.join(run.modalities)}: name the files after the "
            f"modalities of the run (for instance {run.modalities[0]}.parquet)"
        )
    for name in others:
        tell(f"{name} is not a modality of this run and was not used")
    return patients_of(run, raw, str(source), tell, settings)


def patients_of(
    run: Run,
    raw: RawTables,
    source: str,
    tell: Callable[[str], None] = lambda line: None,
    settings: Sequence[str] = (),
) -> Patients:
    """The patients of tables that were read; `source` is what they came from, for messages."""
    chosen = [name for name in run.modalities if name in raw.tables]
    if not chosen:
        raise InputError(f"{source} has no table of {', '.join(run.modalities)}")
    needed = {name: run.codecs[name].features for name in chosen}
    raw, _ = cleaned(raw._replace(tables={name: raw.tables[name] for name in chosen}), needed)
    raw = measured(raw, {name: statistics.mode(run.codecs[name].kinds) for name in chosen})
    for note in raw.notes:
        tell(note)
    if not any(len(raw.tables[name]) for name in chosen):
        raise InputError(f"{source} has no patient with any value in {', '.join(chosen)}")
    tables = {
        name: raw.tables[name]
        if name in chosen
        else pd.DataFrame(columns=list(run.codecs[name].features), dtype=np.float32)
        for name in run.modalities
    }
    ids, z, present, residual = encode_patients(run, tables)
    patients = Patients(ids, z, present, residual, tables, raw.facts, raw.facts_source)
    return with_settings(run, patients, settings, tell)


def with_settings(
    run: Run,
    patients: Patients,
    settings: Sequence[str],
    tell: Callable[[str], None] = lambda line: None,
) -> Patients:
    """The patients with what is told of the run's covariates as the last column of their latents,
    and these covariates as if they were so (COLUMN=VALUE).

    Raises:
      InputError: as `covariates.with_values` does.
    """
    known = encode_covariates(run, patients.facts(lambda line: None), settings, tell)
    return patients._replace(z=with_column(patients.z[:, : len(run.modalities)], known))


def encode_covariates(
    run: Run, facts: pd.DataFrame, settings: Sequence[str], tell: Callable[[str], None]
) -> np.ndarray:
    """float32 [N, Q]: the run's covariates of these facts."""
    notes: list[str] = []
    known = run.covariates.encode(with_values(facts, settings, run.covariates), notes)
    for note in notes:
        tell(note)
    return known


def with_column(z: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Latents [N, M, D] with covariates [N, Q], where there are any, as their last column."""
    if not known.shape[1]:
        return z
    z = np.concatenate([z, np.zeros_like(z[:, :1])], axis=1)
    z[:, -1, : known.shape[1]] = known
    return z


def encode_patients(
    run: Run, tables: dict[str, pd.DataFrame]
) -> tuple[pd.Index, np.ndarray, np.ndarray, np.ndarray]:
    """The first four entries of `Patients`."""
    ids = pd.Index(sorted(set().union(*(table.index for table in tables.values()))))
    ids.name = "sample_id"
    z = np.zeros((len(ids), len(run.modalities), run.latents.z.shape[2]), np.float32)
    present, residual = np.zeros(z.shape[:2], bool), np.zeros(z.shape[:2], np.float32)
    for m, (name, table) in enumerate(tables.items()):
        if table.empty:
            continue
        rows, codec = ids.get_indexer(table.index), run.codecs[name]
        try:
            z[rows, m, : codec.width] = codec.encode(table)
            residual[rows, m] = codec.residual(table)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        present[rows, m] = True
    return ids, z, present, residual


def to_generate(
    run: Run, present: np.ndarray, targets: Sequence[str] = (), regenerate: bool = False
) -> dict[str, np.ndarray]:
    """Target -> positions of the patients to generate it for, each with at least one source."""
    wanted = {}
    for target in targets or run.modalities:
        m = run.index(target)
        has_source = np.delete(present, m, axis=1).any(axis=1)
        rows = np.flatnonzero(has_source & (regenerate | ~present[:, m]))
        if len(rows):
            wanted[target] = rows
    return wanted


def shown_sources(run: Run, present: np.ndarray, target: int) -> str:
    """The modalities that a patient was generated from, as `cna+rna`."""
    return "+".join(name for i, name in enumerate(run.modalities) if present[i] and i != target)
