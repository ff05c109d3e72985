"""The published system's generated tables, read to be scored beside others.

    results/<dim>/<target>_from_{coherent,multi}/test/generated_samples_from_<sources>_best_mse.csv

Draws of all test samples one below the other, in the order of the test table, without ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.errors import InputError

_NAME = re.compile(r"generated_samples_from_(?P<sources>.+)_best_(?P<metric>\w+)\.csv")


class GeneratedTable(NamedTuple):
    """One file: where it lies, and what it was generated from."""

    path: Path
    method: str  # coherent, multi, or single where it lies in <target>_from_<source>
    target: str
    sources: tuple[str, ...]
    metric: str

    def draws(self, num_samples: int, width: int) -> np.ndarray:
        """float32 [R, N, D] for the N samples of the test table."""
        try:
            table = pd.read_csv(self.path)
        except (ValueError, pd.errors.ParserError) as error:
            raise InputError(f"{self.path} is not a table: {error}") from error
        table = table.drop(columns=[c for c in table.columns if str(c).startswith("Unnamed")])
        if table.shape[1] != width or len(table) % num_samples or not len(table):
            raise InputError(
                f"{self.path} has {len(table)} rows of {table.shape[1]} latents: draws of "
                f"{num_samples} test samples of {width} latents were expected, one below the other"
            )
        return table.to_numpy(np.float32).reshape(-1, num_samples, width)


def generated_tables(folder: Path, modalities: Sequence[str]) -> Iterator[GeneratedTable]:
    """Those below a results folder of one latent width, in order of target and method."""
    for path in sorted(folder.glob("*_from_*/test/generated_samples_from_*.csv")):
        target, _, source = path.parents[1].name.partition("_from_")
        match = _NAME.fullmatch(path.name)
        if match is None or target not in modalities:
            continue
        method = source if source in ("coherent", "multi") else "single"
        sources = _sources(match["sources"], modalities)
        if not sources or target in sources:
            raise InputError(
                f"{path}: {match['sources']!r} does not name sources among {', '.join(modalities)}"
            )
        yield GeneratedTable(path, method, target, sources, match["metric"])


def _sources(text: str, modalities: Sequence[str]) -> tuple[str, ...]:
    """Modalities of a combination, however they are joined; () where something else is in it."""
    left = text
    for name in sorted(modalities, key=len, reverse=True):
        left = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", "", left)
    if re.sub(r"and|[^A-Za-z0-9]", "", left):
        return ()
    return tuple(
        m for m in modalities
        if re.search(rf"(?<![A-Za-z0-9]){re.escape(m)}(?![A-Za-z0-9])", text)
    )  # fmt: skip
