"""A few of many, evenly spaced."""

import numpy as np


def evenly(count: int, most: int) -> np.ndarray:
    """int: positions among `count`, all of them or `most` of them, first and last included."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)
