"""One object from tables to completed tables, in the manner of scikit-learn: `CohortModel`.

It trains a run in a temporary directory of its own, which nobody has to see; `save` keeps it, with
the tables it was fitted on, as a run directory that every command opens.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from cohgen_jax.cohort import RawTables, cohort_from, save_cohort
from cohgen_jax.cohort.load import parse_layers
from cohgen_jax.cohort.read import FACTS, choose, raw_tables, without_empty_rows
from cohgen_jax.errors import InputError
from cohgen_jax.interop.annotated import raw_tables_of
from cohgen_jax.runs.config import ExperimentConfig, RecipeName, recipe
from cohgen_jax.runs.run import Run, open_run
from cohgen_jax.runs.source import cohort_settings
from cohgen_jax.runs.train import train_run
from cohgen_jax.storage import rundir
from cohgen_jax.storage.checkpoint import write_json

Tables = Mapping[str, pd.DataFrame] | Any
"""Modality -> table (index sample id, columns features, in any unit), or a MuData."""


class CohortModel(BaseEstimator):
    """Generates the modalities that a patient lacks, fitted on a cohort of tables.

    Args:
      config: a recipe by name, or an `ExperimentConfig` (whose `cohort` is not used).
      method: what `sample` and `impute` generate with: "coherent" or "multi".
      num_draws: draws a patient, where a call does not say.
      seed: of generating; that of training is `config.seed`.
      tell: told in a line what is done to the data and how fitting goes on, as `print`.

    After `fit` or `load`, `run_` is the run underneath (`cohgen_jax.open_run`).
    """

    def __init__(
        self,
        config: ExperimentConfig | RecipeName = "default",
        *,
        method: str = "coherent",
        num_draws: int = 10,
        seed: int = 0,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.config: ExperimentConfig | RecipeName = config
        self.method, self.num_draws, self.seed, self.tell = method, num_draws, seed, tell

    def fit(self, tables: Tables, samples: pd.DataFrame | None = None) -> Self:
        """Learn from a cohort; patients may lack tables, tables may lack cells.

        Args:
          tables: two modalities or more of the same patients.
          samples: what else is known of them, index sample id (or patient id): `patient_id`,
            `split`, `cancer_type`, `sex`, `age`, ...; of a MuData that is its `obs`.

        Raises:
          InputError: what `cohgen train` refuses, before anything is fitted. A model that was
            fitted before stays as it was.
        """
        asked = self.config
        config = asked if isinstance(asked, ExperimentConfig) else recipe(asked)
        raw = _raw(tables, samples, config)
        if config.modalities:
            chosen = choose(raw.tables, config.modalities, Path("tables"))
            raw = raw._replace(tables={name: raw.tables[name] for name in chosen})
        cohort = cohort_from(raw, **cohort_settings(config))
        folder = tempfile.TemporaryDirectory(prefix="cohgen-")
        path, of_tables = Path(folder.name) / "run", Path(folder.name) / rundir.COHORT
        save_cohort(cohort, of_tables)
        as_read: Any = {"layers": (), "id_column": None, "transpose": ()}
        fitted = dataclasses.replace(config, cohort=str(of_tables), **as_read)
        train_run(fitted, path, tell=self.tell or (lambda line: None))
        of_tables.rename(path / rundir.COHORT)
        about = {"cohort": rundir.COHORT, "layers": config.layers}
        write_json(path / "config.json", {**rundir.read_config(path), **about})
        self._folder, self.run_ = folder, open_run(path)  # the folder goes with the object
        return self

    @property
    def modalities_(self) -> tuple[str, ...]:
        return self._fitted().modalities

    def sample(
        self,
        target: str,
        patients: Sequence[str] | str = "test",
        num_draws: int | None = None,
        **settings: Any,
    ) -> pd.DataFrame:
        """Draws of one modality of patients it was given to fit: see `Run.sample`.

        patients: sample ids, or a side of the split ("train", "val", "test").
        """
        return self._fitted().sample(target, patients, **self._settings(num_draws, settings))

    def impute(
        self,
        tables: Tables,
        samples: pd.DataFrame | None = None,
        num_draws: int | None = None,
        **settings: Any,
    ) -> Any:
        """What new patients lack, generated from what they have: see `Run.impute`.

        Returns:
          Completed tables by name (`rna_mean`, `rna_sd`, `rna_low`, `rna_high`, all draws as
          `rna`; `disagreement`), or the MuData with its generated modalities.
        """
        if samples is not None:
            tables = _with_facts(tables, samples)
        return self._fitted().impute(tables, **self._settings(num_draws, settings))

    def score(
        self, split: str = "test", num_draws: int | None = None, **settings: Any
    ) -> pd.DataFrame:
        """How well held-out patients are generated from what else they have, in units of the
        tables, beside the baselines: see `evaluation.held_out.score_held_out`.

        Returns:
          DataFrame, index target and method (coherent, multi, climatology, ridge, ...), columns
          crps (lower is better), r2, coverage80, ...
        """
        from cohgen_jax.evaluation.held_out import score_held_out

        settings = self._settings(num_draws, settings)
        del settings["method"]  # it compares them
        return score_held_out(self._fitted(), split, **settings)

    def save(self, path: str | Path) -> Path:
        """Keep it as a run directory, with the tables it was fitted on: as private as they are.

        Raises:
          InputError: not fitted, or something is there already.
        """
        path, run = Path(path), self._fitted()
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"{path} holds something already: name a new directory")
        half = path.with_name(f".{path.name}.part")
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(run.path, half, ignore=shutil.ignore_patterns(".lock"))
        half.replace(path)
        return path

    @classmethod
    def load(cls, path: str | Path, **settings: Any) -> Self:
        """What `save` kept, or any finished run directory. settings: of the constructor."""
        run = open_run(path)
        model = cls(run.config, **settings)
        model.run_ = run
        return model

    def _fitted(self) -> Run:
        check_is_fitted(self, "run_")
        return self.run_

    def _settings(self, num_draws: int | None, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Those of a call, and of the constructor where it does not say."""
        draws = self.num_draws if num_draws is None else num_draws
        return {"method": self.method, "seed": self.seed, "num_draws": draws, **settings}

    def __getstate__(self):
        if hasattr(self, "run_"):
            raise InputError("a fitted CohortModel is kept with save(path) and load(path)")
        return super().__getstate__()


def _raw(tables: Tables, samples: pd.DataFrame | None, config: ExperimentConfig) -> RawTables:
    """The tables and facts of frames or of a MuData, nothing fitted."""
    if samples is not None:
        tables = _with_facts(tables, samples)
    if isinstance(tables, Mapping):
        return raw_tables(tables)._replace(name="tables")
    if not hasattr(tables, "mod"):
        raise InputError(
            f"expected DataFrames by modality or a MuData, got {type(tables).__name__}"
        )
    layers = parse_layers(config.layers)
    return without_empty_rows(raw_tables_of(tables, "tables", "the MuData", layers))


def _with_facts(tables: Tables, samples: pd.DataFrame) -> dict[str, pd.DataFrame]:
    if not isinstance(tables, Mapping):
        raise InputError("what is known of the patients of a MuData is its obs: leave out samples")
    there = [name for name in FACTS if name in tables]
    if there:
        raise InputError(f"samples is given twice: leave {there[0]!r} out of the tables")
    return {**tables, "samples": samples}
