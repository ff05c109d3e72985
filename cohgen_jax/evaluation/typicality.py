"""Is a patient like those that the models know? A check of the input, before anything is generated.

For each assay, the squared Mahalanobis distance of the patient's latent from the training patients,
ranked among those of the validation patients, who were not used in fitting either. The rank is a
conformal p-value (Vovk et al. 2005): of patients like them, a share p has a typicality of p or
less. Both ends count: latents too close to the centre are as wrong as those too far, and an empty
table looks like that. What a linear codec projects away is not seen: columns under each other's
names may pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cohgen_jax.run import Run

ATYPICAL = 0.05
"""Typicality at or below which an assay is flagged; so are 5 % of ordinary ones. With fewer than 39
validation patients nothing is: the least p-value is 2 / (n + 1)."""


def typicality(run: Run, z: np.ndarray, present: np.ndarray) -> np.ndarray:
    """float [N, M] in (0, 1]: two-sided p-value of each assay, NaN where absent.

    z: [N, M, D] latents as `run.codecs` encode them; present: bool [N, M].
    """
    latents, found = run.latents, np.full(present.shape, np.nan)
    for m, width in enumerate(latents.widths):
        train, reference = (
            latents.z[rows[latents.present[rows, m]], m, :width].astype(float)
            for rows in (run.rows("train"), run.rows("val"))
        )
        own = np.asarray(present[:, m], bool)
        if own.any():
            found[own, m] = p_values(train, reference, np.asarray(z, float)[own, m, :width])
    return found


def p_values(train: np.ndarray, reference: np.ndarray, new: np.ndarray) -> np.ndarray:
    """[N] two-sided, of new [N, D], against reference [n, D]; train [m, D] is what is usual."""
    from sklearn.covariance import LedoitWolf

    usual = LedoitWolf().fit(train)
    known, distance = np.sort(usual.mahalanobis(reference)), usual.mahalanobis(new)
    as_far = len(known) - np.searchsorted(known, distance, side="left")
    as_near = np.searchsorted(known, distance, side="right")
    return np.minimum(1.0, 2 * (1 + np.minimum(as_far, as_near)) / (1 + len(known)))
