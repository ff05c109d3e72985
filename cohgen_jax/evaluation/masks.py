"""Missing patterns in equal numbers, to compare models over what is missing."""

import itertools

import numpy as np


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
