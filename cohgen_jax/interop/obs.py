"""Facts about samples that several tables tell (`obs` of modalities), as one table."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cohgen_jax.errors import shown

EXAMPLES = 3
"""Samples that a difference is told of."""


def joined_facts(frames: Sequence[tuple[str, pd.DataFrame]], notes: list[str]) -> pd.DataFrame:
    """What several tables say of samples, of each column the first that knows a value; `notes` says
    where they differ. Index sample_id, columns of plain values."""
    told = [(name, _plain_values(frame)) for name, frame in frames]
    ids = pd.Index(list(dict.fromkeys(i for _, frame in told for i in frame.index)))
    joined, differing = {}, []
    for column in dict.fromkeys(c for _, frame in told for c in frame):
        first = value = None
        for name, frame in told:
            if column not in frame:
                continue
            other = frame[column].reindex(ids)
            if value is None:
                first, value = name, other
                continue
            differs = ids[value.notna() & other.notna() & ~_same(value, other)]
            if len(differs):
                some = "; ".join(f"{i}: {value[i]} and {other[i]}" for i in differs[:EXAMPLES])
                differing.append(
                    f"{column} of {name} and {first} in {len(differs)} samples ({some})"
                )
            value = value.combine_first(other)
        joined[column] = value
    if differing:
        notes.append(
            f"obs differs between modalities, and the first that knows a value is believed: "
            f"{shown(differing)}."
        )
    return pd.DataFrame(joined, index=ids.rename("sample_id"))


def _plain_values(obs: pd.DataFrame) -> pd.DataFrame:
    """`obs` with plain columns and ids: categories become their values."""
    out = obs.copy()
    for name in out.columns:
        if isinstance(out[name].dtype, pd.CategoricalDtype):
            out[name] = out[name].astype(object)
    out.columns = pd.Index(list(map(str, out.columns)))
    return out.set_axis(pd.Index(list(map(str, out.index))), axis=0)


def _same(one: pd.Series, other: pd.Series) -> np.ndarray:
    """bool: whether two columns say the same, numbers up to the precision they are kept in."""
    if all(pd.api.types.is_numeric_dtype(s) for s in (one, other)):
        a, b = (
            one.to_numpy(np.float64, na_value=np.nan),
            other.to_numpy(np.float64, na_value=np.nan),
        )
        return np.isclose(a, b, rtol=1e-5)
    return (one.astype(str) == other.astype(str)).to_numpy()
