"""The sections of the report: each reads its tables and gives blocks, none where there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cohgen_jax.report.files import RunFiles
from cohgen_jax.report.page import Block
from cohgen_jax.report.sections import (
    about,
    audit,
    calibration,
    cohort,
    downstream,
    embedding,
    fidelity,
    kinds,
    overview,
    sets,
    training,
    trust,
)


class Chapter(NamedTuple):
    anchor: str
    title: str
    blocks: Callable[[RunFiles], list[Block]]
    """Empty where the run has not what the section shows."""
    made_by: str
    """The command that makes it."""


_AUDIT = "experiments/audit.py --run {{run}} --analyses {}"
_EVALUATE = "experiments/evaluate.py --run {run}"

CHAPTERS = (
    Chapter("overview", "At a glance", overview.blocks, _EVALUATE),
    Chapter("cohort", "Patients and what they lack", cohort.blocks, "experiments/train.py"),
    Chapter("fidelity", "Fidelity", fidelity.blocks, _EVALUATE),
    Chapter("kinds", "Mutations and counts", kinds.blocks, _EVALUATE),
    Chapter("calibration", "Calibration", calibration.blocks, _EVALUATE),
    Chapter("trust", "Which draws to trust", trust.honest, _EVALUATE),
    Chapter("consensus", "Consensus and its members", trust.consensus, _EVALUATE),
    Chapter("embedding", "Real beside generated", embedding.blocks, _EVALUATE),
    Chapter("sets", "Distances between sets", sets.blocks, _EVALUATE),
    Chapter(
        "downstream",
        "What it is good for",
        downstream.blocks,
        "experiments/downstream.py --run {run} --analyses all",
    ),
    Chapter("raw", "In the units of the tables", audit.raw_space, _AUDIT.format("raw_space")),
    Chapter("privacy", "Privacy", audit.privacy, _AUDIT.format("privacy")),
    Chapter("shift", "Out of distribution", audit.shift, _AUDIT.format("shift")),
    Chapter("training", "Models and training", training.blocks, "experiments/train.py"),
    Chapter("run", "This run", about.blocks, "experiments/train.py"),
)
