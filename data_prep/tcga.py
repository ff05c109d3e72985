"""Command line of TCGA preparation.

    python -m data_prep.tcga --projects all --out data/tcga          every stage in turn
    python -m data_prep.tcga download --projects BRCA LUAD --out data/tcga
    python -m data_prep.tcga {omics,clinical,slides,split,build} --out data/tcga

Exit codes: 0 done; 1 a message says what is wrong; 2 the command line is wrong; 3 done, but a
project had no file at all.
"""

import logging
import sys
from collections.abc import Callable, Sequence

from cohgen_jax.errors import InputError
from data_prep.build import run_build
from data_prep.config import PrepConfig
from data_prep.download import run_download
from data_prep.pipeline import raw_files, run_clinical, run_omics, run_slides, run_split
from data_prep.stages import Stages

log = logging.getLogger("data_prep")

STAGES: dict[str, Callable[[PrepConfig, Stages], object]] = {
    "download": run_download,
    "omics": run_omics,
    "clinical": run_clinical,
    "slides": run_slides,
    "split": run_split,
    "build": run_build,
}

EXIT_PROJECT_MISSING = 3


def prepare(config: PrepConfig, only: str | None = None) -> Stages:
    """Runs all stages, or the one named; returns which ran and which were up to date."""
    stages = Stages(config.work)
    for name, run in STAGES.items():
        if only in (None, name):
            log.info("stage %s", name)
            run(config, stages)
    return stages


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line and runs it; returns the exit code."""
    import tyro

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    stage = "all"
    if arguments and arguments[0] in (*STAGES, "all"):
        stage = arguments.pop(0)
    elif not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        arguments = ["--help"]
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        config = tyro.cli(PrepConfig, prog=f"python -m data_prep.tcga {stage}", args=arguments)
        stages = prepare(config, None if stage == "all" else stage)
        empty = [] if stage == "slides" else raw_files(config)[1]
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(
        f"{len(stages.ran)} stages run, {len(stages.skipped)} up to date: {config.out}",
        file=sys.stderr,
    )
    if empty:
        print(f"no file at all for {', '.join(empty)}: skipped", file=sys.stderr)
        return EXIT_PROJECT_MISSING
    return 0


if __name__ == "__main__":
    sys.exit(main())
