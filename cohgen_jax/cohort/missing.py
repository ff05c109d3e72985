"""What is zero, what is missing: codes for a missing value, and assays that are zero throughout.

Codes   a number of `CODES` far from all the others of its table, or of its column, is no value
Zeros   a sample all of whose values are 0 in a table where that cannot come about by chance lacks
        the assay, as after an outer join that filled with 0. In tables of 0 and 1 or of grades, and
        where many values are 0, it may be measured: it is told
Blocks  features that are 0 in the same samples and in no others are told
"""

import numpy as np
import pandas as pd

from cohgen_jax.cohort.kinds import Kind
from cohgen_jax.cohort.sparse import column_blocks, levels, row_blocks
from cohgen_jax.cohort.spellings import CODES
from cohgen_jax.errors import shown

APART = 5
"""Times the span of the other values that a code lies away from them."""
BY_CHANCE = 1e-3
"""Samples of nothing but zeros that may be expected, for those there are to be no chance."""
SPARSE = 0.9
"""Share of zeros of some other sample from which a sample of nothing else is no surprise."""
SURPRISING = 3
"""Times the samples with one or two events that those without any are rarely more than."""
LEAST_BLOCK, BLOCK_SHARE = 5, 0.1
"""Features, and share of the samples, of a block of zeros that is told."""
REPEATED = 3
"""Times that a code stands among whole numbers."""


def coded_missing(values: np.ndarray) -> np.ndarray:
    """bool, of the shape of values: numbers of CODES that lie far from all others, or are negative
    where no other is."""
    codes = np.isin(values, list(_codes(values.dtype)))
    others = np.extract(~np.asarray(codes | np.isnan(values)), values)
    if not codes.any() or not len(others):
        return np.zeros(values.shape, bool)
    low, high = others.min(), others.max()
    far = APART * max(high - low, abs(low), abs(high), 1e-6)
    apart = (values < low - far) | (values > high + far) | ((values < 0) & (low >= 0))
    return codes & apart


def without_codes(name: str, table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """The table with NaN for codes of a missing value, which `notes` names."""
    if not np.isin(levels(table), list(_codes(np.dtype(np.float32)))).any():
        return table
    values = table.to_numpy(np.float32)
    candidate = np.isin(values, list(_codes(values.dtype)))
    coded = _believed(values, coded_missing(values))
    for j in np.flatnonzero(candidate.any(axis=0)):
        column = values[:, j]
        coded[:, j] |= _believed(column, coded_missing(column))
    if not coded.any():
        return table
    written = ", ".join(f"{v:g}" for v in np.unique(values[coded]))
    columns = table.columns[np.flatnonzero(coded.any(axis=0))]
    notes.append(
        f"{name}: {int(coded.sum())} cells hold {written}, far from the other values, and count as "
        f"missing (features {shown(columns)})."
    )
    return table.mask(coded)


def without_zero_rows(name: str, table: pd.DataFrame, kind: Kind, notes: list[str]) -> pd.DataFrame:
    """The table without samples that are zero throughout for want of the assay; `notes` tells of
    them, and of those that may be."""
    known, zeros = np.zeros((2, len(table)), int)  # cells of each sample
    for rows, values in row_blocks(table):
        known[rows] = (~np.isnan(values)).sum(axis=1)
        zeros[rows] = (values == 0).sum(axis=1)
    zero = (zeros == known) & (known > 0)
    if not zero.any() or table.shape[1] < 2:
        return table
    if zero.all():
        notes += [] if kind in ("binary", "ordinal") else [f"{name}: every value is exactly zero."]
        return table
    ids = table.index[zero]
    share = (zeros[~zero] / np.maximum(known[~zero], 1)).max()
    told = f"{name}: every value of {len(ids)} samples is exactly zero ({shown(ids)})"
    if kind in ("binary", "ordinal"):
        few = int(((known - zeros)[~zero] <= 2).sum())
        if len(ids) > SURPRISING * (1 + few):
            notes.append(
                f"{told}, and only {few} samples have one or two others: if their assay was not "
                "done, leave these rows out."
            )
        return table
    if share < SPARSE and _zero_by_chance(table.loc[~zero]) < BY_CHANCE:
        notes.append(
            f"{told}, which no other sample comes near: their assay counts as not done, as an "
            "outer join fills with zero what is not there."
        )
        return table.loc[~zero]
    notes.append(f"{told}: if their assay was not done, leave these rows out.")
    return table


def zero_blocks_told(name: str, table: pd.DataFrame, kind: Kind) -> list[str]:
    """Features that are zero in the same samples and nowhere else, as after joining two panels."""
    if kind in ("binary", "ordinal"):
        return []
    least = max(LEAST_BLOCK, BLOCK_SHARE * len(table))
    blocks: dict[bytes, list[int]] = {}
    for block, values in column_blocks(table):
        zero = values == 0
        count = zero.sum(axis=0)
        for j in np.flatnonzero((count >= least) & (count <= len(table) - LEAST_BLOCK)):
            blocks.setdefault(np.packbits(zero[:, j]).tobytes(), []).append(block.start + int(j))
    told = []
    for columns in blocks.values():
        if len(columns) >= LEAST_BLOCK:
            samples = table.index[table.iloc[:, columns[0]].to_numpy() == 0]
            told.append(
                f"{name}: {len(columns)} features ({shown(table.columns[columns])}) are exactly "
                f"zero in the same {len(samples)} samples ({shown(samples)}) and in no other: if "
                "they were not measured there, leave these cells empty."
            )
    return told


def _zero_by_chance(table: pd.DataFrame) -> float:
    """Samples of nothing but zeros if each feature were zero by itself, as often as it is."""
    log = 0.0
    for _, values in column_blocks(table):
        num = np.maximum((~np.isnan(values)).sum(axis=0), 1)
        share = np.maximum((values == 0).sum(axis=0), 0.5) / num
        log += np.log(np.minimum(share, 1.0)).sum()
    return len(table) * float(np.exp(log))


def _believed(values: np.ndarray, coded: np.ndarray) -> np.ndarray:
    """Those of the coded cells that are no chance: negative, enormous, among fractions, or often
    enough to be no count."""
    rest = values[~coded & ~np.isnan(values)]
    whole = bool((rest == np.rint(rest)).all())
    often = int((coded & (values > 0) & (values < 1e10)).sum()) >= REPEATED
    return coded if often or not whole else coded & ((values < 0) | (values >= 1e10))


def _codes(dtype: np.dtype) -> set[float]:
    return {float(np.asarray(code, dtype)) for code in CODES}
