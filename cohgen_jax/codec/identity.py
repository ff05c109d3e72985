"""The codec of tables that are latents already: what goes in comes out.

For the published system's processed files, which hold standardised latents and no way back to the
assays. Columns keep their order, so that networks trained on these files see what they knew.
"""

import numpy as np
import pandas as pd

from cohgen_jax.codec.codec import Codec
from cohgen_jax.codec.config import CodecConfig
from cohgen_jax.codec.pca import Pca
from cohgen_jax.codec.preprocess import Preprocess
from cohgen_jax.errors import InputError, shown

LARGEST_MEAN, LARGEST_SD = 0.5, 2.0
"""Of a column over the training samples; latents are of mean 0 and variance 1."""


def identity_codec(train: pd.DataFrame, config: CodecConfig) -> Codec:
    """Latents are the columns; an unknown cell becomes the column's median.

    Raises:
      InputError: columns that are no standardised latents, which models would not learn from.
    """
    values = train.to_numpy(np.float32)
    with np.errstate(all="ignore"):
        mean, sd = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    foreign = ~((np.abs(mean) <= LARGEST_MEAN) & (sd <= LARGEST_SD))
    if foreign.any():
        raise InputError(
            f"codec.kind identity takes standardised latents (mean 0, variance 1 on train); "
            f"{shown([str(c) for c in train.columns[foreign]])} are not: use codec.kind pca"
        )
    num = values.shape[1]
    zeros, ones = np.zeros(num, np.float32), np.ones(num, np.float32)
    return Codec(
        config=config,
        preprocess=Preprocess(
            features=tuple(train.columns),
            mean=zeros,
            sd=ones,
            median=np.nanmedian(values, axis=0).astype(np.float32),
            reference=None,
            kinds=("continuous",) * num,
        ),
        reducer=Pca(zeros, np.eye(num, dtype=np.float32)),
        latent_mean=zeros,
        latent_sd=ones,
        scale=ones,
        kept=ones,
        rest=None,
    )
