"""The list of analyses: what each asks, how it is computed, where its table and figure lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from cohgen_jax.downstream import reconstruction, rescue
from cohgen_jax.downstream.classification import Classification
from cohgen_jax.downstream.draws import Draws
from cohgen_jax.downstream.options import Options, Result, Workers
from cohgen_jax.downstream.study import Study
from cohgen_jax.downstream.survival import SurvivalOutcome


@dataclasses.dataclass(frozen=True)
class Analysis:
    name: str
    title: str
    explanation: str
    """One paragraph for the report."""
    compute: Callable[[Study, Draws, Options, Workers], Result]
    draw: Callable[[pd.DataFrame], Figure]
    version: int = 1
    """Raised when the same inputs give another result; part of what a cached table is valid for."""

    @property
    def table_file(self) -> str:
        """Path of the table in the run directory; `.json` beside it says what made it."""
        return f"metrics/downstream/{self.name}.csv"

    @property
    def claims_file(self) -> str:
        return f"metrics/downstream/{self.name}_claims.csv"

    @property
    def tests_file(self) -> str:
        """Tests over repeats; only analyses that have some write it."""
        return f"metrics/downstream/{self.name}_tests.csv"

    @property
    def figure_stem(self) -> str:
        """Path of the figure in the run directory, without .svg or .png."""
        return f"figures/downstream_{self.name}"


def _stage(study: Study, options: Options) -> Classification:
    return Classification.of_study(study, "stage", options.classifier)


def _survival(study: Study, options: Options) -> SurvivalOutcome:
    return SurvivalOutcome.of_study(study, options.forest_size)


ANALYSES: tuple[Analysis, ...] = (
    Analysis(
        "reconstruction",
        "Reconstruction",
        "Every modality of the tested patients is generated from every subset of the others and "
        "compared with the measured one. The figure shows, by cancer type, the share of variation "
        "that the posterior mean explains (R² about the mean of all patients) from all other "
        "modalities. Claims compare energy scores on the same patients; lower is better.",
        reconstruction.reconstruction,
        reconstruction.figure,
    ),
    Analysis(
        "rescue_stage",
        "Rescue of stage prediction",
        "A random forest predicts the pan-cancer stage from all modalities and the cancer type. "
        "Then every subset of modalities is taken away from the tested patients and replaced by "
        "draws (the prediction is averaged over them), by the mean, or by nothing (ablated). "
        "Retrained: a forest of what is left, trained on every patient who has it. Full: nothing "
        "taken away. Cancer type only: a forest of nothing else. Intervals are over patients.",
        lambda study, draws, options, workers: rescue.rescue(
            "rescue_stage", study, draws, _stage(study, options), options, workers
        ),
        lambda table: rescue.figure(table, "balanced_accuracy"),
    ),
    Analysis(
        "rescue_survival",
        "Rescue of survival prediction",
        "A random survival forest predicts overall survival from all modalities and the cancer "
        "type. Modalities are taken away and replaced as for stage. Concordance index (Harrell): "
        "the share of pairs of patients whose order of death is predicted right; the table also "
        "has the index with inverse censoring weights and the integrated Brier score.",
        lambda study, draws, options, workers: rescue.rescue(
            "rescue_survival", study, draws, _survival(study, options), options, workers
        ),
        lambda table: rescue.figure(table, "c_index"),
    ),
)
