"""Project blocks: one matrix a project on disk, joined only where it is needed.

Twenty projects of 60,660 genes do not have to be in memory together: each is written as
`<project>.npy` ([samples, features], memory-mapped when read) with its ids in `<project>.json`,
and `assemble` fills one table from the parts that are asked for. Blocks are float32, or float64 for
comparisons with the published chain.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.storage.whole import whole_file
from data_prep.files import read_json, write_json


class Block(NamedTuple):
    """values [samples, features], perhaps a memory map; samples, features: ids."""

    values: np.ndarray
    samples: list[str]
    features: list[str]


def block_paths(folder: Path, project: str) -> tuple[Path, Path]:
    """The two files of a project's block."""
    return folder / f"{project}.npy", folder / f"{project}.json"


def save_block(folder: Path, project: str, block: Block) -> None:
    """Writes a block; the ids last, so that a block with ids is whole."""
    array, ids = block_paths(folder, project)
    values = np.ascontiguousarray(block.values)
    with whole_file(array) as temporary, open(temporary, "wb") as f:
        # Not np.save: on a full disk that raises an error which does not say so.
        np.lib.format.write_array_header_1_0(f, np.lib.format.header_data_from_array_1_0(values))
        f.write(values.data)
    write_json(ids, {"samples": block.samples, "features": block.features})


def load_block(folder: Path, project: str) -> Block:
    """Opens a block without reading its values."""
    array, ids = block_paths(folder, project)
    names = read_json(ids)
    values = np.load(array, mmap_mode="r", allow_pickle=False)
    return Block(values, names["samples"], names["features"])


def merged_features(blocks: Sequence[Block]) -> list[str]:
    """Union of the blocks' features, in order of first appearance (an outer join)."""
    return list(dict.fromkeys(f for block in blocks for f in block.features))


def merged_samples(blocks: Sequence[Block]) -> list[str]:
    """All samples, in block order; one listed by two projects counts once, in the first."""
    return list(dict.fromkeys(s for block in blocks for s in block.samples))


def count_per_feature(blocks: Sequence[Block], features: Sequence[str], test) -> np.ndarray:
    """For every feature the number of cells for which `test(values)` holds, all blocks together.

    Returns int64 [features]; a feature that a block lacks counts nothing there.
    """
    total = np.zeros(len(features), dtype=np.int64)
    where = pd.Index(features)
    for block in blocks:
        total[where.get_indexer(pd.Index(block.features))] += test(block.values).sum(axis=0)
    return total


def assemble(
    blocks: Sequence[Block],
    samples: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
) -> pd.DataFrame:
    """One table, rows `samples`, columns `features`, NaN where no block has the cell.

    Filled piece by piece, with columns contiguous in memory (as pandas and Arrow hold them, so that
    neither has to copy): the peak is the result and little more.
    """
    samples = merged_samples(blocks) if samples is None else list(samples)
    features = merged_features(blocks) if features is None else list(features)
    dtype = np.result_type(np.float32, *(block.values.dtype for block in blocks))
    values = np.full((len(features), len(samples)), np.nan, dtype=dtype)
    row_of = {s: i for i, s in enumerate(samples)}
    for block in blocks:
        # A sample of two projects is taken from the first: its row is free no more.
        source = np.array([i for i, s in enumerate(block.samples) if s in row_of], dtype=int)
        target = np.array([row_of.pop(block.samples[i]) for i in source], dtype=int)
        columns = pd.Index(block.features).get_indexer(pd.Index(features))
        have = np.flatnonzero(columns >= 0)
        for start in range(0, len(have), _PIECE):
            piece = have[start : start + _PIECE]
            part = block.values[source[:, None], columns[piece]]
            values[piece[:, None], target] = part.T
    return pd.DataFrame(values.T, index=pd.Index(samples, name="sample_id"), columns=features)


_PIECE = 4096
"""Features copied at a time."""
