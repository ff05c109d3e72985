"""The condition that stands for a target: from as many sources as enough patients have.

Where everybody who is tested has every modality, that is all the others. Where few or none have,
scores from all of them are of nobody, and the target is judged from the most sources that ENOUGH
test patients have beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

ENOUGH = 10
"""Test patients; where no subset has as many, that of most patients counts."""


def fullest(conditions: pd.DataFrame) -> dict[str, str]:
    """Target -> sources, as tables name them. conditions: target, sources, num_sources, n, in as
    many rows as there are methods."""
    chosen = {}
    for target, table in conditions.groupby("target", sort=False):
        table = table[table["num_sources"] > 0] if (table["num_sources"] > 0).any() else table
        enough = table[table["n"] >= ENOUGH]
        order = ["num_sources", "n"] if len(enough) else ["n", "num_sources"]
        best = (enough if len(enough) else table).sort_values(order, kind="stable").iloc[-1]
        same = (table[order] == best[order]).all(axis=1)
        chosen[str(target)] = str(table.loc[same, "sources"].iloc[0])
    return chosen


def of_fullest(table: pd.DataFrame, chosen: Mapping[str, str]) -> pd.DataFrame:
    """The rows of these conditions. table: target, sources and anything else."""
    return table[table["sources"] == table["target"].map(dict(chosen))]


def all_others(chosen: Mapping[str, str], modalities: Sequence[str]) -> bool:
    """Whether that is all other modalities for every target."""
    return all(len(sources.split("+")) == len(modalities) - 1 for sources in chosen.values())


def in_words(chosen: Mapping[str, str], modalities: Sequence[str]) -> str:
    """In words: `from all other modalities`, or from which."""
    if all_others(chosen, modalities):
        return "from all other modalities"
    each = ", ".join(f"{t} from {sources.replace('+', ' and ')}" for t, sources in chosen.items())
    return f"from the most sources that {ENOUGH} tested patients have ({each})"
