"""Do generated samples lie where real ones do (precision), and everywhere they do (recall)?

A ball around every point reaches to its k-th nearest neighbour in the same set; the balls of a
set together stand for its manifold.

Kynkaanniemi et al. 2019 (arXiv:1904.06991), eqs. 1-3: precision, recall.
Naeem et al. 2020 (arXiv:2002.09797), eqs. 4-5: density, coverage.
"""

from typing import NamedTuple

import numpy as np

from cohgen_jax.scores.pairwise import distances


class Manifold(NamedTuple):
    precision: float
    """Share of generated samples inside the real manifold, in [0, 1]."""
    recall: float
    """Share of real samples inside the generated manifold, in [0, 1]."""
    density: float
    """Number of real balls a generated sample lies in, over k: 1 where the sets agree."""
    coverage: float
    """Share of real balls with a generated sample in them, in [0, 1]."""
    f1: float
    """Harmonic mean of precision and recall."""


def _radii(within: np.ndarray, k: int) -> np.ndarray:
    """Distance of each point to its k-th nearest other: [N, N] -> [N]; column 0 is itself."""
    return np.partition(within, k, axis=1)[:, k]


def manifold_metrics(generated: np.ndarray, real: np.ndarray, k: int = 10) -> Manifold:
    """generated [M, D], real [N, D], both with more than k rows.

    Both sets the same size gives the comparable numbers: recall and coverage grow with M.
    """
    if min(len(generated), len(real)) <= k:
        raise ValueError(
            f"manifold metrics with k = {k} need more than {k} samples in both sets; "
            f"got {len(generated)} generated and {len(real)} real"
        )
    between = distances(real, generated)  # [N, M]
    in_real_ball = between < _radii(distances(real, real), k)[:, None]
    in_generated_ball = between < _radii(distances(generated, generated), k)[None]
    precision = float(in_real_ball.any(axis=0).mean())
    recall = float(in_generated_ball.any(axis=1).mean())
    return Manifold(
        precision=precision,
        recall=recall,
        density=float(in_real_ball.sum(axis=0).mean() / k),
        coverage=float(in_real_ball.any(axis=1).mean()),
        f1=2 * precision * recall / (precision + recall) if precision + recall else 0.0,
    )
