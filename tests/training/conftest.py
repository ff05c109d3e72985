"""Stricter than elsewhere: no key is used twice; and, where a module asks for it (what is ours of a
training step, without the optimiser), no dtype is promoted unasked."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def no_key_twice():
    with jax.debug_key_reuse(True):
        yield


@pytest.fixture(scope="module")
def strict_dtypes():
    with jax.numpy_dtype_promotion("strict"):
        yield
