"""The list of analyses: what each asks, how it is computed, where its table and figure lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from cohgen_jax.downstream import (
    cascades,
    completion,
    prioritise,
    reconstruction,
    rescue,
    sets,
    synthetic,
)
from cohgen_jax.downstream.classification import Classification
from cohgen_jax.downstream.draws import Draws
from cohgen_jax.downstream.options import Options, Result, Workers
from cohgen_jax.downstream.outcome import Outcome
from cohgen_jax.downstream.study import NotPossible, Study
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


def _of_outcome(analyse: Callable[..., Result], name: str, outcome: Callable[..., Outcome]):
    """One of the analyses that ask the same of every outcome."""

    def compute(study: Study, draws: Draws, options: Options, workers: Workers) -> Result:
        return analyse(name, study, draws, outcome(study, options), options, workers)

    return compute


def _completion(study: Study, draws: Draws, options: Options, workers: Workers) -> Result:
    """Of the outcomes that the run has; told which it has not."""
    outcomes: list[Outcome] = []
    told = []
    for make in (_stage, _survival):
        try:
            outcome = make(study, options)
            rescue.rows_of(study, outcome)
        except NotPossible as reason:
            told.append(f"completion: {reason}")
            continue
        outcomes.append(outcome)
    return completion.completion(study, draws, outcomes, options, workers, told)


ANALYSES: tuple[Analysis, ...] = (
    Analysis(
        "reconstruction",
        "Reconstruction",
        "Every modality of the tested patients is generated from all others, from all but one of "
        "them and from some smaller subsets (Fidelity has every one), and compared with the "
        "measured one. The figure shows, by cancer type, the share of variation that the "
        "posterior mean explains (R² about the mean of all patients) from all other "
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
        _of_outcome(rescue.rescue, "rescue_stage", _stage),
        lambda table: rescue.figure(table, "balanced_accuracy"),
    ),
    Analysis(
        "rescue_survival",
        "Rescue of survival prediction",
        "A random survival forest predicts overall survival from all modalities and the cancer "
        "type. Modalities are taken away and replaced as for stage. Concordance index (Harrell): "
        "the share of pairs of patients whose order of death is predicted right; the table also "
        "has the index with inverse censoring weights and the integrated Brier score.",
        _of_outcome(rescue.rescue, "rescue_survival", _survival),
        lambda table: rescue.figure(table, "c_index"),
    ),
    Analysis(
        "prioritise_stage",
        "Whom to test next, for stage",
        "Every tested patient lacks one modality. Patients are given the real assay in the order "
        "in which generated versions of it change their predicted stage most often; the sooner "
        "balanced accuracy rises, the better the order. Uncertainty orders by the confidence of "
        "the prediction without the assay; oracle by the change that the real assay makes. Claims "
        "compare areas under the curves with the expectation over all random orders.",
        _of_outcome(prioritise.prioritise, "prioritise_stage", _stage),
        lambda table: prioritise.figure(table, "balanced_accuracy"),
    ),
    Analysis(
        "prioritise_survival",
        "Whom to test next, for survival",
        "As for stage: patients are ordered by the mean squared change that generated versions of "
        "the assay make to their predicted risk; the curve is the concordance index.",
        _of_outcome(prioritise.prioritise, "prioritise_survival", _survival),
        lambda table: prioritise.figure(table, "c_index"),
    ),
    Analysis(
        "synthetic",
        "Train on real, test on synthetic",
        "Random forests, one a modality, learn cancer type and stage from real patients; nothing "
        "is trained on generated ones here. They are tested on the real assay of held-out patients "
        "and on what was generated for them. Close to real is best: generated data that are easier "
        "to classify than real ones exaggerate. What the models were told (the covariates of the "
        "run, cancer type as a rule) is left out. Below: the classes that patients are put into. "
        "The table also has stage within each cancer type.",
        synthetic.synthetic,
        synthetic.figure,
    ),
    Analysis(
        "completion",
        "Completing the training set",
        "Models of stage and survival trained on complete patients only, on everyone with holes "
        "left open, and on everyone with holes filled by each method (one draw, another one for "
        "each seed); all tested on the same real patients. Intervals are over patients.",
        _completion,
        completion.figure,
    ),
    Analysis(
        "cascades",
        "Two assays missing, in both orders",
        "Two modalities are generated one after the other, in both orders, or apart from each "
        "other. The energy score of both together (lower is better) sees whether they fit.",
        cascades.cascades,
        cascades.figure,
    ),
    Analysis(
        "sets",
        "Generated patients as a set",
        "Energy distance between random subsets of generated and of real patients, beside what "
        "real patients have among themselves, training patients, and patients generated from "
        "no assay. The table has precision, recall, density, coverage and all distances.",
        sets.sets,
        sets.figure,
    ),
)
