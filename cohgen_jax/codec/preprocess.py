"""Raw table <-> complete, standardised matrix; everything is fitted on train.

Filter    features missing in a share >= max_missing of train, or constant there, are dropped
Scale     x = (raw - mean) / sd, over the observed train cells of each feature, or its normal score
          (cohgen_jax.codec.marginal)
Impute    a missing cell becomes what principal components say of it from the others
          (cohgen_jax.codec.completion), or the train median, or the mean over the 5 nearest train
          samples (scikit-learn's KNNImputer), in units of x, so that every feature counts alike
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.codec.completion import Completion, complete, fit_completion, rows_to_fit
from cohgen_jax.codec.marginal import (
    Marginals,
    columns_of,
    fit_marginals,
    from_scores,
    to_scores,
)
from cohgen_jax.cohort.kinds import Kind, kinds_of_features, max_missing_of, nearest_allowed
from cohgen_jax.cohort.load import usable_features
from cohgen_jax.cohort.tables import shown
from cohgen_jax.errors import InputError

NUM_NEIGHBOURS = 5
COLUMNS_AT_ONCE, ROWS_AT_ONCE = 2048, 1024
"""Of a wide table, so that its intermediate forms do not take several times its memory."""


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
    values, max_missing = _finite_values(train), max_missing_of(kind, max_missing)
    keep = usable_features(train, max_missing)
    if not keep["keep"].any():
        raise InputError(
            f"no feature of {train.shape[1]} is usable on {len(train)} train samples: "
            f"{int(keep['missing'].sum())} are missing in {max_missing:.0%} or more of them, "
            f"{int(keep['constant'].sum())} are constant; raise max_missing or leave it out"
        )
    kept = np.flatnonzero(keep["keep"])
    kinds = kinds_of_features(train.iloc[:, kept], kind)
    fitted = fit_marginals(values, kept, kinds) if marginals == "normal_scores" else None
    mean, sd, median = np.empty((3, len(kept)), np.float64)
    rows = {
        "pca": rows_to_fit(len(values), len(kept)),
        "knn": np.arange(len(values)),
        "median": np.zeros(0, int),
    }[imputer]
    reference = np.empty((len(rows), len(kept)), np.float32)
    for first in range(0, len(kept), COLUMNS_AT_ONCE):
        own = slice(first, first + COLUMNS_AT_ONCE)
        part = values[:, kept[own]]
        mean[own] = np.nanmean(part, axis=0, dtype=np.float64)
        sd[own] = np.nanstd(part, axis=0, dtype=np.float64)
        if fitted is None:
            x = ((part - mean[own]) / sd[own]).astype(np.float32)
        else:
            x = to_scores(columns_of(fitted, own), part)
        median[own] = np.nanmedian(x, axis=0)
        reference[:, own] = x[rows]
    return Preprocess(
        features=tuple(train.columns[kept]),
        mean=mean.astype(np.float32),
        sd=sd.astype(np.float32),
        median=median.astype(np.float32),
        reference=reference if imputer == "knn" else None,
        kinds=tuple(kinds),
        marginals=fitted,
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
    columns = table.columns.get_indexer(pd.Index(fitted.features))
    absent = [f for f, column in zip(fitted.features, columns, strict=True) if column < 0]
    if len(absent) > allow_absent * len(fitted.features):
        raise InputError(
            f"the table has {len(fitted.features) - len(absent)} of the {len(fitted.features)} "
            f"features that the codec was fitted on; it lacks {shown(absent)}; add them, or "
            "rename the columns as they were in training, or raise allow_absent (they are then "
            "imputed)"
        )
    shape = (len(table), len(fitted.features))
    x = (
        np.empty(shape, np.float32)
        if file is None
        else np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
    )
    as_fitted = np.array_equal(columns, np.arange(table.shape[1]))
    for first in range(0, len(table), ROWS_AT_ONCE):
        rows = table.iloc[first : first + ROWS_AT_ONCE]
        values = _finite_values(rows if as_fitted else rows.reindex(columns=[*fitted.features]))
        part = x[first : first + ROWS_AT_ONCE]
        if fitted.marginals is None:
            part[:] = (values - fitted.mean[None, :]) / fitted.sd[None, :]
        else:
            part[:] = to_scores(fitted.marginals, values)
    if impute:
        _impute(fitted, x)
    return x


def unstandardise(fitted: Preprocess, x: np.ndarray) -> np.ndarray:
    """float32 [..., F]: from units of x back to the units of the table, values that it could
    hold."""
    if fitted.marginals is not None:
        values = from_scores(fitted.marginals, x)
    else:
        values = (np.asarray(x, dtype=np.float32) * fitted.sd + fitted.mean).astype(np.float32)
    return nearest_allowed(values, fitted.kinds)


def _finite_values(table: pd.DataFrame) -> np.ndarray:
    """float32 [N, F], or the error that names the first infinite cell."""
    values = table.to_numpy(dtype=np.float32)
    if np.isinf(values).any():
        row, column = np.argwhere(np.isinf(values))[0]
        raise InputError(
            f"column {table.columns[column]!r}, row {table.index[row]!r}: infinite value; leave "
            "the cell empty if it is not known"
        )
    return values


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
