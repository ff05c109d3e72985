"""Codecs: raw tables <-> standardised latents, one for each modality."""

from cohgen_jax.codec.codec import Codec
from cohgen_jax.codec.config import PUBLISHED, CodecConfig, published_config
from cohgen_jax.codec.fit import fit_codec, fit_codecs
from cohgen_jax.codec.latents import Latents, encode_cohort, padded_scale, with_covariates
from cohgen_jax.codec.store import load_codecs, save_codecs

__all__ = [
    "PUBLISHED",
    "Codec",
    "CodecConfig",
    "Latents",
    "encode_cohort",
    "fit_codec",
    "fit_codecs",
    "load_codecs",
    "padded_scale",
    "published_config",
    "save_codecs",
    "with_covariates",
]
