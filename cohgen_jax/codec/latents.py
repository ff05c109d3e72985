"""A cohort in latent space. Axes: N samples, M modalities, D padded width that they share."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from cohgen_jax.codec.codec import Codec
from cohgen_jax.cohort.cohort import Cohort
from cohgen_jax.errors import InputError


class Latents(NamedTuple):
    """A cohort in latent space; rows as in `Cohort.samples`."""

    z: np.ndarray
    """float32 [N, M, D], standardised; 0 where absent and beyond a narrower width. With covariates,
    which everybody has, [N, M + 1, D]: these are the last column."""
    present: np.ndarray  # bool [N, M]
    widths: np.ndarray  # int [M], or [M + 1] with covariates
    modalities: tuple[str, ...]
    scale: np.ndarray  # float32 [M, D], `Codec.scale`; 0 beyond a narrower width


def encode_cohort(cohort: Cohort, codecs: Mapping[str, Codec]) -> Latents:
    """Every sample as latents of one padded width, modalities in the order of the codecs.

    A modality that the cohort does not have is absent for every sample.
    """
    lacking = [m for m in cohort.modalities if m not in codecs]
    if lacking:
        raise InputError(f"no codec for {lacking[0]!r}; there are codecs for {', '.join(codecs)}")
    ids = cohort.samples.index
    widths = np.array([codec.width for codec in codecs.values()])
    z = np.zeros((len(ids), len(codecs), widths.max()), dtype=np.float32)
    present = np.zeros(z.shape[:2], dtype=bool)
    for j, (modality, codec) in enumerate(codecs.items()):
        if modality not in cohort.modalities or cohort.tables[modality].empty:
            continue
        table = cohort.table(modality)
        present[:, j] = ids.isin(table.index)
        try:
            z[present[:, j], j, : codec.width] = codec.encode(table)
        except InputError as error:
            raise InputError(f"{modality}: {error}") from error
    return Latents(z, present, widths, tuple(codecs), padded_scale(codecs))


def padded_scale(codecs: Mapping[str, Codec]) -> np.ndarray:
    """float32 [M, D]: the scales of the codecs, in their order."""
    scale = np.zeros((len(codecs), max(codec.width for codec in codecs.values())), np.float32)
    for j, codec in enumerate(codecs.values()):
        scale[j, : codec.width] = codec.scale
    return scale


def with_covariates(latents: Latents, encoded: np.ndarray) -> Latents:
    """Latents with the covariates [N, Q] as one more column of z, padded as the others are."""
    num_known, dim = encoded.shape[1], max(latents.z.shape[2], encoded.shape[1])
    if not num_known:
        return latents
    column = np.pad(encoded.astype(np.float32), ((0, 0), (0, dim - num_known)))
    wider = dim - latents.z.shape[2]
    z = np.pad(latents.z, ((0, 0), (0, 0), (0, wider)))
    return latents._replace(
        z=np.concatenate([z, column[:, None]], axis=1),
        widths=np.append(latents.widths, num_known),
        scale=np.pad(latents.scale, ((0, 0), (0, wider))),
    )
