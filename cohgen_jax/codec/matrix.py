"""Standardised matrices x [N, F] that are gone through by blocks of rows."""

import dataclasses
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import scipy.sparse

from cohgen_jax.cohort.sparse import BLOCK, ROWS


class Matrix(Protocol):
    """float32 [N, F]: an array, or what computes the rows that are asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice | np.ndarray, /) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class Shifted:
    """x most of whose cells are what their feature has for a 0."""

    beside: scipy.sparse.csr_matrix
    """float32 [N, F], x - at_zero."""
    at_zero: np.ndarray
    """float32 [F]."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.beside.indptr.size - 1, self.at_zero.size)

    def __getitem__(self, rows: slice | np.ndarray, /) -> np.ndarray:
        return self.beside[rows].toarray() + self.at_zero[None, :]


def blocks(x: Matrix) -> Iterator[np.ndarray]:
    """Consecutive rows of x; one block of none where there are none."""
    step = rows_of_block(x)
    for first in range(0, max(x.shape[0], 1), step):
        yield x[first : first + step]


def mean_of(x: Matrix) -> np.ndarray:
    """float64 [F], over the rows."""
    total = np.zeros(x.shape[1])
    for part in blocks(x):
        total += part.sum(axis=0, dtype=np.float64)
    return total / x.shape[0]


def variance_of(x: Matrix) -> np.ndarray:
    """float64 [F], over the rows."""
    mean, total = mean_of(x), np.zeros(x.shape[1])
    for part in blocks(x):
        total += np.square(part - mean[None, :]).sum(axis=0)
    return total / x.shape[0]


def rows_of_block(x: Matrix) -> int:
    return max(ROWS, BLOCK // max(x.shape[1], 1))
