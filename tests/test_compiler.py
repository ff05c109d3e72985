"""Numbers of compiled programs that XLA for CPUs has got wrong."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cohgen_jax

TRITON, LEVEL = "--xla_gpu_enable_triton_gemm=", "--xla_backend_optimization_level="


def test_products_of_many_rows_are_right():
    """Wrong from jaxlib 0.10.2 on, unless `cohgen_jax` is imported before anything is computed."""
    assert cohgen_jax.__version__
    rows = np.zeros((32769, 3), np.float32)
    rows[:, 0] = np.arange(len(rows))
    squares = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(rows)
    np.testing.assert_allclose(squares, (rows**2).sum(axis=1), rtol=1e-6)


@pytest.mark.skipif("ynn" not in os.environ.get("XLA_FLAGS", ""), reason="this jaxlib is right")
@pytest.mark.parametrize("late", [True, False])
def test_who_computes_before_importing_is_warned(late):
    lines = ["jax.numpy.ones(2)", "import cohgen_jax"]
    script = "; ".join(["import jax", *(lines if late else lines[::-1])])
    environment = {name: v for name, v in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("Import cohgen_jax first" in done.stderr) == late


@pytest.mark.parametrize(
    "own", [{}, {"OPENBLAS_THREAD_TIMEOUT": "9", "XLA_FLAGS": f"{TRITON}true {LEVEL}3"}]
)
def test_settings_of_the_environment_are_respected(own):
    names = "OPENBLAS_THREAD_TIMEOUT", "XLA_FLAGS"
    script = f"import cohgen_jax, os; print(*[os.environ[name] for name in {names}])"
    unset = {name: value for name, value in os.environ.items() if name not in names}
    said = subprocess.check_output([sys.executable, "-c", script], env=unset | own, text=True)
    assert said.split()[0] == own.get("OPENBLAS_THREAD_TIMEOUT", "4")
    assert (TRITON + ("true" if own else "false")) in said
    assert (LEVEL + ("3" if own else "2")) in said
    assert said.count(TRITON) == said.count(LEVEL) == 1
