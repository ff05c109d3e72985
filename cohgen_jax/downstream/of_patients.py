"""The next test of patients that a run has never seen: tables with holes in, a ranking out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from cohgen_jax.cohort.tables import parse_numbers, read_table
from cohgen_jax.downstream.classification import Classification, random_forest
from cohgen_jax.downstream.next_assay import Drawn, Question, rank_assays
from cohgen_jax.downstream.options import Workers
from cohgen_jax.downstream.outcome import Outcome
from cohgen_jax.downstream.study import Study
from cohgen_jax.downstream.survival import LONG, QUICK, SurvivalOutcome
from cohgen_jax.errors import InputError, check_choices, check_seed, need
from cohgen_jax.runs.calibration import FLAGGED
from cohgen_jax.runs.families import Method
from cohgen_jax.runs.patients import Patients, read_patients, shown_sources, to_generate
from cohgen_jax.runs.run import Run
from cohgen_jax.sampling.generate import sample_rows
from cohgen_jax.seeds import seed_of
from cohgen_jax.solvers import SolverConfig
from cohgen_jax.storage import rundir

SURVIVAL = "survival"
Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrioritizeConfig:
    """What is predicted, and how much work is done."""

    label: str = "stage"
    """A column of the run's samples (`stage`, `cancer_type`, ...), or `survival`."""
    draws: int = 30
    """Of each patient and missing modality."""
    forests: int = 20
    """Each trained on a bootstrap draw of the training patients; behind every interval."""
    trees: int = 100
    """Trees of a classification forest."""
    survival: Literal["quick", "long"] = "quick"
    """Random survival forests: 30 trees of depth 12, or 100 trees without limit."""
    method: Method = "coherent"
    """Ensemble of single-condition models, or the multi-condition model."""
    jobs: int = 0
    """Processes; as many as there are cores when 0. Does not change any result."""
    seed: int = 0

    def __post_init__(self):
        check_choices(self)
        for name, least in (("draws", 2), ("forests", 5), ("trees", 1), ("jobs", 0)):
            if getattr(self, name) < least:
                raise InputError(f"--{name} must be at least {least}, got {getattr(self, name)}")
        check_seed(self.seed)


def prioritize_tables(
    run: Run,
    source: str | Path,
    config: PrioritizeConfig = PrioritizeConfig(),
    costs: Sequence[str] = (),
    tell: Tell = lambda line: None,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> pd.DataFrame:
    """Which missing modality of each patient of a folder to measure first.

    Patients need no label. Their cancer type is used where samples.* or clinical.* has that column.

    Returns:
      One row a patient and missing modality, best first: sample_id, the columns of `rank_assays`,
      and `sources`, what the draws were made from.

    Raises:
      InputError: unknown label or one that cannot be learnt, unusable costs or tables, or nobody
        lacks a modality.
    """
    import joblib

    rundir.refuse_shared(run.path, "ranking assays")
    if config.label == SURVIVAL:
        need("--label survival", "downstream", "sksurv")
    priced = read_costs(costs, run.modalities)
    study = Study.of_run(run)
    outcome = outcome_of(study, config)
    if outcome.left_out:
        tell(f"training patients: left out {outcome.left_out}")
    # What is to be predicted is hidden from the models where they know it of training patients.
    told = config.label in study.covariates
    hidden = (f"{config.label}=unknown",) if told else ()
    if told:
        tell(f"{config.label} is a covariate of the run: draws are made as if nobody knew it")
    patients = read_patients(run, source, tell, hidden)
    wanted = to_generate(run, patients.present)
    if not wanted:
        raise InputError(
            f"nothing to rank: nobody in {source} lacks a modality of the run, or has another one "
            "to generate it from"
        )
    unpriced = [m for m in wanted if priced is not None and m not in priced]
    if unpriced:
        raise InputError(f"no cost of {', '.join(unpriced)}, which patients lack: give every one")
    types = _types(study, config.label, patients, tell)
    missing = _drawn(run, patients, wanted, config, tell, progress)
    question = Question(study, outcome, patients.z, patients.present, types, missing)
    workers = Workers(
        config.jobs or joblib.cpu_count(), lambda done, total: progress(done, total, "forests")
    )
    table = rank_assays(question, priced, forests=config.forests, seed=config.seed, workers=workers)
    rows = table.index.to_numpy()
    columns = [run.index(m) for m in table["modality"]]
    sources = [
        shown_sources(run, patients.present[row], m) for row, m in zip(rows, columns, strict=True)
    ]
    table.insert(len(table.columns) - 2, "sources", sources)
    table.insert(0, "sample_id", patients.ids[rows])
    return table.reset_index(drop=True)


def outcome_of(study: Study, config: PrioritizeConfig) -> Outcome:
    if config.label == SURVIVAL:
        size = LONG if config.survival == "long" else QUICK
        return SurvivalOutcome.of_study(study, size, tested=False)
    return Classification.of_study(study, config.label, random_forest(config.trees), tested=False)


def read_costs(given: Sequence[str], modalities: Sequence[str]) -> dict[str, float] | None:
    """Costs as `name=value`, or one table with a column of modalities and a column `cost`.

    Raises:
      InputError: a name that is no modality, or a cost that is not a positive number.
    """
    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        table, origin = read_table(Path(given[0])), Path(given[0]).name
        if "cost" not in table:
            raise InputError(f"{origin} has no column 'cost'; its first column names modalities")
        pairs = list(zip(table.index.astype(str), table["cost"].astype(str), strict=True))
    else:
        pairs, origin = [tuple(text.partition("=")[::2]) for text in given], "--costs"
    names = [name for name, _ in pairs]
    unknown = [name for name in names if name not in modalities]
    if unknown:
        raise InputError(
            f"{origin}: {unknown[0]!r} is no modality of this run: {', '.join(modalities)}"
        )
    if len(set(names)) < len(names):
        raise InputError(f"{origin} names a modality twice")
    values, bad = parse_numbers(np.array([value for _, value in pairs], object))
    for name, (_, text), value, wrong in zip(names, pairs, values, bad, strict=True):
        if wrong or not 0 < value < np.inf:
            raise InputError(
                f"{origin}: the cost of {name} must be a positive number, got {text!r}"
            )
    return dict(zip(names, values.tolist(), strict=True))


def _types(study: Study, label: str, patients: Patients, tell: Tell) -> np.ndarray:
    """One-hot cancer types [N, types] that the model may use, all zero where unknown; without
    columns if it may not."""
    nothing = np.zeros((len(patients.ids), 0))
    if "cancer_type" not in study.samples or label == "cancer_type":
        return nothing
    types = patients.facts(tell).get("cancer_type")
    if types is None:
        tell("the patients have no cancer type: predicted without it")
        return nothing
    known = sorted(study.samples["cancer_type"].dropna().unique())
    strange = sorted(set(types.dropna()) - set(known))
    if strange:
        tell(f"unknown to the run, and no cancer type to it: {', '.join(map(str, strange))}")
    return (types.to_numpy(object)[:, None] == np.array(known, object)).astype(float)


def _drawn(
    run: Run,
    patients: Patients,
    wanted: dict[str, np.ndarray],
    config: PrioritizeConfig,
    tell: Tell,
    progress: Callable[[int, int, str], None],
) -> dict[str, Drawn]:
    """Draws of every missing modality, as experiments/impute.py makes them."""
    sampling = run.sampler_config()
    run = run.sampled_by(SolverConfig())
    calibration = run.calibration.get(config.method, {})
    if not calibration:
        tell("no patient is flagged: the run was not calibrated (experiments/train.py --resume)")
    done, total, missing = 0, sum(map(len, wanted.values())), {}
    for target, rows in wanted.items():
        progress(done, total, target)
        samples = sample_rows(
            run.bank(config.method, target),
            run.modalities,
            patients.z[rows],
            patients.present[rows],
            seed_of(config.seed, target),
            config.draws,
            sampling,
            sample_ids=patients.streams[rows],
        )
        done += len(rows)
        draws = np.asarray(samples.draws)[..., : run.codecs[target].width]
        flagged = np.zeros(len(rows), bool)
        if calibration:
            spread = np.sqrt(draws.var(axis=0, ddof=1).mean(axis=1))
            flagged = calibration[target].expected(spread)[0] > FLAGGED
        missing[target] = Drawn(rows, draws, flagged)
    progress(total, total, "")
    return missing
