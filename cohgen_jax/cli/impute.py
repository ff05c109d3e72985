"""Generate the missing modalities of patients that the run has never seen, in raw units.

    python experiments/impute.py --run runs/mine --input new_patients/ --out completed/ --draws 10
    srun python experiments/impute.py --run runs/mine --input new_patients/ --out completed/ \\
        --distributed --resume

`--input` is a folder of tables with holes, as for training. For every modality generated, `--out`
gets `<modality>.parquet` (every draw, patient by patient: index sample_id, columns draw, then the
features), `<modality>_mean.parquet` and `<modality>_sd.parquet` (the completed table: observed
values as they are with sd 0; mean and sd of the draws where generated) and `disagreement.csv`: 1 -
mean cosine between the models' predictions for each patient (empty where only one source speaks),
`spread` of its draws in latent units, `spread_rank` among validation patients, the `expected_error`
(mean squared, latent units) of those of like spread, `flagged` where nine of ten were surer, and
`typicality`, the least p-value of its sources among the validation patients (5 % of ordinary assays
are at 0.05 or below, and so more of the patients who have several). With ten draws or more
`<modality>_low.parquet` and `<modality>_high.parquet` are the 10 % and 90 % quantiles of the draws
(observed values as they are). Unknown cells of a measured table are drawn as well, from the other
modalities and from what is known of the same table. Every value is one that the table could hold: 0
or 1, whole counts, fractions from 0 to 1; the mean of a 0/1 feature is its probability. What the
models know beside the assays (cancer type, sex, age: the run's covariates) is read from `samples.*`
or `clinical.*` in the input folder. A patient's draws depend on its sample id, its data and the
seed. Tables are written block by block: memory does not grow with the draws, nor, from 32,768 rows
on, with the patients, where every table is Parquet with an index or a column of ids (these are
held, and what samples.* says); other tables are read at once. Meanwhile there must be room on disk
for one more copy of what is read.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from cohgen_jax.cli.common import CountBar, Processes, say
from cohgen_jax.runs.families import Method
from cohgen_jax.runs.impute import impute_tables
from cohgen_jax.runs.run import open_run
from cohgen_jax.sampling.bank import Ensemble
from cohgen_jax.sampling.consensus import Consensus
from cohgen_jax.solvers import SolverConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Generate missing modalities of new patients."""

    run: Path
    """A finished run directory."""
    input: Path
    """Folder of tables of the patients, with holes."""
    out: Path
    """Folder to write; must not hold anything yet."""
    draws: int = 10
    """Of each patient; the sd of a single one is not known and left empty."""
    targets: tuple[str, ...] = ()
    """Modalities to generate; all that somebody lacks when empty."""
    regenerate: bool = False
    """Also generate, from the others, what a patient has; the completed tables then hold that."""
    fill: bool = True
    """Also draw the unknown cells of what a patient has."""
    method: Method = "coherent"
    """Ensemble of single-condition models, or the multi-condition model."""
    consensus: Consensus = "stacked"
    ensemble: Ensemble = "average"
    """Members of an ensemble predict together, or take turns from draw to draw (mixture): half the
    time at the default recipe, for very many patients."""
    solver: SolverConfig = SolverConfig()
    settings: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = ()
    """COLUMN=VALUE: every patient as if this covariate were so (cancer_type=LUSC): counterfactuals;
    with --regenerate of what the patients have, too."""
    seed: int = 0
    resume: bool = False
    """Go on with the same imputation that was cut short, and keep what is done if this one is."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = Processes()


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    share = arguments.processes.start()
    run = open_run(arguments.run)
    with CountBar("patients x modalities", "patient") as bar:
        written = impute_tables(
            run,
            arguments.input,
            arguments.out,
            num_draws=arguments.draws,
            targets=arguments.targets,
            regenerate=arguments.regenerate,
            fill=arguments.fill,
            method=arguments.method,
            consensus=arguments.consensus,
            ensemble=arguments.ensemble,
            solver=arguments.solver,
            seed=arguments.seed,
            settings=arguments.settings,
            tell=say,
            progress=bar,
            share=share,
            resume=arguments.resume,
        )
    if share.is_first:
        say(f"{len(written)} files in {arguments.out}")
