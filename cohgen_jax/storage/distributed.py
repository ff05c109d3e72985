"""Several processes, on one host or many, that train one run together.

Every process runs the same program. Process 0 alone prints, logs, reads the cohort, fits codecs and
writes what is not a checkpoint; the others wait and read its result from the run directory, which
all can reach. Arrays of a farm are global: each process holds the parts on its own devices.

Imputation and evaluation need the others only to begin; after that they `leave` (parts.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from cohgen_jax.errors import InputError

PATIENCE = 7 * 24 * 3600
"""Seconds that the others wait while process 0 works; if it dies they are told at once."""

T = TypeVar("T")
_turn = itertools.count()


class Share(NamedTuple):
    """Which of how many processes this is."""

    index: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        return self.index == 0


def start(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> Share:
    """Join the other processes, before anything else is asked of JAX.

    Without arguments JAX looks at what SLURM, Open MPI, Kubernetes or a TPU pod tell a process.
    """
    # Its handler would take SIGTERM from ours; the processes agree on stopping by themselves.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"the processes cannot find each other ({str(error).splitlines()[0]}): start them with "
            "srun, mpirun or on a TPU pod, or give --coordinator host:port, --num-processes and "
            "--process-id"
        ) from error
    return Share(jax.process_index(), jax.process_count())


def leave() -> None:
    """Go on without the others: joined, JAX would end a process when another one is lost."""
    if jax.process_count() > 1:
        jax.distributed.shutdown()


def is_first() -> bool:
    return jax.process_index() == 0


def by_first(work: Callable[[], T]) -> T | None:
    """The result of work that process 0 alone does, None on the others, when it is done.

    Raises:
      Exception: on process 0 what the work raises, on the others that it did.
    """
    if jax.process_count() == 1:
        return work()
    from orbax.checkpoint import multihost

    result, failure = None, None
    if is_first():
        try:
            result = work()
        except BaseException as error:
            failure = error
    everybody = set(range(jax.process_count()))
    name = f"cohgen_jax_{next(_turn)}"
    multihost.sync_global_processes(name, processes=everybody, timeout=PATIENCE)
    failed = any(anywhere(failure is not None))
    if failure is not None:
        raise failure
    if failed:
        raise InputError("process 0 has stopped: its message says why")
    return result


def to_host(tree: Any) -> Any:
    """NumPy copies of arrays, whichever process's devices they lie on; every process has to ask."""
    if jax.process_count() == 1:
        return jax.tree.map(np.asarray, tree)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(tree, tiled=True)


def anywhere(*numbers: int) -> list[int]:
    """The largest of each number that any process gives; every process has to ask."""
    if jax.process_count() == 1:
        return list(numbers)
    from jax.experimental import multihost_utils

    every = multihost_utils.process_allgather(np.array(numbers, np.int32))
    return np.max(every, axis=0).tolist()
