"""What the analyses look at: latents of a cohort, and what is known about its patients.

Axes    N samples, n tested samples, M modalities, D latent width. Latents are standardised; with
        covariates, z has these as one more column, which every generator is shown.
Tested  samples of the test split that have every modality: what is taken away is known.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.cohort import stage_number
from cohgen_jax.errors import InputError

if TYPE_CHECKING:
    from cohgen_jax.codec import Latents
    from cohgen_jax.runs.run import Run

COMPONENTS = 32
"""Leading components of an assay that classifiers see, as published: forests, which choose among
features of unit variance, lose the large components among many small ones."""
MIN_TRAIN = 5
"""Training samples that a class needs, to be learnt at all."""
MIN_EVENTS = 10
"""Deaths that survival needs, among the training and among the tested samples."""


class NotPossible(InputError):
    """An analysis cannot be made of this run; the message names what it lacks."""


class Labels(NamedTuple):
    codes: np.ndarray
    """int [N]: class of each sample, -1 where unknown or too rare."""
    names: tuple[str, ...]
    """The classes, in order."""
    left_out: str
    """Who has no class and why, in words; empty when everyone has one."""


class Survival(NamedTuple):
    known: np.ndarray  # bool [N]
    event: np.ndarray  # bool [N], True = died
    days: np.ndarray  # float [N], from diagnosis to death or last contact; > 0 where known
    left_out: str


@dataclasses.dataclass(frozen=True)
class Study:
    """Latents `z` [N, M or M + 1, D] and `present` [N, M], and the table of samples of a run."""

    latents: Latents
    samples: pd.DataFrame
    """Index sample_id [N]; columns patient_id, split, and labels as `cohort.labels` names them."""
    covariates: tuple[str, ...] = ()
    """Columns that every generator knows: what is generated was told them, so that nothing that
    predicts them from it is a result."""

    @classmethod
    def of_run(cls, run: Run) -> Study:
        return cls(run.latents, run.samples, tuple(c.name for c in run.covariates.columns))

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.latents.modalities

    @functools.cached_property
    def train(self) -> np.ndarray:
        """int: positions of the training samples, with holes."""
        return np.flatnonzero(self.samples["split"].to_numpy() == "train")

    @functools.cached_property
    def test(self) -> np.ndarray:
        """int [n]: positions of the tested samples, without holes."""
        rows = np.flatnonzero(self.samples["split"].to_numpy() == "test")
        rows = rows[self.latents.present[rows].all(axis=1)]
        if len(rows) < 2:
            raise NotPossible(
                f"{len(rows)} test patients have every modality; what is taken away from a patient "
                "must be known to judge what is put in its place"
            )
        return rows

    @functools.cached_property
    def patients(self) -> np.ndarray:
        """int [N]: patient of each sample."""
        return np.unique(self.samples["patient_id"].to_numpy(str), return_inverse=True)[1]

    def has(self, modalities: Sequence[str]) -> np.ndarray:
        """bool [N]: who has all of these."""
        columns = [self.modalities.index(m) for m in modalities]
        return np.asarray(self.latents.present[:, columns].all(axis=1))

    @functools.cached_property
    def one_hot_type(self) -> np.ndarray:
        """float [N, types]: cancer type, all zero where unknown; no column without the label."""
        if "cancer_type" not in self.samples:
            return np.zeros((len(self.samples), 0))
        return pd.get_dummies(self.samples["cancer_type"]).to_numpy(float)

    def features(
        self,
        z: np.ndarray,
        rows: np.ndarray,
        modalities: Sequence[str] | None = None,
        *,
        missing: Sequence[str] = (),
        with_type: bool = True,
    ) -> np.ndarray:
        """float [n, F]: leading latents of the modalities side by side, then the cancer type.

        z: [n, M, D], of the samples at `rows`. `missing` modalities are NaN.
        """
        parts = []
        for modality in self.modalities if modalities is None else modalities:
            m = self.modalities.index(modality)
            block = _leading(self.latents, z, m)
            parts.append(np.full_like(block, np.nan) if modality in missing else block)
        return np.hstack([*parts, *([self.one_hot_type[rows]] if with_type else [])])

    def labels(self, column: str, *, tested: bool = True) -> Labels:
        """The classes of a column: "stage" (I to IV) or any column of names, numbers or truths.

        tested: whether the classes are to be told apart among the tested samples too.

        Raises:
          NotPossible: no such column, fewer than two classes to learn (and test), or a covariate
            that is to be tested.
        """
        if tested:
            self._refuse_told(column)
        if column not in self.samples:
            raise NotPossible(f"this run has no {column!r}: samples.csv had no such column")
        if column == "stage":
            numbers = stage_number(self.samples[column])
            values = numbers.map({1: "I", 2: "II", 3: "III", 4: "IV"}).to_numpy(object)
        else:
            # Numbers without fraction are whole ones: a missing value makes a column of floats.
            values = self.samples[column].convert_dtypes().to_numpy(object)
        unknown = pd.isna(values)
        values = np.array([None if pd.isna(v) else str(v) for v in values], object)
        training = pd.Series(values[self.train]).value_counts()
        names = tuple(sorted(str(v) for v, count in training.items() if count >= MIN_TRAIN))
        codes = pd.Categorical(values, names).codes.astype(int)
        counted = [f"{len(names)} classes with {MIN_TRAIN} training patients"]
        fewest = len(names)
        if tested:
            seen = len(set(codes[self.test]) - {-1})
            counted.append(f"{seen} among the tested ones")
            fewest = min(fewest, seen)
        if fewest < 2:
            raise NotPossible(f"{column}: {' and '.join(counted)}; 2 are needed")
        reasons = [f"{unknown.sum()} samples without {column}"] * bool(unknown.any())
        rare = int(((codes < 0) & ~unknown).sum())
        reasons += [f"{rare} of a {column} with fewer than {MIN_TRAIN} to train on"] * bool(rare)
        return Labels(codes, names, " and ".join(reasons))

    def _refuse_told(self, *columns: str) -> None:
        told = [column for column in columns if column in self.covariates]
        if told:
            raise NotPossible(
                f"{told[0]}: left out, since every model was told it (it is a covariate of the "
                "run): generated assays cannot be said to predict it"
            )

    def survival(self, *, tested: bool = True) -> Survival:
        """Overall survival; samples with a time of zero or without time or event are left out.

        tested: whether the tested samples need deaths too.

        Raises:
          NotPossible: no survival columns, too few deaths, or survival is a covariate.
        """
        if tested:
            self._refuse_told("os_event", "os_days")
        lacking = [c for c in ("os_event", "os_days") if c not in self.samples]
        if lacking:
            raise NotPossible(f"this run has no {' and no '.join(lacking)}")
        event = self.samples["os_event"].to_numpy(float)
        days = self.samples["os_days"].to_numpy(float)
        unknown, zero = np.isnan(event) | np.isnan(days), days <= 0
        known = ~unknown & ~zero
        sides = [("training", self.train), *([("tested", self.test)] if tested else [])]
        for what, rows in sides:
            deaths = int((known & (event == 1))[rows].sum())
            if deaths < MIN_EVENTS:
                raise NotPossible(
                    f"survival: {deaths} deaths among the {what} patients; {MIN_EVENTS} are needed"
                )
        reasons = [f"{unknown.sum()} samples without survival time or event"] * bool(unknown.any())
        reasons += [f"{zero.sum()} with a survival time of zero"] * bool(zero.any())
        return Survival(known, known & (event == 1), days, " and ".join(reasons))


def open_gaps(latents: Latents, z: np.ndarray, present: np.ndarray) -> np.ndarray:
    """float [n, F]: leading latents of [n, M, D] side by side, NaN where not present [n, M]."""
    blocks = [
        np.where(here[:, None], _leading(latents, z, m), np.nan) for m, here in enumerate(present.T)
    ]
    return np.hstack(blocks)


def _leading(latents: Latents, z: np.ndarray, m: int) -> np.ndarray:
    """float [n, at most COMPONENTS] of modality m, from latents [n, M, D]."""
    return z[:, m, : min(latents.widths[m], COMPONENTS)].astype(float)
