"""Raw table <-> complete, standardised matrix; everything is fitted on train.

Filter    features missing in a share >= max_missing of train, or constant there, are dropped
Scale     x = (raw - mean) / sd, over the observed train cells of each feature, or its normal score
          (cohgen_jax.codec.marginal)
Impute    a missing cell becomes what principal components say of it from the others
          (cohgen_jax.codec.completion), or the train median, or the mean over the 5 nearest train
          samples (scikit-learn's KNNImputer), in units of x, so that every feature counts alike
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

from cohgen_jax.codec.completion import Completion, complete, fit_completion, rows_to_fit
from cohgen_jax.codec.marginal import (
    Marginals,
    fit_marginals,
    from_scores,
    joined,
    to_scores,
)
from cohgen_jax.codec.matrix import Matrix, Shifted
from cohgen_jax.cohort.kinds import Kind, kinds_of_features, max_missing_of, nearest_allowed
from cohgen_jax.cohort.load import usable_features
from cohgen_jax.cohort.sparse import column_blocks, is_sparse, row_blocks
from cohgen_jax.errors import InputError, shown

NUM_NEIGHBOURS = 5
ROWS_AT_ONCE = 1024
"""Whose missing cells are filled together, so that what that takes is less than the table."""


class Preprocess(NamedTuple):
    """F features kept, n train samples."""

    features: tuple[str, ...]
    mean: np.ndarray  # float32 [F], units of the table
    sd: np.ndarray  # float32 [F], units of the table
    median: np.ndarray  # float32 [F], in units of x
    reference: np.ndarray | None  # float32 [n, F] in units of x, NaN where missing; KNN only
    kinds: tuple[Kind, ...]  # of the features
    marginals: Marginals | None = None  # x is the normal score by these, else (raw - mean) / sd
    completion: Completion | None = None  # of missing cells; PCA only


def fit_preprocess(
    train: pd.DataFrame,
    *,
    max_missing: float | None,
    imputer: str,
    marginals: str = "none",
    kind: Kind = "continuous",
    seed: int = 0,
) -> Preprocess:
    """Choose the features and their scale.

    `imputer` is "pca", "median" or "knn", `marginals` "normal_scores" or "none"; `kind` is the
    table's; `seed` of the cells that choose the imputer's components.
    """
    max_missing = max_missing_of(kind, max_missing)
    for block, part in row_blocks(train):
        _check_finite(part, train.index[block], train.columns)
    keep = usable_features(train, max_missing)
    if not keep["keep"].any():
        raise InputError(
            f"no feature of {train.shape[1]} is usable on {len(train)} train samples: "
            f"{int(keep['missing'].sum())} are missing in {max_missing:.0%} or more of them, "
            f"{int(keep['constant'].sum())} are constant; raise max_missing or leave it out"
        )
    kept = np.flatnonzero(keep["keep"])
    kinds = kinds_of_features(train.iloc[:, kept], kind)
    parts: list[Marginals] = []
    mean, sd, median = np.empty((3, len(kept)), np.float64)
    rows = {
        "pca": rows_to_fit(len(train), len(kept)),
        "knn": np.arange(len(train)),
        "median": np.zeros(0, int),
    }[imputer]
    reference = np.empty((len(rows), len(kept)), np.float32)
    for block, part in column_blocks(train, kept):
        mean[block] = np.nanmean(part, axis=0, dtype=np.float64)
        sd[block] = np.nanstd(part, axis=0, dtype=np.float64)
        if marginals == "normal_scores":
            parts.append(fit_marginals(part, kinds=kinds[block]))
            x = to_scores(parts[-1], part)
        else:
            x = ((part - mean[block]) / sd[block]).astype(np.float32)
        median[block] = np.nanmedian(x, axis=0)
        reference[:, block] = x[rows]
    return Preprocess(
        features=tuple(train.columns[kept]),
        mean=mean.astype(np.float32),
        sd=sd.astype(np.float32),
        median=median.astype(np.float32),
        reference=reference if imputer == "knn" else None,
        kinds=tuple(kinds),
        marginals=joined(parts) if parts else None,
        completion=fit_completion(reference, seed) if imputer == "pca" else None,
    )


def standardise(
    fitted: Preprocess,
    table: pd.DataFrame,
    *,
    allow_absent: float,
    file: str | Path | None = None,
    impute: bool = True,
) -> np.ndarray:
    """float32 [N, F]: any samples' values in units of x, missing cells imputed, or left NaN.

    Columns are matched by name and extra ones ignored. `allow_absent` is the share of the fitted
    features that the table may lack altogether; these are imputed like missing cells. `file` is
    where to write the result as .npy, which is then memory-mapped.
    """
    columns = _columns(fitted, table, allow_absent)
    shape = (len(table), len(fitted.features))
    x = (
        np.empty(shape, np.float32)
        if file is None
        else np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
    )
    for rows, part in _blocks(fitted, table, columns, impute=impute):
        x[rows] = part
    return x


def standardise_compactly(
    fitted: Preprocess, table: pd.DataFrame, *, allow_absent: float
) -> Matrix:
    """`standardise`, of a large sparse table without making it dense."""
    if not is_sparse(table):
        return standardise(fitted, table, allow_absent=allow_absent)
    columns = _columns(fitted, table, allow_absent)
    at_zero = _scaled(fitted, np.zeros((1, len(columns)), np.float32))[0]
    parts = [
        scipy.sparse.csr_matrix(part - at_zero[None, :])
        for _, part in _blocks(fitted, table, columns, impute=True)
    ]
    return Shifted(scipy.sparse.csr_matrix(scipy.sparse.vstack(parts)), at_zero)


def _columns(fitted: Preprocess, table: pd.DataFrame, allow_absent: float) -> np.ndarray:
    """int [F]: where the features are in the table, -1 where they are not."""
    columns = table.columns.get_indexer(pd.Index(fitted.features))
    absent = [f for f, column in zip(fitted.features, columns, strict=True) if column < 0]
    if len(absent) > allow_absent * len(fitted.features):
        raise InputError(
            f"the table has {len(fitted.features) - len(absent)} of the {len(fitted.features)} "
            f"features that the codec was fitted on; it lacks {shown(absent)}; add them, or "
            "rename the columns as they were in training, or raise allow_absent (they are then "
            "imputed)"
        )
    return columns


def _blocks(
    fitted: Preprocess, table: pd.DataFrame, columns: np.ndarray, *, impute: bool
) -> Iterator[tuple[slice, np.ndarray]]:
    """(which rows, their x: float32 [n, F]), one block after another."""
    there = columns >= 0
    for rows, known in row_blocks(table, columns[there]):
        values = known
        if not there.all():
            values = np.full((len(known), len(columns)), np.nan, np.float32)
            values[:, there] = known
        _check_finite(values, table.index[rows], fitted.features)
        part = _scaled(fitted, values)
        if impute:
            _impute(fitted, part)
        yield rows, part


def _scaled(fitted: Preprocess, values: np.ndarray) -> np.ndarray:
    """float32 [N, F]: values of the features in units of x."""
    if fitted.marginals is not None:
        return to_scores(fitted.marginals, values)
    return ((values - fitted.mean[None, :]) / fitted.sd[None, :]).astype(np.float32)


def unstandardise(fitted: Preprocess, x: np.ndarray) -> np.ndarray:
    """float32 [..., F]: from units of x back to the units of the table, values that it could
    hold."""
    if fitted.marginals is not None:
        values = from_scores(fitted.marginals, x)
    else:
        values = (np.asarray(x, dtype=np.float32) * fitted.sd + fitted.mean).astype(np.float32)
    return nearest_allowed(values, fitted.kinds)


def _check_finite(values: np.ndarray, index: pd.Index, columns: Sequence | pd.Index) -> None:
    """Raises the error that names the first infinite cell of values [N, F]."""
    if np.isinf(values).any():
        row, column = np.argwhere(np.isinf(values))[0]
        raise InputError(
            f"column {columns[column]!r}, row {index[row]!r}: infinite value; leave the cell "
            "empty if it is not known"
        )


def _impute(fitted: Preprocess, x: np.ndarray) -> None:
    """Fill the missing cells of x [N, F] where it lies."""
    knn = None
    for first in range(0, len(x), ROWS_AT_ONCE):
        part = x[first : first + ROWS_AT_ONCE]
        if fitted.completion is not None:
            part[:] = complete(fitted.completion, part)
        rows = np.isnan(part).any(axis=1)
        if fitted.reference is not None and rows.any():
            knn = knn or _knn(fitted.reference)
            part[rows] = knn.transform(part[rows])
        missing = np.isnan(part)
        part[missing] = np.broadcast_to(fitted.median, part.shape)[missing]


def _knn(reference: np.ndarray) -> Any:
    from sklearn.impute import KNNImputer

    return KNNImputer(n_neighbors=NUM_NEIGHBOURS, keep_empty_features=True).fit(reference)
