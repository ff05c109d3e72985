"""Train every model of a cohort: codecs, single-condition pairs, multi-condition models.

python experiments/train.py --cohort my_tables/ --out runs/mine
python experiments/train.py --cohort my_tables/ --out runs/mine --resume
python experiments/train.py --recipe published --cohort my_tables/ --out runs/published
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from cohgen_jax.config import ExperimentConfig, RecipeName, recipe
from cohgen_jax.run import train_run
from experiments.common import TrainingBars, run_command, say


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train every model of a cohort."""

    out: Path
    """Run directory to make."""
    recipe: RecipeName = "default"
    """Where the defaults of all other options come from."""
    resume: bool = False
    """Continue an interrupted run of the same configuration."""
    overwrite: bool = False
    """Replace the run in --out."""
    config: Annotated[ExperimentConfig, tyro.conf.arg(name="")] = ExperimentConfig()


def parse(args: list[str]) -> Arguments:
    """The recipe is looked at first: it sets the defaults that --help shows and options change."""
    chosen = "default"
    for i, arg in enumerate(args):
        if arg.startswith("--recipe="):
            chosen = arg.removeprefix("--recipe=")
        elif arg == "--recipe" and i + 1 < len(args):
            chosen = args[i + 1]
    try:
        defaults = recipe(chosen)  # pyright: ignore[reportArgumentType]
    except ValueError:
        defaults = recipe("default")  # tyro names the choices
    spec = dataclasses.make_dataclass(
        "Arguments",
        [("config", Annotated[ExperimentConfig, tyro.conf.arg(name="")], defaults)],
        bases=(Arguments,),
        frozen=True,
        kw_only=True,
    )
    return tyro.cli(spec, args=args, description=__doc__)


def main() -> None:
    arguments = parse(sys.argv[1:])
    bars = TrainingBars()
    run = train_run(
        arguments.config,
        arguments.out,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        tell=say,
        report=bars,
    )
    count = sum(len(models.specs) for models in run.models.values())
    say(f"{count} models of {', '.join(run.modalities)} in {run.path}")
    say(f"next: python experiments/evaluate.py --run {run.path}")


if __name__ == "__main__":
    run_command(main)
