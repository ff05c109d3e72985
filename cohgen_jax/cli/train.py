"""Train every model of a cohort: codecs, single-condition pairs, multi-condition models.

python experiments/train.py --cohort my_tables/ --out runs/mine
python experiments/train.py --cohort my_tables/ --out runs/mine --resume
srun python experiments/train.py --distributed --cohort my_tables/ --out runs/mine --resume
python experiments/train.py --config searches/mine/best.json --cohort my_tables/ --out runs/best
python experiments/train.py --recipe published --cohort my_tables/ --out runs/published
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from cohgen_jax.cli.common import Processes, TrainingBars, parse, say
from cohgen_jax.cli.tensorboard import TensorBoard
from cohgen_jax.runs.config import ExperimentConfig, RecipeName
from cohgen_jax.runs.train import Report, train_run
from cohgen_jax.training import Progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train every model of a cohort."""

    out: Path
    """Run directory to make."""
    recipe: RecipeName = "default"
    """Where the defaults of all other options come from."""
    start: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """A best.json of search.py, or a run's config.json: defaults in place of a recipe's."""
    resume: bool = False
    """Continue an interrupted run of the same configuration."""
    overwrite: bool = False
    """Replace the run in --out."""
    tensorboard: bool = False
    """Also write the curves as TensorBoard events into OUT/tensorboard."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = Processes()
    config: Annotated[ExperimentConfig, tyro.conf.arg(name="")] = ExperimentConfig()


def main() -> None:
    arguments = parse(Arguments, sys.argv[1:], __doc__)
    share = arguments.processes.start()
    reports: list[Report] = [TrainingBars()]
    if arguments.tensorboard:
        reports.append(TensorBoard(arguments.out / "tensorboard"))

    def report(family: str, progress: Progress) -> None:
        for each in reports:
            each(family, progress)

    run = train_run(
        arguments.config,
        arguments.out,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        tell=say,
        report=report,
    )
    if not share.is_first:
        return
    count = sum(len(models.specs) for models in run.models.values())
    say(f"{count} models of {', '.join(run.modalities)} in {run.path}")
    say(f"next: python experiments/evaluate.py --run {run.path}")
