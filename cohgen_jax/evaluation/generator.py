"""What evaluation asks of anything that generates a modality: diffusion model or baseline."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Generated(NamedTuple):
    draws: np.ndarray
    """float32 [R, N, D]: R independent draws for each of N patients, standardised latents."""
    disagreement: np.ndarray
    """float32 [R, N]: mean over steps of 1 - mean pairwise cosine of the denoisers; NaN if none."""


Generator = Callable[[np.ndarray, np.ndarray, int, int], Generated]
"""(z [N, M, D], present bool [N, M], num_draws, seed) -> Generated, for one target modality.

Uses only what `present` marks, and may be given another presence pattern in every row."""
