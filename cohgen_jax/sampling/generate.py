"""From banks to generators: latents of many patients in, draws of one modality out.

Patients and draws stream through in chunks of one size, chosen from the device's memory, so that a
cohort of any size needs one compilation and bounded memory; the noise of a draw depends on its
number, its patient's id and the seed only. Several devices share every chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from cohgen_jax.errors import InputError
from cohgen_jax.networks.posterior import GaussianPosterior
from cohgen_jax.sampling.bank import Bank
from cohgen_jax.sampling.coherent import Sampler, Samples
from cohgen_jax.sampling.config import SamplerConfig
from cohgen_jax.sampling.dispatch import FEW_ROWS
from cohgen_jax.sampling.generator import Generated, Generator

CACHE_BYTES = 3 << 20
"""What one layer of all models' activations may take on a CPU. Layer normalisation and activation
functions then work on what the matrix product has left in the cache. On two cores with 32 MB of L3
draws of the default recipe take 3 to 10 % longer with 1.5 or 4.5 MB, 10 to 30 % with 12."""
MEMORY_SHARE = 0.5
"""Share of an accelerator's memory for activations."""
LIVE_LAYERS = 8
"""Layers of activations alive at once, an upper bound for every network here."""
MOST_CHAINS = 1 << 17
"""Chains at most in one call on an accelerator, which has long been full by then."""

T = TypeVar("T")


def bank_generator(
    bank_for: Callable[[tuple[str, ...]], Bank],
    modalities: Sequence[str],
    target: str,
    config: SamplerConfig,
) -> Generator:
    """A generator of `target` with the signature that evaluation and baselines share.

    bank_for: sources -> the bank to use when those are the sources that any patient has; a
      bank of single-condition models drops the models that nobody needs, a multi-condition
      bank is always the same.
    """

    def generate(z: np.ndarray, present: np.ndarray, num_draws: int, seed: int) -> Generated:
        usable = np.any(present, axis=0).tolist()
        shown = tuple(m for i, m in enumerate(modalities) if usable[i] and m != target)
        samples = sample_rows(bank_for(shown), modalities, z, present, seed, num_draws, config)
        mean = None if samples.mean is None else np.asarray(samples.mean)
        return Generated(np.asarray(samples.draws), np.asarray(samples.disagreement), mean=mean)

    return generate


def sample_rows(
    bank: Bank,
    modalities: Sequence[str],
    z: np.ndarray,
    present: np.ndarray,
    seed: int,
    num_draws: int,
    config: SamplerConfig,
    *,
    sample_ids: np.ndarray | None = None,
    chains: int | None = None,
    on_chunk: Callable[[int], None] = lambda rows: None,
) -> Samples:
    """A `Sampler` for any number of patients. z: [N, M, D], and the covariates as one more
    column if the bank knows them; present: [N, M] bool.

    Rows may each show other sources; a model is evaluated only on rows that it can serve.

    sample_ids: uint32 [N], names the patients to the random generator; their rows by default.
    chains: draws x patients in one call of the compiled sampler, for each device; by default
      what fits its memory.
    on_chunk: told the number of patients after each chunk, when all their draws are done.
    """
    if len(z) == 0:
        raise InputError(f"no patients to generate {bank.target} for")
    ids = np.arange(len(z)) if sample_ids is None else sample_ids
    columns = [list(modalities).index(source) for source in bank.sources]
    if bank.covariates and z.shape[1] == len(modalities):
        raise InputError(f"the models of {bank.target} know covariates: z lacks their column")
    conds, shown = conditions(bank, z, columns), np.asarray(present[:, columns])
    devices = jax.local_devices()
    mesh = Mesh(devices, ("samples",)) if 1 < len(devices) <= len(z) else None
    width = mesh.size if mesh else 1
    turns = bank.turns(config.ensemble)
    fit = width * (chains or chains_at_once(turns[0], devices[0], shown))
    size, draws_a_turn = chunk_shape(len(z), -(-num_draws // len(turns)), fit, width)
    draws = min(num_draws, draws_a_turn * len(turns))
    key, sampler = jax.random.key(seed), Sampler(bank, config)
    told = bank.told(conds, shown) if config.consensus == "stacked" else None
    num_chunks = -(-len(z) // size)

    def calls() -> Iterator[tuple[slice, slice, Samples]]:
        """Draws and patients of each call, and what it returns when it is done."""
        for chunk in range(num_chunks):
            patients = slice(chunk, None, num_chunks)  # chunks alike in who lacks what
            rows = np.resize(np.arange(len(z))[patients], size)  # filled up, then cut
            for first in range(0, num_draws, draws):
                samples = sampler(
                    key,
                    [cond[rows] for cond in conds],
                    shown[rows],
                    draws,
                    first_draw=first,
                    sample_ids=np.asarray(ids[rows], np.uint32),
                    mesh=mesh,
                    told=None if told is None else told[rows],
                )
                yield slice(first, min(first + draws, num_draws)), patients, samples

    every: dict[str, np.ndarray] = {}
    for of_draws, patients, samples in _one_ahead(calls()):
        for name, leaf in samples._asdict().items():
            if leaf is None:
                continue
            part, one = np.asarray(leaf), name == "mean"  # which is one for all draws
            if name not in every:
                shape = (1 if one else num_draws, len(z), *part.shape[2:])
                every[name] = np.empty(shape, part.dtype)
            place = every[name][slice(1) if one else of_draws, patients]
            place[...] = part[: place.shape[0], : place.shape[1]]
        if of_draws.stop == num_draws:
            on_chunk(len(range(len(z))[patients]))
    return Samples(**{**dict.fromkeys(Samples._fields), **every})


def _one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Each item once the next is begun: the device works on one while the host reads another."""
    begun = next(items)
    for item in items:
        yield begun
        begun = item
    yield begun


def conditions(bank: Bank, z: np.ndarray, columns: Sequence[int]) -> list[np.ndarray]:
    """What `coherent_sample` takes of latents [N, M + 1, D]: the sources, in these columns, and
    the covariates if the bank knows them."""
    conds = [np.asarray(z[:, c], np.float32) for c in columns]
    if bank.covariates:
        conds.append(np.asarray(z[:, -1, : bank.covariates], np.float32))
    return conds


def chains_at_once(bank: Bank, device: Any, present: np.ndarray) -> int:
    """How many chains (draws x patients) of a bank a `jax.Device` works on best at once, where
    its sources are present as they are in [N, S]."""
    used = np.ceil(8 * bank.needed(present).mean(axis=0)) / 8  # what dispatch.py makes of it
    layers = sum(
        len(group.members) * _widest(group.module) * used[list(group.members)].max()
        for group in bank.groups
        if not isinstance(group.module, GaussianPosterior)  # which has no layers
    )
    layer = 4 * max(layers, bank.x_dim)  # patients without any source need no network
    stats = device.memory_stats() if device.platform != "cpu" else None
    if not stats or "bytes_limit" not in stats:
        return max(64, int(CACHE_BYTES / layer))
    return int(min(MOST_CHAINS, MEMORY_SHARE * stats["bytes_limit"] / (LIVE_LAYERS * layer)))


def _widest(module: nn.Module) -> int:
    config = getattr(module, "config", None)
    return config.width if config else module.x_dim  # pyright: ignore[reportAttributeAccessIssue]


def chunk_shape(num_rows: int, num_draws: int, chains: int, devices: int = 1) -> tuple[int, int]:
    """(rows, draws) of one call: draws stay together, sharing their patient's conditions, as long
    as there is room for eight patients; rows come in few sizes, and as a multiple of devices."""
    fit = max(8 * devices, chains // num_draws)
    full = fit // devices // 8 * 8 * devices
    size = min(full, patients_at_once(-(-num_rows // devices)) * devices)
    draws = min(num_draws, max(1, chains // size))
    return size, -(-num_draws // -(-num_draws // draws))


def patients_at_once(num: int) -> int:
    """The size that `num` patients are filled up to: few sizes, hence few compilations."""
    if num <= FEW_ROWS:
        return next(size for size in (1, 32, FEW_ROWS) if num <= size)
    step = max(64, (1 << num.bit_length()) // 16)
    return -(-num // step) * step
