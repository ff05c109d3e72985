"""Which of the models that a cohort could have its patients are enough for.

A pair of modalities that too few patients share has no single-condition model: what it would say
is left to the regression and to the multi-condition model of its target, which train on whoever
has the target and any source.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cohgen_jax.errors import InputError
from cohgen_jax.training.config import TrainConfig
from cohgen_jax.training.farm import ModelSpec


def trainable(
    specs: Sequence[ModelSpec],
    modalities: Sequence[str],
    present: np.ndarray,
    train_rows: np.ndarray,
    val_rows: np.ndarray,
    config: TrainConfig,
) -> tuple[list[ModelSpec], list[str]]:
    """The models to train, in order, and sentences about those that are left out.

    Multi-condition models are never left out (`farm.usable_rows` refuses).

    Args:
      present: [N, M] bool; train_rows, val_rows: positions in it.

    Raises:
      InputError: a target that no single source has enough patients for.
    """

    def both(spec: ModelSpec, rows: np.ndarray) -> int:
        return int(present[rows][:, [spec.target, *spec.sources]].all(axis=1).sum())

    kept, lacking = [], []
    for spec in specs:
        enough = both(spec, train_rows) >= config.least_pair and both(spec, val_rows) > 0
        (kept if len(spec.sources) > 1 or enough else lacking).append(spec)
    counts = {
        (spec.target, *spec.sources): (both(spec, train_rows), both(spec, val_rows))
        for spec in lacking
    }
    told = [
        f"{modalities[t]} from {modalities[s]} (train {train}, val {val})"
        for (t, s), (train, val) in counts.items()
    ]
    for target in sorted({spec.target for spec in lacking} - {spec.target for spec in kept}):
        name = modalities[target]
        few = ", ".join(line for (t, _), line in zip(counts, told, strict=True) if t == target)
        raise InputError(
            f"no single source of {name} has enough patients, {config.least_pair} in train and "
            f"1 in val: {few}; leave {name} out, add patients who have it beside another modality, "
            "or train in smaller batches (--single.batch-size)"
        )
    if not told:
        return kept, []
    return kept, [
        f"Pairs without a model of their own, as {config.least_pair} training patients and 1 "
        f"in val must have both: {', '.join(told)}; these are left to the regression and the "
        "multi-condition models."
    ]
