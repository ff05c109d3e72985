"""Drawing missing modalities: banks of models, consensus, rejection, cascades."""

from cohgen_jax.sampling.bank import Bank, Group
from cohgen_jax.sampling.cascade import cascade, complete
from cohgen_jax.sampling.coherent import RecordedNoise, Rejection, Samples, coherent_sample
from cohgen_jax.sampling.consensus import combine, consensus_weights, disagreement
from cohgen_jax.sampling.generate import bank_generator, sample_rows
from cohgen_jax.sampling.stacking import Moments

__all__ = [
    "Bank",
    "Group",
    "Moments",
    "RecordedNoise",
    "Rejection",
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
