"""The published tables from the published code's own files, beside the default recipe.

    python experiments/published.py --data processed/ --results results/32 --out comparison/

`--data` holds 07_normalized/<dim>/<modality>_{train,val,test}.csv, `--results` the .pth files of
the published trainer (read without PyTorch and never unpickled). Every target is generated from
every subset of the other modalities: 12 conditions by single-condition models, 16 by their
consensus and 28 by the multi-condition models, which are the published 56, by the ancestral
sampler. Beside them stands a run of the default recipe on the same latents, in OUT/run (an
interrupted one is continued), and what the published code generated itself, where those tables lie
in `--results`. All scores go into OUT/published.csv.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from cohgen_jax.cli.common import CountBar, TrainingBars, say
from cohgen_jax.evaluation.published import PublishedConfig, compare_published
from cohgen_jax.evaluation.summary import summary_text
from cohgen_jax.runs.config import ExperimentConfig
from cohgen_jax.runs.run import Run
from cohgen_jax.runs.train import train_run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """The published tables from the published code's own files."""

    data: Path
    """The published processed data."""
    results: Path
    """A results folder of the published trainer, of one latent width."""
    out: Path
    """Directory to make, or one of an earlier call."""
    config: Annotated[PublishedConfig, tyro.conf.arg(name="")] = PublishedConfig()


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)

    def train(config: ExperimentConfig, run_dir: Path) -> Run:
        resume = (run_dir / "config.json").exists()
        return train_run(config, run_dir, resume=resume, tell=say, report=TrainingBars())

    with CountBar("conditions", "condition") as bar:
        found = compare_published(
            arguments.data,
            arguments.results,
            arguments.out,
            arguments.config,
            train=train,
            tell=say,
            progress=bar,
        )
    print(summary_text(found.conditions))
    print(f"{len(found.conditions)} conditions: {arguments.out / 'published.csv'}")
