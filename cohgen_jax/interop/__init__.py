"""What others hold: PyTorch parameters and published results, without PyTorch; MuData, tfds."""

from cohgen_jax.interop.convert import autoencoder_from_torch, denoiser_from_torch
from cohgen_jax.interop.published import PublishedModel, PublishedRun, load_published_results
from cohgen_jax.interop.torch_pickle import load_torch_checkpoint

__all__ = [
    "PublishedModel",
    "PublishedRun",
    "autoencoder_from_torch",
    "denoiser_from_torch",
    "load_published_results",
    "load_torch_checkpoint",
]
