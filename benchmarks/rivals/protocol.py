"""What a rival is given and what it gives back. NumPy alone: any environment imports this.

Axes    R draws, N patients, M modalities, D components (padded), F features of one modality, C
        columns of covariates, k leading components.
Units   `features` are normal scores of every feature, as the library's codec makes them, unknown
        cells of a measured table at their average; `components` are their principal components in
        natural scale, 0 where absent. What is drawn is either, and is put into the units of the
        tables by one and the same codec (scoring.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np


class Patients(NamedTuple):
    """Some patients and what is known of them."""

    components: np.ndarray  # float32 [N, M, D]
    features: dict[str, np.ndarray]  # modality -> float32 [N, F], NaN where absent
    covariates: np.ndarray  # float32 [N, C]: one-hot levels and standardised numbers
    present: np.ndarray  # bool [N, M]

    def of(self, rows: np.ndarray) -> Patients:
        """Some of them."""
        features = {name: values[rows] for name, values in self.features.items()}
        return Patients(self.components[rows], features, self.covariates[rows], self.present[rows])

    def hiding(self, modality: int) -> Patients:
        """The same patients without one table."""
        name = list(self.features)[modality]
        components, present = self.components.copy(), self.present.copy()
        components[:, modality], present[:, modality] = 0, False
        features = {**self.features, name: np.full_like(self.features[name], np.nan)}
        return Patients(components, features, self.covariates, present)


class Cohort(NamedTuple):
    """All patients, and which side of the split each is on."""

    patients: Patients
    widths: np.ndarray  # int [M]: components of each modality
    train: np.ndarray  # int: rows
    val: np.ndarray
    test: np.ndarray

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.patients.features)

    def known(self) -> Known:
        """What a rival may learn from: nobody who is held out."""
        patients = self.patients.of(np.concatenate([self.train, self.val]))
        sides = np.arange(len(self.train) + len(self.val))
        return Known(patients, self.widths, sides[: len(self.train)], sides[len(self.train) :])

    def asked(self, target: int) -> np.ndarray:
        """Rows of the held-out patients of whom the target is drawn: they have it, so that it can
        be judged, and another table, so that it can be drawn."""
        present = self.patients.present[self.test]
        return self.test[present[:, target] & (present.sum(axis=1) > 1)]

    def save(self, file: Path) -> None:
        """An .npz without pickles."""
        features = {f"features_{m}": x for m, x in self.patients.features.items()}
        rest = {name: getattr(self.patients, name) for name in _ARRAYS}
        sides = {name: getattr(self, name) for name in ("widths", "train", "val", "test")}
        np.savez(file, modalities=np.array(self.modalities), **features, **rest, **sides)


_ARRAYS = ("components", "covariates", "present")


def load(file: Path) -> Cohort:
    """What `Cohort.save` wrote."""
    with np.load(file, allow_pickle=False) as kept:
        features = {str(m): kept[f"features_{m}"] for m in kept["modalities"]}
        rest = {name: kept[name] for name in _ARRAYS}
        sides = {name: kept[name] for name in ("widths", "train", "val", "test")}
    return Cohort(Patients(features=features, **rest), **sides)


class Known(NamedTuple):
    """Training and validation patients."""

    patients: Patients
    widths: np.ndarray  # int [M]
    train: np.ndarray  # int: rows of `patients`
    val: np.ndarray

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.patients.features)

    def having(self, modality: int) -> np.ndarray:
        """Rows of the training patients who have a table."""
        return self.train[self.patients.present[self.train, modality]]

    def leading(self, modality: int, at_most: int) -> int:
        """How many components of a table a model of so many patients can carry."""
        few = len(self.having(modality)) // 3
        return int(max(1, min(at_most, self.widths[modality], few)))

    def inputs(self, given: Patients, target: int, at_most: int) -> np.ndarray:
        """float32 [N, P]: leading components of the other tables side by side, NaN where a patient
        lacks one, and the covariates."""
        blocks = []
        for m in range(len(self.modalities)):
            if m != target:
                block = given.components[:, m, : min(at_most, self.widths[m])]
                blocks.append(np.where(given.present[:, m, None], block, np.nan))
        return np.concatenate([*blocks, given.covariates], axis=1).astype(np.float32)


Space = Literal["features", "components"]


class Fitted(Protocol):
    """A rival that has seen the training patients."""

    space: Space
    """What `draw` returns: all features, or the leading components."""

    def prepare(self, target: int, given: Patients) -> None:
        """Fit whatever is of this target, or of these patients' patterns of tables, alone."""
        ...

    def draw(self, target: int, given: Patients, num_draws: int, seed: int) -> np.ndarray:
        """float32 [R, N, F or k] of patients whose target is hidden."""
        ...


Fit = Callable[[Known], Fitted]
"""What each rival's module calls `fit`."""
