"""Engression, of the package by its authors (cohgen_jax/baselines/energy_network.py)."""

from benchmarks.rivals.protocol import Fitted, Known
from benchmarks.rivals.regressions import Patterns
from cohgen_jax.baselines import engression


def fit(known: Known) -> Fitted:
    return Patterns(known, engression)
