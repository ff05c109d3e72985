"""The model farm: many models of one shape trained as one program.

All models look at the same cohort on the device; each has its own target, its own sources, its
own patients and its own random stream, derived from the seed and its name. Parameters and
optimiser states are stacked along a model axis K and every step is one `vmap` over it; epochs
are scans. Which models share a farm changes no model's batches, noise or updates.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cohgen_jax.errors import InputError
from cohgen_jax.networks import build, init
from cohgen_jax.schedule import Prediction, Schedule
from cohgen_jax.solvers import Solver
from cohgen_jax.training.adamw import Trained, adamw, learning_rate
from cohgen_jax.training.config import DiffusionConfig, TrainConfig
from cohgen_jax.training.hyper import Hyper, common_shape
from cohgen_jax.training.mesh import place
from cohgen_jax.training.objective import denoising_loss
from cohgen_jax.training.private import poisson_batch, private_gradients
from cohgen_jax.training.spec import ModelSpec
from cohgen_jax.training.validation import METRICS, ValidationData, judged, validation_scores

LEAST_WORTH = 1e-6
"""Of a component within the width, where the mean of all is 1: latents that a codec leaves unused
have none in the table."""


class FarmData(NamedTuple):
    """The cohort on the device and each model's view of it."""

    z: jax.Array  # [N, M, D] train latents; one more column of covariates, if there are any
    scale: jax.Array  # [M, D] what conditions see of a unit of each latent
    present: jax.Array  # [N, M] float32
    target: jax.Array  # [K] int32
    sources: jax.Array  # [K, C] int32
    rows: jax.Array  # [K, N] int32, the rows a model trains on first, then padding
    num_rows: jax.Array  # [K] int32
    worth: jax.Array  # [K, D] float32, of the target's components in the loss; 0 beyond its width
    stream: jax.Array  # [K] uint32, names the model to the random generator
    slots: jax.Array  # [B] int32, 0 .. B - 1, on the devices that work on these places in a batch
    hyper: Hyper
    val: ValidationData


class FarmState(NamedTuple):
    """Everything that training changes; leaves of models have a leading axis K."""

    variables: Any  # parameters (and batch statistics) being optimised
    opt_state: optax.ScaleByAdamState
    average: Any  # exponential moving average of `variables`
    best: dict[str, Any]  # averaged weights with the best score, per metric
    best_score: dict[str, jax.Array]  # [K] each
    best_epoch: dict[str, jax.Array]  # [K] int32 each
    stale: jax.Array  # [K] int32, validations since the energy score last improved
    active: jax.Array  # [K] bool
    epoch: jax.Array  # int32 scalar


@dataclasses.dataclass(frozen=True, eq=False)
class Farm:
    """The static part: what is trained and how. Compiled programs are kept by farm; those that
    differ in their specs alone, which the data hold, are equal."""

    specs: tuple[ModelSpec, ...]
    module: nn.Module
    num_covariates: int
    config: TrainConfig
    schedule: Schedule
    predicts: Prediction
    val_solver: Solver
    steps_per_epoch: int
    seed: int

    def _value(self) -> Hashable:
        how = self.module, self.num_covariates, self.config, self.predicts, self.val_solver
        return (*how, self.schedule.alpha_bar.tobytes(), self.steps_per_epoch, self.seed)

    def __hash__(self) -> int:
        return hash(self._value())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Farm) and self._value() == other._value()


def make_farm(
    specs: Sequence[ModelSpec],
    z: np.ndarray,
    present: np.ndarray,
    widths: Sequence[int],
    train_rows: np.ndarray,
    val_rows: np.ndarray,
    config: TrainConfig | Sequence[TrainConfig],
    diffusion: DiffusionConfig,
    seed: int,
    *,
    scale: np.ndarray | None = None,
) -> tuple[Farm, FarmData]:
    """Put the cohort on the device and lay out the farm.

    A model trains on the train patients that have its target and at least one of its sources,
    and is validated on the `val_rows` of which the same is true, of very many on some of them
    (`validation.judged`).

    Args:
      z: [N, M, D] standardised latents; present: [N, M] bool; widths: [M] true latent widths.
        With covariates z has one more column, and widths one more entry: how many there are.
      scale: [M, D] natural scale of the latents (`Codec.scale`); conditions are z * scale, and
        scale**2 is what a component counts in the loss. None: all alike, as published.
      config: of all models (see `TrainConfig.of_member`), or one for each; these may differ in
        `config.PER_MODEL` only.

    Raises:
      InputError: a model with too few patients, or without validation patients.
    """
    if isinstance(config, TrainConfig):
        config = [config.of_member(spec.member) for spec in specs]
    configs = list(config)
    config = common_shape(configs)
    val_rows = judged(val_rows, present, seed)
    rows = usable_rows(specs, present, train_rows, val_rows, config)
    latent_dim, num_conds, num_modalities = z.shape[2], len(specs[0].sources), present.shape[1]
    num_covariates = int(widths[num_modalities]) if z.shape[1] > num_modalities else 0
    dims = np.arange(latent_dim)
    if scale is None:
        scale = np.ones((num_modalities, latent_dim))
    inside = dims < np.asarray(widths)[:num_modalities, None]
    scale = np.where(inside, scale[:num_modalities], 0)
    # A component that is worth nothing is noised like the others, as it will be when sampling.
    worth = np.where(inside, np.maximum(scale**2, LEAST_WORTH), 0)
    schedule = diffusion.build()
    steps_per_epoch = max(config.least_steps, len(train_rows) // config.batch_size)
    cond_dims = (latent_dim,) * num_conds + (num_covariates,) * (num_covariates > 0)
    module = build(config.network, latent_dim, cond_dims)
    farm = Farm(
        specs=tuple(specs),
        module=module,
        num_covariates=num_covariates,
        config=config,
        schedule=schedule,
        predicts=diffusion.predicts,
        val_solver=config.val_solver.build(schedule, diffusion.predicts),
        steps_per_epoch=steps_per_epoch,
        seed=seed,
    )
    data = FarmData(
        z=jnp.asarray(z[train_rows], jnp.float32),
        scale=jnp.asarray(scale, jnp.float32),
        present=jnp.asarray(present[train_rows], jnp.float32),
        target=jnp.asarray([spec.target for spec in specs], jnp.int32),
        sources=jnp.asarray([spec.sources for spec in specs], jnp.int32),
        rows=jnp.asarray(np.argsort(~rows, axis=1, kind="stable"), jnp.int32),
        num_rows=jnp.asarray(rows.sum(axis=1), jnp.int32),
        worth=jnp.asarray(np.stack([worth[spec.target] for spec in specs]), jnp.float32),
        stream=jnp.asarray([zlib.crc32(spec.name.encode()) for spec in specs], jnp.uint32),
        slots=jnp.arange(config.places, dtype=jnp.int32),
        hyper=Hyper.make(configs, schedule, diffusion.predicts),
        val=ValidationData.make(specs, z[val_rows], present[val_rows], seed, config.masking),
    )
    return farm, data


def usable_rows(
    specs: Sequence[ModelSpec],
    present: np.ndarray,
    train_rows: np.ndarray,
    val_rows: np.ndarray,
    config: TrainConfig,
) -> np.ndarray:
    """Which of the `train_rows` each model can train on: [K, N] bool.

    Raises:
      InputError: a model with too few patients, or without validation patients.
    """
    if len({len(spec.sources) for spec in specs}) != 1:
        raise InputError("models of one farm must have the same number of conditions")

    def usable(spec: ModelSpec, rows: np.ndarray) -> np.ndarray:
        return present[rows, spec.target] & present[rows][:, list(spec.sources)].any(axis=1)

    for spec in specs:
        patients = int(usable(spec, train_rows).sum())
        least = config.least_patients if len(spec.sources) > 1 else config.least_pair
        if patients < least:
            raise InputError(
                f"model {spec.name}: only {patients} training patients have its target "
                f"and a source, fewer than {least}; use a smaller "
                "batch_size, or leave the modality out"
            )
        if not usable(spec, val_rows).any():
            raise InputError(
                f"model {spec.name}: no validation patient has its target and a source; "
                "enlarge val_fraction, or give a `split` column in the samples table"
            )
    return np.stack([usable(spec, train_rows) for spec in specs])


@functools.cache
def work(farm: Farm) -> float:
    """Multiplications of all training, up to a factor: which of several farms takes longest."""
    shapes = jax.eval_shape(lambda: init(farm.module, jax.random.key(0)))
    weights = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
    steps = farm.config.num_epochs * farm.steps_per_epoch
    return float(weights) * len(farm.specs) * steps * farm.config.batch_size


def _model_keys(farm: Farm, data: FarmData) -> jax.Array:
    root = jax.random.key(farm.seed)
    return jax.vmap(lambda stream: jax.random.fold_in(root, stream))(data.stream)


@functools.partial(jax.jit, static_argnames="farm")
def init_state(data: FarmData, *, farm: Farm) -> FarmState:
    """Fresh parameters for every model, each from its own key."""
    latent_dim = data.z.shape[2]
    num_models = len(data.target)

    def init_one(key):
        x = jnp.zeros((2, latent_dim), jnp.float32)
        conds = [jnp.zeros((2, dim), jnp.float32) for dim in farm.module.cond_dims]  # pyright: ignore
        return farm.module.init(key, x, jnp.zeros(2, jnp.int32), conds)

    variables = jax.vmap(init_one)(_model_keys(farm, data))
    worst = jnp.full(num_models, jnp.inf, jnp.float32)
    return FarmState(
        variables=variables,
        opt_state=jax.vmap(optax.scale_by_adam().init)(variables["params"]),  # pyright: ignore
        average=variables,
        best={metric: variables for metric in METRICS},
        best_score={metric: worst for metric in METRICS},
        best_epoch={metric: jnp.zeros(num_models, jnp.int32) for metric in METRICS},
        stale=jnp.zeros(num_models, jnp.int32),
        active=jnp.ones(num_models, bool),
        epoch=jnp.zeros((), jnp.int32),
    )


def share_out(data: FarmData, *, farm: Farm, mesh: Mesh) -> tuple[FarmState, FarmData]:
    """What the state is to be (shapes and places) and the data, each device with its share.

    A part's models are on its devices only, the cohort on all. Models do not look at each other,
    so the compiled programs need no communication between parts.
    """
    shapes = jax.eval_shape(functools.partial(init_state, farm=farm), data)
    of_state, of_data = has_model_axis(shapes, data)
    data = jax.tree.map(
        lambda leaf, stacked: place(leaf, mesh, "model") if stacked else place(leaf, mesh),
        data,
        of_data,
    )
    data = data._replace(slots=place(data.slots, mesh, "data"))
    parts = NamedSharding(mesh, PartitionSpec("model")), NamedSharding(mesh, PartitionSpec())
    state = jax.tree.map(
        lambda leaf, stacked: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=parts[not stacked]
        ),
        shapes,
        of_state,
    )
    return state, data


def fresh_state(data: FarmData, like: FarmState, *, farm: Farm) -> FarmState:
    """The state before the first step, placed as `share_out` says."""
    places = jax.tree.map(lambda leaf: leaf.sharding, like)
    return jax.device_put(init_state(data, farm=farm), places)


def has_model_axis(state: FarmState, data: FarmData) -> tuple[FarmState, FarmData]:
    """For each leaf, whether its first axis is that of the models."""
    of_state, of_data = jax.tree.map(lambda _: True, (state, data))
    shared = {
        "z": False,
        "scale": False,
        "present": False,
        "slots": False,
        "val": of_data.val._replace(z=False),
    }
    return of_state._replace(epoch=False), of_data._replace(**shared)


def covariates_of(z: jax.Array, farm: Farm) -> jax.Array | None:
    """[..., Q] from latents [..., M + 1, D]; None where the models know none."""
    return z[..., -1, : farm.num_covariates] if farm.num_covariates else None


class _View(NamedTuple):
    """One model's slice of FarmData."""

    key: jax.Array
    target: jax.Array
    sources: jax.Array
    rows: jax.Array
    num_rows: jax.Array
    worth: jax.Array
    hyper: Hyper


@functools.partial(jax.jit, static_argnames="farm", donate_argnums=0)
def train_epoch(state: FarmState, data: FarmData, *, farm: Farm) -> tuple[FarmState, jax.Array]:
    """Advance every active model by an epoch; returns their mean losses [K]."""
    config = farm.config
    views = _View(
        _model_keys(farm, data),
        data.target,
        data.sources,
        data.rows,
        data.num_rows,
        data.worth,
        data.hyper,
    )

    def shuffled(view: _View, epoch):
        """The model's rows in the random order of this epoch, padding last: [N]."""
        key = jax.random.fold_in(jax.random.fold_in(view.key, 0), epoch)
        order = jax.random.uniform(key, view.rows.shape, jnp.float32)
        padding = jnp.arange(view.rows.shape[0]) >= view.num_rows
        return view.rows[jnp.argsort(jnp.where(padding, jnp.inf, order))]

    def step_one(view: _View, order, model, active, step, step_in_epoch):
        variables, opt_state, average = model
        key = jax.random.fold_in(jax.random.fold_in(view.key, 1), step)

        def loss_of(params, key, rows):
            z, present = data.z[rows], data.present[rows]
            return denoising_loss(
                farm.module,
                {**variables, "params": params},
                key,
                z[:, view.target],
                z[:, view.sources] * data.scale[None, view.sources],
                present[:, view.sources],
                view.worth,
                covariates=covariates_of(z, farm),
                schedule=farm.schedule,
                predicts=farm.predicts,
                hyper=view.hyper,
                config=config,
            )

        params = variables["params"]
        if config.dp_noise_multiplier:
            draw_key = jax.random.fold_in(jax.random.fold_in(view.key, 3), step)
            batch = poisson_batch(draw_key, view.rows, view.num_rows, data.slots, config.batch_size)
            (loss, updates), grads = private_gradients(loss_of, params, key, *batch, config)
        else:
            place = step_in_epoch * config.batch_size + data.slots
            row = order[place % view.num_rows]
            (loss, updates), grads = jax.value_and_grad(loss_of, has_aux=True)(params, key, row)
        norm = optax.tree.norm(grads)
        # A model whose loss or gradient is no longer finite keeps the weights it had and stops.
        go_on = active & jnp.isfinite(loss) & jnp.isfinite(norm)
        # The horizon grows with training, so that the first steps are forgotten (as in TF's EMA).
        done = jnp.asarray(step, jnp.float32)
        keep = jnp.minimum(view.hyper.ema_decay, (1.0 + done) / (10.0 + done)).astype(jnp.float32)
        weights = adamw(
            Trained(params, opt_state, average["params"]),
            grads,
            norm,
            go_on,
            weight_decay=view.hyper.weight_decay,
            grad_clip=view.hyper.grad_clip,
            rate=learning_rate(opt_state.count, view.hyper, config, farm.steps_per_epoch),
            keep=keep,
        )
        # Batch statistics, where the network has any.
        stats = {name: variables[name] for name in updates}
        new_stats = jax.tree.map(lambda new, old: jnp.where(go_on, new, old), updates, stats)
        mean_stats = jax.tree.map(
            lambda mean, new: jnp.where(go_on, keep * mean + (1 - keep) * new, mean),
            {name: average[name] for name in updates},
            new_stats,
        )
        new_model = (
            {**variables, **new_stats, "params": weights.params},
            weights.moments,
            {**average, **mean_stats, "params": weights.average},
        )
        return new_model, go_on, loss

    orders = jax.vmap(shuffled, in_axes=(0, None))(views, state.epoch)

    def one_step(carry, step_in_epoch):
        model, active = carry
        step = state.epoch * farm.steps_per_epoch + step_in_epoch
        model, active, loss = jax.vmap(step_one, in_axes=(0, 0, 0, 0, None, None))(
            views, orders, model, active, step, step_in_epoch
        )
        return (model, active), loss

    model = (state.variables, state.opt_state, state.average)
    (model, active), losses = jax.lax.scan(
        one_step, (model, state.active), jnp.arange(farm.steps_per_epoch)
    )
    variables, opt_state, average = model
    new_state = state._replace(
        variables=variables,
        opt_state=opt_state,
        average=average,
        active=active,
        epoch=state.epoch + 1,
    )
    return new_state, jnp.mean(losses, axis=0)


@functools.partial(jax.jit, static_argnames="farm", donate_argnums=0)
def validate(
    state: FarmState, data: FarmData, *, farm: Farm
) -> tuple[FarmState, dict[str, jax.Array]]:
    """Score the averaged weights, keep the best of each metric, stop models that are done.

    Returns the scores [K] by metric; every metric is better when smaller.
    """
    scores = validation_scores(
        state.average,
        data.val,
        data.target,
        data.sources,
        data.worth,
        _model_keys(farm, data),
        scale=data.scale,
        covariates=covariates_of(data.val.z, farm),
        module=farm.module,
        schedule=farm.schedule,
        predicts=farm.predicts,
        solver=farm.val_solver,
        num_draws=farm.config.val_draws,
    )
    best, best_score, best_epoch = {}, {}, {}
    for metric in METRICS:
        better = state.active & (scores[metric] < state.best_score[metric])
        best[metric] = jax.tree.map(
            lambda new, old, better=better: jnp.where(
                better.reshape(-1, *[1] * (new.ndim - 1)), new, old
            ),
            state.average,
            state.best[metric],
        )
        best_score[metric] = jnp.where(better, scores[metric], state.best_score[metric])
        best_epoch[metric] = jnp.where(better, state.epoch, state.best_epoch[metric])
    stale = jnp.where(scores["energy"] < state.best_score["energy"], 0, state.stale + 1)
    active = state.active & jnp.isfinite(scores["energy"])
    if farm.config.patience:
        active &= stale < farm.config.patience
    new_state = state._replace(
        best=best, best_score=best_score, best_epoch=best_epoch, stale=stale, active=active
    )
    return new_state, scores
