"""Tables and samples that are copies of others: what is generated of one is read off the other.

A feature is a copy of another one if it orders the samples that both have in the same way, or the
other way round, so that a logarithm, another unit or a sign hides nothing.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cohgen_jax.cohort.kinds import Kind
from cohgen_jax.cohort.sparse import row_blocks
from cohgen_jax.errors import InputError, shown

LOOKED_AT = 256
"""Samples by which features are compared."""
LEAST_SAMPLES, LEAST_VALUES = 10, 8
"""Shared samples, and different values among them, that tell whether features are the same."""


def without_copies(
    tables: Mapping[str, pd.DataFrame], asked: bool, notes: list[str]
) -> dict[str, pd.DataFrame]:
    """The tables without those that hold the same values as another one, which `notes` names.

    asked: whether the user named these tables; then copies are refused.

    Raises:
        InputError: half or more of the features of a table are those of another, in whatever unit.
    """
    kept = dict(tables)
    # The shorter name stays: rna of rna and rna (1).
    names = sorted(tables, key=lambda name: (len(name), name))
    for k, copy in enumerate(names):
        for first in names[:k]:
            if first not in kept or copy not in kept:
                continue
            same = _same_values(tables[first], tables[copy])
            features = _shared_features(tables[first], tables[copy])
            if same:  # those of few values, too, which order nothing
                features = [(str(column), str(column)) for column in tables[copy].columns]
            if not features:
                continue
            fewer = min(tables[first].shape[1], tables[copy].shape[1])
            if len(features) < fewer / 2:
                notes.append(
                    f"{len(features)} features of {copy} order the samples as features of {first} "
                    f"do ({shown([f'{b} as {a}' for a, b in features])}): they are generated with "
                    "what they are generated from; remove them from one of the two."
                )
            elif not asked and same:
                notes.append(f"{copy} was left out: it holds the same values as {first}.")
                del kept[copy]
            else:
                raise InputError(
                    f"{copy} holds {len(features)} of the {fewer} features of {first} once more, "
                    "as they are or in another unit "
                    f"({shown([f'{b} as {a}' for a, b in features])}): what is generated of one "
                    "would be read off the other; leave one of them out (--modalities)"
                )
    return kept


def copied_samples_told(name: str, table: pd.DataFrame, kind: Kind) -> list[str]:
    """Samples that have exactly the values of another one, in all features."""
    if kind in ("binary", "ordinal") or table.shape[1] < LEAST_VALUES:
        return []
    parts = [(values != values[:, :1]).any(axis=1) for _, values in row_blocks(table)]
    varied = np.concatenate(parts)
    hashes = pd.util.hash_pandas_object(table, index=False).to_numpy()
    frame = pd.DataFrame({"hash": hashes[varied], "id": table.index[varied]})
    again = frame[frame["hash"].duplicated()]
    if not len(again):
        return []
    first = frame.drop_duplicates("hash").set_index("hash")["id"]
    pairs = [f"{i} as {first[h]}" for h, i in zip(again["hash"], again["id"], strict=True)]
    return [
        f"{name}: {len(pairs)} samples have exactly the values of another one ({shown(pairs)}): "
        "copies, or filled in; give them one patient in a column patient_id of samples, or leave "
        "them out."
    ]


def _same_values(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether the second table is within the first, or the first within the second."""
    if not (set(other.columns) == set(one.columns) and set(other.index) <= set(one.index)):
        return False
    return other.equals(one.loc[other.index, other.columns])


def _shared_features(one: pd.DataFrame, other: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of features, of one and of the other, that order the shared samples alike."""
    shared = one.index.intersection(other.index).sort_values()
    if len(shared) < LEAST_SAMPLES:
        return []
    shared = shared[np.linspace(0, len(shared) - 1, min(LOOKED_AT, len(shared))).astype(int)]
    first = _orders(one.loc[shared])
    return [
        (first[order], column)
        for order, column in _orders(other.loc[shared]).items()
        if order in first
    ]


def _orders(table: pd.DataFrame) -> dict[bytes, str]:
    """Order of the samples by each feature, as bytes -> its name; the few-valued are left out."""
    orders = {}
    for name, x in zip(table.columns, table.to_numpy().T, strict=True):
        values, ranks = np.unique(x, return_inverse=True)
        last = np.isfinite(values).sum() - 1  # unknown cells rank behind, in either direction
        if last + 1 >= LEAST_VALUES:
            turned = np.where(ranks <= last, last - ranks, ranks)
            orders[min(r.astype(np.uint16).tobytes() for r in (ranks, turned))] = str(name)
    return orders
