"""Do the conformal intervals of decoded features hold held-out patients?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cohgen_jax.evaluation.generator import Generator

if TYPE_CHECKING:
    from cohgen_jax.cohort import Cohort
    from cohgen_jax.run import Run

GAUSSIAN_HALF_WIDTH = 1.2816
"""Of the central 80 % of a normal distribution, in standard deviations."""
MIN_PATIENTS = 30
"""Of a cancer type, to speak of its coverage."""


def intervals_of_run(
    run: Run,
    cohort: Cohort,
    generators: Mapping[tuple[str, str], Generator],
    num_draws: int,
    seed: int = 0,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> pd.DataFrame:
    """One row a method and target, test patients generated from all that they have.

    conformal                  share of measured values inside mean +- half_width sd (calibrate.py)
    conformal_low, _high       the same in the cancer types of MIN_PATIENTS or more where it is
                               least and most; NaN without any
    gaussian                   inside mean +- 1.28 sd, as if draws told all
    width                      median width of the conformal interval, in sd of the feature
    """
    labels = run.samples.get("cancer_type")
    rows_of_table = []
    for done, ((method, target), generate) in enumerate(generators.items()):
        progress(done, len(generators), f"intervals: {method}, {target}")
        t, codec = run.index(target), run.codecs[target]
        present = run.latents.present[run.rows("test")]
        use = present[:, t] & (present.sum(axis=1) > 1)
        rows, present = run.rows("test")[use], present[use]
        present[:, t] = False
        z = np.where(present[:, :, None], run.latents.z[rows], 0).astype(np.float32)
        draws = codec.decode(generate(z, present, num_draws, seed).draws[..., : codec.width])
        real = cohort.tables[target].reindex(
            index=run.samples.index[rows], columns=list(codec.features)
        )
        real = real.to_numpy(np.float32)
        sd, error = draws.std(axis=0, ddof=1), np.abs(real - draws.mean(axis=0))
        half = run.calibration[method][target].half_width * sd
        known = np.isfinite(real)

        def coverage(bound: np.ndarray, error=error, known=known) -> np.ndarray:
            """Of each patient, over its measured features."""
            return ((error <= bound) & known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)

        own = pd.Series(coverage(half))
        by_type = pd.Series(dtype=float)
        if labels is not None:
            groups = own.groupby(labels.to_numpy()[rows])
            by_type = groups.mean()[groups.size() >= MIN_PATIENTS]
        rows_of_table.append(
            {
                "method": method,
                "target": target,
                "n": len(rows),
                "conformal": own.mean(),
                "conformal_low": by_type.min(),
                "conformal_high": by_type.max(),
                "gaussian": coverage(GAUSSIAN_HALF_WIDTH * sd).mean(),
                "width": float(np.median(2 * half / np.maximum(np.nanstd(real, axis=0), 1e-6))),
            }
        )
    progress(len(generators), len(generators), "intervals")
    return pd.DataFrame(rows_of_table)
