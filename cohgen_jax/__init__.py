"""Coherent cross-modal generation of missing biomedical assays, in JAX.

    from cohgen_jax import Bank, coherent_sample, ddim, linear_schedule     # the sampler alone
    from cohgen_jax import open_run, recipe, train_run                      # whole experiments

The packages, from the bottom up: `schedule`, `networks`, `solvers`, `sampling`, `cohort`, `codec`,
`training`, `evaluation`; `interop` reads the published PyTorch models. A name below is imported
when it is first used, so that importing the package costs nothing that is not needed.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Bank": "sampling",
    "Cohort": "cohort",
    "CodecConfig": "codec",
    "DiffusionConfig": "training",
    "ExperimentConfig": "config",
    "InputError": "errors",
    "NetworkConfig": "networks",
    "RecordedNoise": "sampling",
    "Rejection": "sampling",
    "Samples": "sampling",
    "Schedule": "schedule",
    "Solver": "solvers",
    "SolverConfig": "training",
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
    "impute_tables": "impute",
    "linear_schedule": "schedule",
    "load_cohort": "cohort",
    "load_published_results": "interop",
    "open_run": "run",
    "recipe": "config",
    "train_run": "run",
}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
