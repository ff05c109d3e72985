"""Export a run as a model that may be handed on: one folder, without patients, with its card.

    python experiments/export.py --run runs/mine --out models/mine
    python experiments/impute.py --run models/mine --input new_patients/ --out completed/

The folder holds weights, codecs, configuration and calibration, with a checksum of every file, and
a model card (README.md) of the run's own numbers. Records, ids and latents of patients are left
out; kernel regressions, which keep training patients, are fitted anew on drawn centres, and the
card says what that costs. docs/privacy.md says what a model still tells of its patients.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from cohgen_jax.cli.common import say
from cohgen_jax.sharing.card import CardFacts
from cohgen_jax.sharing.export import export_run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Export a run as a model without patients."""

    run: Path
    """A finished run directory."""
    out: Path
    """Folder to make."""
    facts: Annotated[CardFacts, tyro.conf.arg(name="")] = CardFacts()


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    model = export_run(arguments.run, arguments.out, arguments.facts, tell=say)
    print(f"model of {', '.join(model.modalities)}: {model.path}")
    print(f"card: {model.path / 'README.md'}")
    say(f"next: python experiments/publish.py --model {model.path} --repository OWNER/NAME")
