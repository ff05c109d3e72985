"""Drawing missing modalities: banks of models, consensus, rejection, cascades."""

from cohgen_jax.sampling.bank import Bank, Group
from cohgen_jax.sampling.coherent import RecordedNoise, Rejection, Samples, coherent_sample
from cohgen_jax.sampling.consensus import combine, consensus_weights, disagreement

__all__ = [
    "Bank",
    "Group",
    "RecordedNoise",
    "Rejection",
    "Samples",
    "coherent_sample",
    "combine",
    "consensus_weights",
    "disagreement",
]
