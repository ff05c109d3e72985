"""The configuration of an experiment, and the recipes it starts from."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from cohgen_jax.codec import PUBLISHED, CodecConfig
from cohgen_jax.errors import InputError, check_choices, check_seed
from cohgen_jax.networks.config import NetworkConfig
from cohgen_jax.solvers import SolverConfig
from cohgen_jax.training.config import DiffusionConfig, MeshConfig, TrainConfig

RecipeName = Literal["default", "demo", "debug", "published"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """How a run is computed. Decides no result beyond rounding, and may change on --resume."""

    mesh: MeshConfig = MeshConfig()
    checkpoint_seconds: float = 30.0
    """Least time between two checkpoints of training; 0 makes one after every epoch."""

    def __post_init__(self):
        if not self.checkpoint_seconds >= 0:
            raise InputError(
                f"checkpoint_seconds must not be negative, got {self.checkpoint_seconds}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """Everything that determines a run, and how it is computed; saved in it as config.json."""

    cohort: str = "demo"
    """Folder of tables, cohort directory, .h5mu file, tfds:NAME, or `demo` for the embedded one."""
    modalities: tuple[str, ...] = ()
    """Names and order; every usable table when empty."""
    val_fraction: float = 0.07
    test_fraction: float = 0.15
    """Shares of the patients held out, where the cohort has no `split` of its own that names them;
    drawn from the patients with every modality where these are enough."""
    split_seed: int = 42
    extends: str | None = None
    """A finished run of fewer modalities of the same patients: its split, covariates, codecs and
    single-condition models are taken as they are, what looks at another modality is trained. Start
    from its configuration (--config RUN/config.json)."""
    exclude: tuple[str, ...] = ()
    """COLUMN=VALUE, as cancer_type=KIRC: patients kept out of train, val and test, set aside to see
    what the models do with a kind of patient that they have never met."""
    layers: tuple[str, ...] = ()
    """MODALITY=LAYER, as rna=counts: what to read of a .h5mu or .h5ad file instead of X. `raw` is a
    layer too, and wsi=obsm:X_wsi makes a modality of a table in obsm."""
    id_column: str | None = None
    """Column of the sample ids, in the tables that have it, where it is not the first one."""
    transpose: tuple[str, ...] = ()
    """Modalities whose tables are features x samples, where they do not tell; `all`, or `none` to
    take every table as it stands."""
    kinds: tuple[str, ...] = ()
    """MODALITY=KIND, as mut=binary: continuous, counts, binary, fraction or ordinal, where that is
    not what the values of a table look like."""
    max_missing: float | None = None
    """Features missing in this share of the training patients, or more, are dropped; cells missing
    of the others are imputed. By default 0.9 of binary and ordinal tables, 0.7 of others."""
    codec: CodecConfig = CodecConfig()
    covariates: tuple[str, ...] | None = None
    """Columns of the samples table that every model knows; by default those of cancer type, sex
    and age that are there, `none` for none."""
    regression: bool = True
    """A kernel regression of each target stands beside its networks in the stacked consensus."""
    few_steps: bool = True
    """Draws are calibrated for the solver of few evaluations, too (`--solver.name gaussian`)."""
    published_codecs: bool = False
    """The published autoencoder sizes for cna, rnaseq and rppa, PCA for the rest."""
    diffusion: DiffusionConfig = DiffusionConfig()
    pairs: Literal["separate", "shared"] = "separate"
    """Single-condition models: a network for each ordered pair of modalities, M (M - 1) of M; or
    one for each target, shown one source at a time, M of them."""
    single: TrainConfig = TrainConfig(
        network=NetworkConfig(width=256, num_layers=2, dropout=0.4),
        num_epochs=40,
        least_steps=2,
        cond_dropout=0.1,
        cond_noise=0.25,
    )
    """The single-condition models."""
    multi: TrainConfig = TrainConfig(
        network=NetworkConfig(width=384, num_layers=2, dropout=0.4),
        members=3,
        num_epochs=40,
        least_steps=2,
        cond_dropout=0.15,
        cond_noise=0.5,
        member_noise=0.4,
    )
    """The multi-condition models, one for each target."""
    seed: int = 0
    compute: ComputeConfig = ComputeConfig()

    def __post_init__(self):
        check_choices(self)
        for name in ("val_fraction", "test_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"{name} must lie in (0, 1), got {getattr(self, name)}")
        if self.max_missing is not None and not 0 < self.max_missing <= 1:
            raise InputError(f"max_missing is a share in (0, 1], got {self.max_missing}")
        check_seed(self.seed)
        if self.regression and (self.single.dp_noise_multiplier or self.multi.dp_noise_multiplier):
            raise InputError(
                "dp_noise_multiplier protects networks, and a regression keeps the latents of "
                "training patients as they are: add --no-regression"
            )
        for train in (self.single, self.multi):
            train.val_solver.check(self.diffusion.num_steps, self.diffusion.predicts)


def recipe(name: RecipeName) -> ExperimentConfig:
    """The named starting points.

    default    ours: v-prediction, residual MLP with adaptive layer norm
    demo       the same, sized for the embedded cohort
    debug      trains in seconds; for tests and for trying a pipeline
    published  epsilon-prediction, norm_mlp 512 x 4, Adam, weights kept by the MSE of samples
               of 1000 ancestral steps
    """
    if name == "default":
        return ExperimentConfig()
    if name == "demo":
        return resized(
            ExperimentConfig(codec=CodecConfig(latent_dim=16), single=TrainConfig()),
            network=NetworkConfig(width=96, num_layers=3, dropout=0.4),
            batch_size=32,
            learning_rate=1e-3,
            weight_decay=1.0,
            cond_noise=0.5,
            num_epochs=120,
            validate_every=10,
        )
    if name == "debug":
        return resized(
            ExperimentConfig(codec=CodecConfig(latent_dim=8), few_steps=False),
            network=NetworkConfig(width=32, num_layers=1, time_embedding=16),
            members=1,
            batch_size=32,
            learning_rate=1e-3,
            num_epochs=4,
            least_steps=10,
            validate_every=2,
            val_draws=2,
            val_solver=SolverConfig(num_steps=5),
        )
    if name == "published":
        return resized(
            ExperimentConfig(
                max_missing=0.10,
                published_codecs=True,
                codec=CodecConfig(latent_dim=32, **PUBLISHED),
                covariates=("none",),
                regression=False,
                diffusion=DiffusionConfig(predicts="eps"),
            ),
            network=NetworkConfig(architecture="norm_mlp", width=512, num_layers=4),
            members=1,
            batch_size=64,
            learning_rate=1e-3,
            lr_schedule="constant",
            weight_decay=0.0,
            grad_clip=0.0,
            cond_dropout=0.0,
            masking="count",
            cond_noise=0.0,
            ema_decay=0.0,
            num_epochs=20_000,
            validate_every=200,
            val_draws=2,
            val_solver=SolverConfig(name="ddpm", num_steps=1000),
            patience=0,
            keep="mse",
        )
    raise InputError(f"unknown recipe {name!r}; known: {', '.join(get_args(RecipeName))}")


def resized(config: ExperimentConfig, **changes) -> ExperimentConfig:
    """The same changes to both kinds of model."""
    return dataclasses.replace(
        config,
        single=dataclasses.replace(config.single, **changes),
        multi=dataclasses.replace(config.multi, **changes),
    )
