"""Audit a run: does it keep, give away or invent what it should not?

    python experiments/audit.py --run runs/mine
    python experiments/audit.py --run runs/mine --analyses privacy

Writes tables into metrics/ and figures into figures/ of the run directory.

raw_space generated data in the units of the tables: features, their correlations, the dosage of
          genes, differences between cancer types, beside baselines that draw whole patients too
intervals coverage of the intervals of generated features (the quantiles 0.1 and 0.9 of the draws,
          as impute.py writes them) on held-out patients, by cancer type
privacy   membership inference by seven attacks, on latents, on tables as they are released and on
          the models; distances to training records, attribute inference
shift     patients set aside by train.py --exclude, and assays that are scaled, offset, mixed up or
          empty: errors, spread, disagreement and flags
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from cohgen_jax.audits.audit import AuditConfig, audit_run
from cohgen_jax.cli.common import CountBar
from cohgen_jax.report import write_run_report
from cohgen_jax.runs.run import open_run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Audit a run."""

    run: Path
    """A finished run directory."""
    report: bool = True
    """Write report.html and its figures at the end; experiments/report.py does so later."""
    config: Annotated[AuditConfig, tyro.conf.arg(name="")] = AuditConfig()


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    run = open_run(arguments.run)
    with CountBar("audit", "step") as bar:
        found = audit_run(run, arguments.config, bar)
    print("\n".join(found))
    if arguments.report:
        print(f"report: {write_run_report(run.path)}")
