"""Models of multivae on leading components, the covariates as one more modality that all have.

Components are in natural scale: reconstruction counts each by its share of the table's variance.
"""

from __future__ import annotations

import types
from collections.abc import Callable

import numpy as np

from benchmarks.rivals.protocol import Known, Patients
from cohgen_jax.baselines.vae import MIN_VAL, Kind, multimodal_vae

COMPONENTS = 64
SET_ASIDE = 5
"""Where fewer than MIN_VAL validation patients have a table, every fifth training patient joins
them and is not trained on."""


class Vae:
    """Generators of all tables from one model."""

    space = "components"

    def __init__(self, known: Known, kind: Kind) -> None:
        _without_torchvision()
        names = known.modalities
        self.widths = [known.leading(m, COMPONENTS) for m in range(len(names))]
        train, val = known.train, known.val
        if (known.patients.present[val].sum(axis=0) < MIN_VAL).any():
            val = np.concatenate([val, train[::SET_ASIDE]])
            train = np.setdiff1d(train, val)
        z, present = self._seen(known.patients)
        count = known.patients.covariates.shape[1]
        latents = types.SimpleNamespace(
            z=z,
            present=present,
            widths=np.array([*self.widths, count][: z.shape[1]]),
            modalities=(*names, "covariates")[: z.shape[1]],
        )
        self.generators = multimodal_vae(latents, train, val, kind=kind)
        self.names = names
        # Trained when a generator is first called, with whoever it is called.
        first = np.flatnonzero(known.patients.present.sum(axis=1) > 1)[:1]
        self.generators[names[0]](z[first], present[first], 2, 0)

    def prepare(self, target: int, given: Patients) -> None:
        pass

    def draw(self, target: int, given: Patients, num_draws: int, seed: int) -> np.ndarray:
        generate = self.generators[self.names[target]]
        drawn = generate(*self._seen(given), num_draws, seed).draws
        return drawn[..., : self.widths[target]]

    def _seen(self, patients: Patients) -> tuple[np.ndarray, np.ndarray]:
        """z [N, M or M + 1, D] and present, the covariates last where there are any."""
        num, count = patients.covariates.shape
        wide = max(*self.widths, count)
        blocks = [patients.components[:, m, :width] for m, width in enumerate(self.widths)] + [
            patients.covariates
        ] * (count > 0)
        z = np.zeros((num, len(blocks), wide), np.float32)
        for m, block in enumerate(blocks):
            z[:, m, : block.shape[1]] = block
        all_have = np.ones((num, len(blocks) - patients.present.shape[1]), bool)
        return z, np.concatenate([patients.present, all_have], axis=1)


def fitting(kind: Kind) -> Callable[[Known], Vae]:
    return lambda known: Vae(known, kind)


def _without_torchvision() -> None:
    """multivae imports torchvision, for images alone, and that fails to import beside a torch that
    was built otherwise, unless these operators have been declared."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)  # what it declares goes with it


_KEPT: list[object] = []
