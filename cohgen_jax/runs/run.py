"""A finished run: a cohort, its codecs and its trained models; `open_run` reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from cohgen_jax.codec import Codec, Latents, load_codecs
from cohgen_jax.cohort.covariates import Covariates
from cohgen_jax.errors import InputError
from cohgen_jax.networks import build
from cohgen_jax.runs.calibration import OfMethods, load_calibrations
from cohgen_jax.runs.config import ExperimentConfig
from cohgen_jax.runs.consensus import PatternMoments, load_moments
from cohgen_jax.runs.families import FAMILIES, Family, family_of
from cohgen_jax.runs.models import Models, load_models
from cohgen_jax.runs.prepare import latents_of, read_covariates, read_parquet
from cohgen_jax.runs.regressions import load_regressions
from cohgen_jax.runs.typicality import Usual
from cohgen_jax.sampling.bank import Bank
from cohgen_jax.sampling.config import SamplerConfig
from cohgen_jax.sampling.consensus import Consensus
from cohgen_jax.sampling.generate import conditions
from cohgen_jax.sampling.stacking import Pattern, restricted
from cohgen_jax.solvers import SolverConfig
from cohgen_jax.storage import rundir
from cohgen_jax.storage.checkpoint import is_whole
from cohgen_jax.training.moments import noise_errors
from cohgen_jax.training.regression import Regressions


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
    calibration: OfMethods
    """Method (coherent, multi) -> target -> what validation patients taught; may be empty too."""
    calibrated_with: SolverConfig | None
    residuals: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """Modality -> what its codec does not bring back of validation patients; may be empty too."""
    usual: dict[str, Usual] = dataclasses.field(default_factory=dict)
    """Modality -> what is usual of its latents, in a shared model; of a run its patients say it."""
    calibrated_too: dict[SolverConfig, OfMethods] = dataclasses.field(default_factory=dict)
    """The same as `calibration`, of further solvers."""

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
        """The run as it samples with this solver: with its calibration, if it has been for it.

        The draws of another solver are not as wide, and neither the factor on their spread nor
        intervals and expected errors are meant for them.
        """
        solver = solver.resolved(self.config.diffusion.predicts)
        if solver == self.calibrated_with:
            return self
        return dataclasses.replace(self, calibration=self.calibrated_too.get(solver, {}))

    def calibrated_for(self, solver: SolverConfig) -> bool:
        """Whether what this solver draws has a calibration of its own."""
        solver = solver.resolved(self.config.diffusion.predicts)
        return solver == self.calibrated_with or solver in self.calibrated_too

    def uncalibrated(self, solver: SolverConfig, consensus: Consensus = "stacked") -> str | None:
        """In a sentence, why draws by this solver and consensus are not calibrated, if so."""
        if self.calibrated_with is None:
            return "draws are not calibrated: experiments/train.py --resume calibrates this run"
        if consensus == "stacked" and self.calibrated_for(solver):
            return None
        return (
            "draws are not calibrated (spread, intervals, expected errors): the run has been, for "
            "the stacked consensus and its default solver"
        )

    def sampler_config(
        self, solver: SolverConfig = SolverConfig(), **settings: Any
    ) -> SamplerConfig:
        """How to sample from the banks of this run: the solver on the schedule that they were
        trained with, the stacked consensus, and what else `SamplerConfig` has.

        Raises:
          InputError: the gaussian solver, of a consensus or a run that knows no regression.
        """
        heard = settings.get("consensus", "stacked") == "stacked" and bool(self.regressions)
        if solver.name == "gaussian" and not heard:
            raise InputError(
                "the gaussian solver needs the variance that regressions tell, which the stacked "
                "consensus hears of a run that was trained with them: take another solver"
            )
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
        consensus; their moments those of the run, for the stacked one. Where none of these sources
        has a model with the target, the bank is that of all sources.
        """
        t = self.index(target)
        others = [s for s in range(len(self.modalities)) if s != t]
        chosen = [self.index(s) for s in sources or ()] or others
        if t in chosen:
            raise InputError(f"the target {target!r} cannot also be a source")
        if not set(chosen) & set(self._heard(t)):
            chosen = others  # pairs that too few patients have: see training/trainable.py
        return self._bank("coherent", target, chosen)

    def multi_bank(self, target: str) -> Bank:
        """The multi-condition model of a target (all its members), as a bank."""
        return self.bank("multi", target)

    def bank(self, method: str, target: str) -> Bank:
        """The models by which a method generates a target, from all sources."""
        t = self.index(target)
        return self._bank(method, target, [s for s in range(len(self.modalities)) if s != t])

    def conditions(self, bank: Bank, rows: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """What a bank of this run is given of these patients: its sources [N, D] each, then the
        covariates if it knows them; and which of its sources they have, bool [N, S]."""
        columns = [self.index(source) for source in bank.sources]
        known = conditions(bank, self.latents.z[rows], columns)
        return known, self.latents.present[rows][:, columns]

    def _models(
        self, family: Family, t: int, sources: Sequence[int]
    ) -> list[tuple[int, tuple[int, ...]]]:
        """The models of a target as they stand in its bank from these sources: their positions and
        what they look at."""
        models = self.models[family.name]
        if family.shared:
            networks = [k for k, spec in enumerate(models.specs) if spec.target == t]
            return [(k, looks) for k in networks for looks in family.sources(sources)]
        return [(k, looks) for looks in family.sources(sources) for k in models.members(t, looks)]

    def _heard(self, t: int) -> list[int]:
        """Sources of a target with a single-condition model: of a shared network those that enough
        patients have beside the target for moments; all where nothing is known."""
        family = family_of("coherent", self.config)
        if not family.shared:
            return [spec.sources[0] for spec in self.models[family.name].specs if spec.target == t]
        others = [m for m in range(len(self.modalities)) if m != t]
        learnt = self.moments.get("coherent", {}).get(self.modalities[t], {})
        alone = {s: learnt.get(_alone(others, s)) for s in others}
        return [s for s, moments in alone.items() if moments and moments.patients] or others

    def _bank(self, method: str, target: str, sources: list[int]) -> Bank:
        """The models, with the regression, what validation taught of them, and the covariates."""
        family = family_of(method, self.config)
        models, train = self.models[family.name], family.config(self.config)
        t, latent_dim, known = self.index(target), self.latents.z.shape[2], self.covariates.width
        others = [m for m in range(len(self.modalities)) if m != t]
        learnt = self.moments.get(method, {}).get(target)
        heard = [s for s in sources if s in self._heard(t)] if family.shared else sources
        every, chosen = (self._models(family, t, looks) for looks in (others, heard))
        networks = list(dict.fromkeys(k for k, _ in chosen))
        takes = models.specs[networks[0]].sources
        module = build(
            train.network, latent_dim, (latent_dim,) * len(takes) + (known,) * (known > 0)
        )
        kept = models.variables[train.keep]
        losses = [models.scores["timestep"][k] for k, _ in chosen]
        if family.shared and learnt:  # what validation scored is the network, not its views
            schedule = self.config.diffusion.build()
            alone = {s: learnt[p] for s in heard if (p := _alone(others, s)) in learnt}
            errors = {s: noise_errors(moments, schedule) for s, moments in alone.items()}
            losses = [
                errors[s][every.index((k, (s,)))] if s in errors else loss
                for loss, (k, (s,)) in zip(losses, chosen, strict=True)
            ]
        bank = Bank.from_models(
            target,
            [self.modalities[s] for s in sources],
            [(module, jax.tree.map(lambda leaf, k=k: leaf[k], kept)) for k in networks],
            predicts=self.config.diffusion.predicts,
            losses=losses,
            slots=[[sources.index(s) for s in looks_at] for _, looks_at in chosen],
            inputs=[sources.index(s) if s in sources else None for s in takes]
            if family.shared
            else None,
            width=int(self.latents.widths[t]),
            natural=[self.latents.scale[s] for s in sources],
            covariates=known,
        )
        places = [others.index(s) for s in sources]
        if target in self.regressions:
            regression = self.regressions[target].of(places)
            bank = bank.with_regression(regression, self.config.diffusion.build().alpha_bar)
        if learnt is not None:
            if sources != others or chosen != every:  # other models, or in another order
                columns = [every.index(model) for model in chosen]
                columns += [len(every)] * (target in self.regressions)
                learnt = {
                    p: moments.of(columns) for p, moments in restricted(learnt, places).items()
                }
            bank = dataclasses.replace(bank, moments=learnt)
        if method in self.calibration:
            bank = dataclasses.replace(bank, spread=self.calibration[method][target].scale)
        return bank


def _alone(sources: Sequence[int], shown: int) -> Pattern:
    return tuple(s == shown for s in sources)


def open_run(run_dir: str | Path) -> Run:
    """Open a finished run directory, or a model that was exported from one (without patients).

    Raises:
      InputError: it is neither, is not finished, or is damaged or altered.
    """
    run_dir = Path(run_dir)
    if (run_dir / rundir.SHARED).exists():
        from cohgen_jax.runs.shared import open_shared

        return open_shared(run_dir)
    config = read_configuration(run_dir)
    if (run_dir / rundir.COHORT).is_dir():  # wherever the run has been moved
        config = dataclasses.replace(config, cohort=str(run_dir / rundir.COHORT))
    for family in FAMILIES:
        if not is_whole(run_dir / "models" / family):
            raise InputError(
                f"{run_dir} is not finished: it has no {family}-condition models; "
                "continue it with experiments/train.py --resume"
            )
    samples = read_parquet(run_dir / "samples.parquet")
    codecs = load_codecs(run_dir / "codec")
    models = {family: load_models(run_dir / "models" / family) for family in FAMILIES}
    moments = load_moments(run_dir / "consensus") if is_whole(run_dir / "consensus") else {}
    latents = latents_of(run_dir, samples, codecs)
    regressions = {}
    if is_whole(run_dir / "regression"):
        train = np.flatnonzero(samples["split"].to_numpy() == "train")
        regressions = load_regressions(run_dir / "regression", latents, train)
    covariates = read_covariates(run_dir)
    calibrated = load_calibrations(run_dir)
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
        calibrated.default,
        calibrated.solver,
        calibrated.residuals,
        calibrated_too=calibrated.too,
    )


def read_configuration(run_dir: Path) -> ExperimentConfig:
    """What config.json of a run says that it was trained with."""
    raw = rundir.read_config(run_dir)
    del raw[rundir.DATA]
    try:
        return rundir.from_dict(ExperimentConfig, raw)
    except (ValueError, TypeError) as error:
        raise InputError(f"{run_dir / 'config.json'} is not of this version: {error}") from error
