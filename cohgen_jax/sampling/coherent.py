"""Coherent Denoising: one reverse chain per sample, driven by all models of a bank at once.

At every level each model predicts the noise in the same x_t; the consensus of the predictions
drives the solver. (Marchesi, Lazzaro et al., PLOS Comput Biol, doi 10.1371/journal.pcbi.1013455.)

Axes    K models, R draws, N samples, D latent width, S solver steps
Cost    NFE = K S per draw and sample
Keys    the noise of a chain is a function of (key, draw, sample id, attempt, step) alone, so that
        results do not depend on how samples are batched, chunked or sharded
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from cohgen_jax.errors import InputError
from cohgen_jax.sampling.bank import Bank
from cohgen_jax.sampling.consensus import Consensus, combine, consensus_weights, disagreement
from cohgen_jax.schedule import Schedule
from cohgen_jax.solvers import Solver, reverse_process


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rejection:
    """When a draw is drawn again (defaults as published)."""

    cos_threshold: float = 1.0
    """A step counts against a draw when its disagreement exceeds this."""
    prop_threshold: float = 0.1
    """A draw fails when more than this share of its steps count against it."""
    max_retries: int = 10
    """Redraws at most; of draws that all fail, the one with the smallest share is kept."""

    def __post_init__(self):
        if not 0 <= self.prop_threshold <= 1:
            raise ValueError(f"prop_threshold must lie in [0, 1], got {self.prop_threshold}")
        if self.max_retries < 0:
            raise ValueError(f"max_retries must not be negative, got {self.max_retries}")


class Samples(NamedTuple):
    """What the sampler returns."""

    draws: jax.Array  # [R, N, D]
    disagreement: jax.Array  # [R, N], mean over the steps of the chain, in [0, 2]
    share: jax.Array  # [R, N], share of steps above the rejection threshold (0 without one)
    accepted: jax.Array  # [R, N] bool (True without rejection)
    retries: jax.Array  # [R, N] int32, redraws used
    trajectory: jax.Array | None  # [R, N, S], disagreement of each step, t = T-1 first


class RecordedNoise(NamedTuple):
    """Noise of a chain to replay: x_T [R, N, D] and one array a step [S, R, N, D]."""

    initial: jax.Array
    steps: jax.Array


def coherent_sample(
    key: jax.Array,
    bank: Bank,
    conds: Sequence[jax.Array] | jax.Array,
    present: jax.Array | None = None,
    *,
    schedule: Schedule,
    solver: Solver,
    num_draws: int = 1,
    consensus: Consensus = "mean",
    rejection: Rejection | None = None,
    sample_ids: jax.Array | None = None,
    keep_trajectory: bool = False,
    recorded: RecordedNoise | None = None,
) -> Samples:
    """Draw the bank's target for N samples, each with its own pattern of present sources.

    Args:
      key: a `jax.random.key`; not used when `recorded` is given.
      bank: K models over S sources; a bank of one multi-condition model is as good as any.
      conds: latents of the sources, S arrays [N, C_s] in the order of `bank.sources`. Rows of
        absent sources are not looked at.
      present: [N, S], 1 = observed; all present when None. A sample without any source is
        drawn unconditionally.
      schedule: the noise schedule that the models were trained with; the solver's own.
      solver: from `cohgen_jax.solvers`. Reuse the object: it keys the compiled program.
      num_draws: R.
      consensus: 'mean' or 'loss' (softmax of 1 / `bank.losses`).
      rejection: redraw draws whose models disagree too long; None accepts every draw.
      sample_ids: int array [N] that names the samples to the random generator (default
        0..N-1). Give a sample the same id in two calls and it gets the same noise.
      keep_trajectory: return the disagreement of every step.
      recorded: replay this noise instead of drawing any (not with rejection).

    Returns:
      Samples, on the device.

    Raises:
      InputError: shapes that do not fit the bank.
    """
    conds = tuple(jnp.asarray(cond, jnp.float32) for cond in conds)
    if len(conds) != len(bank.sources):
        raise InputError(
            f"{len(conds)} conditions for the {len(bank.sources)} sources "
            f"{', '.join(bank.sources)} of target {bank.target!r}"
        )
    num_samples = conds[0].shape[0]
    if present is None:
        present = jnp.ones((num_samples, len(conds)), bool)
    if present.shape != (num_samples, len(conds)):
        raise InputError(
            f"present must be [samples, sources] = {(num_samples, len(conds))}, "
            f"got {tuple(present.shape)}"
        )
    if num_draws < 1:
        raise InputError(f"num_draws must be at least 1, got {num_draws}")
    if recorded is not None and rejection is not None:
        raise InputError("recorded noise replays one chain: it cannot be combined with rejection")
    if sample_ids is None:
        sample_ids = jnp.arange(num_samples)
    # A network multiplies an absent condition by 0; a missing value there must not survive it.
    present = jnp.asarray(present, bool)
    conds = tuple(jnp.where(present[:, s, None], cond, 0) for s, cond in enumerate(conds))
    return _sample(
        key,
        bank.unnamed(),
        conds,
        present,
        sample_ids,
        recorded,
        static=_Static(schedule, solver, num_draws, consensus, rejection, keep_trajectory),
    )


@dataclasses.dataclass(frozen=True)
class _Static:
    """What a compiled sampler is specialised to."""

    schedule: Schedule = dataclasses.field(compare=False)  # the solver's, and the solver is keyed
    solver: Solver
    num_draws: int
    consensus: Consensus
    rejection: Rejection | None
    keep_trajectory: bool


class _Chains(NamedTuple):
    draws: jax.Array  # [R, N, D]
    disagreement: jax.Array  # [R, N]
    share: jax.Array  # [R, N]
    trajectory: jax.Array  # [R, N, S]


@functools.partial(jax.jit, static_argnames="static")
def _sample(key, bank, conds, present, sample_ids, recorded, *, static: _Static) -> Samples:
    weights = consensus_weights(static.consensus, bank.losses, bank.available(present))
    if recorded is None:
        draw_keys = jax.vmap(lambda r: jax.random.fold_in(key, r))(jnp.arange(static.num_draws))
        keys = jax.vmap(  # [R, N]
            lambda k: jax.vmap(lambda n: jax.random.fold_in(k, n))(sample_ids)
        )(draw_keys)
        initial, noise = _noise_of(_fold_all(keys, 0), bank.x_dim)
    else:
        keys = None
        initial, noise = recorded.initial, lambda i: recorded.steps[i]
    first = _run_chains(bank, conds, present, weights, initial, noise, static)
    retries = jnp.zeros(first.share.shape, jnp.int32)
    if static.rejection is None:
        accepted = jnp.ones(first.share.shape, bool)
        chains = first
    else:
        chains, retries = _redraw_rejected(first, keys, bank, conds, present, weights, static)
        accepted = chains.share <= static.rejection.prop_threshold
    return Samples(
        chains.draws,
        chains.disagreement,
        chains.share,
        accepted,
        retries,
        chains.trajectory if static.keep_trajectory else None,
    )


def _fold_all(keys: jax.Array, data: jax.Array | int) -> jax.Array:
    """fold_in for keys of any shape; data: scalar, or of the keys' shape."""
    flat = keys.reshape(-1)
    data = jnp.broadcast_to(jnp.asarray(data, jnp.int32), keys.shape).reshape(-1)
    return jax.vmap(jax.random.fold_in)(flat, data).reshape(keys.shape)


def _noise_of(keys: jax.Array, dim: int):
    """Initial noise and the noise of step i, [R, N, dim], from the chains' keys [R, N]."""

    def normal(data):
        folded = _fold_all(keys, data).reshape(-1)
        draw = jax.vmap(lambda k: jax.random.normal(k, (dim,), jnp.float32))(folded)
        return draw.reshape(*keys.shape, dim)

    return normal(0), lambda i: normal(i + 1)


def _run_chains(bank, conds, present, weights, initial, noise, static: _Static) -> _Chains:
    """One chain for each draw and sample: initial [R, N, D], weights [N, K]."""
    alpha_bar = static.schedule.alpha_bar
    signal = jnp.asarray(alpha_bar**0.5, jnp.float32)
    noise_level = jnp.asarray((1 - alpha_bar) ** 0.5, jnp.float32)

    def predict(x, t):
        eps_k = bank.predict_eps(x, t, conds, present, signal[t], noise_level[t])
        return combine(eps_k, weights), disagreement(eps_k, weights)

    draws, steps = reverse_process(static.solver, predict, initial, noise)
    threshold = static.rejection.cos_threshold if static.rejection else jnp.inf
    return _Chains(
        draws,
        jnp.mean(steps, axis=0),
        jnp.mean((steps > threshold).astype(jnp.float32), axis=0),
        jnp.moveaxis(steps, 0, -1),
    )


def _redraw_rejected(first: _Chains, keys, bank, conds, present, weights, static: _Static):
    """Redraw failing chains on the device until they pass or their retries are used up.

    Pending chains are compacted: each round takes the first `width` of them, whatever draw and
    sample they belong to, so that the work follows the number that fail.
    """
    rejection = static.rejection
    assert rejection is not None
    num_draws, num_samples = first.share.shape
    total = num_draws * num_samples
    width = min(total, max(64, total // 8))
    flat = jax.tree.map(lambda leaf: leaf.reshape(total, *leaf.shape[2:]), first)
    flat_keys = keys.reshape(total)

    def pending(best: _Chains, retries):
        return (best.share > rejection.prop_threshold) & (retries < rejection.max_retries)

    def body(state):
        best, retries = state
        waiting = pending(best, retries)
        chosen = jnp.argsort(~waiting, stable=True)[:width]
        active = waiting[chosen]
        sample = chosen % num_samples
        attempt_keys = _fold_all(flat_keys[chosen], retries[chosen] + 1)
        initial, noise = _noise_of(attempt_keys[None], bank.x_dim)
        new = _run_chains(
            bank,
            tuple(cond[sample] for cond in conds),
            present[sample],
            weights[sample],
            initial,
            noise,
            static,
        )
        better = active & (new.share[0] < best.share[chosen])

        def keep(old, fresh):
            take = better.reshape(-1, *[1] * (old.ndim - 1))
            return old.at[chosen].set(jnp.where(take, fresh[0], old[chosen]))

        return jax.tree.map(keep, best, new), retries.at[chosen].add(active.astype(jnp.int32))

    best, retries = jax.lax.while_loop(
        lambda state: jnp.any(pending(*state)), body, (flat, jnp.zeros(total, jnp.int32))
    )
    shaped = jax.tree.map(lambda leaf: leaf.reshape(num_draws, -1, *leaf.shape[1:]), best)
    return shaped, retries.reshape(num_draws, num_samples)
