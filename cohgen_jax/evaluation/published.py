"""The published tables from the published files: 56 conditions, beside models of our own.

Every target from every subset of the others, on the test samples of the published split, all in the
same latents: the single-condition models and their consensus by both published rules, the
multi-condition model, by the ancestral sampler; tables that the published code generated; and a run
of the default recipe on the same latents.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.codec import CodecConfig
from cohgen_jax.codec.identity import identity_codec
from cohgen_jax.codec.latents import Latents, encode_cohort
from cohgen_jax.cohort import Cohort
from cohgen_jax.errors import InputError, check_choices, check_seed
from cohgen_jax.evaluation.fidelity import Condition, evaluate, score_draws, write_table
from cohgen_jax.evaluation.of_run import run_generators
from cohgen_jax.interop.generated import generated_tables
from cohgen_jax.interop.processed import load_processed
from cohgen_jax.interop.published import MULTI, PublishedRun, load_published_results
from cohgen_jax.runs.config import ExperimentConfig, RecipeName, recipe
from cohgen_jax.runs.families import METHODS
from cohgen_jax.runs.run import Run
from cohgen_jax.sampling.config import SamplerConfig
from cohgen_jax.sampling.consensus import Consensus
from cohgen_jax.sampling.generate import bank_generator
from cohgen_jax.sampling.generator import Generator
from cohgen_jax.solvers import SolverConfig

RULES: dict[str, Consensus] = {"published_mean": "mean", "published_loss": "loss"}
PUBLISHED_MULTI = "published_multi"
Tell = Callable[[str], None]
Train = Callable[[ExperimentConfig, Path], Run]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedConfig:
    """What is compared."""

    draws: int = 10
    """For each sample; each is one repeat of the published evaluation."""
    metric: str = "mse"
    """Which of the kept models: mse, cosine or timestep."""
    steps: int | None = None
    """Of the published models' ancestral sampler; by default all levels of their training."""
    targets: tuple[str, ...] = ()
    """Modalities to generate; all when empty."""
    recipe: RecipeName | None = "default"
    """Of the run beside them, trained on the same latents without covariates, which the published
    models do not know either; None for no run."""
    seed: int = 0

    def __post_init__(self):
        check_choices(self)
        check_seed(self.seed)
        if self.draws < 2:
            raise InputError(f"draws must be at least 2, got {self.draws}")


class Comparison(NamedTuple):
    conditions: pd.DataFrame
    """A row a method, target and subset of sources: the columns of `fidelity.score_draws`."""
    latents: Latents


def compare_published(
    data: Path,
    results: Path,
    out: Path,
    config: PublishedConfig = PublishedConfig(),
    *,
    train: Train | None = None,
    tell: Tell = lambda line: None,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> Comparison:
    """Score everything and write OUT/published.csv and .json.

    Args:
      data: of `load_processed`; results: of `load_published_results`.
      train: makes the run of a configuration in a directory (or opens the one that is there);
        without it there is no run beside the published models.

    Raises:
      InputError: no such files, latents of another width than the models', or no test samples.
    """
    cohort, published = load_processed(data), load_published_results(results)
    for note in cohort.notes:
        tell(note)
    latents = latents_of_cohort(cohort)
    rows = cohort.rows("test")
    targets = tuple(dict.fromkeys(config.targets)) or cohort.modalities
    for target in targets:
        cohort.table(target)
    generators = published_generators(published, cohort.modalities, targets, config, latents, tell)
    tables = list(_scored_tables(published, cohort, targets, latents, rows, tell))
    if not generators and not tables:
        raise InputError(
            f"{results} has neither models nor generated tables of {', '.join(targets)}"
        )
    if train is not None and config.recipe is not None:
        run = train(run_config(config.recipe, data, cohort.modalities, config.seed), out / "run")
        of_run = run_generators(run, targets)
        generators |= {key: of_run[key] for key in of_run if key[0] in METHODS}
        latents = run.latents._replace(scale=latents.scale)
        rows = run.samples.index.get_indexer(cohort.samples.index[rows])
    scored = []
    if generators:
        result = evaluate(
            generators,
            latents,
            rows,
            draws=config.draws,
            seed=config.seed,
            together=(*RULES, PUBLISHED_MULTI, *METHODS),
            progress=progress,
            tell=tell,
        )
        scored.append(result.conditions)
    table = pd.concat([*scored, *tables], ignore_index=True)
    write_table(table, out / "published")
    return Comparison(table, latents)


def run_config(
    name: RecipeName, data: Path, modalities: Sequence[str], seed: int
) -> ExperimentConfig:
    """A recipe on published latents as they are."""
    return dataclasses.replace(
        recipe(name),
        cohort=str(data),
        modalities=tuple(modalities),
        codec=CodecConfig(kind="identity"),
        published_codecs=False,
        covariates=("none",),
        seed=seed,
    )


def latents_of_cohort(cohort: Cohort) -> Latents:
    """The cohort's tables, which are latents, as they are."""
    codec = CodecConfig(kind="identity")
    return encode_cohort(
        cohort, {m: identity_codec(cohort.table(m, "train"), codec) for m in cohort.modalities}
    )


def published_generators(
    published: PublishedRun,
    modalities: Sequence[str],
    targets: Sequence[str],
    config: PublishedConfig,
    latents: Latents,
    tell: Tell,
) -> dict[tuple[str, str], Generator]:
    """Keyed (method, target); what a results folder does not have is told and left out."""
    generators = {}
    for target in targets:
        width = int(latents.widths[list(modalities).index(target)])
        others = [m for m in modalities if m != target]
        known = published.sources(target) if target in published.targets else ()
        lacking = [m for m in others if m not in known]
        if lacking:
            tell(f"{target}: no single-condition model from {', '.join(lacking)}; left out")
        else:
            for method, rule in RULES.items():
                generators[method, target] = bank_generator(
                    lambda sources, target=target: published.bank(target, config.metric, sources),
                    modalities,
                    target,
                    _sampler(published, target, others[0], config, width, rule),
                )
        if (target, MULTI) not in published.folders:
            tell(f"{target}: no multi-condition model; left out")
            continue
        bank = published.multi(target, config.metric)
        if set(bank.sources) != set(others):
            raise InputError(
                f"the multi-condition model of {target} takes {', '.join(bank.sources)}, the "
                f"tables have {', '.join(others)}"
            )
        generators[PUBLISHED_MULTI, target] = bank_generator(
            lambda sources, bank=bank: bank,
            modalities,
            target,
            _sampler(published, target, MULTI, config, width, "mean"),
        )
    return generators


def _sampler(
    published: PublishedRun,
    target: str,
    source: str,
    config: PublishedConfig,
    width: int,
    rule: Consensus,
) -> SamplerConfig:
    """The ancestral sampler on the levels that this model was trained at."""
    model = published.model(target, source, config.metric)
    x_dim = model.module.x_dim  # pyright: ignore[reportAttributeAccessIssue]
    if x_dim != width:
        raise InputError(
            f"the published models of {target} generate {x_dim} latents, the tables have {width}: "
            "name the data and the results of one latent width"
        )
    levels = model.schedule.num_steps
    solver = SolverConfig(name="ddpm", num_steps=config.steps or levels)
    return SamplerConfig(solver=solver.build(model.schedule, "eps"), consensus=rule)


def _scored_tables(
    published: PublishedRun,
    cohort: Cohort,
    targets: Sequence[str],
    latents: Latents,
    rows: np.ndarray,
    tell: Tell,
):
    """One row a generated table of the results folder, as method published_<method>_files."""
    folder = next(iter(published.folders.values())).parent
    for generated in generated_tables(folder, cohort.modalities):
        if generated.target not in targets:
            continue
        t = cohort.modalities.index(generated.target)
        width = int(latents.widths[t])
        draws = generated.draws(len(rows), width)
        if len(draws) < 2:
            tell(f"{generated.path} holds a single draw, which has no spread to score; left out")
            continue
        condition = Condition(generated.target, generated.sources)
        scores = score_draws(draws, latents.z[rows, t, :width])
        yield pd.DataFrame([condition.key(f"published_{generated.method}_files") | scores])
