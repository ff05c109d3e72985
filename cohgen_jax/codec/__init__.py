"""Codecs: raw tables <-> standardised latents, one for each modality."""

from cohgen_jax.codec.codec import Codec, Latents, encode_cohort, fit_codec, fit_codecs
from cohgen_jax.codec.config import CodecConfig, published_config
from cohgen_jax.codec.store import load_codecs, save_codecs

__all__ = [
    "Codec",
    "CodecConfig",
    "Latents",
    "encode_cohort",
    "fit_codec",
    "fit_codecs",
    "load_codecs",
    "published_config",
    "save_codecs",
]
