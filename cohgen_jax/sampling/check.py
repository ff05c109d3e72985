"""What a call of the sampler must fit, before anything is compiled."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh

from cohgen_jax.errors import InputError
from cohgen_jax.sampling.bank import Bank
from cohgen_jax.sampling.config import SamplerConfig
from cohgen_jax.sampling.noise import RecordedNoise


def check_rows(bank: Bank, conds: Sequence[jax.Array], present: jax.Array | np.ndarray) -> None:
    """The conditions of a bank and who has them: [N, C_s] each, and [N, S]."""
    sources, widths = bank.sources, bank.widths
    if len(conds) != len(sources) + (bank.covariates > 0):
        raise InputError(
            f"{len(conds)} conditions for the {len(sources)} sources "
            f"{', '.join(sources)}{' and covariates' * (bank.covariates > 0)} of target "
            f"{bank.target!r}"
        )
    num_samples = conds[0].shape[0]
    names = (*sources, "covariates")
    for c, cond in enumerate(conds):
        wanted = (num_samples, widths.get(c, cond.shape[-1]))
        if cond.shape != wanted:
            raise InputError(
                f"{names[c]} must be [samples, width] = {wanted}, got {tuple(cond.shape)}"
            )
    if present.shape != (num_samples, len(sources)):
        raise InputError(
            f"present must be [samples, sources] = {(num_samples, len(sources))}, "
            f"got {tuple(present.shape)}"
        )
    if bank.regression is not None and isinstance(present, Tracer):
        raise InputError("a bank with a regression computes on the host: call it outside jit")


def check_devices(
    mesh: Mesh | None, conds: Sequence[jax.Array], present: jax.Array | np.ndarray
) -> None:
    """Samples that a mesh can share out evenly, by the host."""
    if mesh is None:
        return
    if any(isinstance(leaf, Tracer) for leaf in (*conds, present)):
        raise InputError("samples are shared out among devices by the host: call it outside jit")
    if len(present) % mesh.size:
        raise InputError(f"{len(present)} samples cannot be shared evenly by {mesh.size} devices")


def check_draws(
    num_draws: int,
    num_samples: int,
    bank: Bank,
    config: SamplerConfig,
    recorded: RecordedNoise | None,
) -> None:
    """A number of draws, and noise recorded for just these."""
    if num_draws < 1:
        raise InputError(f"num_draws must be at least 1, got {num_draws}")
    if recorded is None:
        return
    if config.rejection is not None:
        raise InputError("recorded noise replays one chain: it cannot be combined with rejection")
    initial = (num_draws, num_samples, bank.x_dim)
    wanted = initial, (config.solver.num_steps, *initial)
    if tuple(noise.shape for noise in recorded) != wanted:
        given = " and ".join(str(tuple(noise.shape)) for noise in recorded)
        raise InputError(f"recorded noise must be {wanted[0]} and {wanted[1]}, got {given}")


def check_variance(bank: Bank, config: SamplerConfig) -> None:
    """A regression, for a solver that needs the variance it tells."""
    if config.solver.needs_variance and bank.regression is None:
        raise InputError(
            f"this solver needs the variance of {bank.target!r} that a regression tells, and the "
            f"{config.consensus} consensus of this bank hears none: take another solver"
        )
