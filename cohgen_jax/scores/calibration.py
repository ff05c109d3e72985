"""Is the spread of the draws honest? Scores and curves beside those of draws.py.

Axes    R draws, N samples, D features. The forecast comes first, the truth last; float32.

Calibration is agreement of spread and error; sharpness is how small the spread is. A forecast of
the overall distribution for everyone is calibrated and useless: "maximise sharpness subject to
calibration" (Gneiting, Balabdaoui and Raftery 2007, JRSS B 69:243).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cohgen_jax.scores.draws import draw_variance, posterior_mean_mse


@jax.jit
def crps(draws: ArrayLike, real: ArrayLike) -> jax.Array:
    """Continuous ranked probability score of each value (lower is better): [N, D].

        1/R sum_r |x_r - y| - 1/(2 R (R - 1)) sum_{r,s} |x_r - x_s|

    the energy score of one feature, fair in the number of draws (Gneiting and Raftery 2007, eq. 21;
    Ferro 2014). The double sum is 2 sum_r (2 r - R - 1) x_(r) over sorted draws, r = 1 .. R.
    """
    draws, real = jnp.asarray(draws, jnp.float32), jnp.asarray(real, jnp.float32)
    num = draws.shape[0]
    ranks = 2 * jnp.arange(1, num + 1, dtype=jnp.float32) - num - 1
    within = jnp.tensordot(ranks, jnp.sort(draws, axis=0), 1) / (num * (num - 1))
    return jnp.mean(jnp.abs(draws - real[None]), axis=0) - within


@functools.partial(jax.jit, static_argnames="power")
def variogram_score(draws: ArrayLike, real: ArrayLike, power: float = 0.5) -> jax.Array:
    """Variogram score of each sample (lower is better): [R, N, D], [N, D] -> [N].

        mean over pairs i < j of ( |y_i - y_j|^p - 1/R sum_r |x_ri - x_rj|^p )^2

    sees wrong dependence between features, which the energy score hardly does, and is blind to a
    shift of all (Scheuerer and Hamill 2015, Mon. Weather Rev. 143:1321, eq. 2). Not fair in R: of
    methods with equally many draws only.
    """
    draws, real = jnp.asarray(draws, jnp.float32), jnp.asarray(real, jnp.float32)
    first, second = np.triu_indices(real.shape[-1], 1)

    def differences(x):
        return jnp.abs(x[..., first] - x[..., second]) ** power

    def of_sample(sample):
        drawn, truth = sample
        return jnp.mean((differences(truth) - differences(drawn).mean(axis=0)) ** 2)

    return jax.lax.map(of_sample, (jnp.swapaxes(draws, 0, 1), real), batch_size=64)


@jax.jit
def ranks(draws: ArrayLike, real: ArrayLike) -> jax.Array:
    """Rank of each true value among its draws, 0 .. R: [N, D] int. Uniform when calibrated."""
    draws, real = jnp.asarray(draws, jnp.float32), jnp.asarray(real, jnp.float32)
    return jnp.sum(draws < real[None], axis=0)


@jax.jit
def rank_shares(draws: ArrayLike, real: ArrayLike) -> jax.Array:
    """Share of the true values that have rank 0 .. R: [R + 1], all 1/(R + 1) when honest.

    The draws' PIT histogram: a bowl says that draws are too close together, a hill too far apart, a
    slope that they are shifted (Hamill 2001, Mon. Weather Rev. 129:550).
    """
    places = ranks(draws, real).ravel()
    return jnp.bincount(places, length=np.shape(draws)[0] + 1) / places.size


def exact_levels(num_draws: int) -> np.ndarray:
    """Levels of the central intervals that R draws make without interpolation, increasing.

    The interval between the j-th smallest and the j-th largest draw holds an exchangeable truth
    with chance (R + 1 - 2 j) / (R + 1), for j = 1 .. R / 2.
    """
    return (num_draws + 1 - 2 * np.arange(num_draws // 2, 0, -1)) / (num_draws + 1)


@jax.jit
def coverages(shares: ArrayLike) -> jax.Array:
    """Observed coverage at `exact_levels`, from `rank_shares`."""
    shares = jnp.asarray(shares)
    num = len(shares)
    return jnp.stack([shares[j : num - j].sum() for j in range((num - 1) // 2, 0, -1)])


@jax.jit
def calibration_scores(draws: ArrayLike, real: ArrayLike) -> dict[str, jax.Array]:
    """Scores of R >= 2 draws [R, N, D] against the truth [N, D]; may be called inside `jax.jit`.

    crps               mean over samples and features
    variogram_score    mean over samples
    spread             sharpness: root mean square standard deviation of the draws
    error              root mean square error of the posterior mean, finite draws removed
    calibration_error  mean |observed - nominal| of central intervals at `exact_levels`
    """
    gap = coverages(rank_shares(draws, real)) - exact_levels(np.shape(draws)[0])
    return {
        "crps": jnp.mean(crps(draws, real)),
        "variogram_score": jnp.mean(variogram_score(draws, real)),
        "spread": jnp.sqrt(draw_variance(draws)),
        "error": jnp.sqrt(jnp.maximum(posterior_mean_mse(draws, real), 0)),
        "calibration_error": jnp.mean(jnp.abs(gap)),
    }
