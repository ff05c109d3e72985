"""Look at a run, or at an exported model, in the browser: one page, served on this machine only.

    cohgen explore runs/mine
    cohgen explore models/mine --port 8701

Choose a patient of the run, or give rows of your own tables: what was measured beside what is
generated from the patient's other assays (mean and 80 % interval, in units), who is flagged, who
lies near in latent space, and what changes if the cancer type, sex or age were another. The page
listens on 127.0.0.1 alone and refuses requests that name another host; nothing leaves the machine,
and what is uploaded is not kept. Ctrl-C ends it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from cohgen_jax.cli.common import CountBar, say
from cohgen_jax.errors import InputError, need
from cohgen_jax.runs.families import Method
from cohgen_jax.storage.interrupt import Interrupted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Look at a run in the browser."""

    run: Annotated[Path, tyro.conf.Positional]
    """A finished run directory, or an exported model."""
    port: int = 8700
    """0 takes any that is free."""
    draws: int = 40
    """Of each patient and modality, 10 or more: means and intervals are of them."""
    method: Method = "coherent"
    """Ensemble of single-condition models, or the multi-condition model."""
    cohort: str = ""
    """Where the tables of training lie now, if elsewhere."""
    seed: int = 0


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    if not 0 <= arguments.port < 2**16:
        raise InputError(f"--port must lie between 0 and 65535, got {arguments.port}")
    need("cohgen explore", "explore", "starlette", "uvicorn", "plotly")
    from cohgen_jax.explore import listen, open_explorer, serve

    with listen(arguments.port) as listening:  # refused before anything is compiled
        explorer = open_explorer(
            arguments.run,
            cohort=arguments.cohort,
            num_draws=arguments.draws,
            method=arguments.method,
            seed=arguments.seed,
            tell=say,
        )
        with CountBar("compiling", "target") as bar:
            explorer.warm(bar)
        say(f"http://127.0.0.1:{listening.getsockname()[1]}/   (Ctrl-C ends it)")
        try:
            serve(explorer, listening)
        except Interrupted:
            say("ended")
