"""Coherent Denoising: one reverse chain per sample, driven by the models of all sources at once.

At every level each model predicts the noise in the same x_t; the consensus of the predictions
drives the solver. (Marchesi, Lazzaro et al., PLOS Comput Biol, doi 10.1371/journal.pcbi.1013455.)

Axes    K models, R draws, N samples, D latent width, S solver steps
Members several models of the same sources are an ensemble: they predict together and share the
        weight of one, or take turns from draw to draw, at the cost of one
Cost    NFE = K S per draw and sample, K its own number of models (dispatch.py); of a network only
        what depends on x_t is evaluated at every step (specialize.py)
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

from cohgen_jax.errors import InputError
from cohgen_jax.sampling.bank import Bank, Ensemble
from cohgen_jax.sampling.consensus import Consensus, Weights, combine, disagreement, weigh
from cohgen_jax.sampling.dispatch import Dispatch, dispatch, everywhere
from cohgen_jax.sampling.specialize import (
    PLAIN,
    PRECISIONS,
    Folded,
    Precision,
    fold,
    form_of,
)
from cohgen_jax.schedule import Schedule, eps_from, x_0_from
from cohgen_jax.solvers import Solver, SolverState, reverse_process


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
    mean: jax.Array | None = None  # [1, N, D], of the posterior, where spread about it was scaled


class RecordedNoise(NamedTuple):
    """Noise of a chain to replay: x_T [R, N, D] and one array a step [S, R, N, D]."""

    initial: jax.Array
    steps: jax.Array

    def of(self, draws: np.ndarray) -> RecordedNoise:
        return RecordedNoise(self.initial[draws], self.steps[:, draws])


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
    sample_ids: jax.Array | None = None,
    keep_trajectory: bool = False,
    recorded: RecordedNoise | None = None,
    ensemble: Ensemble = "average",
    precision: Precision = "float32",
    mesh: Mesh | None = None,
    specialized: bool = True,
) -> Samples:
    """Draw the bank's target for N samples, each with its own pattern of present sources.

    Args:
      key: a `jax.random.key`; not used when `recorded` is given.
      bank: K models over S sources; a bank of one multi-condition model is as good as any.
      conds: latents of the sources, S arrays [N, C_s] in the order of `bank.sources`, then the
        covariates [N, Q] if the bank knows them. Rows of absent sources are not looked at.
      present: [N, S], 1 = observed; all present when None. A sample without any source is
        drawn unconditionally.
      solver: from `cohgen_jax.solvers`, of the noise schedule that the models were trained with.
      schedule: that schedule, for those who want it checked against the solver's.
      num_draws: R, the draws first_draw .. first_draw + R - 1 of each sample.
      consensus: how the models' predictions become one (sampling/consensus.py): 'mean', 'loss'
        (softmax of 1 / `bank.losses`), 'product', or 'stacked' (needs `bank.moments`).
      temperature: 1 for draws of the posterior, 0 for its mean m, between them m + temperature
        (draw - m): spread scaled exactly, whatever the posterior. m is x_0 predicted from x_T = 0,
        by all members, where nothing of x_0 is left in x_T; networks that predict the noise do not
        know it there.
        Times `bank.spread` under the stacked consensus, which validation patients have fitted.
      rejection: redraw draws whose models disagree too long; None accepts every draw.
      sample_ids: int array [N] that names the samples to the random generator (default
        0..N-1). Give a sample the same id in two calls and it gets the same noise.
      keep_trajectory: return the disagreement of every step.
      recorded: replay this noise instead of drawing any (not with rejection), that of R draws.
      ensemble: what M models of the same sources do. 'average': all predict in every draw and share
        the weight of one. 'mixture': draw r is that of member r mod M, so that the draws are the
        mixture of what the members believe (deep ensembles, Lakshminarayanan et al. 2017), at the
        cost of one model. Its draws are shared out evenly, not independent: estimates that remove
        the noise of finitely many (fair scores, R2_inf) are too good by about 1/R of what the
        members do not agree on.
      precision: of the networks' matrix products (see `specialize.fold`).
      mesh: devices of one axis among which the samples are shared out evenly; each works on its
        own, without communication. N must be a multiple of their number.
      specialized: False evaluates every network as it is defined, at every step: slow, the same.

    Returns:
      Samples, on the device or devices.

    Raises:
      InputError: shapes that do not fit the bank or the mesh, or a consensus that the bank does
        not know enough for.
    """
    conds = tuple(jnp.asarray(cond, jnp.float32) for cond in conds)
    if consensus != "stacked":
        bank = bank.networks()  # the other rules are about sources
    if precision not in PRECISIONS:
        raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if len(conds) != len(bank.sources) + (bank.covariates > 0):
        raise InputError(
            f"{len(conds)} conditions for the {len(bank.sources)} sources "
            f"{', '.join(bank.sources)}{' and covariates' * (bank.covariates > 0)} of target "
            f"{bank.target!r}"
        )
    num_samples, num_devices = conds[0].shape[0], mesh.size if mesh else 1
    num_sources = len(bank.sources)
    if present is None:
        present = jnp.ones((num_samples, num_sources), bool)
    if present.shape != (num_samples, num_sources):
        raise InputError(
            f"present must be [samples, sources] = {(num_samples, num_sources)}, "
            f"got {tuple(present.shape)}"
        )
    if num_draws < 1:
        raise InputError(f"num_draws must be at least 1, got {num_draws}")
    if num_samples % num_devices:
        raise InputError(f"{num_samples} samples cannot be shared evenly by {num_devices} devices")
    if recorded is not None and rejection is not None:
        raise InputError("recorded noise replays one chain: it cannot be combined with rejection")
    initial = (num_draws, num_samples, bank.x_dim)
    wanted = initial, (solver.num_steps, *initial)
    if recorded is not None and tuple(noise.shape for noise in recorded) != wanted:
        given = " and ".join(str(tuple(noise.shape)) for noise in recorded)
        raise InputError(f"recorded noise must be {wanted[0]} and {wanted[1]}, got {given}")
    if schedule is not None and not np.array_equal(schedule.alpha_bar, solver.schedule.alpha_bar):
        raise InputError(
            "the solver was made for another noise schedule than the one given: make it from the "
            "schedule that the models were trained with"
        )
    schedule = solver.schedule
    scale = _scale(bank, consensus, temperature)
    if sample_ids is None:
        sample_ids = jnp.arange(num_samples)
    if bank.regression is not None and isinstance(present, Tracer):
        raise InputError("a bank with a regression computes on the host: call it outside jit")
    known, conds = jnp.asarray(present, bool), bank.conditions(conds, present)
    turns = bank.turns(ensemble)
    static = _Static(solver, rejection, keep_trajectory, precision, mesh, specialized)

    def chains(bank: Bank, draw_ids: np.ndarray, recorded: RecordedNoise | None, static: _Static):
        groups = [group.members for group in bank.groups]
        if isinstance(present, Tracer):  # inside a caller's jit nobody knows who needs what
            plan = everywhere(num_samples, groups)
        else:
            plan = dispatch(bank.needed(np.asarray(present)), groups, num_devices)
        weights = weigh(consensus, bank, present, schedule.log_snr[static.solver.timesteps])
        rows = (conds, known, sample_ids, plan)
        if mesh:
            rows = jax.device_put(rows, NamedSharding(mesh, PartitionSpec(mesh.axis_names)))
            weights = _on_mesh(weights, mesh)
        return _sample(
            key, bank.unnamed(), weights, *rows, jnp.asarray(draw_ids), recorded, static=static
        )

    draw_ids = first_draw + np.arange(num_draws)
    turn_of = draw_ids % len(turns)
    own = [np.flatnonzero(turn_of == turn) for turn in range(len(turns))]
    parts = [
        chains(turn, draw_ids[mine], recorded and recorded.of(mine), static)
        for turn, mine in zip(turns, own, strict=True)
        if len(mine)
    ]
    samples = parts[0]
    if len(parts) > 1:
        back = np.argsort(np.concatenate(own))
        samples = jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[back], *parts)
    if np.all(scale == 1):
        return samples
    leap = _leap(schedule)
    leaping = dataclasses.replace(static, solver=leap, rejection=None, keep_trajectory=False)
    still = jnp.zeros((1, num_samples, bank.x_dim))
    mean = chains(bank, np.zeros(1, int), RecordedNoise(still, still[None]), leaping).draws
    scale = np.broadcast_to(scale, (1, 1, bank.x_dim))
    return samples._replace(draws=mean + scale * (samples.draws - mean), mean=mean)


def _scale(bank: Bank, consensus: Consensus, temperature: float) -> np.ndarray:
    """The factor on the spread about the posterior mean, of all components or of each [D]."""
    if not 0 <= temperature <= 1:
        raise InputError(f"temperature must lie in [0, 1], got {temperature}")
    scale = temperature * np.asarray(bank.spread if consensus == "stacked" else 1.0, np.float32)
    if np.any(scale != 1) and bank.predicts == "eps":
        raise InputError(
            "networks that predict eps do not give the posterior mean in one evaluation: "
            "temperature must be 1 (train with diffusion.predicts v)"
        )
    return scale


def _leap(schedule: Schedule) -> Solver:
    """One step from the noisiest level to the x_0 predicted there."""
    alpha_bar, last = float(schedule.alpha_bar[-1]), schedule.num_steps - 1
    a, s = alpha_bar**0.5, (1 - alpha_bar) ** 0.5

    def step(state, eps, i, noise):
        return SolverState(x_0_from("eps", eps, state.x, a, s))

    return Solver(SolverState, step, np.array([last], np.int32), schedule, ("leap",))


def _on_mesh(weights: Weights, mesh: Mesh) -> Weights:
    everywhere_alike = NamedSharding(mesh, PartitionSpec())
    over_samples = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    own = jax.device_put((weights.pattern, weights.pairs), over_samples)
    return Weights(jax.device_put(weights.table, everywhere_alike), *own)


@dataclasses.dataclass(frozen=True)
class _Static:
    """What a compiled sampler is specialised to."""

    solver: Solver
    rejection: Rejection | None
    keep_trajectory: bool
    precision: Precision
    mesh: Mesh | None
    specialized: bool


class _Chains(NamedTuple):
    draws: jax.Array  # [R, N, D]
    disagreement: jax.Array  # [R, N]
    share: jax.Array  # [R, N]
    trajectory: jax.Array | None  # [R, N, S]


class _Ready(NamedTuple):
    """The bank specialised to a grid of steps and to N samples; one entry a group of models."""

    loops: list  # leaves [K_g, ...]
    patients: list  # leaves [K_g, N, ...]
    levels: tuple  # (tables, signal, noise, weights by pattern): leaves [S, ...]
    pattern: jax.Array  # [N]
    pairs: jax.Array  # [N, K]


@functools.partial(jax.jit, static_argnames="static")
def _sample(
    key, bank, weights, conds, present, sample_ids, plan, draw_ids, recorded, *, static: _Static
) -> Samples:
    block = functools.partial(_sample_block, static=static)
    noise = None if recorded is None else tuple(recorded)
    rows = (conds, present, sample_ids, plan)
    arguments = (key, bank, weights, *rows, draw_ids, noise)
    if static.mesh is None:
        return block(*arguments)
    # Every device runs its own samples, redraws included, as if it were alone.
    everyone, axis = PartitionSpec(), static.mesh.axis_names
    own, draws = PartitionSpec(axis), PartitionSpec(None, axis)
    noise_axes = None if recorded is None else (draws, PartitionSpec(None, None, axis))
    of_rows = (own,) * len(rows)
    return jax.shard_map(
        block,
        mesh=static.mesh,
        in_specs=(
            *(everyone, everyone, Weights(everyone, own, own)),
            *(*of_rows, everyone, noise_axes),
        ),
        out_specs=draws,
        check_vma=False,
    )(*arguments)


def _sample_block(
    key,
    bank,
    weights: Weights,
    conds,
    present,
    sample_ids,
    plan: Dispatch,
    draw_ids,
    recorded,
    *,
    static: _Static,
) -> Samples:
    """All samples of one device."""
    with jax.default_matmul_precision("tensorfloat32" if static.precision == "tf32" else "highest"):
        ready = _make_ready(bank, conds, present, weights, static)
        if recorded is None:
            draw_keys = jax.vmap(lambda r: jax.random.fold_in(key, r))(draw_ids)
            keys = jax.vmap(  # [R, N]
                lambda k: jax.vmap(lambda n: jax.random.fold_in(k, n))(sample_ids)
            )(draw_keys)
            initial, noise = _noise_of(_fold_all(keys, 0), bank.dims)
        else:
            keys = None
            dims = bank.dims[None, None]
            initial, noise = recorded[0] * dims, lambda i: recorded[1][i] * dims
        chains = _run_chains(bank, ready, plan, initial, noise, static)
        retries = jnp.zeros(chains.share.shape, jnp.int32)
        accepted = jnp.ones(chains.share.shape, bool)
        if static.rejection is not None:
            chains, retries = _redraw_rejected(chains, keys, bank, ready, static)
            accepted = chains.share <= static.rejection.prop_threshold
    return Samples(
        chains.draws, chains.disagreement, chains.share, accepted, retries, chains.trajectory
    )


def _make_ready(bank: Bank, conds, present, weights: Weights, static: _Static) -> _Ready:
    loops, tables, patients = specialize(
        bank, conds, present, static.solver.timesteps, static.precision, static.specialized
    )
    alpha_bar = static.solver.schedule.alpha_bar_at(static.solver.timesteps)
    levels = (
        tables,
        jnp.asarray(np.sqrt(alpha_bar), jnp.float32),
        jnp.asarray(np.sqrt(1 - alpha_bar), jnp.float32),
        weights.table,
    )
    return _Ready(loops, patients, levels, weights.pattern, weights.pairs)


def specialize(
    bank: Bank,
    conds,
    present,
    timesteps: np.ndarray,
    precision: Precision,
    specialized: bool = True,
) -> tuple[list, list, list]:
    """(loops, tables, patients) of each group of models, see `specialize.Form`: leaves [K_g, ...],
    [S, K_g, ...] and [K_g, N, ...]. conds: those of `Bank.conditions`."""
    mask = bank.masks(present)
    loops, patients, tables = [], [], []
    for group in bank.groups:
        module, form = group.module, _form(group, specialized)
        slots = [bank.slots[k] for k in group.members]
        folded = jax.vmap(
            lambda variables, form=form, module=module: fold(
                form, module, variables, timesteps, precision
            ),
            out_axes=Folded(loop=0, tables=1, cond=0),
        )(group.variables)
        group_conds = [jnp.stack([conds[slot[c]] for slot in slots]) for c in range(len(slots[0]))]
        group_mask = jnp.stack([mask[:, list(slot)] for slot in slots])
        loops.append(folded.loop)
        tables.append(folded.tables)
        condition = functools.partial(form.condition, module)
        patients.append(jax.vmap(condition)(folded.cond, group_conds, group_mask))
    return loops, tables, patients


def _form(group, specialized: bool):
    return form_of(group.module) if specialized else PLAIN


def _fold_all(keys: jax.Array, data: jax.Array | int) -> jax.Array:
    """fold_in for keys of any shape; data: scalar, or of the keys' shape."""
    flat = keys.reshape(-1)
    data = jnp.broadcast_to(jnp.asarray(data, jnp.int32), keys.shape).reshape(-1)
    return jax.vmap(jax.random.fold_in)(flat, data).reshape(keys.shape)


def _noise_of(keys: jax.Array, dims: jax.Array):
    """Initial noise and the noise of step i, [R, N, D], from the chains' keys [R, N]; none where
    dims [D] are 0."""
    dim = len(dims)

    def normal(data):
        folded = _fold_all(keys, data).reshape(-1)
        draw = jax.vmap(lambda k: jax.random.normal(k, (dim,), jnp.float32))(folded)
        return draw.reshape(*keys.shape, dim) * dims[None, None]

    return normal(0), lambda i: normal(i + 1)


def _run_chains(bank, ready: _Ready, plan: Dispatch, initial, noise, static: _Static) -> _Chains:
    """One chain for each draw and sample: initial [R, N, D]."""
    plan = jax.tree.map(lambda leaf: leaf[0], plan)  # this device's
    pairs = jnp.where(plan.taken, jnp.take_along_axis(ready.pairs, plan.models, axis=1), 0)
    patients = [  # by slot: leaves [K_g, J_g, ...]
        jax.tree.map(lambda leaf, rows=rows: jax.vmap(lambda own, r: own[r])(leaf, rows), leaves)
        for leaves, rows in zip(ready.patients, plan.rows, strict=True)
    ]

    def predict(x, level):
        tables, signal, level_noise, table = level
        slots = []
        for group, *parts in zip(
            bank.groups, ready.loops, tables, patients, plan.rows, strict=True
        ):
            form = _form(group, static.specialized)

            def one_model(loop, row, patient, rows, form: Any = form, module: Any = group.module):
                return form.denoise(module, loop, row, patient, x[:, rows])

            out = jax.vmap(one_model)(*parts)  # [K_g, R, J_g, D]
            slots.append(jnp.moveaxis(out, 1, 2).reshape(-1, len(x), x.shape[-1]))
        out = jnp.moveaxis(jnp.concatenate(slots)[plan.seats], 0, 2)  # [P, R, N, D]
        eps = eps_from(bank.predicts, out, x[None], signal, level_noise)
        eps = eps * bank.dims[None, None, None]
        # Of each sample its pattern's weights, of those its own models'.
        weights = jnp.where(
            plan.taken[..., None], table[ready.pattern[:, None], plan.models], 0
        )  # [N, P, D]
        return combine(eps, weights, level_noise * x), disagreement(eps, pairs)

    threshold = static.rejection.cos_threshold if static.rejection else jnp.inf
    run = functools.partial(
        reverse_process, static.solver, predict, initial, noise, levels=ready.levels
    )
    if static.keep_trajectory:
        draws, steps = run()
        above = (steps > threshold).astype(jnp.float32)
        trajectory = jnp.moveaxis(steps, 0, -1)
        return _Chains(draws, jnp.mean(steps, axis=0), jnp.mean(above, axis=0), trajectory)

    def add(total, step):
        return total[0] + step, total[1] + (step > threshold).astype(jnp.int32)

    zero = jnp.zeros(initial.shape[:2], jnp.float32)
    draws, (total, above) = run(summary=((zero, zero.astype(jnp.int32)), add))
    count = static.solver.num_steps
    return _Chains(draws, total / count, above.astype(jnp.float32) / count, None)


def _redraw_rejected(first: _Chains, keys, bank, ready: _Ready, static: _Static):
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
    plan = everywhere(width, [group.members for group in bank.groups])

    def pending(best: _Chains, retries):
        return (best.share > rejection.prop_threshold) & (retries < rejection.max_retries)

    def body(state):
        best, retries = state
        waiting = pending(best, retries)
        chosen = jnp.argsort(~waiting, stable=True)[:width]
        active = waiting[chosen]
        sample = chosen % num_samples
        attempt_keys = _fold_all(flat_keys[chosen], retries[chosen] + 1)
        initial, noise = _noise_of(attempt_keys[None], bank.dims)
        theirs = ready._replace(
            patients=jax.tree.map(lambda leaf: leaf[:, sample], ready.patients),
            pattern=ready.pattern[sample],
            pairs=ready.pairs[sample],
        )
        new = _run_chains(bank, theirs, plan, initial, noise, static)
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
