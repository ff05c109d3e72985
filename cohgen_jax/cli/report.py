"""Write the report of a run: one HTML page of whatever the run directory holds.

    python experiments/report.py --run runs/mine
    python experiments/report.py --run runs/mine --out reports/mine.html

The page needs no network. What the run does not hold yet is named with the command that makes it.
UMAP coordinates are computed once and kept in metrics/umap.csv.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tyro

from cohgen_jax.cli.common import CountBar, say
from cohgen_jax.report import RunFiles, compute_umap, write_run_report
from cohgen_jax.storage import rundir
from cohgen_jax.storage.staged import is_pending, settle


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Write the report of a run."""

    run: Path
    """A run directory."""
    out: Path | None = None
    """The page; report.html in the run directory by default."""
    umap: bool = True
    """Compute the UMAP maps where they are missing (a minute or so for a thousand patients)."""


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    run = RunFiles(arguments.run)
    if is_pending(run.path):
        with rundir.locked(run.path):
            settle(run.path)
    if arguments.umap:
        try:
            import umap  # noqa: F401
        except ImportError:
            say("umap-learn is not installed: the report shows principal components only")
        else:
            with rundir.locked(run.path), CountBar("UMAP", "target") as bar:
                compute_umap(run, bar)
    print(f"report: {write_run_report(arguments.run, arguments.out)}")
