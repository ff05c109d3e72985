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
    return codes & _apart(values, others.min(), others.max())


def _apart(values: np.ndarray, low: np.floating, high: np.floating) -> np.ndarray:
    """bool, of the shape of values: far from the others, which go from low to high."""
    far = APART * max(high - low, abs(low), abs(high), 1e-6)
    return (values < low - far) | (values > high + far) | ((values < 0) & (low >= 0))


class Codes:
    """Codes of a table that is gone through by blocks of rows: `add` them all, then `believed`."""

    def __init__(self, num_features: int) -> None:
        self.codes = np.array(sorted(_codes(np.dtype(np.float32))), np.float32)
        self.count = np.zeros((num_features, len(self.codes)), int)
        self.low = np.full(num_features, np.inf, np.float32)  # of the other values
        self.high, self.whole = -self.low, np.ones(num_features, bool)

    def add(self, values: np.ndarray) -> None:
        """values: float32 [n, F]."""
        others = values
        candidate = np.isin(values, self.codes)
        if candidate.any():
            for j in np.flatnonzero(candidate.any(axis=0)):
                own = np.searchsorted(self.codes, values[candidate[:, j], j])
                self.count[j] += np.bincount(own, minlength=len(self.codes))
            others = np.where(candidate, np.float32(np.nan), values)
        if len(values):
            self.low = np.fmin(self.low, np.fmin.reduce(others, axis=0))
            self.high = np.fmax(self.high, np.fmax.reduce(others, axis=0))
            self.whole &= ((others == np.rint(others)) | np.isnan(others)).all(axis=0)

    def believed(self) -> np.ndarray:
        """bool [F, codes]: which stand for a missing value, as `without_codes` has it."""
        found = np.zeros(self.count.shape, bool)
        if self.count.any():
            found |= self._of(slice(None))[None, :]
            for j in np.flatnonzero(self.count.any(axis=1)):
                found[j] |= self._of(slice(j, j + 1))
        return found & (self.count > 0)

    def _of(self, columns: slice) -> np.ndarray:
        """bool [codes]: by these columns together."""
        codes, count = self.codes, self.count[columns].sum(axis=0)
        known = self.low[columns] <= self.high[columns]
        if not known.any():
            return np.zeros(len(codes), bool)
        low, high = self.low[columns][known].min(), self.high[columns][known].max()
        coded = (count > 0) & _apart(codes, low, high)
        left = codes[(count > 0) & ~coded]
        whole = bool(self.whole[columns].all() and (left == np.rint(left)).all())
        often = int(count[coded & (codes > 0) & (codes < 1e10)].sum()) >= REPEATED
        return coded if often or not whole else coded & ((codes < 0) | (codes >= 1e10))

    def emptied(self, values: np.ndarray, believed: np.ndarray) -> np.ndarray:
        """Values [n, F] with NaN for the codes believed [F, codes]."""
        for k in np.flatnonzero(believed.any(axis=0)):
            coded = (values == self.codes[k]) & believed[None, :, k]
            values = np.where(coded, np.float32(np.nan), values)
        return values

    def note(self, name: str, features: pd.Index, believed: np.ndarray) -> str:
        written = ", ".join(f"{v:g}" for v in self.codes[believed.any(axis=0)])
        return (
            f"{name}: {int(self.count[believed].sum())} cells hold {written}, far from the other "
            "values, and count as missing (features "
            f"{shown(features[np.flatnonzero(believed.any(axis=1))])})."
        )


def without_codes(name: str, table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """The table with NaN for codes of a missing value, which `notes` names."""
    if not np.isin(levels(table), list(_codes(np.dtype(np.float32)))).any():
        return table
    codes = Codes(table.shape[1])
    for _, values in row_blocks(table):
        codes.add(values)
    believed = codes.believed()
    if not believed.any():
        return table
    notes.append(codes.note(name, table.columns, believed))
    values = table.to_numpy(np.float32)
    return table.mask(np.isnan(codes.emptied(values, believed)) & ~np.isnan(values))


class Zeros:
    """Zeros of a table that is gone through by blocks of rows: `add` them all, then `verdict`."""

    def __init__(self, num_features: int) -> None:
        self.ids: list[str] = []
        """Samples that are zero throughout."""
        self.num = 0  # of the others; so are the following
        self.known, self.zero = np.zeros((2, num_features), int)
        self.share, self.few = 0.0, 0

    def add(self, ids: pd.Index, values: np.ndarray) -> np.ndarray:
        """bool [n]: who is zero throughout. values: float32 [n, F] of these samples."""
        is_known, is_zero = ~np.isnan(values), values == 0
        known, zeros = is_known.sum(axis=1), is_zero.sum(axis=1)
        zero = (zeros == known) & (known > 0)
        others = ~zero
        self.ids += list(ids[zero])
        self.num += int(others.sum())
        self.known += is_known[others].sum(axis=0)
        self.zero += is_zero[others].sum(axis=0)
        self.few += int(((known - zeros)[others] <= 2).sum())
        shares = zeros[others] / np.maximum(known[others], 1)
        self.share = max(self.share, shares.max(initial=0.0))
        return zero

    def verdict(self, name: str, kind: Kind) -> tuple[bool, list[str]]:
        """Whether the assay of those samples counts as not done, and what to tell of them."""
        ids = pd.Index(self.ids)
        if not len(ids) or len(self.known) < 2:
            return False, []
        if not self.num:
            told = [f"{name}: every value is exactly zero."]
            return False, [] if kind in ("binary", "ordinal") else told
        told = f"{name}: every value of {len(ids)} samples is exactly zero ({shown(ids)})"
        if kind in ("binary", "ordinal"):
            strange = len(ids) > SURPRISING * (1 + self.few)
            note = (
                f"{told}, and only {self.few} samples have one or two others: if their assay was "
                "not done, leave these rows out."
            )
            return False, [note] * strange
        if self.share < SPARSE and self._by_chance() < BY_CHANCE:
            return True, [
                f"{told}, which no other sample comes near: their assay counts as not done, as an "
                "outer join fills with zero what is not there."
            ]
        return False, [f"{told}: if their assay was not done, leave these rows out."]

    def _by_chance(self) -> float:
        """Samples of nothing but zeros if each feature were zero by itself, as often as it is."""
        share = np.maximum(self.zero, 0.5) / np.maximum(self.known, 1)
        return self.num * float(np.exp(np.log(np.minimum(share, 1.0)).sum()))


def without_zero_rows(name: str, table: pd.DataFrame, kind: Kind, notes: list[str]) -> pd.DataFrame:
    """The table without samples that are zero throughout for want of the assay; `notes` tells of
    them, and of those that may be."""
    zeros = Zeros(table.shape[1])
    zero = np.zeros(len(table), bool)
    for rows, values in row_blocks(table):
        zero[rows] = zeros.add(table.index[rows], values)
    dropped, told = zeros.verdict(name, kind)
    notes += told
    return table.loc[~zero] if dropped else table


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


def _codes(dtype: np.dtype) -> set[float]:
    return {float(np.asarray(code, dtype)) for code in CODES}
