"""What of a patient a generator is shown: assays hidden, and missing patterns in equal numbers."""

import itertools

import numpy as np


def shown_latents(z: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """float32 [..., M or M + 1, D]: a copy of the latents with 0 for what is not `shown` [..., M].

    Covariates, one column beyond the modalities where there are any, are always shown.
    """
    copied = np.array(z, np.float32)
    shown = np.broadcast_to(shown, (*copied.shape[:-2], np.shape(shown)[-1]))
    copied[..., : shown.shape[-1], :][~shown] = 0
    return copied


def balanced_masks(num_modalities: int, num_samples: int, seed: int) -> np.ndarray:
    """Every non-empty subset of modalities as often as every other: bool [N, M], True = observed.

    floor(N / (2^M - 1)) randomly chosen samples get each pattern; those left over are complete.
    Patterns in order of size, then of position (the order decides which sample gets which).
    """
    patterns = [
        subset
        for size in range(1, num_modalities + 1)
        for subset in itertools.combinations(range(num_modalities), size)
    ]
    each = num_samples // len(patterns)
    order = np.random.default_rng(seed).permutation(num_samples)
    mask = np.ones((num_samples, num_modalities), bool)
    groups = order[: each * len(patterns)].reshape(len(patterns), each)
    for rows, subset in zip(groups, patterns, strict=True):
        mask[rows] = np.isin(np.arange(num_modalities), subset)
    return mask
