"""Redraws of chains whose models disagree too long, inside the compiled sampler."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cohgen_jax.sampling.bank import Bank
from cohgen_jax.sampling.chain import Chains, Ready, predictor, run_chains
from cohgen_jax.sampling.config import SamplerConfig
from cohgen_jax.sampling.dispatch import everywhere
from cohgen_jax.sampling.noise import noise_of, of_attempt


def redraw_rejected(
    first: Chains, keys: jax.Array, bank: Bank, ready: Ready, config: SamplerConfig
) -> tuple[Chains, jax.Array]:
    """(chains, redraws used [R, N]): failing chains are redrawn until they pass, or `max_retries`.

    keys: [R, N].

    Pending chains are compacted: each round takes the first `width` of them, whatever draw and
    sample they belong to, so that the work follows the number that fail.
    """
    rejection = config.rejection
    assert rejection is not None
    num_draws, num_samples = first.share.shape
    total = num_draws * num_samples
    width = min(total, max(64, total // 8))
    flat = jax.tree.map(lambda leaf: leaf.reshape(total, *leaf.shape[2:]), first)
    flat_keys = keys.reshape(total)
    plan = everywhere(width, [group.members for group in bank.groups])

    def pending(best: Chains, retries):
        return (best.share > rejection.prop_threshold) & (retries < rejection.max_retries)

    def body(state):
        best, retries = state
        waiting = pending(best, retries)
        chosen = jnp.argsort(~waiting, stable=True)[:width]
        active = waiting[chosen]
        sample = chosen % num_samples
        attempt_keys = of_attempt(flat_keys[chosen], retries[chosen] + 1)
        initial, noise = noise_of(attempt_keys[None], bank.dims)
        of_chosen = ready._replace(
            patients=jax.tree.map(lambda leaf: leaf[:, sample], ready.patients),
            pattern=ready.pattern[sample],
            pairs=ready.pairs[sample],
            variance=jax.tree.map(lambda leaf: leaf[sample], ready.variance),
        )
        models = predictor(bank, of_chosen, plan, config)
        new = run_chains(models, of_chosen, initial, noise, config)
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
