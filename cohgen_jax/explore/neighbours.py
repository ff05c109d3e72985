"""Who of the run is like a patient, in latent space; and a map of everybody.

Distance  root mean square difference of the components of the assays that both have, in natural
          scale (z * scale), over sqrt(2): two training patients at random are at about 1
Map       the first two principal components of the training patients, of one modality
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.runs.patients import Patients
from cohgen_jax.runs.run import Run

NUM_NEIGHBOURS = 12


class LatentMap(NamedTuple):
    """Of one modality."""

    centre: np.ndarray  # [D]
    directions: np.ndarray  # [2, D]
    labels: tuple[str, str]
    """Of the axes, with the share of variation that they hold."""

    def place(self, natural: np.ndarray) -> np.ndarray:
        """[n, 2] of latents in natural scale [n, D]."""
        return (natural - self.centre) @ self.directions.T


def latent_map(run: Run, modality: str) -> LatentMap | None:
    """None where fewer than three training patients have it."""
    m = run.index(modality)
    rows = run.rows("train")
    own = natural(run, run.latents.z[rows[run.latents.present[rows, m]]])[:, m]
    if len(own) < 3 or own.shape[1] < 2:
        return None
    centre = own.mean(axis=0)
    _, singular, directions = np.linalg.svd(own - centre, full_matrices=False)
    share = singular**2 / np.sum(singular**2)
    first, second = (f"component {i + 1} ({share[i]:.0%} of variation)" for i in range(2))
    return LatentMap(centre, directions[:2], (first, second))


def natural(run: Run, z: np.ndarray) -> np.ndarray:
    """float32 [N, M, D]: latents of the assays in natural scale; 0 where absent."""
    return z[:, : len(run.modalities)] * run.latents.scale[None]


def neighbours(run: Run, patient: Patients) -> pd.DataFrame:
    """The nearest patients of the run, nearest first, without the patient itself.

    Those who have every assay that the patient has, if there are enough; otherwise whoever shares
    one. patient: of N = 1.

    Returns:
      Index sample_id; columns distance, shared (assays compared, as `cna+rna`), then split and
      cancer_type as far as the run knows them.
    """
    shared = run.latents.present & patient.present
    shared[run.samples.index == patient.ids[0]] = False
    whole = shared.sum(axis=1) == patient.present.sum()
    rows = np.flatnonzero(whole if whole.sum() >= NUM_NEIGHBOURS else shared.any(axis=1))
    off = natural(run, run.latents.z[rows]) - natural(run, patient.z)
    widths = run.latents.widths[: len(run.modalities)]
    of_assay = np.square(off).sum(axis=2) / widths[None]
    mean = (of_assay * shared[rows]).sum(axis=1) / shared[rows].sum(axis=1)
    distance = np.sqrt(mean / 2)
    nearest = np.argsort(distance, kind="stable")[:NUM_NEIGHBOURS]
    rows = rows[nearest]
    names = np.array(run.modalities, dtype=object)
    table = pd.DataFrame(
        {
            "distance": distance[nearest],
            "shared": ["+".join(names[own]) for own in shared[rows]],
        },
        index=run.samples.index[rows],
    )
    known = [c for c in ("split", "cancer_type") if c in run.samples]
    return table.join(run.samples.iloc[rows][known])
