"""Coherent Denoising: one reverse chain per sample, driven by the models of all sources at once.

At every level each model predicts the noise in the same x_t; the consensus of the predictions
drives the solver. (Marchesi, Lazzaro et al., PLOS Comput Biol, doi 10.1371/journal.pcbi.1013455.)

Axes    K models, R draws, N samples, D latent width, S solver steps
Members several models of the same sources are an ensemble: they predict together and share the
        weight of one, or take turns from draw to draw, at the cost of one
Cost    NFE = K S per draw and sample, K its own number of models (dispatch.py); of a network only
        what depends on x_t is evaluated at every step (specialize.py). In pure noise a network of
        v says the same to all draws of a sample: the first of the S is one for all of them
Memory  O(R N), whatever S is, unless the trajectory is asked for
Keys    the noise of a chain is a function of (key, draw, sample id, attempt, step) alone, so that
        results do not depend on how samples are batched, chunked or sharded
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from cohgen_jax.axes import Array, Bool, Float, Integer
from cohgen_jax.errors import InputError
from cohgen_jax.sampling.bank import Bank, Ensemble
from cohgen_jax.sampling.chain import make_ready, posterior_mean, predictor, run_chains
from cohgen_jax.sampling.check import check_devices, check_draws, check_rows, check_variance
from cohgen_jax.sampling.config import Rejection, SamplerConfig
from cohgen_jax.sampling.consensus import Consensus, Weights, weigh
from cohgen_jax.sampling.dispatch import Dispatch, dispatch, everywhere
from cohgen_jax.sampling.noise import RecordedNoise, chain_keys, noise_of, of_attempt
from cohgen_jax.sampling.rejection import redraw_rejected
from cohgen_jax.sampling.specialize import Precision
from cohgen_jax.schedule import Schedule
from cohgen_jax.solvers import Solver


class Samples(NamedTuple):
    """What the sampler returns."""

    draws: Float[Array, "R N D"]
    disagreement: Float[Array, "R N"]  # mean over the steps of the chain, in [0, 2], or NaN
    share: Float[Array, "R N"]  # share of steps above the rejection threshold (0 without one)
    accepted: Bool[Array, "R N"]  # True without rejection
    retries: Integer[Array, "R N"]  # redraws used
    trajectory: Float[Array, "R N S"] | None  # disagreement of each step, t = T-1 first
    mean: Float[Array, "1 N D"] | None = None  # of the posterior, if asked for or scaled about


class Rows(NamedTuple):
    """The samples of one call."""

    conds: tuple[jax.Array, ...]  # as the models see them, [N, C]
    present: jax.Array  # [N, S] bool
    ids: jax.Array  # [N]
    variance: jax.Array | None  # [N, D], for a solver that needs it
    plan: Dispatch


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A bank and how to sample from it: `sampler(key, conds, present, num_draws)`."""

    bank: Bank
    config: SamplerConfig

    def __call__(
        self,
        key: jax.Array,
        conds: Sequence[ArrayLike] | jax.Array,
        present: jax.Array | np.ndarray | None = None,
        num_draws: int = 1,
        *,
        first_draw: int = 0,
        sample_ids: jax.Array | np.ndarray | None = None,
        recorded: RecordedNoise | None = None,
        mesh: Mesh | None = None,
        told: np.ndarray | None = None,
    ) -> Samples:
        """Draw the bank's target for N samples, each with its own pattern of present sources.

        Args:
          key: a `jax.random.key`; not used when `recorded` is given.
          conds: latents of the sources, S arrays [N, C_s] in the order of `bank.sources`, then the
            covariates [N, Q] if the bank knows them. Rows of absent sources are not looked at.
          present: [N, S], 1 = observed; all present when None. A sample without any source is
            drawn unconditionally.
          num_draws: R, the draws first_draw .. first_draw + R - 1 of each sample.
          sample_ids: int array [N] that names the samples to the random generator (default
            0..N-1). Give a sample the same id in two calls and it gets the same noise.
          recorded: replay this noise instead of drawing any (not with rejection), that of R draws.
          mesh: devices of one axis among which the samples are shared out evenly; each works on its
            own, without communication. N must be a multiple of their number.
          told: `bank.told(conds, present)`, from a caller who has it already.

        Returns:
          Samples, on the device or devices.

        Raises:
          InputError: shapes that do not fit the bank or the mesh, or a consensus that the bank does
            not know enough for.
        """
        bank, config = self.bank, self.config
        if config.consensus != "stacked":
            bank = bank.networks  # the other rules are about sources
        conds = tuple(jnp.asarray(cond, jnp.float32) for cond in conds)
        num_samples = len(conds[0]) if conds else 0
        if present is None:
            present = jnp.ones((num_samples, len(bank.sources)), bool)
        check_rows(bank, conds, present)
        check_devices(mesh, conds, present)
        check_draws(num_draws, num_samples, bank, config, recorded)
        check_variance(bank, config)
        ids = jnp.arange(num_samples) if sample_ids is None else jax.device_put(sample_ids)
        scale = _scale(bank, config)
        with_mean = config.keep_mean or bool(np.any(scale != 1))
        conds, known = bank.conditions(conds, present, told), jnp.asarray(present, bool)
        turns = bank.turns(config.ensemble)

        def chains(bank: Bank, draw_ids: np.ndarray, recorded: RecordedNoise | None) -> Samples:
            groups = [group.members for group in bank.groups]
            if isinstance(present, Tracer):  # inside a caller's jit nobody knows who needs what
                plan = everywhere(num_samples, groups)
            else:
                plan = dispatch(bank.needed(np.asarray(present)), groups, mesh.size if mesh else 1)
            solver = config.solver
            log_snr = solver.schedule.log_snr[solver.timesteps]
            weights = weigh(config.consensus, bank, present, log_snr)
            variance = bank.variance_of(conds) if solver.needs_variance else None
            rows = Rows(conds, known, ids, variance, plan)
            if mesh:
                rows = jax.device_put(rows, NamedSharding(mesh, PartitionSpec(mesh.axis_names)))
                weights = _on_mesh(weights, mesh)
            asked = (bank.unnamed(), weights, rows, jnp.asarray(draw_ids), recorded)
            return _sample(key, *asked, config=config.compiled, mesh=mesh, with_mean=with_mean)

        draw_ids = first_draw + np.arange(num_draws)
        turn_of = draw_ids % len(turns)
        draws_of = [np.flatnonzero(turn_of == turn) for turn in range(len(turns))]
        parts = [
            chains(turn, draw_ids[draws], recorded and recorded.of(draws))
            for turn, draws in zip(turns, draws_of, strict=True)
            if len(draws) or with_mean  # which is that of all members
        ]
        samples = parts[0]
        if len(parts) > 1:
            samples = _together(parts, np.argsort(np.concatenate(draws_of)))
        if np.all(scale == 1):
            return samples
        return samples._replace(draws=_spread(samples.draws, samples.mean, scale))


def coherent_sample(
    key: jax.Array,
    bank: Bank,
    conds: Sequence[ArrayLike] | jax.Array,
    present: jax.Array | np.ndarray | None = None,
    *,
    solver: Solver,
    schedule: Schedule | None = None,
    num_draws: int = 1,
    first_draw: int = 0,
    consensus: Consensus = "mean",
    temperature: float = 1.0,
    rejection: Rejection | None = None,
    sample_ids: jax.Array | np.ndarray | None = None,
    keep_trajectory: bool = False,
    recorded: RecordedNoise | None = None,
    ensemble: Ensemble = "average",
    precision: Precision = "float32",
    mesh: Mesh | None = None,
    specialized: bool = True,
) -> Samples:
    """`Sampler` in one call: what its config says is described by `SamplerConfig`, the rest by its
    `__call__`.

    schedule: that which the models were trained with, for those who want it checked against the
      solver's.
    """
    if schedule is not None and not np.array_equal(schedule.alpha_bar, solver.schedule.alpha_bar):
        raise InputError(
            "the solver was made for another noise schedule than the one given: make it from the "
            "schedule that the models were trained with"
        )
    config = SamplerConfig(
        solver=solver,
        consensus=consensus,
        temperature=temperature,
        rejection=rejection,
        ensemble=ensemble,
        precision=precision,
        keep_trajectory=keep_trajectory,
        specialized=specialized,
    )
    return Sampler(bank, config)(
        key,
        conds,
        present,
        num_draws,
        first_draw=first_draw,
        sample_ids=sample_ids,
        recorded=recorded,
        mesh=mesh,
    )


def _scale(bank: Bank, config: SamplerConfig) -> np.ndarray:
    """The factor on the spread about the posterior mean, of all components or of each [D]."""
    fitted = bank.spread if config.consensus == "stacked" else 1.0
    scale = np.asarray(config.temperature * np.asarray(fitted, np.float32))
    if (config.keep_mean or np.any(scale != 1)) and bank.predicts == "eps":
        raise InputError(
            "networks that predict eps do not give the posterior mean in one evaluation: "
            "temperature must be 1, keep_mean False (train with diffusion.predicts v)"
        )
    return scale


@jax.jit
def _together(turns: Sequence[Samples], place: Integer[Array, " R"]) -> Samples:
    """The draws of members that took turns, in order, about the mean of them all."""
    means = [turn.mean for turn in turns if turn.mean is not None]
    draws = [turn._replace(mean=None) for turn in turns]
    samples = jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[place], *draws)
    return samples._replace(mean=sum(means) / len(means) if means else None)


@jax.jit
def _spread(draws: jax.Array, mean: jax.Array, scale: jax.Array) -> jax.Array:
    """`scale` (a number, or [D]) times as far from the mean."""
    return mean + jnp.broadcast_to(scale, (1, 1, draws.shape[-1])) * (draws - mean)


def _on_mesh(weights: Weights, mesh: Mesh) -> Weights:
    everywhere_alike = NamedSharding(mesh, PartitionSpec())
    over_samples = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    of_samples = jax.device_put((weights.pattern, weights.pairs), over_samples)
    return Weights(jax.device_put(weights.table, everywhere_alike), *of_samples)


@functools.partial(jax.jit, static_argnames=("config", "mesh", "with_mean"))
def _sample(
    key: jax.Array,
    bank: Bank,
    weights: Weights,
    rows: Rows,
    draw_ids: jax.Array,
    recorded: RecordedNoise | None,
    *,
    config: SamplerConfig,
    mesh: Mesh | None,
    with_mean: bool,
) -> Samples:
    one_device = functools.partial(_sample_rows, config=config, with_mean=with_mean)
    if mesh is None:
        return one_device(key, bank, weights, rows, draw_ids, recorded)
    # Every device runs its own samples, redraws included, as if it were alone.
    axis = mesh.axis_names
    alike, by_sample, by_draw = PartitionSpec(), PartitionSpec(axis), PartitionSpec(None, axis)
    of_noise: Any = (by_draw, PartitionSpec(None, None, axis))
    return jax.shard_map(
        one_device,
        mesh=mesh,
        in_specs=(
            alike,
            alike,
            Weights(alike, by_sample, by_sample),
            by_sample,
            alike,
            recorded and RecordedNoise(*of_noise),
        ),
        out_specs=by_draw,
        check_vma=False,
    )(key, bank, weights, rows, draw_ids, recorded)


def _sample_rows(
    key: jax.Array,
    bank: Bank,
    weights: Weights,
    rows: Rows,
    draw_ids: jax.Array,
    recorded: RecordedNoise | None,
    *,
    config: SamplerConfig,
    with_mean: bool,
) -> Samples:
    """All samples of one device."""
    with jax.default_matmul_precision("tensorfloat32" if config.precision == "tf32" else "highest"):
        ready = make_ready(bank, rows.conds, rows.present, rows.variance, weights, config)
        keys = chain_keys(key, draw_ids, rows.ids)
        if recorded is None:
            initial, noise = noise_of(of_attempt(keys, 0), bank.dims)
        else:
            dims = bank.dims[None, None]
            initial, noise = recorded.initial * dims, lambda i: recorded.steps[i] * dims
        models = predictor(bank, ready, rows.plan, config)
        chains = run_chains(models, ready, initial, noise, config)
        retries = jnp.zeros(chains.share.shape, jnp.int32)
        accepted = jnp.ones(chains.share.shape, bool)
        if config.rejection is not None and len(draw_ids):
            chains, retries = redraw_rejected(chains, keys, bank, ready, config)
            accepted = chains.share <= config.rejection.prop_threshold
        mean = posterior_mean(models, ready) if with_mean else None
    return Samples(
        chains.draws, chains.disagreement, chains.share, accepted, retries, chains.trajectory, mean
    )
