"""Training a run: `train_run`, from a configuration to a finished directory."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from cohgen_jax.codec import Latents
from cohgen_jax.cohort import Cohort
from cohgen_jax.errors import InputError
from cohgen_jax.runs import extend
from cohgen_jax.runs.calibrate import calibrate, codec_residuals
from cohgen_jax.runs.calibration import DEFAULT, FEW_STEPS, save_calibration
from cohgen_jax.runs.config import ExperimentConfig
from cohgen_jax.runs.consensus import measure_consensus, save_moments
from cohgen_jax.runs.families import Family, families_of
from cohgen_jax.runs.models import Models, save_models
from cohgen_jax.runs.prepare import Tell, prepared, read_latents
from cohgen_jax.runs.regressions import fit_run_regressions, load_regressions
from cohgen_jax.runs.run import Run, open_run
from cohgen_jax.solvers import SolverConfig
from cohgen_jax.storage import rundir
from cohgen_jax.storage.checkpoint import is_whole, write_json, write_text
from cohgen_jax.storage.distributed import by_first, is_first, to_host
from cohgen_jax.training import Farm, FarmData, make_farm, train_farm
from cohgen_jax.training.accountant import check_accountant, spend, statement
from cohgen_jax.training.farm import usable_rows, work
from cohgen_jax.training.loop import Progress
from cohgen_jax.training.mesh import make_mesh

Report = Callable[[str, Progress], None]
"""Told (family, progress) while models are trained."""


def train_run(
    config: ExperimentConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    tell: Tell = lambda line: None,
    report: Report = lambda family, progress: None,
) -> Run:
    """Load the cohort, fit the codecs, train every model; everything goes into `run_dir`.

    Several processes (see `distributed`) call with the same arguments. Everything that can be
    refused is refused before the first fit.
    """
    run_dir = Path(run_dir)
    if not is_first():
        tell, report = (lambda line: None), (lambda family, progress: None)

    earlier = extend.earlier_run(config)
    if earlier is not None and run_dir.resolve() == earlier.path.resolve():
        raise InputError(f"extends: {run_dir} would take its own place: use another --out")
    cohorts: list[Cohort] = []  # on process 0
    with contextlib.ExitStack() as held:

        def prepare() -> tuple[Latents, pd.DataFrame]:
            check = functools.partial(check_models, config, earlier=earlier)
            cohort, latents = held.enter_context(
                prepared(config, run_dir, resume, overwrite, tell, check, earlier)
            )
            cohorts.append(cohort)
            return latents, cohort.samples

        latents, samples = by_first(prepare) or read_latents(run_dir)
        taken = {}
        if earlier is not None:
            taken = {extend.FAMILY: extend.taken_models(earlier, latents.modalities)}
        farms = {
            family: _farm(family, samples, latents, config, taken.get(family.name))
            for family in families_of(config).values()
            if not is_whole(run_dir / "models" / family.name)
        }
        for family, (farm, data) in sorted(farms.items(), key=lambda item: -work(item[1][0])):
            there = taken.get(family.name)
            _train_family(family.name, farm, data, config, run_dir, there, tell, report)

        def finish() -> None:
            shutil.rmtree(run_dir / "checkpoints", ignore_errors=True)
            run = open_run(run_dir)
            if config.regression and not is_whole(run_dir / "regression"):
                fit_run_regressions(run, run_dir / "regression", tell)
                fitted = load_regressions(run_dir / "regression", run.latents, run.rows("train"))
                run = dataclasses.replace(run, regressions=fitted)
            if not is_whole(run_dir / "consensus"):
                run = dataclasses.replace(run, moments=measure_consensus(run))
                save_moments(run_dir / "consensus", run.moments)
            solvers = {DEFAULT: SolverConfig()}
            if _few_steps_serve(config):
                solvers[FEW_STEPS] = SolverConfig(name="gaussian")
            for part, solver in solvers.items():
                solver = solver.resolved(config.diffusion.predicts)
                if not run.calibrated_for(solver):
                    calibration = calibrate(run, cohorts[0], solver)
                    residuals = codec_residuals(run, cohorts[0]) if part == DEFAULT else {}
                    save_calibration(run_dir / part, calibration, residuals, solver)
            _account(cohorts[0], config, run_dir, tell)
            rundir.log(run_dir, "trained")

        by_first(finish)
    return open_run(run_dir)


def check_models(config: ExperimentConfig, cohort: Cohort, earlier: Run | None = None) -> list[str]:
    """Refuse before the first fit what cannot be trained, or not be accounted for; notes on what is
    taken from an earlier run, and on pairs of modalities that get no model."""
    notes, rows = [], (cohort.rows("train"), cohort.rows("val"))
    if earlier is not None:
        notes += extend.check_extension(earlier, cohort, config)
    for family in families_of(config).values():
        train = family.config(config)
        specs, told = family.specs(cohort.modalities, cohort.present, *rows, config)
        notes += told
        if train.dp_noise_multiplier:
            check_accountant()
        usable_rows(specs, cohort.present, *rows, train)
        make_mesh(config.compute.mesh, len(specs), train.places)
    return notes


def _few_steps_serve(config: ExperimentConfig) -> bool:
    """Whether it is asked for, regressions tell the variance that the gaussian solver needs, and
    networks allow deterministic chains."""
    return config.few_steps and config.regression and config.diffusion.predicts != "eps"


def _farm(
    family: Family,
    samples: pd.DataFrame,
    latents: Latents,
    config: ExperimentConfig,
    taken: extend.Taken | None,
) -> tuple[Farm, FarmData]:
    split = samples["split"].to_numpy()
    rows = np.flatnonzero(split == "train"), np.flatnonzero(split == "val")
    specs, _ = family.specs(latents.modalities, latents.present, *rows, config)
    if taken is not None:
        there = {spec.name for spec in taken.models.specs}
        specs = [spec for spec in specs if spec.name not in there]
    return make_farm(
        specs,
        latents.z,
        latents.present,
        latents.widths.tolist(),
        *rows,
        family.config(config),
        config.diffusion,
        config.seed,
        scale=latents.scale,
    )


def _train_family(
    family: str,
    farm: Farm,
    data: FarmData,
    config: ExperimentConfig,
    run_dir: Path,
    taken: extend.Taken | None,
    tell: Tell,
    report: Report,
) -> None:
    """Train the models of one family and save them, after those that are taken; their checkpoints
    then go."""
    checkpoints = run_dir / "checkpoints" / family

    def on_progress(progress: Progress) -> None:
        if is_first():
            rundir.log(
                run_dir,
                "validated" if progress.rows else "training",
                family=family,
                epoch=progress.epoch,
                active=progress.active,
                seconds=round(progress.seconds, 2),
                samples_per_second=round(progress.rate),
            )
        report(family, progress)

    state, history = train_farm(
        farm,
        data,
        checkpoints,
        on_progress,
        checkpoint_seconds=config.compute.checkpoint_seconds,
        mesh=config.compute.mesh,
    )
    best, scores, epochs = to_host((state.best, state.best_score, state.best_epoch))

    def save() -> None:
        table = pd.DataFrame(history)
        for note in _diverged(farm, epochs["energy"], table, family):
            tell(note)
            rundir.log(run_dir, "note", text=note)
        models = Models(farm.specs, best, {m: score.tolist() for m, score in scores.items()})
        kept_at = {metric: epoch.tolist() for metric, epoch in epochs.items()}
        if taken is not None:
            models, kept_at, table = taken.beside(models, kept_at, table)
        metrics = run_dir / "metrics"
        metrics.mkdir(exist_ok=True)
        write_text(metrics / f"history_{family}.csv", table.to_csv(index=False))
        save_models(run_dir / "models" / family, models, epochs=kept_at)
        shutil.rmtree(checkpoints, ignore_errors=True)

    by_first(save)


def _diverged(farm: Farm, best_epoch: np.ndarray, history: pd.DataFrame, family: str) -> list[str]:
    """A sentence for each model whose loss or energy score ceased to be finite."""
    last = history.drop_duplicates("model", keep="last").set_index("model")
    finite = last["train_loss"].abs().lt(np.inf) & last["val_energy"].abs().lt(np.inf)
    notes = []
    for spec, epoch in zip(farm.specs, best_epoch, strict=True):
        if not finite[spec.name]:
            kept = f"is kept as it was after epoch {epoch}" if epoch else "is as it began"
            notes.append(f"{spec.name} diverged and {kept}: lower {family}.learning_rate")
    return notes


def _account(cohort: Cohort, config: ExperimentConfig, run_dir: Path, tell: Tell) -> None:
    """Write what training with differential privacy is worth, if there was any."""
    train, spent = cohort.rows("train"), {}
    for family in families_of(config).values():
        settings, val = family.config(config), cohort.rows("val")
        if settings.dp_noise_multiplier:
            specs, _ = family.specs(cohort.modalities, cohort.present, train, val, config)
            rows = usable_rows(specs, cohort.present, train, val, settings)
            counts = rows.sum(axis=1).tolist()
            steps = max(settings.least_steps, len(train) // settings.batch_size)
            spent[family.name] = spend(settings, counts, steps)
    if not spent:
        return
    worth = statement(spent)
    (run_dir / "metrics").mkdir(exist_ok=True)
    write_json(run_dir / "metrics" / "privacy_training.json", worth)
    epsilons = {family: worth[family]["epsilon"] for family in (*spent, "together")}
    rundir.log(run_dir, "private", delta=worth["delta"], **epsilons)
    told = ", ".join(f"{family} {value:.2f}" for family, value in epsilons.items())
    tell(f"differential privacy: epsilon {told} at delta {worth['delta']:g}")
