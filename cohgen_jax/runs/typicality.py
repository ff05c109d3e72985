"""Is a patient like those that the models know? A check of the input, before anything is generated.

Two numbers say how unusual an assay is:

distance   squared Mahalanobis distance of its latent from the training patients. Both ends count:
           latents too close to the centre are as wrong as those too far, and an empty table looks
           like that
residual   what the codec does not bring back of it (`Codec.residual`). Columns under each other's
           names lie where the codec does not look, and their latents may pass

Each is ranked among those of the validation patients, who were not used in fitting either. The rank
is a conformal p-value (Vovk et al. 2005): of patients like them, a share p has a p-value of p or
less. The typicality is twice the smaller of the two (Bonferroni).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from cohgen_jax.runs.run import Run

ATYPICAL = 0.05
"""Typicality at or below which an assay is flagged; so are at most 5 % of ordinary ones. The least
p-value is 2 / (n + 1), or twice that by its distance alone: with fewer than 39 validation patients
nothing is flagged, with fewer than 79 only what the codec does not bring back."""


def typicality(
    run: Run, z: np.ndarray, present: np.ndarray, residual: np.ndarray | None = None
) -> np.ndarray:
    """float [N, M] in (0, 1]: p-value of each assay, NaN where absent.

    z: [N, M, D] latents as `run.codecs` encode them, or with covariates; present: bool [N, M];
    residual: [N, M] of the same codecs. Without it, or in a run that knows none of validation
    patients, distances decide.
    """
    p_values = np.full(present.shape, np.nan)
    for m, name in enumerate(run.modalities):
        measured = np.asarray(present[:, m], bool)
        if not measured.any():
            continue
        usual = run.usual.get(name) or usual_of(run, m)
        p = usual.p_values(np.asarray(z, float)[measured, m, : len(usual.location)])
        if residual is not None and name in run.residuals:
            foreign = upper_p_values(run.residuals[name], residual[measured, m])
            p = np.minimum(1.0, 2 * np.minimum(p, foreign))
        p_values[measured, m] = p
    return p_values


class Usual(NamedTuple):
    """What is usual of an assay."""

    location: np.ndarray  # [D], mean of the training patients
    precision: np.ndarray  # [D, D], inverse of their shrunk covariance
    distances: np.ndarray  # [n], of validation patients, increasing

    @classmethod
    def fit(cls, train: np.ndarray, reference: np.ndarray) -> Usual:
        """From latents of training patients [m, D] and of validation patients [n, D]."""
        from sklearn.covariance import LedoitWolf

        fitted = LedoitWolf().fit(train)
        location, precision = np.asarray(fitted.location_), np.asarray(fitted.get_precision())
        usual = cls(location, precision, np.zeros(0))
        return usual._replace(distances=np.sort(usual.distance(reference)))

    def distance(self, z: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distances [N] of latents [N, D]."""
        off = z - self.location
        return np.einsum("nd,nd->n", off @ self.precision, off)

    def p_values(self, z: np.ndarray) -> np.ndarray:
        """[N] in (0, 1], two-sided, of latents [N, D]."""
        known, distance = self.distances, self.distance(z)
        either = np.minimum(upper_p_values(known, distance), upper_p_values(-known, -distance))
        return np.minimum(1.0, 2 * either)


def usual_of(run: Run, modality: int) -> Usual:
    """What the training and validation patients of a run say is usual of one of its modalities."""
    latents, width = run.latents, int(run.latents.widths[modality])
    train, reference = (
        latents.z[rows[latents.present[rows, modality]], modality, :width].astype(float)
        for rows in (run.rows("train"), run.rows("val"))
    )
    return Usual.fit(train, reference)


def upper_p_values(reference: np.ndarray, new: np.ndarray) -> np.ndarray:
    """[N]: the share of reference values [n] and the new one that are as large as new [N]."""
    known = np.sort(reference)
    as_large = len(known) - np.searchsorted(known, new, side="left")
    return (1 + as_large) / (1 + len(known))
