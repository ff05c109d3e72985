"""What a file holds before anybody has said which of it are ids and which way round it lies."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd


class Sheet(NamedTuple):
    """Cells of a file, of any type, under the names of its columns."""

    frame: pd.DataFrame
    carries_ids: bool = False
    """The index holds ids, as Parquet of pandas does; otherwise they are in one of the columns."""
    features_down: bool = False
    """The file says that features go down and samples across, as GCT does."""
    doubt: str = ""
    """Why its numbers may be others than they seem; text is read as it stands."""
    notes: tuple[str, ...] = ()
    """How it was read, where that is not the plain way; without the name of the file."""
