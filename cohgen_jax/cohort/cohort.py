"""A cohort: several tables of the same patients, with holes.

Axes: N samples, M modalities, F features of one modality. present: 1 = the sample has the assay.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cohgen_jax.cohort.kinds import Kind, kind_of_table
from cohgen_jax.cohort.sparse import take_rows
from cohgen_jax.errors import InputError

SPLITS = ("train", "val", "test")
SET_ASIDE = "ood"
"""The split of samples that are like no sample of the others: see `set_aside`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a table came from, as far as its reader tells."""

    file: str = ""
    orientation: str = ""
    """Where the samples go in it: "down" or "across"."""
    id_column: str = ""
    """In words, where their ids are."""
    features: int | None = None
    """How many it has, before any was left out."""


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Aligned tables, who has what, and which side of the split each sample is on."""

    name: str
    modalities: tuple[str, ...]
    tables: dict[str, pd.DataFrame]
    """Modality -> float32 raw values, index sample_id; a sample without the assay has no row, a
    missing cell is NaN."""
    samples: pd.DataFrame
    """Index sample_id [N]; columns patient_id, split ("train", "val" or "test"), then labels:
    cancer_type, stage, os_event (0/1), os_days (days) and whatever else was given."""
    units: dict[str, str] = dataclasses.field(default_factory=dict)
    """Modality -> what its numbers are, in words."""
    kinds: dict[str, Kind] = dataclasses.field(default_factory=dict)
    """Modality -> kind of its values; those not given are read off the values."""
    notes: tuple[str, ...] = ()
    """What was done to arrive at these tables, in plain sentences."""
    origins: dict[str, Origin] = dataclasses.field(default_factory=dict)
    """Modality, and "samples" for what else is known -> where its table came from."""
    label_columns: dict[str, str] = dataclasses.field(default_factory=dict)
    """Label -> the column that it was read from, as it is spelt there."""

    def __post_init__(self):
        if set(self.modalities) != set(self.tables):
            raise InputError(
                f"modalities {self.modalities} and tables {tuple(self.tables)} do not match"
            )
        for modality, table in self.tables.items():
            stray = table.index.difference(self.samples.index)
            if len(stray):
                raise InputError(f"{modality}: {len(stray)} rows are not in samples: {stray[0]!r}")
        kinds = {m: self.kinds.get(m) or kind_of_table(t) for m, t in self.tables.items()}
        object.__setattr__(self, "kinds", kinds)  # as the dataclass itself sets what is frozen

    @functools.cached_property
    def present(self) -> np.ndarray:
        """bool [N, M]: which sample has which modality."""
        ids = self.samples.index
        return np.stack([ids.isin(self.tables[m].index) for m in self.modalities], axis=1)

    def rows(self, split: str) -> np.ndarray:
        """int [n]: positions in `samples` of one side of the split."""
        known = (*SPLITS, SET_ASIDE)
        if split not in known:
            raise InputError(f"unknown split {split!r}; known: {', '.join(known)}")
        return np.flatnonzero(self.samples["split"].to_numpy() == split)

    def table(self, modality: str, split: str | None = None) -> pd.DataFrame:
        """One modality's rows in the order of `samples`: all, or those of one side of the split."""
        if modality not in self.tables:
            raise InputError(f"unknown modality {modality!r}; known: {', '.join(self.modalities)}")
        table = self.tables[modality]
        ids = self.samples.index if split is None else self.samples.index[self.rows(split)]
        return take_rows(table, table.index.get_indexer(ids[ids.isin(table.index)]))

    def values(self, modality: str) -> np.ndarray:
        """float32 [N, F]: one modality aligned with `samples`, NaN where absent or missing."""
        aligned = self.table(modality).reindex(self.samples.index)
        return aligned.to_numpy(dtype=np.float32)

    def subset(self, sample_ids: Sequence[str]) -> "Cohort":
        """The cohort of these samples only, in the order given."""
        unknown = [i for i in sample_ids if i not in self.samples.index]
        if unknown:
            raise InputError(f"{len(unknown)} unknown sample ids, first {unknown[0]!r}")
        samples = self.samples.loc[list(sample_ids)]
        kept = {
            m: t.loc[samples.index[samples.index.isin(t.index)]] for m, t in self.tables.items()
        }
        return dataclasses.replace(self, tables=kept, samples=samples)

    def summary(self) -> pd.DataFrame:
        """Samples of each split that have each modality, all of them, and any."""
        counts = {}
        for split in SPLITS:
            present = self.present[self.rows(split)]
            counts[split] = [*present.sum(axis=0), present.all(axis=1).sum(), len(present)]
        return pd.DataFrame(counts, index=pd.Index([*self.modalities, "complete", "all samples"]))
