"""Coherent cross-modal generation of missing biomedical assays, in JAX.

    from cohgen_jax import Bank, coherent_sample, ddim, linear_schedule     # the sampler alone
    from cohgen_jax import CohortModel                                      # tables in, tables out
    from cohgen_jax import open_run, recipe, train_run                      # whole experiments

The packages, from the bottom up: `schedule`, `networks`, `solvers`, `sampling`, `cohort`, `codec`,
`training`, `evaluation`; `interop` reads the published PyTorch models. A name below is imported
when it is first used, so that importing the package costs nothing that is not needed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import sys
import warnings
from typing import Any

_HOME = {
    "Bank": "sampling",
    "Cohort": "cohort",
    "CodecConfig": "codec",
    "CohortModel": "estimator",
    "DiffusionConfig": "training",
    "ExperimentConfig": "runs.config",
    "InputError": "errors",
    "NetworkConfig": "networks",
    "RecordedNoise": "sampling",
    "Rejection": "sampling",
    "Sampler": "sampling",
    "SamplerConfig": "sampling",
    "Samples": "sampling",
    "Schedule": "schedule",
    "Solver": "solvers",
    "SolverConfig": "solvers",
    "TrainConfig": "training",
    "cascade": "sampling",
    "coherent_sample": "sampling",
    "complete": "sampling",
    "cosine_schedule": "schedule",
    "ddim": "solvers",
    "ddpm": "solvers",
    "demo_cohort": "cohort",
    "dpmpp_2m": "solvers",
    "evaluate_run": "evaluation.of_run",
    "export_run": "sharing.export",
    "impute_tables": "runs.impute",
    "linear_schedule": "schedule",
    "load_cohort": "cohort",
    "load_published_results": "interop",
    "open_run": "runs.run",
    "recipe": "runs.config",
    "train_run": "runs.train",
}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]
__version__ = "0.2.0"

_WRONG_FUSION, _TRITON = "xla_cpu_experimental_ynn_fusion_type", "xla_gpu_enable_triton_gemm"
_LEVEL = "xla_backend_optimization_level"
_FLAGS = {
    _WRONG_FUSION: ("", (0, 10, 2), (0, 12)),
    _TRITON: ("false", (0, 6), (0, 12)),
    _LEVEL: ("2", (0, 6), (0, 12)),
}
"""XLA's flag -> our value, and the versions of jaxlib, from and below, that are known to have it:
one that XLA does not know ends the process."""


def _set_compiler_flags() -> None:
    """Compile without a fusion for CPUs that returns wrong numbers, for GPUs without Triton's
    products, and without LLVM's third level of optimisation, where this jaxlib has them and the
    environment does not say otherwise.

    From jaxlib 0.10.2 on, some batched products of many rows are silently wrong on CPUs
    (jax-ml/jax#39103): three networks that are each right diverge as one batch. XLA reads the flag
    when it first computes; whoever did that before importing this package is warned. On GPUs XLA
    compiles and times dozens of Triton kernels for every product: a program of our networks took 9
    to 18 s where cuBLAS alone takes 2 to 4 and runs as fast. LLVM's third level of optimisation
    takes longer to compile than it spares, except in long training (both in benchmarks/README.md).
    """
    given = os.environ.get("XLA_FLAGS", "")
    numbers = re.findall(r"\d+", importlib.metadata.version("jaxlib"))
    version = tuple(map(int, numbers[:3]))
    added = [
        f"--{flag}={value}"
        for flag, (value, since, until) in _FLAGS.items()
        if since <= version < until and flag not in given
    ]
    os.environ["XLA_FLAGS"] = " ".join([given, *added]).strip()
    late = getattr(sys.modules.get("jax._src.xla_bridge"), "_backends", None)
    if late and f"--{_WRONG_FUSION}=" in added:
        warnings.warn(
            "JAX has computed before cohgen_jax was imported: on CPUs this jaxlib may return wrong "
            f"numbers. Import cohgen_jax first, or set XLA_FLAGS=--{_WRONG_FUSION}=",
            stacklevel=2,
        )


_set_compiler_flags()
# OpenBLAS reads this when NumPy loads it. After a product its threads look for more work, for 2**26
# ticks by default, tens of milliseconds, in which XLA has so many cores less: let them sleep.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
