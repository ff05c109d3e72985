"""A run: a cohort, its codecs and its trained models, made by `train_run`, opened by `open_run`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from pandas.util import hash_pandas_object

from cohgen_jax.codec import (
    Codec,
    Latents,
    encode_cohort,
    fit_codecs,
    load_codecs,
    padded_scale,
    published_config,
    save_codecs,
    with_covariates,
)
from cohgen_jax.cohort import Cohort, demo_cohort, load_cohort, set_aside
from cohgen_jax.cohort.covariates import Covariates, choose_covariates, fit_covariates
from cohgen_jax.cohort.kinds import asked_kinds
from cohgen_jax.errors import InputError, need
from cohgen_jax.networks import build
from cohgen_jax.runs.calibrate import (
    Calibration,
    calibrate,
    codec_residuals,
    load_calibration,
    save_calibration,
)
from cohgen_jax.runs.config import ExperimentConfig
from cohgen_jax.sampling.bank import Bank
from cohgen_jax.sampling.config import SamplerConfig
from cohgen_jax.sampling.consensus import Consensus
from cohgen_jax.sampling.generate import conditions
from cohgen_jax.sampling.stacking import Moments, Pattern, restricted
from cohgen_jax.solvers import SolverConfig
from cohgen_jax.storage import rundir
from cohgen_jax.storage.checkpoint import (
    is_whole,
    load_tree,
    save_tree,
    write_json,
    write_text,
    writing,
)
from cohgen_jax.storage.distributed import by_first, is_first, to_host
from cohgen_jax.training import (
    Farm,
    FarmData,
    ModelSpec,
    make_farm,
    multi_specs,
    pair_specs,
    train_farm,
)
from cohgen_jax.training.accountant import spend, statement
from cohgen_jax.training.config import TrainConfig
from cohgen_jax.training.farm import usable_rows, work
from cohgen_jax.training.loop import Progress
from cohgen_jax.training.mesh import make_mesh
from cohgen_jax.training.moments import measure_moments
from cohgen_jax.training.regression import Regressions, fit_regressions, patterns_of, rebuilt
from cohgen_jax.training.validation import METRICS, judged

METHODS = ("coherent", "multi")
PatternMoments = dict[Pattern, Moments]

KINDS = ("single", "multi")

Tell = Callable[[str], None]
Report = Callable[[str, Progress], None]


@dataclasses.dataclass(frozen=True)
class Models:
    """Trained models of one kind."""

    specs: tuple[ModelSpec, ...]
    variables: dict[str, Any]
    """Metric -> parameter trees stacked along the models, the best by that metric."""
    scores: dict[str, list[float]]
    """Metric -> its best value on validation, one a model."""

    def members(self, target: int, sources: tuple[int, ...]) -> list[int]:
        """Positions of the models that generate this target from these sources."""
        wanted = (target, sources)
        return [k for k, spec in enumerate(self.specs) if (spec.target, spec.sources) == wanted]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a finished run directory holds."""

    path: Path
    config: ExperimentConfig
    samples: pd.DataFrame
    latents: Latents
    codecs: dict[str, Codec]
    models: dict[str, Models]
    covariates: Covariates
    """What every model knows of a patient beside the assays; of width 0 where that is nothing."""
    regressions: dict[str, Regressions]
    """Target -> its regression on the other modalities, in their order; empty without any."""
    moments: dict[str, dict[str, PatternMoments]]
    """Method -> target -> moments of its models, sources in the order of the modalities; empty
    while a run is trained."""
    calibration: dict[str, dict[str, Calibration]]
    """Method (coherent, multi) -> target -> what validation patients taught; may be empty too."""
    calibrated_with: SolverConfig | None
    residuals: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """Modality -> what its codec does not bring back of validation patients; may be empty too."""

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.latents.modalities

    def rows(self, split: str) -> np.ndarray:
        """Positions of the patients of one side of the split."""
        return np.flatnonzero(self.samples["split"].to_numpy() == split)

    def index(self, modality: str) -> int:
        if modality not in self.modalities:
            raise InputError(
                f"unknown modality {modality!r}; this run knows {', '.join(self.modalities)}"
            )
        return self.modalities.index(modality)

    def sampled_by(self, solver: SolverConfig) -> Run:
        """The run as it samples with this solver: without a calibration that was fitted to another.

        The draws of another solver are not as wide, and neither the factor on their spread nor
        intervals and expected errors are meant for them.
        """
        return self if self._same_chain(solver) else dataclasses.replace(self, calibration={})

    def _same_chain(self, solver: SolverConfig) -> bool:
        return self.calibrated_with == solver.resolved(self.config.diffusion.predicts)

    def uncalibrated(self, solver: SolverConfig, consensus: Consensus = "stacked") -> str | None:
        """In a sentence, why draws by this solver and consensus are not calibrated, if so."""
        if self.calibrated_with is None:
            return "draws are not calibrated: experiments/train.py --resume calibrates this run"
        if consensus == "stacked" and self._same_chain(solver):
            return None
        return (
            "draws are not calibrated (spread, intervals, expected errors): the run has been, for "
            "the stacked consensus and its default solver"
        )

    def sampler_config(
        self, solver: SolverConfig = SolverConfig(), **settings: Any
    ) -> SamplerConfig:
        """How to sample from the banks of this run: the solver on the schedule that they were
        trained with, the stacked consensus, and what else `SamplerConfig` has."""
        chain = solver.build(self.config.diffusion.build(), self.config.diffusion.predicts)
        return SamplerConfig(solver=chain, **{"consensus": "stacked", **settings})

    def sample(
        self, target: str, patients: Sequence[str] | str = "test", **settings: Any
    ) -> pd.DataFrame:
        """Draws of one modality of patients of the run, from whatever else they have.

        Args:
          patients: sample ids, or a side of the split.
          settings: num_draws (10), method ("coherent" or "multi"), consensus, solver, seed.

        Returns:
          Every draw, patient by patient: index sample_id, columns draw, then the features in the
          units of their table. A patient's draws depend on its id, its data and the seed alone.

        Raises:
          InputError: an unknown target, sample or side, or a patient who has nothing else.
        """
        from cohgen_jax.runs.impute import sample_patients

        return sample_patients(self, target, patients, **settings)

    def impute(self, tables: Mapping[str, pd.DataFrame] | Any, **settings: Any) -> Any:
        """What new patients lack, generated from what they have: experiments/impute.py in memory.

        Args:
          tables: modality -> table, index sample id, in the units of training; `samples` may hold
            what is known of the patients beside (covariates of the run). Or a MuData.
          settings: fields of `impute.Imputation`, and tell.

        Returns:
          `<modality>` (every draw), `<modality>_mean`, `_sd`, `_low`, `_high` (completed tables) of
          every modality that anybody lacks, and `disagreement`, as experiments/impute.py writes
          them. Of a MuData a MuData: its modalities, and `<modality>_generated` with the completed
          table, layers sd, low, high and draw, and `obs["generated"]`; `uns["disagreement"]`.

        Raises:
          InputError: as `impute_tables` does.
        """
        from cohgen_jax.runs.impute import impute_in_memory

        return impute_in_memory(self, tables, **settings)

    def coherent_bank(self, target: str, sources: Sequence[str] | None = None) -> Bank:
        """The single-condition models of a target, from all or the given sources.

        Their losses are their best validation noise-prediction errors, for the loss-weighted
        consensus; their moments those of the run, for the stacked one.
        """
        t = self.index(target)
        chosen = [self.index(s) for s in sources or [m for m in self.modalities if m != target]]
        if t in chosen:
            raise InputError(f"the target {target!r} cannot also be a source")
        return self._bank("coherent", target, chosen, [(s,) for s in chosen])

    def multi_bank(self, target: str) -> Bank:
        """The multi-condition model of a target (all its members), as a bank."""
        t = self.index(target)
        sources = [s for s in range(len(self.modalities)) if s != t]
        return self._bank("multi", target, sources, [tuple(sources)])

    def bank(self, method: str, target: str) -> Bank:
        """Of one of METHODS, from all sources."""
        return self.coherent_bank(target) if method == "coherent" else self.multi_bank(target)

    def conditions(self, bank: Bank, rows: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """What a bank of this run is given of these patients: its sources [N, D] each, then the
        covariates if it knows them; and which of its sources they have, bool [N, S]."""
        columns = [self.index(source) for source in bank.sources]
        known = conditions(bank, self.latents.z[rows], columns)
        return known, self.latents.present[rows][:, columns]

    def _bank(
        self, method: str, target: str, sources: list[int], wanted: list[tuple[int, ...]]
    ) -> Bank:
        """The models, with the regression, what validation taught of them, and the covariates."""
        kind = {"coherent": "single", "multi": "multi"}[method]
        models, train = self.models[kind], train_config(self.config, kind)
        t, latent_dim, known = self.index(target), self.latents.z.shape[2], self.covariates.width
        module = build(
            train.network, latent_dim, (latent_dim,) * len(wanted[0]) + (known,) * (known > 0)
        )
        ks = [k for looks_at in wanted for k in models.members(t, looks_at)]
        kept = models.variables[train.keep]
        bank = Bank.from_models(
            target,
            [self.modalities[s] for s in sources],
            [(module, jax.tree.map(lambda leaf, k=k: leaf[k], kept)) for k in ks],
            predicts=self.config.diffusion.predicts,
            losses=[models.scores["timestep"][k] for k in ks],
            slots=[[sources.index(s) for s in models.specs[k].sources] for k in ks],
            width=int(self.latents.widths[t]),
            natural=[self.latents.scale[s] for s in sources],
            covariates=known,
        )
        others = [m for m in range(len(self.modalities)) if m != t]
        places = [others.index(s) for s in sources]
        if target in self.regressions:
            regression = self.regressions[target].of(places)
            bank = bank.with_regression(regression, self.config.diffusion.build().alpha_bar)
        learnt = self.moments.get(method, {}).get(target)
        if learnt is not None:
            if places != list(range(len(others))):  # other models, or in another order
                every = [k for s in others for k in models.members(t, (s,))]
                theirs = [every.index(k) for k in ks] + [len(every)] * (target in self.regressions)
                learnt = {p: own.of(theirs) for p, own in restricted(learnt, places).items()}
            bank = dataclasses.replace(bank, moments=learnt)
        if method in self.calibration:
            bank = dataclasses.replace(bank, spread=self.calibration[method][target].scale)
        return bank


def register_formats(source: str | Path) -> None:
    """Let the cohort readers open this file if it is MuData or AnnData."""
    if Path(source).suffix.lower() in (".h5mu", ".h5ad"):
        from data_prep.mudata_io import register

        register()


def load_any_cohort(config: ExperimentConfig) -> Cohort:
    """The cohort a configuration names (a path, `tfds:...`, or `demo`), less whom it excludes."""
    if config.cohort == "demo":
        cohort = _of_kinds(demo_cohort(), config.kinds)
    elif config.cohort.startswith("tfds:"):
        need(f"--cohort {config.cohort}", "prep", "tensorflow_datasets", "array_record")
        from data_prep.tfds_cohort import load_tfds_cohort

        cohort = _of_kinds(load_tfds_cohort(config.cohort), config.kinds)
    else:
        register_formats(config.cohort)
        cohort = load_cohort(
            config.cohort,
            modalities=config.modalities or None,
            seed=config.split_seed,
            val_fraction=config.val_fraction,
            test_fraction=config.test_fraction,
            max_missing=config.max_missing,
            kinds=config.kinds,
            layers=config.layers,
            min_train=max(config.single.least_patients, config.multi.least_patients),
        )
    if config.modalities and set(config.modalities) != set(cohort.modalities):
        raise InputError(
            f"{config.cohort} has the modalities {', '.join(cohort.modalities)}, all used"
        )
    return set_aside(cohort, config.exclude)


def _of_kinds(cohort: Cohort, settings: Sequence[str]) -> Cohort:
    """The cohort with the kinds that were asked for."""
    asked = asked_kinds(settings, cohort.tables)
    return dataclasses.replace(cohort, kinds={**cohort.kinds, **asked})


def train_run(
    config: ExperimentConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    tell: Tell = lambda line: None,
    report: Report = lambda kind, progress: None,
) -> Run:
    """Load the cohort, fit the codecs, train every model; everything goes into `run_dir`.

    Several processes (see `distributed`) call with the same arguments. Everything that can be
    refused is refused before the first fit.
    """
    run_dir = Path(run_dir)
    if not is_first():
        tell, report = (lambda line: None), (lambda kind, progress: None)

    cohorts: list[Cohort] = []  # on process 0
    with contextlib.ExitStack() as held:

        def prepare() -> tuple[Latents, pd.DataFrame]:
            check = functools.partial(_check_models, config)
            cohort, latents = held.enter_context(
                prepared(config, run_dir, resume, overwrite, tell, check)
            )
            cohorts.append(cohort)
            return latents, cohort.samples

        latents, samples = by_first(prepare) or read_latents(run_dir)
        farms = {
            kind: _farm(kind, samples, latents, config)
            for kind in KINDS
            if not is_whole(run_dir / "models" / kind)
        }
        for kind, (farm, data) in sorted(farms.items(), key=lambda item: -work(item[1][0])):
            _train_kind(kind, farm, data, config, run_dir, tell, report)

        def finish() -> None:
            shutil.rmtree(run_dir / "checkpoints", ignore_errors=True)
            if config.regression and not is_whole(run_dir / "regression"):
                _fit_regressions(open_run(run_dir), run_dir / "regression", tell)
            if not is_whole(run_dir / "consensus"):
                _measure_consensus(open_run(run_dir), run_dir / "consensus")
            if not is_whole(run_dir / "calibration"):
                solver = SolverConfig().resolved(config.diffusion.predicts)
                run = open_run(run_dir)
                found = calibrate(run, cohorts[0], solver)
                residuals = codec_residuals(run, cohorts[0])
                save_calibration(run_dir / "calibration", found, residuals, solver)
            _account(cohorts[0], config, run_dir, tell)
            rundir.log(run_dir, "trained")

        by_first(finish)
    return open_run(run_dir)


@contextlib.contextmanager
def prepared(
    config: ExperimentConfig,
    run_dir: Path,
    resume: bool,
    overwrite: bool,
    tell: Tell,
    check: Callable[[Cohort], None],
    **extra: Any,
) -> Iterator[tuple[Cohort, Latents]]:
    """A run directory that is this process's, its cohort and the latents of its codecs.

    Everything that can be refused is refused before the first fit: `check` raises for what the
    cohort does not allow. `extra`: what config.json says beside the configuration.
    """
    resolved = {**dataclasses.asdict(config), **extra}
    rundir.check(run_dir, resolved, resume=resume, overwrite=overwrite)
    cohort = load_any_cohort(config)
    check(cohort)
    resolved[rundir.DATA] = data_checksum(cohort)
    with rundir.locked(run_dir):
        rundir.prepare(run_dir, resolved, resume=resume, overwrite=overwrite)
        rundir.log(
            run_dir,
            "start",
            modalities=cohort.modalities,
            samples=len(cohort.samples),
            **rundir.environment(),
        )
        for note in cohort.notes:
            tell(note)
            rundir.log(run_dir, "note", text=note)
        yield cohort, _encoded(cohort, config, run_dir, tell)


def open_run(run_dir: str | Path) -> Run:
    """Open a finished run directory.

    Raises:
      InputError: it is not one, is not finished, or is damaged.
    """
    run_dir = Path(run_dir)
    raw = rundir.read_config(run_dir)
    del raw[rundir.DATA]
    try:
        config = rundir.from_dict(ExperimentConfig, raw)
    except (ValueError, TypeError) as error:
        raise InputError(f"{run_dir / 'config.json'} is not of this version: {error}") from error
    for kind in KINDS:
        if not is_whole(run_dir / "models" / kind):
            raise InputError(
                f"{run_dir} is not finished: it has no {kind}-condition models; "
                "continue it with experiments/train.py --resume"
            )
    samples = _read_parquet(run_dir / "samples.parquet")
    codecs = load_codecs(run_dir / "codec")
    models = {kind: _load_models(run_dir / "models" / kind) for kind in KINDS}
    moments = _load_moments(run_dir / "consensus") if is_whole(run_dir / "consensus") else {}
    latents = _read_latents(run_dir, samples, codecs)
    regressions = {}
    if is_whole(run_dir / "regression"):
        train = np.flatnonzero(samples["split"].to_numpy() == "train")
        regressions = _load_regressions(run_dir / "regression", latents, train)
    covariates = _read_covariates(run_dir)
    calibrated: tuple = ({}, {}, None)
    if is_whole(run_dir / "calibration"):
        calibrated = load_calibration(run_dir / "calibration")
    calibration, residuals, solver = calibrated
    return Run(
        run_dir,
        config,
        samples,
        latents,
        codecs,
        models,
        covariates,
        regressions,
        moments,
        calibration,
        solver,
        residuals,
    )


def read_latents(run_dir: str | Path) -> tuple[Latents, pd.DataFrame]:
    """The standardised latents of a run and its patients (with their split), trained or not."""
    run_dir = Path(run_dir)
    samples = _read_parquet(run_dir / "samples.parquet")
    return _read_latents(run_dir, samples, load_codecs(run_dir / "codec")), samples


def train_config(config: ExperimentConfig, kind: str) -> TrainConfig:
    return {"single": config.single, "multi": config.multi}[kind]


def model_specs(kind: str, modalities: Sequence[str], members: int) -> list[ModelSpec]:
    return {"single": pair_specs, "multi": multi_specs}[kind](modalities, members)


def _encoded(cohort: Cohort, config: ExperimentConfig, run_dir: Path, tell: Tell) -> Latents:
    """Fit the codecs and encode the cohort, or read what an interrupted run left whole."""
    unfinished = run_dir / "checkpoints" / "codec"
    if is_whole(run_dir / "codec"):  # written last
        shutil.rmtree(unfinished, ignore_errors=True)
        latents = _read_latents(run_dir, cohort.samples, load_codecs(run_dir / "codec"))
        _renew_labels(cohort.samples, run_dir, tell)
        return latents
    codec_config: Any = config.codec
    if config.published_codecs:
        dim = config.codec.latent_dim
        codec_config = {name: published_config(name, dim) for name in cohort.modalities}
    fitted, training = unfinished / "fitted", unfinished / "training"

    def keep(name: str, codec: Codec) -> None:
        if codec.config.kind == "autoencoder":  # the only ones that take longer than reading them
            save_codecs({name: codec}, fitted / name)
            shutil.rmtree(training / name, ignore_errors=True)

    done = {m: load_codecs(fitted / m)[m] for m in cohort.modalities if is_whole(fitted / m)}
    codecs = fit_codecs(
        cohort,
        codec_config,
        config.seed,
        tell,
        done=done,
        on_fit=keep,
        scratch=training,
        checkpoint_seconds=config.compute.checkpoint_seconds,
    )
    columns, notes = choose_covariates(cohort.samples.iloc[cohort.rows("train")], config.covariates)
    covariates = fit_covariates(cohort.samples.iloc[cohort.rows("train")], columns)
    for note in (*notes, *covariates.notes):
        tell(note)
        rundir.log(run_dir, "note", text=note)
    known = covariates.encode(cohort.samples, [])
    latents = with_covariates(encode_cohort(cohort, codecs), known)
    half = run_dir / "latents.part"
    with writing(run_dir):
        cohort.samples.to_parquet(run_dir / "samples.parquet")
        write_json(run_dir / "covariates.json", covariates.to_json())
        pd.DataFrame(known, index=cohort.samples.index, columns=list(covariates.names)).to_parquet(
            run_dir / "covariates.parquet"
        )
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        for m, name in enumerate(cohort.modalities):
            rows = latents.present[:, m]
            pd.DataFrame(
                latents.z[rows, m, : latents.widths[m]],
                index=cohort.samples.index[rows],
                columns=pd.Index([f"latent_{d}" for d in range(latents.widths[m])]),
            ).to_parquet(half / f"{name}.parquet")
    shutil.rmtree(run_dir / "latents", ignore_errors=True)
    half.rename(run_dir / "latents")
    save_codecs(codecs, run_dir / "codec")
    shutil.rmtree(unfinished, ignore_errors=True)
    return latents


def _renew_labels(samples: pd.DataFrame, run_dir: Path, tell: Tell) -> None:
    """Take over labels and survival that were mended or added since the run began; patients and
    split are what they were, which the checksum of the data holds."""
    file = run_dir / "samples.parquet"
    old = _read_parquet(file)
    changed = [
        column
        for column in dict.fromkeys([*old, *samples])
        if samples_checksum(old.reindex(columns=[column]))
        != samples_checksum(samples.reindex(columns=[column]))
    ]
    if not changed:
        return
    half = file.with_suffix(".part")
    with writing(file):
        samples.to_parquet(half)
        os.replace(half, file)
    tell(
        f"taken over from the cohort as it is now: {', '.join(map(str, changed))}; evaluate.py, "
        "audit.py and downstream.py make the results by labels again"
    )
    rundir.log(run_dir, "relabelled", columns=changed)


def _read_latents(run_dir: Path, samples: pd.DataFrame, codecs: dict[str, Codec]) -> Latents:
    widths = np.array([codec.width for codec in codecs.values()])
    z = np.zeros((len(samples), len(codecs), widths.max()), np.float32)
    present = np.zeros(z.shape[:2], bool)
    for m, name in enumerate(codecs):
        table = _read_parquet(run_dir / "latents" / f"{name}.parquet")
        rows = samples.index.get_indexer(table.index)
        z[rows, m, : widths[m]] = table.to_numpy(np.float32)
        present[rows, m] = True
    latents = Latents(z, present, widths, tuple(codecs), padded_scale(codecs))
    known = _read_parquet(run_dir / "covariates.parquet").reindex(samples.index)
    return with_covariates(latents, known.to_numpy(np.float32))


def _read_covariates(run_dir: Path) -> Covariates:
    file = run_dir / "covariates.json"
    try:
        return Covariates.from_json(json.loads(file.read_text()))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file} is missing or damaged: copy the run again from its source, or train again"
        ) from error


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is missing or damaged: copy the run again from its source, or train again"
        ) from error


def _account(cohort: Cohort, config: ExperimentConfig, run_dir: Path, tell: Tell) -> None:
    """Write what training with differential privacy is worth, if there was any."""
    train, spent = cohort.rows("train"), {}
    for kind in KINDS:
        own = train_config(config, kind)
        if own.dp_noise_multiplier:
            specs = model_specs(kind, cohort.modalities, own.members)
            rows = usable_rows(specs, cohort.present, train, cohort.rows("val"), own)
            counts = rows.sum(axis=1).tolist()
            steps = max(own.least_steps, len(train) // own.batch_size)
            spent[kind] = spend(own, counts, steps)
    if not spent:
        return
    worth = statement(spent)
    (run_dir / "metrics").mkdir(exist_ok=True)
    write_json(run_dir / "metrics" / "privacy_training.json", worth)
    epsilons = {kind: worth[kind]["epsilon"] for kind in (*spent, "together")}
    rundir.log(run_dir, "private", delta=worth["delta"], **epsilons)
    told = ", ".join(f"{kind} {value:.2f}" for kind, value in epsilons.items())
    tell(f"differential privacy: epsilon {told} at delta {worth['delta']:g}")


def _check_models(config: ExperimentConfig, cohort: Cohort) -> None:
    """Refuse before the first fit models that have too few patients."""
    for kind in KINDS:
        train = train_config(config, kind)
        specs = model_specs(kind, cohort.modalities, train.members)
        usable_rows(specs, cohort.present, cohort.rows("train"), cohort.rows("val"), train)
        make_mesh(config.compute.mesh, len(specs), train.batch_size)


def _farm(
    kind: str, samples: pd.DataFrame, latents: Latents, config: ExperimentConfig
) -> tuple[Farm, FarmData]:
    train, split = train_config(config, kind), samples["split"].to_numpy()
    return make_farm(
        model_specs(kind, latents.modalities, train.members),
        latents.z,
        latents.present,
        latents.widths.tolist(),
        np.flatnonzero(split == "train"),
        np.flatnonzero(split == "val"),
        train,
        config.diffusion,
        config.seed,
        scale=latents.scale,
    )


def _train_kind(
    kind: str,
    farm: Farm,
    data: FarmData,
    config: ExperimentConfig,
    run_dir: Path,
    tell: Tell,
    report: Report,
) -> None:
    """Train the models of one kind; their checkpoints go when they are saved."""
    checkpoints = run_dir / "checkpoints" / kind

    def on_progress(progress: Progress) -> None:
        if is_first():
            rundir.log(
                run_dir,
                "validated" if progress.rows else "training",
                kind=kind,
                epoch=progress.epoch,
                active=progress.active,
                seconds=round(progress.seconds, 2),
                samples_per_second=round(progress.rate),
            )
        report(kind, progress)

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
        for note in _diverged(farm, epochs["energy"], table, kind):
            tell(note)
            rundir.log(run_dir, "note", text=note)
        metrics = run_dir / "metrics"
        metrics.mkdir(exist_ok=True)
        write_text(metrics / f"history_{kind}.csv", table.to_csv(index=False))
        save_tree(
            run_dir / "models" / kind,
            "models",
            {metric: best[metric] for metric in METRICS},
            {
                "specs": [[spec.name, spec.target, list(spec.sources)] for spec in farm.specs],
                "scores": {metric: score.tolist() for metric, score in scores.items()},
                "epochs": {metric: epoch.tolist() for metric, epoch in epochs.items()},
            },
        )
        shutil.rmtree(checkpoints, ignore_errors=True)

    by_first(save)


def _diverged(farm: Farm, best_epoch: np.ndarray, history: pd.DataFrame, kind: str) -> list[str]:
    """A sentence for each model whose loss or energy score ceased to be finite."""
    last = history.drop_duplicates("model", keep="last").set_index("model")
    finite = last["train_loss"].abs().lt(np.inf) & last["val_energy"].abs().lt(np.inf)
    notes = []
    for spec, epoch in zip(farm.specs, best_epoch, strict=True):
        if not finite[spec.name]:
            kept = f"is kept as it was after epoch {epoch}" if epoch else "is as it began"
            notes.append(f"{spec.name} diverged and {kept}: lower {kind}.learning_rate")
    return notes


def _load_models(directory: Path) -> Models:
    variables, about = load_tree(directory, "models")
    specs = tuple(ModelSpec(name, t, tuple(sources)) for name, t, sources in about["specs"])
    return Models(specs, variables, about["scores"])


def _fit_regressions(run: Run, directory: Path, tell: Tell) -> None:
    """Every target on the other modalities and the covariates, by pattern."""
    arrays = {}
    for t, target in enumerate(run.modalities):
        rows, conds = _regressed(run.latents, run.rows("train"), t)
        width, unseen = int(run.latents.widths[t]), np.square(run.codecs[target].kept)
        fitted = fit_regressions(
            conds,
            np.delete(run.latents.present[rows], t, axis=1),
            run.latents.z[rows, t, :width],
            run.latents.scale[t, :width] ** 2,
        )
        arrays[target] = {}
        for pattern, own in fitted.by_pattern.items():
            # The codec was fitted on these patients: of others less varies.
            saved = own._replace(variance=own.variance * unseen)._asdict()
            del saved["x"]  # rows of the latents
            arrays[target][_pattern_name(pattern)] = saved
        tell(f"{target}: regressions on {len(fitted.by_pattern)} patterns of sources")
    save_tree(directory, "regressions", arrays, {})


def _regressed(
    latents: Latents, train: np.ndarray, target: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """(training patients with the target, other modalities and covariates in natural scale)."""
    rows = train[latents.present[train, target]]
    others = [m for m in range(len(latents.modalities)) if m != target]
    conds = [latents.z[rows, m] * latents.scale[m] for m in others]
    if latents.z.shape[1] > len(latents.modalities):
        conds.append(latents.z[rows, -1, : latents.widths[-1]])
    return rows, conds


def _load_regressions(
    directory: Path, latents: Latents, train: np.ndarray
) -> dict[str, Regressions]:
    arrays, _ = load_tree(directory, "regressions")
    loaded = {}
    for target, saved in arrays.items():
        _, conds = _regressed(latents, train, latents.modalities.index(target))
        by_pattern = {_pattern(p): rebuilt(own, _pattern(p), conds) for p, own in saved.items()}
        loaded[target] = Regressions(by_pattern)
    return loaded


def _pattern_name(pattern: Pattern) -> str:
    return "".join("01"[shown] for shown in pattern)


def _pattern(name: str) -> Pattern:
    return tuple(c == "1" for c in name)


def _measure_consensus(run: Run, directory: Path) -> None:
    """Moments of every bank on the validation patients, by pattern of sources."""
    rows, schedule = run.rows("val"), run.config.diffusion.build()
    latents, arrays = run.latents, {}
    for method, make in (("coherent", run.coherent_bank), ("multi", run.multi_bank)):
        arrays[method] = {}
        for t, target in enumerate(run.modalities):
            bank = make(target)
            columns = [run.index(source) for source in bank.sources]
            width = int(latents.widths[t])
            used = judged(rows[latents.present[rows, t]], latents.present, run.config.seed)
            train = run.rows("train")
            train = train[latents.present[train, t]]
            patterns = patterns_of(latents.present[train][:, columns])
            measured = {}
            for pattern in patterns:
                shown = [c for c, here in zip(columns, pattern, strict=True) if here]
                own = used[latents.present[used][:, shown].all(axis=1)]
                if bank.regression is None and not (shown and len(own)):
                    continue  # nothing to weigh, or nobody to learn it from
                conds, _ = run.conditions(bank, own)
                measured[_pattern_name(pattern)] = measure_moments(
                    bank,
                    latents.z[own, t],
                    conds,
                    pattern,
                    latents.scale[t, :width] ** 2,
                    schedule,
                    run.config.seed,
                )._asdict()
            arrays[method][target] = measured
    save_tree(directory, "moments", arrays, {})


def _load_moments(directory: Path) -> dict[str, dict[str, PatternMoments]]:
    arrays, _ = load_tree(directory, "moments")
    return {
        method: {
            target: {_pattern(name): Moments(**own) for name, own in measured.items()}
            for target, measured in of.items()
        }
        for method, of in arrays.items()
    }


def samples_checksum(samples: pd.DataFrame) -> str:
    """Of everything that is known of the patients, whatever the types of the columns."""
    return hashlib.sha256(samples.to_csv().encode()).hexdigest()[:16]


def data_checksum(cohort: Cohort) -> str:
    """Of names, tables and split, so that a run is resumed on the data that it began with."""
    digest = hashlib.sha256()
    frames = {m: cohort.tables[m] for m in cohort.modalities}
    for name, frame in (*frames.items(), ("", cohort.samples[["patient_id", "split"]])):
        digest.update(hash_pandas_object(frame).to_numpy().tobytes())  # pyright: ignore
        digest.update("\0".join((name, *map(str, frame.columns))).encode())
    return digest.hexdigest()[:16]
