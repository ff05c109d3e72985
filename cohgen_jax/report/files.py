"""What a run directory holds, read as tables: the report needs no models and no accelerator."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.fullest import fullest
from cohgen_jax.storage import rundir

VALIDATION = "validation patients"


class RunFiles:
    """A run directory; everything is read when it is first asked for.

    Raises:
      InputError: it is not a run directory, or a file in it is damaged.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        rundir.refuse_shared(self.path, "its report")
        self.config: dict[str, Any] = rundir.read_config(self.path)

    @functools.cached_property
    def modalities(self) -> tuple[str, ...]:
        about = self.json("codec/about.json")
        if about is None:
            raise InputError(
                f"{self.path} has no codecs yet: train it first (experiments/train.py --resume)"
            )
        return tuple(about["codecs"])

    @functools.cached_property
    def samples(self) -> pd.DataFrame:
        """Index sample_id; split and labels."""
        return self._parquet("samples.parquet")

    @functools.cached_property
    def present(self) -> pd.DataFrame:
        """bool, index sample_id, a column a modality."""
        return pd.DataFrame(
            {m: self.samples.index.isin(self.latents(m).index) for m in self.modalities},
            index=self.samples.index,
        )

    @functools.cached_property
    def evaluated(self) -> str:
        """Whom the evaluation is of, in words."""
        validation = (self.json("metrics/evaluation.json") or {}).get("split") == "val"
        return VALIDATION if validation else "held-out patients"

    @functools.cached_property
    def fullest(self) -> dict[str, str]:
        """Target -> the sources that stand for it in figures and tables; empty without scores."""
        table = self.table("fidelity")
        return {} if table is None else fullest(table)

    def latents(self, modality: str) -> pd.DataFrame:
        """Standardised latents of the samples that have the modality."""
        return self._parquet(f"latents/{modality}.parquet")

    def generated(self, method: str, target: str, draw: int = 0) -> pd.DataFrame | None:
        """One draw of the latents of a target from its fullest sources, index sample_id."""
        every = "+".join(m for m in self.modalities if m != target)
        sources = self.fullest.get(target, every)
        name = f"generated/{method}/{target}_from_{sources}.parquet"
        if not (self.path / name).exists():
            return None
        table = self._parquet(name)
        return table.query("draw == @draw").drop(columns="draw")

    def table(self, name: str) -> pd.DataFrame | None:
        """metrics/<name>.csv; None where it is not there or has no rows."""
        return self.csv(f"metrics/{name}.csv")

    def csv(self, name: str) -> pd.DataFrame | None:
        """A table of the run, None where it is not there or has no rows."""
        file = self.path / name
        if not file.exists():
            return None
        try:
            table = pd.read_csv(file)
        except pd.errors.EmptyDataError:
            return None
        except (ValueError, pd.errors.ParserError) as error:
            raise InputError(
                f"{file} is damaged ({error}): remove it and run the command that writes it again"
            ) from error
        return table if len(table) else None

    def json(self, name: str) -> Any:
        """A JSON file of the run, None where it is not there."""
        file = self.path / name
        try:
            return json.loads(file.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise InputError(f"{file} is damaged ({error})") from error

    def figure(self, name: str) -> Path | None:
        """figures/<name>.svg, None where it is not there."""
        file = self.path / "figures" / f"{name}.svg"
        return file if file.exists() else None

    @functools.cached_property
    def events(self) -> list[dict[str, Any]]:
        """log.jsonl, without lines that were cut short."""
        return rundir.events(self.path)

    @functools.cached_property
    def known(self) -> str:
        """Which covariates the models know, in words; empty where these are none."""
        columns = (self.json("covariates.json") or {}).get("columns", [])
        if not columns:
            return ""
        names = ", ".join(str(column["name"]) for column in columns)
        return f"Beside the assays, all models know {names} of each patient (covariates)"

    def rows(self, split: str) -> np.ndarray:
        return np.flatnonzero(self.samples["split"].to_numpy() == split)

    def _parquet(self, name: str) -> pd.DataFrame:
        try:
            return pd.read_parquet(self.path / name)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path / name} is missing or damaged: copy the run again from its source, "
                "or train again"
            ) from error
