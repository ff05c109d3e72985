"""What features are in the training patients: the middle of each, and where four in five lie.

It is read off the codec's marginals, hence known of an exported model too. Axis: F features.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from cohgen_jax.codec import Codec
from cohgen_jax.runs.calibration import INTERVAL


class UsualValues(NamedTuple):
    """In the units of the table; float32 [F] each."""

    centre: np.ndarray
    """The median; of a 0/1 feature its frequency."""
    low: np.ndarray
    high: np.ndarray
    """Between them lie 80 % of the training patients."""

    @property
    def half_width(self) -> np.ndarray:
        return (self.high - self.low) / 2


def usual_values(codec: Codec) -> UsualValues:
    """x of every feature is a normal score, or in standard deviations about the mean."""
    num = len(codec.features)
    low, middle, high = (
        codec.units(np.full((1, num), NormalDist().inv_cdf(share), np.float32))[0]
        for share in (INTERVAL[0], 0.5, INTERVAL[1])
    )
    binary = np.array([kind == "binary" for kind in codec.kinds])
    expected = codec.expected(middle[None, None], np.zeros((1, num), np.float32))[0]
    return UsualValues(np.where(binary, expected, middle), low, high)


def deviation(
    measured: np.ndarray, mean: np.ndarray, sd: np.ndarray, usual: UsualValues, whole: np.ndarray
) -> np.ndarray:
    """float [F]: how far a measured value is from what was generated, in standard deviations of the
    draws, but none smaller than a twentieth of the usual range (or, of whole numbers [F], than a
    quarter): draws that are all alike make no infinite surprise. NaN where nothing was measured.
    """
    least = np.maximum(0.05 * usual.half_width, np.where(whole, 0.25, 1e-6))
    return (measured - mean) / np.maximum(sd, least)
