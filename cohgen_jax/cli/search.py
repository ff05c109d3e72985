"""Search for a recipe: random configurations, of which the worse part stops at each rung.

    python experiments/search.py --cohort my_tables/ --out searches/mine
    python experiments/search.py --recipe published --search.space published --search.configs 10 \
        --search.shapes 10 --search.family single --cohort my_tables/ --out searches/published
    python experiments/train.py --config searches/mine/best.json --out runs/mine

Writes search.csv (a row for each configuration), figures/search.png and .svg (parallel
coordinates) and best.json (the winner, a configuration that train.py starts from) into --out.
What the search does not change comes from --recipe and the options of train.py.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from cohgen_jax.cli.common import TrainingBars, parse, say
from cohgen_jax.runs.config import ExperimentConfig, RecipeName
from cohgen_jax.runs.search import BEST, SearchConfig, search_recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Search for a recipe."""

    out: Path
    """Directory to make."""
    recipe: RecipeName = "default"
    """Where the defaults of all other options come from."""
    resume: bool = False
    """Continue an interrupted search of the same configuration."""
    overwrite: bool = False
    """Replace the search in --out."""
    search: SearchConfig = SearchConfig()
    config: Annotated[ExperimentConfig, tyro.conf.arg(name="")] = ExperimentConfig()


def main() -> None:
    arguments = parse(Arguments, sys.argv[1:], __doc__)
    table = search_recipe(
        arguments.config,
        arguments.search,
        arguments.out,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        tell=say,
        report=TrainingBars(),
    )
    print(table.head(10).to_string(index=False, float_format="%.4g"))
    say(f"next: python experiments/train.py --config {arguments.out / BEST} --out runs/best")
