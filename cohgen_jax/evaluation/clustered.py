"""Standard errors with the patient as the unit, where patients have several samples.

Samples of one patient err together: what counts is how the sums of patients scatter (a cluster
robust variance, Liang & Zeger 1986). Where each patient has one sample this is the usual standard
error, of a mean or of a ratio of sums.
"""

from __future__ import annotations

import numpy as np


def standard_error(
    deviations: np.ndarray, total: float | None = None, patients: np.ndarray | None = None
) -> float:
    """Of a ratio of sums over samples; NaN of fewer than two patients.

    deviations: [N], what each sample adds to the numerator beyond the ratio times what it adds to
      the denominator; of a mean, values less their mean.
    total: the denominator, N for a mean.
    patients: whose the samples are [N], any labels; by default each is a patient of its own.
    """
    sums = np.asarray(deviations, float)
    total = len(sums) if total is None else total
    if patients is not None:
        sums = np.bincount(np.unique(patients, return_inverse=True)[1], sums)
    num = len(sums)
    if num < 2:
        return float("nan")
    return float(np.sqrt(num / (num - 1) * (sums**2).sum()) / total)


def error_of_mean(values: np.ndarray, patients: np.ndarray | None = None) -> float:
    """Of the mean of values [N]."""
    values = np.asarray(values, float)
    return standard_error(values - values.mean(), None, patients)
