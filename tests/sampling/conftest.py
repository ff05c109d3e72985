"""Stricter than elsewhere: no key is used twice, no dtype is promoted unasked."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def strict():
    with jax.debug_key_reuse(True), jax.numpy_dtype_promotion("strict"):
        yield
