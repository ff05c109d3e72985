"""Settings of every test: no silent broadcasting between ranks, full float32 products."""

import gc
import os
from pathlib import Path

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
# Accelerators round the factors of a float32 product by default; golden numbers are not rounded.
jax.config.update("jax_default_matmul_precision", "highest")
# Tracing makes many objects and little garbage: looking for it as often as Python does by default
# takes a tenth of the time.
gc.set_threshold(100_000, 20, 50)
# Most of a test's time is compilation: compile lightly, and keep what was compiled, since tests
# share programs. XLA reads its flags when it first computes; one that it does not know is fatal.
OPTIMISED = "COHGEN_TESTS_OPTIMISED"
LIGHTLY = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
CACHE = Path(__file__).parents[1] / ".pytest_cache" / "xla"
if OPTIMISED not in os.environ:
    if jax.__version_info__ < (0, 11):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {LIGHTLY}".strip()
    jax.config.update("jax_disable_most_optimizations", True)
    jax.config.update("jax_compilation_cache_dir", str(CACHE))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


try:
    enable_x64 = jax.enable_x64
except AttributeError:  # before 0.8
    from jax.experimental import enable_x64  # noqa: F401


LONG = (
    "test_kinds.py",
    "test_distributed.py",
    "test_patterns.py",
    "test_farm.py",
    "test_optimised.py",
    "test_front_door.py",
    "test_docs.py",
    "test_sharding.py",
    "test_resume.py",
    "test_extends.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that workers end together."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(autouse=True, scope="module")
def programs_of_one_module():
    """Compiled programs go with their module: each maps memory, and a process may map so much."""
    yield
    jax.clear_caches()
    gc.collect()
    gc.freeze()  # what is left, modules for the most part, stays
