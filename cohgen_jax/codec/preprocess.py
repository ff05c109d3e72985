"""Raw table <-> complete, standardised matrix; everything is fitted on train.

Filter    features missing in a share >= max_missing of train, or constant there, are dropped
Scale     x = (raw - mean) / sd, over the observed train cells of each feature
Impute    a missing cell becomes the train median, or the mean over the 5 nearest train samples
          (scikit-learn's KNNImputer), in units of x, so that every feature counts alike in a
          distance
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.cohort.load import usable_features
from cohgen_jax.cohort.tables import shown
from cohgen_jax.errors import InputError

NUM_NEIGHBOURS = 5


class Preprocess(NamedTuple):
    """F features kept, n train samples."""

    features: tuple[str, ...]
    mean: np.ndarray  # float32 [F]
    sd: np.ndarray  # float32 [F]
    median: np.ndarray  # float32 [F], in units of x
    reference: np.ndarray | None  # float32 [n, F] in units of x, NaN where missing; KNN only


def fit_preprocess(train: pd.DataFrame, *, max_missing: float, imputer: str) -> Preprocess:
    """Choose the features and their scale; `imputer` is "median" or "knn"."""
    values = _finite_values(train)
    keep = usable_features(train, max_missing)
    if not keep["keep"].any():
        raise InputError(
            f"no feature of {train.shape[1]} is usable on {len(train)} train samples: "
            f"{int(keep['missing'].sum())} are missing in {max_missing:.0%} or more of them, "
            f"{int(keep['constant'].sum())} are constant; raise max_missing or leave it out"
        )
    values = values[:, keep["keep"]]
    mean = np.nanmean(values, axis=0, dtype=np.float64)
    sd = np.nanstd(values, axis=0, dtype=np.float64)
    x = ((values - mean) / sd).astype(np.float32)
    return Preprocess(
        features=tuple(train.columns[keep["keep"]]),
        mean=np.asarray(mean, dtype=np.float32),
        sd=np.asarray(sd, dtype=np.float32),
        median=np.asarray(np.nanmedian(x, axis=0), dtype=np.float32),
        reference=x if imputer == "knn" else None,
    )


def standardise(fitted: Preprocess, table: pd.DataFrame, *, allow_absent: float) -> np.ndarray:
    """float32 [N, F]: any samples' values in units of x, missing cells imputed.

    Columns are matched by name and extra ones ignored. `allow_absent` is the share of the fitted
    features that the table may lack altogether; these are imputed like missing cells.
    """
    absent = [f for f in fitted.features if f not in table.columns]
    if len(absent) > allow_absent * len(fitted.features):
        raise InputError(
            f"the table has {len(fitted.features) - len(absent)} of the {len(fitted.features)} "
            f"features that the codec was fitted on; it lacks {shown(absent)}; add them, or "
            "rename the columns as they were in training, or raise allow_absent (they are then "
            "imputed)"
        )
    values = _finite_values(table.reindex(columns=list(fitted.features)))
    return _impute(fitted, (values - fitted.mean[None, :]) / fitted.sd[None, :])


def unstandardise(fitted: Preprocess, x: np.ndarray) -> np.ndarray:
    """float32 [..., F]: from units of x back to the units of the table."""
    return (np.asarray(x, dtype=np.float32) * fitted.sd + fitted.mean).astype(np.float32)


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


def _impute(fitted: Preprocess, x: np.ndarray) -> np.ndarray:
    missing = np.isnan(x)
    rows = missing.any(axis=1)
    if fitted.reference is not None and rows.any():
        from sklearn.impute import KNNImputer

        knn = KNNImputer(n_neighbors=NUM_NEIGHBOURS, keep_empty_features=True)
        x = x.copy()
        x[rows] = knn.fit(fitted.reference).transform(x[rows])
        missing = np.isnan(x)
    return np.where(missing, fitted.median[None, :], x).astype(np.float32)
