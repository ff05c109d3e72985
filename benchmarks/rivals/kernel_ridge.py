"""Kernel ridge: the library's baseline (cohgen_jax/baselines/regression.py)."""

from benchmarks.rivals.protocol import Fitted, Known
from benchmarks.rivals.regressions import Patterns
from cohgen_jax.baselines import kernel_ridge


def fit(known: Known) -> Fitted:
    return Patterns(known, kernel_ridge)
