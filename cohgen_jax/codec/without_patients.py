"""A codec to hand on: without rows or single values of the patients that it was fitted on.

A codec is means, quantiles and components, over all training patients, but for two things:

Reference   rows that a KNN imputer looks among. Left out: missing cells become the median
Extremes    knots of a quantile function are values of single patients at its very ends. Beyond the
            LEAST-th patient from an end they are moved to the line from that patient's score to
            the end of the tail (`marginal.py`, Tails)

Values between are interpolated quantiles, and atoms are values that several patients share or, in
tables of few values, the frequency of each value.
"""

import dataclasses

import numpy as np
from scipy.special import ndtr, ndtri

from cohgen_jax.codec.codec import Codec
from cohgen_jax.codec.marginal import LIMIT, Marginals, from_scores

LEAST = 5
"""Patients that a number which is handed on speaks of, at least."""


def without_patients(codec: Codec) -> Codec:
    """The codec as it may be handed on; latents and draws of all but extreme values are the same,
    where no KNN imputer was asked for."""
    fitted = codec.preprocess._replace(reference=None)
    if fitted.marginals is not None:
        fitted = fitted._replace(marginals=without_extremes(fitted.marginals))
    return dataclasses.replace(codec, preprocess=fitted)


def without_extremes(marginals: Marginals, least: int = LEAST) -> Marginals:
    """The quantile functions without the values of the `least` patients at either open end."""
    value = marginals.value.astype(np.float64)
    for side in (-1.0, 1.0):
        score = side * marginals.score
        # An open end goes on to LIMIT; the outermost patient is the last knot before it.
        last = np.where(score < LIMIT, score, -np.inf).max(axis=0)
        open_end = (score.max(axis=0) >= LIMIT) & np.isfinite(last)
        cells = 0.5 / ndtr(-np.where(open_end, last, 0.0))
        cut = np.maximum(-ndtri(np.minimum(least / cells, 0.5)), 0.0)
        at_cut = from_scores(marginals, (side * cut)[None].astype(np.float32))[0]
        at_end = marginals.value[score.argmax(axis=0), np.arange(score.shape[1])]
        share = (score - cut) / (LIMIT - cut)
        line = at_cut + share * (at_end - at_cut)
        value = np.where(open_end & (score > cut), line, value)
    return marginals._replace(value=value.astype(np.float32))
