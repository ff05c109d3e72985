"""Cascades: a generated modality conditions the next one.

With two modalities missing, generate one from what is there, then the other from what is there
and the first; the order matters, and the published evaluation runs both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cohgen_jax.errors import InputError
from cohgen_jax.sampling.generator import Generator
from cohgen_jax.seeds import seed_of


def cascade(
    generators: Mapping[str, Generator],
    modalities: Sequence[str],
    z: np.ndarray,
    present: np.ndarray,
    order: Sequence[str],
    num_draws: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Generate the modalities of `order` one after another, for every patient.

    Draw r of a modality is conditioned on draw r of those before it, so that the draws of a
    patient are joint samples. A modality in `order` is generated for all patients, whether
    they have it or not.

    Args:
      generators: target -> its generator. z: [N, M, D]; present: [N, M] bool.

    Returns:
      Target -> draws [R, N, D], in the order of `order`.
    """
    unknown = [m for m in order if m not in modalities or m not in generators]
    if unknown or len(set(order)) != len(order):
        raise InputError(
            f"order {', '.join(order)} must name different modalities of {', '.join(modalities)}"
        )
    columns = {m: i for i, m in enumerate(modalities)}
    z, present = z.copy(), present.copy()
    for target in order:
        present[:, columns[target]] = False
    num_samples = len(z)
    # Draws become rows: from the second modality on, every draw has its own conditions.
    z, present = np.tile(z, (num_draws, 1, 1)), np.tile(present, (num_draws, 1))
    results = {}
    for target in order:
        draws = generators[target](z, present, 1, seed_of(seed, target)).draws[0]
        z[:, columns[target], : draws.shape[1]] = draws
        present[:, columns[target]] = True
        results[target] = draws.reshape(num_draws, num_samples, -1)
    return results


def complete(
    generators: Mapping[str, Generator],
    modalities: Sequence[str],
    z: np.ndarray,
    present: np.ndarray,
    num_draws: int,
    seed: int,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Generate every missing modality from the present ones (imputing a training set).

    Patients may lack different modalities: each target is one call over those that lack it.
    Patients who have nothing at all are drawn unconditionally.

    Returns:
      Target -> (rows [n] that lack it, draws [R, n, D]); targets nobody lacks are left out.
    """
    results = {}
    for m, target in enumerate(modalities):
        rows = np.flatnonzero(~present[:, m])
        if len(rows):
            draws = generators[target](
                z[rows], present[rows], num_draws, seed_of(seed, target)
            ).draws
            results[target] = (rows, draws)
    return results
