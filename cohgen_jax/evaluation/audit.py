"""The audit of a run: what its generated data keep, give away and cannot say.

Each analysis writes tables into metrics/ and figures into figures/ of the run, and reads only the
run: they can be asked for one by one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from cohgen_jax import rundir
from cohgen_jax.checkpoint import write_json
from cohgen_jax.errors import InputError, check_seed
from cohgen_jax.evaluation.fidelity import write_table
from cohgen_jax.evaluation.generator import Generator
from cohgen_jax.evaluation.of_run import MODELS, run_generators
from cohgen_jax.sampling.consensus import Consensus
from cohgen_jax.training.config import SolverConfig

if TYPE_CHECKING:
    from cohgen_jax.run import Run

Analysis = Literal["privacy"]
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
    """Privacy: most training patients attacked, and most held-out ones."""
    attributes: tuple[str, ...] = ("stage", "gender")
    """Privacy: columns of the samples that an adversary would like to know, where there are any."""
    consensus: Consensus = "stacked"
    solver: SolverConfig = SolverConfig()
    seed: int = 0

    def __post_init__(self):
        for analysis in self.analyses:
            if analysis not in get_args(Analysis):
                raise InputError(
                    f"unknown analysis {analysis!r}; one of {', '.join(get_args(Analysis))}"
                )
        if self.draws < 2:
            raise InputError(f"draws must be at least 2, got {self.draws}")
        if self.patients < 1:
            raise InputError(f"patients must be at least 1, got {self.patients}")
        check_seed(self.seed)


def audit_run(
    run: Run, config: AuditConfig, progress: Progress = lambda done, total, what: None
) -> list[str]:
    """Run the analyses; returns what they found, a few sentences each."""
    targets = tuple(dict.fromkeys(config.targets)) or run.modalities
    for target in targets:
        run.index(target)
    with rundir.locked(run.path):
        made = run_generators(run, targets, consensus=config.consensus, solver=config.solver)
        generators = {key: made[key] for key in made if key[0] in MODELS}
        found = []
        for analysis in config.analyses:
            found += _ANALYSES[analysis](run, generators, config, progress)
            rundir.log(run.path, "audited", analysis=analysis)
    return found


def _privacy(
    run: Run, generators: dict[tuple[str, str], Generator], config: AuditConfig, progress: Progress
) -> list[str]:
    from cohgen_jax.evaluation import audit_figures
    from cohgen_jax.evaluation.privacy import STATEMENT, TARGET_AUC, privacy_of_run

    found = privacy_of_run(
        run,
        generators,
        num_draws=config.draws,
        patients=config.patients,
        attributes=config.attributes,
        seed=config.seed,
        progress=progress,
    )
    for name, table in found._asdict().items():
        write_table(table, run.path / "metrics" / f"privacy_{name}")
    own = found.membership[found.membership["method"] != "nearest"]
    worst = own.loc[own["auc"].idxmax()]
    verdict = {
        "target_auc": TARGET_AUC,
        "worst_auc": float(worst["auc"]),
        "worst": f"{worst['attack']} on {worst['method']}, {worst['target']}",
        "members": int(worst["members"]),
        "statement": STATEMENT,
    }
    write_json(run.path / "metrics" / "privacy.json", verdict)
    _save(run, "privacy_membership", audit_figures.membership(found.membership))
    _save(run, "privacy_distances", audit_figures.record_distances(found.distances))
    return [
        f"membership inference: worst AUC {worst['auc']:.3f} "
        f"({worst['auc_low']:.3f} to {worst['auc_high']:.3f}; {verdict['worst']}; "
        f"{verdict['members']} members and as many others); aim: at most {TARGET_AUC}",
        STATEMENT,
    ]


def _save(run: Run, name: str, figure: Any) -> Path:
    from cohgen_jax.evaluation.style import save

    return save(figure, run.path / "figures" / name)


_ANALYSES: dict[str, Callable[..., list[str]]] = {"privacy": _privacy}
