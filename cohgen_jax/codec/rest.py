"""The rest: what a reducer does not bring back of x, as a model to draw from.

Model   x = g * restored + a (g * W u + psi * v),  u ~ N(0, I_R), v ~ N(0, I_F)   (Tipping & Bishop
        1999, J. R. Stat. Soc. B 61:611, with a noise variance for each feature as in factor
        analysis)
W       the first R principal components of x - restored, times their standard deviations
g       about 1 for a continuous feature. A normal score rounded to that of its atom keeps the
        variance omega < 1 and, to first order, the share omega_a omega_b of its covariance with
        another (omega is the first Hermite coefficient of the rounding): g = 1 / omega gives the
        covariance back, as far as Var(g (restored + W u)) <= 1; imputed cells count alike
psi     psi_f^2 = 1 - g_f^2 (Var(restored)_f + |W_f|^2), at least 0: the whole variance is 1
a       what is left of some patients is large, of others (quiet genomes) small: log a^2 is normal,
        linear in the first latents and in the logarithm of their size, fitted to the mean squares
        of x - restored; of mean square 1
Axes    N patients, R draws of each (in Rest: components), F features, L latents
Noise   a function of (seed, stream of the patient, number of the draw) and of nothing else

All are moments over many patients; no patient's record is kept.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.codec.pca import fit_pca, pca_encode

ROWS = 128
"""Draws that one program takes; fewer are padded, so that the rounding is the same for any set."""
PATIENTS_PER_COMPONENT = 3
"""Components of fewer patients are noise of that sample, which `psi` says without a direction."""
LATENTS_OF_SIZE, PATIENTS_PER_COEFFICIENT = 16, 20
"""Latents that the size of the rest depends on, and patients that each of them takes."""
LARGEST_LOG = 3.0
"""Bound on |log a^2|."""
LEAST_ERROR = 1e-5
"""Mean square of x - restored below which its size says nothing."""
_PURPOSE = 0x7E57
"""Sets the noise of the rest apart from other noise of the same seed."""


class Rest(NamedTuple):
    """R components of F features, in units of x."""

    gain: np.ndarray  # float32 [F], g
    loadings: np.ndarray  # float32 [F, R], g * W
    noise: np.ndarray  # float32 [F], psi (a standard deviation)
    size: np.ndarray  # float32 [3 + K], of log a^2: its sd, a constant, slopes on strength and z


def fit_rest(
    error: np.ndarray,
    z: np.ndarray,
    strength: np.ndarray,
    restored: np.ndarray,
    whole: np.ndarray,
    num_components: int,
    seed: int,
) -> Rest:
    """From what is not brought back, error [n, F] = x - restored x of n train samples.

    Args:
        z: [n, L], their latents in natural scale, varying as those of draws do.
        strength: [n], `strength_of` the latents that the error is beside: of patients that the
            reducer was not fitted on, as draws are. That of few who were is larger, and the size
            that follows from it would be too small for everyone else.
        restored: [F], variance of restored x under latents of unit variance.
        whole: [F], variance of x on train, omega.
        seed: of a large PCA.
    """
    size = max(1, min(num_components, len(error) // PATIENTS_PER_COMPONENT))
    pca = fit_pca(error, size, seed)
    sd = pca_encode(pca, error).std(axis=0, dtype=np.float64)
    loadings = pca.components * sd[None, :]
    if loadings.shape[1] == 0:  # all was brought back
        loadings = np.zeros((error.shape[1], 1))
    tiny = np.finfo(np.float64).tiny
    tail = np.sum(loadings**2, axis=1)
    most = 1.0 / np.sqrt(np.maximum(restored + tail, tiny))
    gain = np.maximum(1.0, np.minimum(1.0 / np.maximum(whole, tiny), most))
    # Sampling may leave restored and tail with more than 1: the components give way.
    room = np.maximum(0.0, 1.0 - gain**2 * restored)
    share = np.minimum(gain**2, room / np.maximum(tail, tiny))
    noise = np.sqrt(np.maximum(0.0, room - share * tail))
    loadings = loadings * np.sqrt(share)[:, None]
    size = _fit_size(error, z, strength)
    return Rest(*(part.astype(np.float32) for part in (gain, loadings, noise, size)))


def _fit_size(error: np.ndarray, z: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """[3 + K], by ridge regression, of unit penalty, of log a^2 on strength and K latents."""
    square = np.mean(np.square(error, dtype=np.float64), axis=1)
    num_latents = min(LATENTS_OF_SIZE, z.shape[1], len(z) // PATIENTS_PER_COEFFICIENT)
    if num_latents < 1 or square.mean() < LEAST_ERROR:
        return np.zeros(3)
    log = np.log(np.maximum(square / square.mean(), np.exp(-LARGEST_LOG)))
    design = np.column_stack([strength, z[:, :num_latents]]).astype(np.float64)
    centre = design.mean(axis=0)
    centred = design - centre
    gram = centred.T @ centred + np.diag(np.maximum(centred.var(axis=0), 1e-12))
    slopes = np.linalg.solve(gram, centred.T @ (log - log.mean()))
    mean = centred @ slopes
    sd = (log - log.mean() - mean).std()
    constant = -np.log(np.mean(np.exp(mean + sd**2 / 2))) - centre @ slopes
    return np.array([sd, constant, *slopes])


def strength_of(z, xp=np):
    """Logarithm of the size of latents [N, L] in natural scale; xp: NumPy or JAX's."""
    return xp.log(xp.mean(xp.square(z), axis=-1) + 1e-3)


def add_rest(
    rest: Rest,
    restore: Callable[[jax.Array], jax.Array],
    latents: np.ndarray,
    z: np.ndarray,
    streams: np.ndarray,
    seed: int,
    *,
    first_draw: int,
    temperature: float,
) -> np.ndarray:
    """float32 [R, N, F]: gain * restore(latents) + temperature * a draw of what it lacks.

    Args:
        restore: [B, L] -> [B, F].
        latents: float32 [R, N, L], as the reducer has them; z: the same in natural scale.
        streams: uint32 [N], one number for each patient.
        first_draw: number of the first of the R draws.
    """
    num_draws, num_patients = latents.shape[:2]
    arrays = jax.device_put(rest)
    key = jax.random.fold_in(jax.random.key(seed), _PURPOSE)
    rows, natural = latents.reshape(-1, latents.shape[-1]), z.reshape(-1, z.shape[-1])
    own = np.tile(np.asarray(streams, np.uint32), num_draws)
    draws = np.repeat(np.arange(num_draws, dtype=np.uint32) + np.uint32(first_draw), num_patients)
    x = np.empty((len(rows), len(rest.noise)), np.float32)
    for i in range(0, len(rows), ROWS):
        part = slice(i, i + ROWS)
        row, z_part, stream, draw = (_padded(a[part]) for a in (rows, natural, own, draws))
        drawn = _add(arrays, restore(row), z_part, key, stream, draw, jnp.float32(temperature))
        x[part] = np.asarray(drawn)[: len(rows[part])]
    return x.reshape(num_draws, num_patients, -1)


def _padded(part: np.ndarray) -> jax.Array:
    width = [(0, ROWS - len(part))] + [(0, 0)] * (part.ndim - 1)
    return jnp.asarray(np.pad(part, width))


@jax.jit
def _add(rest: Rest, restored, z, key, streams, draws, temperature) -> jax.Array:
    num_features, num_components = rest.loadings.shape
    num_latents = len(rest.size) - 3

    def standard(stream: jax.Array, draw: jax.Array) -> jax.Array:
        own = jax.random.fold_in(jax.random.fold_in(key, stream), draw)
        return jax.random.normal(own, (num_components + num_features + 1,), jnp.float32)

    splits = [num_components, num_components + num_features]
    u, v, w = jnp.split(jax.vmap(standard)(streams, draws), splits, axis=1)
    shared = jnp.dot(u, rest.loadings.T, precision=jax.lax.Precision.HIGHEST)
    log = rest.size[0] * w[:, 0] + rest.size[1] + rest.size[2] * strength_of(z, jnp)
    log = jnp.clip(log + z[:, :num_latents] @ rest.size[3:], -LARGEST_LOG, LARGEST_LOG)
    drawn = jnp.exp(log / 2)[:, None] * (shared + rest.noise[None, :] * v)
    return rest.gain[None, :] * restored + temperature * drawn
