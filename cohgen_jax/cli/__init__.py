"""The commands: `cohgen train`, or `python experiments/train.py` from a checkout, and so on.

One module a command, with `main()` and the text of --help; `common` is what all of them do.
"""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "check": "say what is understood of a cohort, and what training would refuse",
    "train": "train every model of a cohort",
    "evaluate": "generate held-out patients from every subset of their modalities, and score that",
    "impute": "complete the tables of new patients",
    "prioritize": "rank the assays that new patients lack",
    "downstream": "what generated assays are good for",
    "audit": "intervals, privacy and shifts of a run",
    "report": "write the page of a run again",
    "explore": "look at a run in the browser, a patient at a time",
    "search": "look for a better recipe",
    "export": "make a model without patients of a run, to hand on",
    "publish": "upload an exported model to a model hub",
    "published": "the published tables from the published code's files, beside our recipe",
    "prepare": "make a cohort of public TCGA files, or of MuData",
}
PREPARE = {
    "tcga": "data_prep.tcga",
    "tcga-multimodal": "data_prep.tcga_multimodal",
    "mudata": "data_prep.mudata_io",
    "raw-to-report": "data_prep.raw_to_report",
}


def main(command: str | None = None) -> None:
    """Run a command with the arguments of this process, the first of which names it if nothing
    else does."""
    arguments = sys.argv[1:]
    if command is None:
        command = _chosen("cohgen", COMMANDS, arguments)
        sys.argv = [f"cohgen {command}", *(arguments := arguments[1:])]
    if command == "prepare":
        what = _chosen("cohgen prepare", dict.fromkeys(PREPARE, ""), arguments)
        sys.argv = [f"cohgen prepare {what}", *arguments[1:]]
        raise SystemExit(importlib.import_module(PREPARE[what]).main())
    from cohgen_jax.cli.common import run_command

    run_command(importlib.import_module(f"{__name__}.{command}").main)


def _chosen(program: str, known: dict[str, str], arguments: list[str]) -> str:
    """The first argument; otherwise what there is to choose from, as --help or as an error."""
    if arguments and arguments[0] in known:
        return arguments[0]
    lines = [f"usage: {program} COMMAND ...   ({program} COMMAND --help lists its options)", ""]
    lines += [f"  {name:16s} {text}" for name, text in known.items()]
    if arguments and arguments[0] in ("-h", "--help"):
        print("\n".join(lines))
        raise SystemExit(0)
    if arguments:
        lines.append(f"\nerror: unknown command {arguments[0]!r}")
    print("\n".join(lines), file=sys.stderr)
    raise SystemExit(2)
