"""Large tables most of whose cells are 0, and going through any table by blocks.

A count matrix of 100,000 cells and 2,000 genes is 800 MB as a table, and several times that on its
way to latents, while its counts other than 0 take a tenth. It stays what it is, a frame of sparse
columns, and becomes dense a block at a time. Small ones, and those that would gain nothing, are
plain tables from the beginning.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

LARGE = 1 << 24
"""Cells up to which a table is dense."""
FULL = 0.4
"""Share of cells other than 0 from which a sparse table takes more memory than a dense one, which
has 4 bytes a cell and not 8."""
BLOCK, ROWS = 1 << 22, 1024
"""Cells of a block, and rows that one of a wide table has at least."""


def table_of(matrix: scipy.sparse.csr_matrix, index: pd.Index, columns: pd.Index) -> pd.DataFrame:
    """float32 [N, F] of a sparse matrix: sparse if it is large enough."""
    cells = len(index) * len(columns)
    if cells <= LARGE or matrix.nnz > FULL * cells:
        return pd.DataFrame(matrix.astype(np.float32).toarray(), index, columns)
    columnwise = scipy.sparse.csc_matrix(matrix, dtype=np.float32)
    return pd.DataFrame.sparse.from_spmatrix(columnwise, index, columns)


def is_sparse(table: pd.DataFrame) -> bool:
    return table.shape[1] > 0 and isinstance(table.dtypes.iloc[0], pd.SparseDtype)


def take_rows(table: pd.DataFrame, positions: np.ndarray) -> pd.DataFrame:
    """`table.iloc[positions]`, of a sparse table as `table_of` makes it."""
    if not is_sparse(table):
        return table.iloc[positions]
    return table_of(_by_rows(table)[positions], table.index[positions], table.columns)


def row_blocks(
    table: pd.DataFrame, columns: np.ndarray | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """(which rows, their values: float32 [n, F]), block of rows after block; one of none where
    there are none.

    columns: positions in the table; all by default.
    """
    columns = np.arange(table.shape[1]) if columns is None else columns
    step = max(ROWS, BLOCK // max(len(columns), 1))
    matrix = _by_rows(table.iloc[:, columns]) if is_sparse(table) else None
    for first in range(0, max(len(table), 1), step):
        own = slice(first, min(first + step, len(table)))
        if matrix is not None:
            yield own, matrix[own].toarray()
        else:
            yield own, table.iloc[own, columns].to_numpy(np.float32)


def column_blocks(
    table: pd.DataFrame, columns: np.ndarray | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """(which of the columns, their values: float32 [N, k]), one block of columns after another.

    columns: positions in the table; all by default.
    """
    columns = np.arange(table.shape[1]) if columns is None else columns
    step = max(1, BLOCK // max(len(table), 1))
    for first in range(0, len(columns), step):
        own = slice(first, min(first + step, len(columns)))
        yield own, table.iloc[:, columns[own]].to_numpy(np.float32)


def levels(table: pd.DataFrame) -> np.ndarray:
    """float32: the values that occur, in any number, order and shape."""
    if not is_sparse(table):
        return table.to_numpy(np.float32)
    return np.concatenate(levels_of_columns(table))


def levels_of_columns(table: pd.DataFrame) -> list[np.ndarray]:
    """float32, of each column: one 0 stands for all that a sparse one does not hold."""
    if not is_sparse(table):
        return list(table.to_numpy(np.float32).T)
    found = []
    for f in range(table.shape[1]):
        held: Any = table.iloc[:, f].array
        zeros = np.zeros(int(len(held.sp_values) < len(held)), np.float32)
        found.append(np.append(held.sp_values, zeros))
    return found


def _by_rows(table: pd.DataFrame) -> scipy.sparse.csr_matrix:
    return table.sparse.to_coo().tocsr()
