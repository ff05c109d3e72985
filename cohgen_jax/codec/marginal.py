"""Margins of a Gaussian copula: each feature <-> normal scores, by its own monotone quantile
function (Liu, Lafferty & Wasserman 2009, arXiv:0903.0649, section 3, here with knots and atoms).

Distinct value k of n observed train cells, with c_k cells and C_k below it, holds the scores
between ndtri(C_k / n) and ndtri((C_k + c_k) / n); at its centre is z_k = ndtri((C_k + c_k/2) / n).

Atoms   values of a notable share of the cells, a first or last value that repeats (a bound, or
        where values were clipped), and every value of a feature with few of them:
        value -> E[Z | a < Z < b] = (phi(a) - phi(b)) / (Phi(b) - Phi(a)) of its interval (a, b),
        any score in it -> the value, so that Z ~ N(0, 1) returns the frequencies of train
Runs    the values between atoms: linear between knots that lie evenly in z on (z_k, value k);
        never beyond the run's own first and last value towards an atom
Tails   where a run, not an atom, is outermost it goes on linearly to |z| = 8 with the slope of
        least squares through its outermost 5 % of values (5 values or more), though not beyond
        what the kind of the table allows, nor below 0 for a feature without negative values; a
        value beyond stays at a score of 8, and one beyond an outermost atom at the score of that
        atom
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from cohgen_jax.cohort.kinds import BOUNDS, Kind
from cohgen_jax.evenly import evenly

MAX_ROWS = 4000
"""Train samples that a feature of many values is fitted on, evenly spaced in the table."""
MIN_KNOTS, MAX_KNOTS, CELLS_PER_KNOT = 3, 64, 6
"""The least are a run's; the most are a feature's, shared by its runs as they share the cells."""
ATOM_SHARE, ATOM_CELLS = 0.02, 3
"""Least that an atom holds of the observed cells."""
FEW_VALUES = 16
"""Distinct values, and half the cells, up to which every value is an atom."""
TAIL_SHARE, TAIL_VALUES = 0.05, 5
LIMIT = 8.0
"""Largest score; a normal one is beyond it once in 10^15."""
COLUMNS_AT_ONCE = 64


class Marginals(NamedTuple):
    """J knots of each of F features in ascending order; those with fewer repeat their last."""

    value: np.ndarray  # float32 [J, F], units of the table
    score: np.ndarray  # float32 [J, F], what the value becomes
    low: np.ndarray  # float32 [J, F], scores from `low` to `high` become the value
    high: np.ndarray  # float32 [J, F]

    @property
    def levels(self) -> np.ndarray:
        """bool [F]: features all of whose values are atoms."""
        return (self.high[:-1] == self.low[1:]).all(axis=0)


def fit_marginals(
    values: np.ndarray,
    columns: Sequence[int] | np.ndarray | None = None,
    kinds: Sequence[Kind] | None = None,
) -> Marginals:
    """Marginals of the train values [n, F], NaN where missing; of all columns or of these.

    kinds: of the columns [F], continuous by default.
    """
    columns = np.arange(values.shape[1]) if columns is None else np.asarray(columns)
    rows = evenly(len(values), MAX_ROWS)
    of: Sequence[Kind] = kinds if kinds is not None else ("continuous",) * len(columns)
    knots: list[np.ndarray] = []

    def fit(column: int, part: np.ndarray, kind: Kind) -> np.ndarray:
        part = part[~np.isnan(part)]
        if len(rows) < len(values) and len(np.unique(part)) <= FEW_VALUES:
            part = values[:, column]  # a rare value may be in none of the rows
        return _knots(part[~np.isnan(part)].astype(np.float64), kind)

    with ThreadPoolExecutor() as pool:
        for first in range(0, len(columns), COLUMNS_AT_ONCE):
            chunk = columns[first : first + COLUMNS_AT_ONCE]
            parts = np.ascontiguousarray(values[np.ix_(rows, chunk)].T)
            knots += pool.map(fit, chunk, parts, of[first : first + COLUMNS_AT_ONCE])
    table = np.empty((len(columns), 4, max((k.shape[1] for k in knots), default=1)), np.float32)
    for f, points in enumerate(knots):
        table[f, :, : points.shape[1]] = points
        table[f, :, points.shape[1] :] = points[[0, 1, 3, 3], -1:]
    return Marginals(*(np.ascontiguousarray(table[:, i].T) for i in range(4)))


def joined(parts: Sequence[Marginals]) -> Marginals:
    """Marginals of features that were fitted apart, one after another."""
    most = max(len(part.value) for part in parts)

    def padded(part: Marginals) -> list[np.ndarray]:
        ends = (part.value, part.score, part.high, part.high)
        more = most - len(part.value)
        return [
            np.concatenate([array, end[-1:].repeat(more, axis=0)])
            for array, end in zip(part, ends, strict=True)
        ]

    every = zip(*map(padded, parts), strict=True)
    return Marginals(*(np.concatenate(arrays, axis=1) for arrays in every))


def columns_of(marginals: Marginals, columns: slice | np.ndarray) -> Marginals:
    return Marginals(*(part[:, columns] for part in marginals))


def to_scores(marginals: Marginals, values: np.ndarray) -> np.ndarray:
    """float32 [N, F] in units of the table -> float32 [N, F] normal scores; NaN stays NaN."""
    return _interpolated(values, lambda f: (marginals.value[:, f], marginals.score[:, f]))


def from_scores(marginals: Marginals, scores: np.ndarray) -> np.ndarray:
    """float32 [..., F] normal scores -> float32 [..., F] in units of the table."""

    def knots(f: int) -> tuple[np.ndarray, np.ndarray]:
        ends = np.stack([marginals.low[:, f], marginals.high[:, f]], axis=1)
        return ends.ravel(), np.repeat(marginals.value[:, f], 2)

    flat = np.asarray(scores).reshape(-1, scores.shape[-1])
    return _interpolated(flat, knots).reshape(scores.shape)


def from_mean_scores(marginals: Marginals, scores: np.ndarray) -> np.ndarray:
    """float32 [N, F] expectations of the scores that values have -> of values where those are
    atoms (`Marginals.levels`): a binary feature's probability, about the mean of more levels.

    A binary feature's score is low with 1 - p and high with p, so that p is linear in its mean.
    """
    return _interpolated(scores, lambda f: (marginals.score[:, f], marginals.value[:, f]))


def _interpolated(
    x: np.ndarray, knots: Callable[[int], tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """x [N, F], each column through its own knots (from, to)."""
    result = np.empty(x.shape, np.float32)

    def block(first: int) -> None:
        chunk = slice(first, first + COLUMNS_AT_ONCE)
        columns = np.ascontiguousarray(x[:, chunk].T, dtype=np.float64)
        for f, column in enumerate(columns, start=first):
            columns[f - first] = np.interp(column, *knots(f))
        result[:, chunk] = columns.T

    with ThreadPoolExecutor() as pool:  # np.interp lets other threads work
        list(pool.map(block, range(0, x.shape[1], COLUMNS_AT_ONCE)))
    return result


def _knots(values: np.ndarray, kind: Kind) -> np.ndarray:
    """[4, J]: value, score, low and high of the knots of observed values [n]."""
    distinct, counts = np.unique(values, return_counts=True)
    n = len(values)
    if n == 0:
        return np.array([[0.0], [0.0], [-LIMIT], [LIMIT]])
    edges = np.append(0, np.cumsum(counts)) / n  # exactly 0 and 1 at the ends
    atom = counts >= max(ATOM_CELLS, ATOM_SHARE * n)
    few = FEW_VALUES if kind in ("binary", "ordinal") else max(2, min(FEW_VALUES, n // 2))
    if len(distinct) <= few:
        atom[:] = True
    atom[[0, -1]] |= counts[[0, -1]] > 1  # clipped there
    starts = np.flatnonzero(atom | np.append(True, atom[:-1]))
    least, most = BOUNDS[kind]
    if distinct[0] >= 0:
        least = 0.0
    pieces = []
    for i, j in zip(starts, np.append(starts[1:], len(distinct)), strict=True):
        piece = _atom if atom[i] else _run
        pieces.append(piece(distinct[i:j], edges[i : j + 1], n))
        pieces[-1][0] = np.clip(pieces[-1][0], least, most)
    return np.concatenate(pieces, axis=1)


def _atom(value: np.ndarray, edges: np.ndarray, n: int) -> np.ndarray:
    """The knot [4, 1] of a value [1] between two shares of the n cells."""
    ends = ndtri(edges)
    density = np.exp(-0.5 * ends**2) / np.sqrt(2 * np.pi)
    mean = (density[0] - density[1]) / (edges[1] - edges[0])
    return np.array([value, [mean], *np.clip(ends, -LIMIT, LIMIT)[:, None]])


def _run(values: np.ndarray, edges: np.ndarray, n: int) -> np.ndarray:
    """The knots [4, J] of distinct values [m] between shares [m + 1] of the n cells."""
    m, cells = len(values), n * (edges[-1] - edges[0])
    z = ndtri((edges[1:] + edges[:-1]) / 2)
    num_knots = int(min(cells * MAX_KNOTS / n, cells / CELLS_PER_KNOT))
    num_knots = min(m, max(MIN_KNOTS, num_knots))
    score = np.linspace(z[0], z[-1], num_knots)
    value = np.interp(score, z, values)
    low, high = score.copy(), score.copy()
    low[0], high[-1] = np.clip(ndtri(edges[[0, -1]]), -LIMIT, LIMIT)
    knots = np.array([value, score, low, high])
    outer = min(m, max(TAIL_VALUES, int(np.ceil(TAIL_SHARE * m))))
    if edges[0] == 0 and m > 1:
        beyond = values[0] - _slope(values[:outer], z[:outer]) * (score[0] + LIMIT)
        knots[2, 0] = score[0]
        knots = np.insert(knots, 0, [beyond, -LIMIT, -LIMIT, -LIMIT], axis=1)
    if edges[-1] == 1 and m > 1:
        beyond = values[-1] + _slope(values[-outer:], z[-outer:]) * (LIMIT - score[-1])
        knots[3, -1] = score[-1]
        knots = np.append(knots, [[beyond], [LIMIT], [LIMIT], [LIMIT]], axis=1)
    return knots


def _slope(values: np.ndarray, z: np.ndarray) -> float:
    """Of least squares of the values on their scores; positive, since both ascend."""
    z = z - z.mean()
    return float(z @ values / (z @ z))
