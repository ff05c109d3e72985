"""Drawing missing modalities: banks of models, consensus, rejection, cascades."""

from cohgen_jax.sampling.bank import Bank, Group
from cohgen_jax.sampling.cascade import cascade, complete
from cohgen_jax.sampling.coherent import Sampler, Samples, coherent_sample
from cohgen_jax.sampling.config import Rejection, SamplerConfig
from cohgen_jax.sampling.consensus import combine, consensus_weights, disagreement
from cohgen_jax.sampling.generate import bank_generator, sample_rows
from cohgen_jax.sampling.noise import RecordedNoise
from cohgen_jax.sampling.stacking import Moments

__all__ = [
    "Bank",
    "Group",
    "Moments",
    "RecordedNoise",
    "Rejection",
    "Sampler",
    "SamplerConfig",
    "Samples",
    "bank_generator",
    "cascade",
    "coherent_sample",
    "combine",
    "complete",
    "consensus_weights",
    "disagreement",
    "sample_rows",
]
