"""The audit of a run: what its generated data keep, give away and cannot say.

Each analysis writes tables into metrics/ and figures into figures/ of the run, and reads only the
run: they can be asked for one by one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from cohgen_jax.baselines import BASELINES, fit_baselines
from cohgen_jax.errors import InputError, check_choices, check_seed
from cohgen_jax.evaluation.fidelity import write_table
from cohgen_jax.evaluation.of_run import run_generators
from cohgen_jax.evaluation.tables import cohort_of, features_of_run
from cohgen_jax.runs.families import METHODS
from cohgen_jax.runs.run import Run
from cohgen_jax.sampling.consensus import Consensus
from cohgen_jax.sampling.generator import Generator
from cohgen_jax.solvers import SolverConfig
from cohgen_jax.storage import rundir
from cohgen_jax.storage.checkpoint import write_json

if TYPE_CHECKING:
    from cohgen_jax.cohort import Cohort

Analysis = Literal["raw_space", "intervals", "privacy", "shift"]
Progress = Callable[[int, int, str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """What is audited."""

    analyses: tuple[Analysis, ...] = get_args(Analysis)
    targets: tuple[str, ...] = ()
    """Modalities whose generation is audited; all when empty."""
    draws: int = 10
    """Generated of each patient."""
    patients: int = 1000
    """Privacy: most training patients attacked, and most held-out ones. Shift: a third of them."""
    attributes: tuple[str, ...] = ("stage", "gender")
    """Privacy: columns of the samples that an adversary would like to know, where there are any."""
    synonyms: tuple[str, ...] = ()
    """Raw space: further pairs FEATURE=GENE of names that measure the same gene."""
    cohort: str = ""
    """Where the cohort lies now; by default where it was in training. Without it privacy alone can
    be audited, in latents."""
    consensus: Consensus = "stacked"
    solver: SolverConfig = SolverConfig()
    seed: int = 0

    def __post_init__(self):
        check_choices(self)
        for analysis in self.analyses:
            if analysis not in get_args(Analysis):
                raise InputError(
                    f"unknown analysis {analysis!r}; one of {', '.join(get_args(Analysis))}"
                )
        if self.draws < 2:
            raise InputError(f"draws must be at least 2, got {self.draws}")
        if self.patients < 1:
            raise InputError(f"patients must be at least 1, got {self.patients}")
        for pair in self.synonyms:
            if pair.count("=") != 1 or not all(pair.split("=")):
                raise InputError(f"synonyms must be like HER2=ERBB2, got {pair!r}")
        check_seed(self.seed)


class _Material(NamedTuple):
    """What an analysis works on."""

    run: Run
    config: AuditConfig
    generators: dict[tuple[str, str], Generator]
    cohort: Cohort | None
    progress: Progress


def audit_run(
    run: Run, config: AuditConfig, progress: Progress = lambda done, total, what: None
) -> list[str]:
    """Run the analyses; returns what they found, a few sentences each."""
    rundir.refuse_shared(run.path, "an audit")
    targets = tuple(dict.fromkeys(config.targets)) or run.modalities
    for target in targets:
        run.index(target)
    try:
        cohort = cohort_of(run, config.cohort)
    except (InputError, OSError) as reason:
        if config.cohort or {*config.analyses} - {"privacy"}:
            raise InputError(f"{reason}; or ask for --analyses privacy only") from reason
        cohort = None
    with rundir.locked(run.path):
        made = run_generators(run, targets, consensus=config.consensus, solver=config.solver)
        generators = {key: made[key] for key in made if key[0] in METHODS}
        material = _Material(run, config, generators, cohort, progress)
        note = run.uncalibrated(config.solver, config.consensus)
        statements = [note] if note else []
        for analysis in config.analyses:
            statements += _ANALYSES[analysis](material)
            rundir.log(run.path, "audited", analysis=analysis)
    return statements


def _raw_space(of: _Material) -> list[str]:
    from cohgen_jax.evaluation.raw_space import SYNONYMS, raw_space_of_run
    from cohgen_jax.figures import audits as audit_figures

    assert of.cohort is not None
    targets = list(dict.fromkeys(target for _, target in of.generators))
    baselines = fit_baselines(
        of.run.latents,
        of.run.rows("train"),
        of.run.rows("val"),
        methods=[m for m in BASELINES if m != "climatology"],  # of a stranger: `train` is as good
        targets=targets,
        **features_of_run(of.run, of.cohort, targets)._asdict(),
    )
    tables = raw_space_of_run(
        of.run,
        of.cohort,
        of.generators | baselines,
        num_draws=of.config.draws,
        synonyms=SYNONYMS | dict(pair.split("=") for pair in of.config.synonyms),
        seed=of.config.seed,
        progress=of.progress,
    )
    for name, table in tables._asdict().items():
        if len(table):
            write_table(table, of.run.path / "metrics" / f"raw_{name}")
    _save(of.run, "raw_scores", audit_figures.raw_scores(tables.scores))
    if len(tables.dosage):
        _save(of.run, "raw_links", audit_figures.links(tables.links, tables.dosage))
    methods = [m for m in dict.fromkeys(tables.scores["method"]) if m != "train"]
    lines = ["correlation of mean draws and measured features over patients, median of features:"]
    wide = tables.scores.pivot(index="target", columns="method", values="r_mean")[methods]
    return [*lines, wide.loc[list(dict.fromkeys(tables.scores["target"]))].round(3).to_string()]


def _intervals(of: _Material) -> list[str]:
    from cohgen_jax.evaluation.intervals import intervals_of_run

    assert of.cohort is not None
    coverage = intervals_of_run(
        of.run, of.cohort, of.generators, of.config.draws, of.config.seed, of.progress
    )
    write_table(coverage, of.run.path / "metrics" / "intervals")
    columns = ["coverage", "coverage_low", "coverage_high", "uncalibrated"]
    lines = ["coverage of 80 % intervals, in units, held-out patients:"]
    return [*lines, coverage.set_index(["method", "target"])[columns].round(3).to_string()]


def _privacy(of: _Material) -> list[str]:
    from cohgen_jax.audits.privacy import LATENTS_ONLY, STATEMENT, TARGET_AUC, privacy_of_run
    from cohgen_jax.figures import audits as audit_figures

    tables = privacy_of_run(
        of.run,
        of.generators,
        num_draws=of.config.draws,
        patients=of.config.patients,
        attributes=of.config.attributes,
        cohort=of.cohort,
        seed=of.config.seed,
        progress=of.progress,
    )
    statement = STATEMENT if of.cohort is not None else f"{STATEMENT} {LATENTS_ONLY}"
    for name, table in tables._asdict().items():
        write_table(table, of.run.path / "metrics" / f"privacy_{name}")
    attacks = tables.membership[tables.membership["method"] != "nearest"]
    worst = attacks.iloc[attacks["auc"].argmax()]
    trained = of.run.path / "metrics" / "privacy_training.json"
    verdict = {
        "training": json.loads(trained.read_text()) if trained.exists() else None,
        "target_auc": TARGET_AUC,
        "worst_auc": float(worst["auc"]),
        "worst": f"{worst['attack']} on {worst['method']}, {worst['target']}",
        "members": int(worst["members"]),
        "statement": statement,
    }
    write_json(of.run.path / "metrics" / "privacy.json", verdict)
    _save(of.run, "privacy_membership", audit_figures.membership(tables.membership))
    _save(of.run, "privacy_distances", audit_figures.record_distances(tables.distances))
    return [
        f"membership inference: worst AUC {worst['auc']:.3f} "
        f"({worst['auc_low']:.3f} to {worst['auc_high']:.3f}; {verdict['worst']}; "
        f"{verdict['members']} members and as many others); aim: at most {TARGET_AUC}",
        _told(verdict["training"]),
        statement,
    ]


def _told(training: dict[str, Any] | None) -> str:
    """What differential privacy there is, in words."""
    if training is None:
        return "training: without differential privacy, so nothing bounds other attacks"
    together = training["together"]
    return (
        f"training: differentially private at delta {training['delta']:g} with epsilon "
        f"{together['epsilon']:.2f}. {training['meaning']}"
    )


def _shift(of: _Material) -> list[str]:
    from cohgen_jax.audits.shift import shift_of_run
    from cohgen_jax.figures import audits as audit_figures

    assert of.cohort is not None
    scores = shift_of_run(
        of.run,
        of.cohort,
        of.generators,
        num_draws=of.config.draws,
        patients=max(of.config.patients // 3, 2),
        seed=of.config.seed,
        progress=of.progress,
    )
    write_table(scores, of.run.path / "metrics" / "shift")
    _save(of.run, "shift", audit_figures.shift(scores))
    columns = [
        *("energy_score", "rmse", "spread", "coverage80", "disagreement", "typicality", "flagged"),
    ]
    mean = scores.groupby(["method", "case"], sort=False)[columns].mean()
    lines = ["patients and assays out of distribution, mean over targets and shifted sources:"]
    return [*lines, mean.round(3).to_string()]


def _save(run: Run, name: str, figure: Any) -> Path:
    from cohgen_jax.figures.style import save

    return save(figure, run.path / "figures" / name)


_ANALYSES: dict[str, Callable[[_Material], list[str]]] = {
    "raw_space": _raw_space,
    "intervals": _intervals,
    "privacy": _privacy,
    "shift": _shift,
}
