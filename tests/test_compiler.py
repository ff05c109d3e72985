"""Numbers of compiled programs that XLA for CPUs has got wrong."""

import jax
import jax.numpy as jnp
import numpy as np

import cohgen_jax


def test_products_of_many_rows_are_right():
    """Wrong from jaxlib 0.10.2 on, unless `cohgen_jax` is imported before anything is computed."""
    assert cohgen_jax.__version__
    rows = np.zeros((32769, 3), np.float32)
    rows[:, 0] = np.arange(len(rows))
    squares = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(rows)
    np.testing.assert_allclose(squares, (rows**2).sum(axis=1), rtol=1e-6)
