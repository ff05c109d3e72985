"""The recipe: what is trained, how, and how it is judged while training."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from cohgen_jax.errors import InputError, check_choices
from cohgen_jax.networks.config import BATCH_NORM, NetworkConfig
from cohgen_jax.schedule import Prediction, Schedule, cosine_schedule, linear_schedule
from cohgen_jax.solvers import SolverConfig

PER_MODEL = (
    "learning_rate",
    "weight_decay",
    "grad_clip",
    "cond_dropout",
    "cond_noise",
    "ema_decay",
    "level_weight",
    "level_density",
)
"""What may differ between the models of one farm: numbers that shape no program."""


LEAST_PATIENTS, LEAST_PAIR = 12, 6
"""Fewest training patients that have a modality and any other, and that a single-condition model
may have: it is one of several, and the fewer its patients, the less it is heard."""


LARGEST_REST = 0.01
"""Of the signal's variance, at the noisiest level."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffusionConfig:
    """The forward process and what the networks predict."""

    schedule: Literal["linear", "cosine"] = "linear"
    num_steps: int = 1000
    predicts: Prediction = "v"
    """v keeps deterministic solvers stable on heavy-tailed data; eps is the published choice."""

    def __post_init__(self):
        check_choices(self)
        if self.num_steps < 1:
            raise InputError(f"num_steps must be at least 1, got {self.num_steps}")
        left = float(self.build().alpha_bar[-1])
        if left > LARGEST_REST:
            raise InputError(
                f"after {self.num_steps} steps of the {self.schedule} schedule {left:.0%} of the "
                "signal is left, but chains start from pure noise: take more steps, or the cosine "
                "schedule"
            )

    def build(self) -> Schedule:
        make = {"linear": linear_schedule, "cosine": cosine_schedule}[self.schedule]
        return make(self.num_steps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """How devices, of all hosts, share the work of training."""

    model: int = 0
    """Parts that the models are dealt into; their number must divide that of the models. 0 takes
    as many parts as devices and models allow."""
    data: int = 1
    """Devices that share each batch of a part's models, adding up their gradients."""

    def __post_init__(self):
        if self.model < 0 or self.data < 1:
            raise InputError(
                f"a mesh has model >= 0 and data >= 1, got model {self.model}, data {self.data}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimisation of one kind of model (all pairs, or all multi-condition models)."""

    network: NetworkConfig = NetworkConfig(num_layers=3, dropout=0.4)
    members: int = 1
    """Models for each target and sources, which differ in their random stream and in the noise on
    their conditions (`member_noise`); their predictions are averaged when sampling (deep ensemble,
    Lakshminarayanan et al. 2017)."""
    num_epochs: int = 60
    """An epoch is train patients / batch_size steps, for every model alike, `least_steps` at
    least."""
    least_steps: int = 1
    batch_size: int = 128
    """A model of fewer patients, though at least LEAST_PATIENTS, meets some twice in a batch; with
    differential privacy all of them once, and else as many as this on average."""
    learning_rate: float = 2e-3
    lr_schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = 2.0
    """AdamW, on matrices only. Strong: it is what keeps few patients from being learnt by heart."""
    grad_clip: float = 1.0
    """Largest global norm of a model's gradient; 0 leaves gradients alone."""
    cond_dropout: float = 0.15
    """Chance that a present condition is hidden from a training example."""
    masking: Literal["independent", "count", "one"] = "independent"
    """'count' is the published rule: hide 0 .. C-1 of C conditions, the number drawn first. 'one'
    shows one of them, or none: it makes the single-condition models of `pairs` shared."""
    cond_noise: float = 0.25
    """Standard deviation of Gaussian noise on the conditions while training."""
    member_noise: float = 0.5
    """cond_noise of a member over that of the one before it. Targets differ in the regularisation
    they want; an ensemble that spans it suits all (hyper-deep ensembles, Wenzel et al. 2020)."""
    ema_decay: float = 0.998
    """Horizon of the averaged weights that are validated and kept; 0 switches averaging off."""
    validate_every: int = 5
    """Epochs between validations; also between checkpoints."""
    val_draws: int = 6
    val_solver: SolverConfig = SolverConfig()
    patience: int = 5
    """Validations without a better energy score after which a model stops; 0 never stops it."""
    level_weight: Literal["none", "min_snr", "straight"] = "none"
    """Weight of a noise level in the loss; min_snr: Hang et al. 2023, gamma = 5; straight: of flow
    matching (training/levels.py)."""
    level_density: Literal["uniform", "log_normal", "straight"] = "uniform"
    """How often a noise level is seen; log_normal: Karras et al. 2022, table 1; straight: of flow
    matching."""
    stratified: bool = True
    """One level from each of batch_size equal shares of the density, instead of any."""
    dp_noise_multiplier: float = 0.0
    """DP-SGD: noise on the summed gradient of a batch, in units of dp_l2_clip; 0 trains without
    differential privacy. Not for networks with BatchNorm, which mixes the examples of a batch."""
    dp_l2_clip: float = 1.0
    """DP-SGD: largest L2 norm of one example's gradient."""
    keep: Literal["energy", "mse", "cosine", "timestep"] = "energy"
    """Which of the best weights are used afterwards (all four are kept)."""

    def of_member(self, member: int) -> TrainConfig:
        """What a member of the ensemble is trained with."""
        return dataclasses.replace(self, cond_noise=self.cond_noise * self.member_noise**member)

    @property
    def places(self) -> int:
        """Places in a batch. With differential privacy its size varies, by its square root."""
        if not self.dp_noise_multiplier:
            return self.batch_size
        unit = min(64, self.batch_size)  # devices that share a batch divide it
        return self.batch_size + unit * math.ceil(5 * math.sqrt(self.batch_size) / unit)

    @property
    def least_patients(self) -> int:
        """Fewest training patients that have a modality and another one."""
        return min(self.batch_size, LEAST_PATIENTS)

    @property
    def least_pair(self) -> int:
        """Fewest training patients of a single-condition model."""
        return min(self.batch_size, LEAST_PAIR)

    def __post_init__(self):
        check_choices(self)
        for name in ("members", "num_epochs", "batch_size", "least_steps", "validate_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.val_draws < 2:
            raise InputError(f"val_draws must be at least 2, got {self.val_draws}")
        for name in ("cond_dropout", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        not_negative = (
            "learning_rate",
            "weight_decay",
            "grad_clip",
            "cond_noise",
            "member_noise",
            "patience",
        )
        for name in (*not_negative, "dp_noise_multiplier"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.dp_noise_multiplier:
            if not self.dp_l2_clip > 0:
                raise InputError(f"dp_l2_clip must be positive, got {self.dp_l2_clip}")
            if self.network.architecture in BATCH_NORM:
                raise InputError(
                    f"{self.network.architecture} normalises over the batch, where every example "
                    "changes the gradient of the others: differential privacy (dp_noise_multiplier)"
                    " needs another network.architecture, such as adaln_mlp"
                )
