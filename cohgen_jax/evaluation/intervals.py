"""Do the intervals of generated features, as `impute.py` writes them, hold held-out patients?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cohgen_jax.evaluation.masks import shown_latents
from cohgen_jax.evaluation.tables import streams_of
from cohgen_jax.evaluation.units import in_units
from cohgen_jax.runs.calibration import interval
from cohgen_jax.sampling.generator import Generator

if TYPE_CHECKING:
    from cohgen_jax.cohort import Cohort
    from cohgen_jax.runs.run import Run

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

    coverage                   share of measured values within their interval, ends included
    coverage_low, _high        the same in the cancer types of MIN_PATIENTS or more where it is
                               least and most; NaN without any
    uncalibrated               coverage of the draws' own quantiles: 0.8 when truth and draws are
                               exchangeable, more where values are shared by many patients
    width                      median width of the interval, in sd of the feature

    Rivals' draws were not calibrated: their intervals are their own quantiles.
    """
    labels, streams = run.samples.get("cancer_type"), streams_of(run)
    rows_of_table = []
    for done, ((method, target), generate) in enumerate(generators.items()):
        progress(done, len(generators), f"intervals: {method}, {target}")
        t, codec = run.index(target), run.codecs[target]
        present = run.latents.present[run.rows("test")]
        use = present[:, t] & (present.sum(axis=1) > 1)
        rows, present = run.rows("test")[use], present[use]
        present[:, t] = False
        generated = generate(shown_latents(run.latents.z[rows], present), present, num_draws, seed)
        known = run.calibration.get(method, {}).get(target)
        fitted = 1.0 if known is None else known.width
        low, high, own_low, own_high = in_units(
            codec,
            generated,
            streams[rows],
            seed,
            lambda x, codec=codec, fitted=fitted: codec.units(
                np.stack([*interval(x, fitted), *interval(x)])
            ),
        )
        real = cohort.tables[target].reindex(
            index=run.samples.index[rows], columns=list(codec.features)
        )
        real = real.to_numpy(np.float32)
        measured = np.isfinite(real)

        def coverage(inside: np.ndarray, measured=measured) -> np.ndarray:
            """Of each patient, over its measured features."""
            return (inside & measured).sum(axis=1) / np.maximum(measured.sum(axis=1), 1)

        covered = pd.Series(coverage((low <= real) & (real <= high)))
        by_type = pd.Series(dtype=float)
        if labels is not None:
            groups = covered.groupby(labels.to_numpy()[rows])
            by_type = groups.mean()[groups.size() >= MIN_PATIENTS]
        rows_of_table.append(
            {
                "method": method,
                "target": target,
                "n": len(rows),
                "coverage": covered.mean(),
                "coverage_low": by_type.min(),
                "coverage_high": by_type.max(),
                "uncalibrated": coverage((own_low <= real) & (real <= own_high)).mean(),
                "width": float(np.median((high - low) / np.maximum(np.nanstd(real, axis=0), 1e-6))),
            }
        )
    progress(len(generators), len(generators), "intervals")
    return pd.DataFrame(rows_of_table)
