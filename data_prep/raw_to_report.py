"""From raw TCGA files to a trained and evaluated run, with one command.

    python -m data_prep.raw_to_report --out runs/small --offline FOLDER --recipe debug

The three command lines in turn, each of which resumes or is skipped by itself:
`data_prep.tcga` -> `<out>/cohort`, `experiments/train.py` -> `<out>/run`, `experiments/evaluate.py`
-> `<out>/run/report.html`.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def commands(out: Path, recipe: str, draws: int, prep: Sequence[str]) -> list[list[str]]:
    """The command lines, in order; training goes on with the run that is there, finished or not."""
    run, cohort = out / "run", out / "cohort"
    train = [
        *("-m", "cohgen_jax.cli", "train"),
        "--recipe",
        recipe,
        "--cohort",
        str(cohort),
        "--out",
        str(run),
    ]
    return [
        ["-m", "data_prep.tcga", "all", "--out", str(cohort), *prep],
        [*train, *(["--resume"] if run.exists() else [])],
        ["-m", "cohgen_jax.cli", "evaluate", "--run", str(run), "--draws", str(draws)],
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the three; returns the exit code of the first that fails, else 0."""
    parser = argparse.ArgumentParser(
        description="From raw TCGA files to a trained and evaluated run.",
        epilog="Every other option goes to data_prep.tcga (--offline, --slides, --projects, ...).",
    )
    parser.add_argument("--out", type=Path, required=True, help="holds cohort/ and run/")
    parser.add_argument("--recipe", default="default", help="of experiments/train.py")
    parser.add_argument("--draws", type=int, default=10, help="of the evaluation")
    args, prep = parser.parse_known_args(arguments)
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT), environment.get("PYTHONPATH", "")])
    )
    for command in commands(args.out, args.recipe, args.draws, prep):
        print("$ python " + " ".join(command), file=sys.stderr, flush=True)
        code = subprocess.run([sys.executable, *command], env=environment, check=False).returncode
        # 3: a project had no file and was skipped; there is a cohort all the same.
        if code not in (0, 3):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
