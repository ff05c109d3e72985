"""Evaluate a run: every target from every subset of the others, beside honest baselines.

    python experiments/evaluate.py --run runs/mine
    srun python experiments/evaluate.py --run runs/mine --distributed --resume

Writes metrics/fidelity.csv and .json, the same by cancer type, generated/, figures/ and
report.html into the run directory. What is generated is scored in units of the tables (columns
units_...; the cohort is read again: --cohort says where it lies now) and in latents.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from cohgen_jax.cli.common import CountBar, Processes, say
from cohgen_jax.evaluation import summary_text
from cohgen_jax.evaluation.of_run import EvaluationConfig, evaluate_run
from cohgen_jax.report import write_run_report
from cohgen_jax.runs.run import open_run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Evaluate a run."""

    run: Path
    """A finished run directory."""
    resume: bool = False
    """Go on with the same evaluation that was cut short, and keep what is done if this one is."""
    report: bool = True
    """Write report.html and its figures at the end; experiments/report.py does so later."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = Processes()
    config: Annotated[EvaluationConfig, tyro.conf.arg(name="")] = EvaluationConfig()


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    share = arguments.processes.start()
    run = open_run(arguments.run)
    with CountBar("conditions", "condition") as bar:
        result = evaluate_run(run, arguments.config, bar, say, share=share, resume=arguments.resume)
    if result is not None:
        print(summary_text(result.conditions))
        if arguments.report:
            print(f"report: {write_run_report(run.path)}")
