"""From banks to generators: latents of many patients in, draws of one modality out.

Patients stream through in chunks of one fixed size, so that a cohort of any size needs one
compilation and bounded memory; the noise of a patient depends on its id and the seed only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.generator import Generated, Generator
from cohgen_jax.sampling.bank import Bank
from cohgen_jax.sampling.coherent import Rejection, Samples, coherent_sample
from cohgen_jax.sampling.consensus import Consensus
from cohgen_jax.schedule import Schedule
from cohgen_jax.solvers import Solver

CHUNK = 1024
"""Largest number of patients in one call of the compiled sampler."""


def bank_generator(
    bank_for: Callable[[tuple[str, ...]], Bank],
    modalities: Sequence[str],
    target: str,
    *,
    schedule: Schedule,
    solver: Solver,
    consensus: Consensus = "mean",
    rejection: Rejection | None = None,
) -> Generator:
    """A generator of `target` with the signature that evaluation and baselines share.

    bank_for: sources -> the bank to use when those are the sources that any patient has; a
      bank of single-condition models drops the models that nobody needs, a multi-condition
      bank is always the same.
    """

    def generate(z: np.ndarray, present: np.ndarray, num_draws: int, seed: int) -> Generated:
        usable = np.any(present, axis=0).tolist()
        shown = tuple(m for i, m in enumerate(modalities) if usable[i] and m != target)
        samples = sample_rows(
            bank_for(shown),
            modalities,
            z,
            present,
            seed,
            num_draws,
            schedule=schedule,
            solver=solver,
            consensus=consensus,
            rejection=rejection,
        )
        return Generated(np.asarray(samples.draws), np.asarray(samples.disagreement))

    return generate


def sample_rows(
    bank: Bank,
    modalities: Sequence[str],
    z: np.ndarray,
    present: np.ndarray,
    seed: int,
    num_draws: int,
    *,
    schedule: Schedule,
    solver: Solver,
    consensus: Consensus = "mean",
    rejection: Rejection | None = None,
    sample_ids: np.ndarray | None = None,
    keep_trajectory: bool = False,
    on_chunk: Callable[[int], None] = lambda rows: None,
) -> Samples:
    """`coherent_sample` for any number of patients. z: [N, M, D]; present: [N, M] bool.

    sample_ids: uint32 [N], names the patients to the random generator; their rows by default.
    on_chunk: told the number of patients after each chunk.
    """
    if len(z) == 0:
        raise InputError(f"no patients to generate {bank.target} for")
    ids = np.arange(len(z)) if sample_ids is None else sample_ids
    columns = [list(modalities).index(source) for source in bank.sources]
    total = len(z)
    size = min(CHUNK, _bucket(total))
    key = jax.random.key(seed)
    parts = []
    for start in range(0, total, size):
        rows = np.arange(start, start + size) % total  # the last chunk is filled up, then cut
        samples = coherent_sample(
            key,
            bank,
            [jnp.asarray(z[rows, c]) for c in columns],
            jnp.asarray(present[rows][:, columns]),
            schedule=schedule,
            solver=solver,
            num_draws=num_draws,
            consensus=consensus,
            rejection=rejection,
            sample_ids=jnp.asarray(ids[rows], jnp.uint32),
            keep_trajectory=keep_trajectory,
        )
        kept = min(size, total - start)
        parts.append(jax.tree.map(lambda leaf, kept=kept: np.asarray(leaf[:, :kept]), samples))
        on_chunk(kept)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *parts)


def _bucket(num: int) -> int:
    """The size that `num` patients are filled up to: few sizes, hence few compilations."""
    return num if num <= 8 else -(-num // 64) * 64
