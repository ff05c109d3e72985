"""A multimodal VAE: MVTCAE (Hwang et al. 2021, NeurIPS 34:12194), or MoPoE (Sutter et al. 2021,
arXiv:2105.02470), as the library multivae trains it.

Model   z ~ N(0, I); every assay has a decoder x_m = f_m(z) + noise and an encoder
        q_m(z | x_m) = N(mu_m, diag s_m^2); of several assays their product,
        q(z | x_S) ~ prod_{m in S} q_m(z | x_m), which needs no network for each subset
Fit     on every training patient, whatever it has; the weights kept are those that best predict
        each assay of the validation patients from all their others
Draw    m + s (f_t(z) - m) + e with m = f_t(E z), z ~ q(z | x_S) and e ~ N(0, diag v): v is what the
        spread of f_t(z) about m leaves of the squared error of m on validation patients, for each
        subset S; where the spread is more than the error, s scales it down to that instead
See     the latents alone, of unit variance: no covariates, and no scale

The optional extra `benchmarks` has multivae; without it, `missing` says what is not there.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import copy
import functools
from typing import Any, Literal, NamedTuple

import numpy as np

from cohgen_jax.baselines.optional import why_missing
from cohgen_jax.errors import InputError
from cohgen_jax.sampling.generator import Generated, Generator

LATENT = 64
HIDDEN = 512
DROPOUT = 0.5
ALPHA = 0.99
BETA = 0.7
"""Weight of the divergences in the objective."""
BATCH = 128
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.1
MAX_EPOCHS = 300
PATIENCE = 25
"""Epochs without a better validation error after which training ends."""
NOISE_DRAWS = 50
MIN_VAL = 20
"""Validation patients that the noise of a subset of sources needs."""
SEED = 0


Kind = Literal["MVTCAE", "MoPoE"]
"""MoPoE's posterior given some of the assays is the same product of their experts."""

missing = functools.partial(why_missing, "multivae.models")


def multimodal_vae(
    latents, rows_train: np.ndarray, rows_val: np.ndarray, *, kind: Kind = "MVTCAE"
) -> dict[str, Generator]:
    """Generators of every modality from one model, trained when the first of them is called."""
    fit = functools.cache(lambda: fit_vae(latents, rows_train, rows_val, kind))
    return {
        name: _generator(fit, target, latents, np.asarray(rows_val))
        for target, name in enumerate(latents.modalities)
    }


class VAE(NamedTuple):
    """A trained model: multivae's, its modalities by position."""

    model: Any
    names: tuple[str, ...]
    widths: np.ndarray

    def posterior(self, z: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [N, L] given z [N, M, D] where `shown` [N, M]."""
        import torch
        from multivae.models.base.base_utils import poe

        means, log_variances = [], []
        with torch.inference_mode():
            for m, name in enumerate(self.names):
                out = self.model.encoders[name](torch.as_tensor(z[:, m, : self.widths[m]]))
                unseen = ~torch.as_tensor(shown[:, m, None])
                means.append(out.embedding)
                log_variances.append(out.log_covariance.masked_fill(unseen, torch.inf))
            mean, log_variance = poe(torch.stack(means), torch.stack(log_variances))
        mean, sd = mean.numpy(), np.exp(0.5 * log_variance.numpy())
        prior = ~shown.any(axis=1, keepdims=True)
        return np.where(prior, 0, mean), np.where(prior, 1, sd)

    def decode(self, target: int, z: np.ndarray) -> np.ndarray:
        """[..., L] -> [..., width of the target]."""
        import torch

        with torch.inference_mode():
            flat = torch.as_tensor(np.asarray(z, np.float32).reshape(-1, z.shape[-1]))
            decoded = self.model.decoders[self.names[target]](flat).reconstruction.numpy()
        return decoded.reshape(*z.shape[:-1], -1)


def fit_vae(latents, rows_train: np.ndarray, rows_val: np.ndarray, kind: Kind = "MVTCAE") -> VAE:
    """Train on incomplete rows, to the best validation error. Leaves torch's random state alone.

    Raises:
      InputError: multivae is not there.
    """
    reason = missing()
    if reason:
        raise InputError(f"no multimodal VAE: {reason}")
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return _fit(latents, np.asarray(rows_train), np.asarray(rows_val), kind)


def _fit(latents, rows_train: np.ndarray, rows_val: np.ndarray, kind: Kind) -> VAE:
    import torch
    from multivae.data.datasets.base import IncompleteDataset

    names, widths = tuple(latents.modalities), np.asarray(latents.widths)
    vae = VAE(_model(names, widths, kind), names, widths)
    z, present = np.asarray(latents.z, np.float32), np.asarray(latents.present, bool)
    rows_train = rows_train[present[rows_train].any(axis=1)]

    def batch(rows: np.ndarray) -> Any:
        return IncompleteDataset(
            {n: torch.as_tensor(z[rows, m, : widths[m]]) for m, n in enumerate(names)},
            {n: torch.as_tensor(present[rows, m]) for m, n in enumerate(names)},
        )

    def validation_error() -> float:
        vae.model.eval()
        errors = []
        for target in range(len(names)):
            shown = present[rows_val] & (np.arange(len(names)) != target)
            used = present[rows_val, target] & shown.any(axis=1)
            mean, _ = vae.posterior(z[rows_val][used], shown[used])
            truth = z[rows_val[used], target, : widths[target]]
            errors.append(np.mean((vae.decode(target, mean) - truth) ** 2))
        return float(np.mean(errors))

    optimizer = torch.optim.AdamW(
        vae.model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
    )
    rng = np.random.default_rng(SEED)
    best, kept, stale = np.inf, copy.deepcopy(vae.model.state_dict()), 0
    for _ in range(MAX_EPOCHS):
        vae.model.train()
        order = rng.permutation(rows_train)
        for start in range(0, len(order), BATCH):
            optimizer.zero_grad()
            vae.model(batch(order[start : start + BATCH])).loss.backward()
            optimizer.step()
        error, stale = validation_error(), stale + 1
        if error < best:
            best, kept, stale = error, copy.deepcopy(vae.model.state_dict()), 0
        if stale >= PATIENCE:
            break
    vae.model.load_state_dict(kept)
    vae.model.eval()
    return vae


def _model(names: tuple[str, ...], widths: np.ndarray, kind: Kind) -> Any:
    """Over multilayer perceptrons: the library's own decoders end in a sigmoid."""
    import torch.nn as nn
    from multivae.models import MVTCAE, MoPoE, MoPoEConfig, MVTCAEConfig
    from multivae.models.nn.default_architectures import BaseDecoder, BaseEncoder
    from pythae.models.base.base_utils import ModelOutput

    def hidden(width: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(width, HIDDEN), nn.SiLU(), nn.Dropout(DROPOUT))

    class Encoder(BaseEncoder):
        def __init__(self, width: int):
            super().__init__()
            self.latent_dim = LATENT
            self.hidden, self.out = hidden(width), nn.Linear(HIDDEN, 2 * LATENT)

        def forward(self, x):
            mean, log_variance = self.out(self.hidden(x)).chunk(2, dim=-1)
            return ModelOutput(embedding=mean, log_covariance=log_variance.clone())

    class Decoder(BaseDecoder):
        def __init__(self, width: int):
            super().__init__()
            self.latent_dim = LATENT
            self.hidden, self.out = hidden(LATENT), nn.Linear(HIDDEN, width)

        def forward(self, z):
            return ModelOutput(reconstruction=self.out(self.hidden(z)))

    sizes = dict(zip(names, map(int, widths), strict=True))
    shapes = {name: (size,) for name, size in sizes.items()}
    coders = (
        {name: Encoder(size) for name, size in sizes.items()},
        {name: Decoder(size) for name, size in sizes.items()},
    )
    base: Any = {"n_modalities": len(names), "latent_dim": LATENT, "input_dims": shapes}
    if kind == "MoPoE":
        return MoPoE(MoPoEConfig(**base), *coders)
    return MVTCAE(MVTCAEConfig(**base, alpha=ALPHA, beta=BETA), *coders)


class Noise(NamedTuple):
    """How wide draws of one modality are, given one subset of sources: both [D]."""

    scale: np.ndarray  # s
    sd: np.ndarray  # sqrt(v)


def _generator(fit: Any, target: int, latents, rows_val: np.ndarray) -> Generator:
    """Draws of one modality; the noise of a subset is fitted when it first turns up."""
    width, others = int(latents.widths[target]), np.arange(len(latents.modalities)) != target
    noise: dict[tuple[bool, ...], Noise] = {}

    def decoded(z: np.ndarray, shown: np.ndarray, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """m [N, D] and f(z) - m [R, N, D], with z from eps [R, N, L]."""
        mean, sd = fit().posterior(z, shown)
        centre = fit().decode(target, mean)
        return centre, fit().decode(target, mean + sd * eps) - centre

    def noise_of(pattern: tuple[bool, ...]) -> Noise:
        """Of all other sources where few validation patients have this subset."""
        if pattern not in noise:
            shown = np.array(pattern)
            present = latents.present[rows_val]
            has_target = present[:, target]
            used = has_target & present[:, shown].all(axis=1)
            mask = np.tile(shown, (len(rows_val), 1))
            if used.sum() < MIN_VAL:
                used, mask = has_target, present & others
            eps = np.random.default_rng(SEED).standard_normal((NOISE_DRAWS, used.sum(), LATENT))
            z = latents.z[rows_val[used]]
            centre, away = decoded(z, mask[used], eps)
            error = np.mean((centre - z[:, target, :width]) ** 2, axis=0)
            spread = np.mean(away**2, axis=(0, 1))
            scale = np.sqrt(np.minimum(1, error / np.maximum(spread, 1e-12)))
            noise[pattern] = Noise(scale, np.sqrt(np.maximum(error - spread, 0)))
        return noise[pattern]

    def generate(z: np.ndarray, present: np.ndarray, num_draws: int, seed: int) -> Generated:
        z, shown = np.asarray(z, np.float32), np.asarray(present, bool) & others
        # Rows of numbers by patient: a patient's draws do not depend on how many come after.
        eps = np.random.default_rng(seed).standard_normal((len(z), num_draws, LATENT + width))
        eps = eps.swapaxes(0, 1).astype(np.float32)
        centre, away = decoded(z, shown, eps[..., :LATENT])
        noises = [noise_of(tuple(row.tolist())) for row in shown]
        scale, sd = (np.stack(values) for values in zip(*noises, strict=True))
        draws = np.zeros((num_draws, len(z), z.shape[-1]), np.float32)
        draws[..., :width] = centre + scale * away + sd * eps[..., LATENT:]
        return Generated(draws, np.full(draws.shape[:2], np.nan, np.float32))

    return generate
