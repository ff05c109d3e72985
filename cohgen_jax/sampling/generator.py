"""What evaluation asks of anything that generates a modality: diffusion model or baseline."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Generated(NamedTuple):
    draws: np.ndarray
    """float32 [R, N, D]: R independent draws for each of N patients, standardised latents."""
    disagreement: np.ndarray
    """float32 [R, N]: mean over steps of 1 - mean pairwise cosine of the denoisers; NaN if none."""
    features: np.ndarray | None = None
    """float32 [R, N, F]: the same draws as whole vectors of standardised features, from a generator
    that draws those (a baseline); `draws` are their latents then."""
    mean: np.ndarray | None = None
    """float32 [1, N, D], or [1, N, F] beside features: the expectation of the draws, as one more
    draw, where the generator knows it."""


Generator = Callable[[np.ndarray, np.ndarray, int, int], Generated]
"""(z [N, M, D], present bool [N, M], num_draws, seed) -> Generated, for one target modality.

Uses only what `present` marks, and may be given another presence pattern in every row. z may have
one column more than there are modalities: z[:, M] are covariates, which are always known."""
