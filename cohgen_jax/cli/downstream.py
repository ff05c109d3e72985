"""What generated assays are good for: predictions rescued, survival, the next test to order.

    python experiments/downstream.py --run runs/mine --analyses all
    python experiments/downstream.py --run runs/mine --analyses rescue_stage rescue_survival

Writes metrics/downstream/<analysis>.csv (with a .json of what made it), their claims with
intervals over patients as metrics/downstream_summary.csv, and figures/downstream_<analysis>.svg
and .png. Can be interrupted: what was computed, with the same options, is not computed again.
An analysis that the run cannot have (no stages, too few deaths) is named and skipped.
Needs the packages of the extra `downstream`: pip install 'cohgen-jax[downstream]'.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

from cohgen_jax.cli.common import CountBar, say
from cohgen_jax.downstream.of_run import DownstreamConfig, analyse_run
from cohgen_jax.report import write_run_report
from cohgen_jax.runs.run import open_run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Downstream analyses of a run."""

    run: Path
    """A finished run directory."""
    report: bool = True
    """Write report.html and its figures at the end; experiments/report.py does so later."""
    config: Annotated[DownstreamConfig, tyro.conf.arg(name="")] = DownstreamConfig()


class Bars:
    """One bar for the draws of each method and for each analysis."""

    def __init__(self) -> None:
        self.name, self.bar = "", CountBar("", "")

    def __call__(self, what: str, done: int, total: int, detail: str) -> None:
        name = f"{what} {detail}".strip()
        if name != self.name:
            self.close()
            self.name, self.bar = name, CountBar(name, "draw" if what == "draws" else "repeat")
        self.bar(done, total, "")

    def close(self) -> None:
        self.bar.__exit__()


def summary_text(summary: pd.DataFrame) -> str:
    """The claims for a terminal: estimate, 95 % interval, adjusted p."""
    lines = []
    for (analysis, metric), own in summary.groupby(["analysis", "metric"], sort=False):
        first = own.iloc[0]
        work = f"{first['draws']} draws, {first['seeds']} seeds, {first['trees']} trees"
        what = str(metric).replace("_", " ")
        lines.append(f"{analysis} ({what}, {own['n'].max()} {first['unit']}s; {work})")
        width = own["contrast"].str.len().max()
        for row in own.itertuples():
            mark = "*" if row.p_holm < 0.05 else " "  # pyright: ignore[reportOperatorIssue]
            lines.append(
                f"  {row.contrast:<{width}}  {row.estimate:+.4f}  "
                f"[{row.ci_low:+.4f}, {row.ci_high:+.4f}]  p Holm {row.p_holm:.3g} {mark}"
            )
    return "\n".join(lines)


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    run = open_run(arguments.run)
    bars = Bars()
    try:
        summary = analyse_run(run, arguments.config, bars, say)
    finally:
        bars.close()
    print(summary_text(summary))
    print(f"claims: {run.path / 'metrics' / 'downstream_summary.csv'}")
    if arguments.report:
        print(f"report: {write_run_report(run.path)}")
