"""How close generated samples are to the truth, and whether their spread is honest.

Axes    R draws, N samples, D features of one modality (no padding: callers slice to the width).
Inputs  NumPy or JAX arrays, the forecast first and the truth last; computed in float32.
        Everything here is one compiled program, and can be called inside another.

A draw is one generated sample of p(target | sources). The posterior mean is the average of the
draws. Squared error (MSE, R2) rewards the posterior mean and punishes honest spread: a perfect
sampler has twice the MSE of the perfect posterior mean. The energy score is proper: in
expectation nothing scores better than the true distribution.
"""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

_TINY = 1e-30  # keeps the gradient of a norm finite at zero; its square root is 1e-15


def _pair(forecast: ArrayLike, real: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Both as float32 of the forecast's shape [..., N, D]; a [N, D] truth serves every draw."""
    forecast, real = jnp.asarray(forecast, jnp.float32), jnp.asarray(real, jnp.float32)
    if forecast.shape[-2:] != real.shape[-2:] or real.ndim > forecast.ndim:
        raise ValueError(
            f"forecast of shape {forecast.shape} does not fit a truth of shape {real.shape}: "
            "the last two axes are samples and features and the forecast comes first"
        )
    return forecast, jnp.broadcast_to(real, forecast.shape)


def _draws(draws: ArrayLike, real: ArrayLike, at_least: int = 2) -> tuple[jax.Array, jax.Array]:
    draws, real = jnp.asarray(draws, jnp.float32), jnp.asarray(real, jnp.float32)
    if draws.ndim != 3 or draws.shape[1:] != real.shape:
        raise ValueError(f"draws [R, N, D] expected for a truth {real.shape}; got {draws.shape}")
    if draws.shape[0] < at_least:
        raise ValueError(f"at least {at_least} draws are needed; got {draws.shape[0]}")
    return draws, real


@jax.jit
def mse(generated: ArrayLike, real: ArrayLike) -> jax.Array:
    """Mean squared error over samples and features: [..., N, D] against [N, D] -> [...]."""
    generated, real = _pair(generated, real)
    return jnp.mean((generated - real) ** 2, axis=(-2, -1))


@jax.jit
def total_variation(real: ArrayLike) -> jax.Array:
    """SS_tot / (N D): mean squared deviation of [..., N, D] from its one grand mean -> [...]."""
    real = jnp.asarray(real, jnp.float32)
    return jnp.mean((real - real.mean(axis=(-2, -1), keepdims=True)) ** 2, axis=(-2, -1))


@jax.jit
def r2(generated: ArrayLike, real: ArrayLike) -> jax.Array:
    """1 - SS_res / SS_tot about the grand mean of the truth: [..., N, D], [N, D] -> [...].

    One mean over all samples and features, not one a feature: the published definition, equal to
    the usual pooled one when features are standardised. 1 is perfect, 0 as good as that mean.
    """
    return 1 - mse(generated, real) / total_variation(real)


@jax.jit
def cosine_distance(generated: ArrayLike, real: ArrayLike) -> jax.Array:
    """1 - mean over samples of the cosine between generated and true rows, in [0, 2] -> [...].

    A zero row has cosine 0 with everything.
    """
    generated, real = _pair(generated, real)
    dot = jnp.sum(generated * real, axis=-1)
    norms = jnp.sqrt(jnp.sum(generated**2, axis=-1) * jnp.sum(real**2, axis=-1))
    return 1 - jnp.mean(dot / jnp.maximum(norms, 1e-12), axis=-1)


@functools.partial(jax.jit, static_argnames="fair")
def energy_score(draws: ArrayLike, real: ArrayLike, *, fair: bool = True) -> jax.Array:
    """Energy score per sample (lower is better): [R, N, D], [N, D] -> [N].

        ES_n = 1/R sum_r ||x_r - y|| - 1/(2 c) sum_{r,s} ||x_r - x_s||

    with c = R (R - 1) (`fair`: unbiased for the score at infinitely many draws) or c = R^2 (the
    score of the empirical distribution itself, larger by spread / 2R on average). Only the fair
    one compares methods with different numbers of draws.

    Gneiting and Raftery 2007, JASA 102:359, eq. 22; the fair estimator: Ferro 2014, QJRMS 140:1917.
    """
    draws, real = _draws(draws, real)
    num = draws.shape[0]

    def distances_to(point):
        """Sum over draws of the distance to `point` [N, D] -> [N]."""
        squared = jnp.sum((draws - point[None]) ** 2, axis=-1)
        return jnp.sum(jnp.sqrt(jnp.maximum(squared, _TINY)), axis=0)

    # One draw against all at a time: memory stays R N D instead of R^2 N D.
    within = jnp.sum(jax.lax.map(distances_to, draws), axis=0)
    pairs = num * (num - 1) if fair else num**2
    return distances_to(real) / num - within / (2 * pairs)


@jax.jit
def draw_variance(draws: ArrayLike) -> jax.Array:
    """Unbiased variance over draws, averaged over samples and features: [R, N, D] -> []."""
    return jnp.mean(jnp.var(jnp.asarray(draws, jnp.float32), axis=0, ddof=1))


@jax.jit
def posterior_mean_error(draws: jax.Array, real: jax.Array) -> jax.Array:
    """Squared error of each value's posterior mean at infinitely many draws: -> [N, D]."""
    return (draws.mean(axis=0) - real) ** 2 - jnp.var(draws, axis=0, ddof=1) / draws.shape[0]


@jax.jit
def posterior_mean_mse(draws: ArrayLike, real: ArrayLike) -> jax.Array:
    """MSE of the posterior mean at infinitely many draws: [R, N, D], [N, D] -> [].

        MSE_inf = MSE(mean of R draws) - s^2 / R,    s^2 = unbiased variance over draws

    because the mean of R draws scatters around the posterior mean with variance s^2 / R. Unbiased,
    hence slightly negative at times when the truth is known almost exactly.
    """
    draws, real = _draws(draws, real)
    return mse(draws.mean(axis=0), real) - draw_variance(draws) / draws.shape[0]


@jax.jit
def r2_inf(draws: ArrayLike, real: ArrayLike) -> jax.Array:
    """R2 of the posterior mean at infinitely many draws: [R, N, D], [N, D] -> []."""
    return 1 - posterior_mean_mse(draws, real) / total_variation(real)


@jax.jit
def spread_error(draws: ArrayLike, real: ArrayLike) -> jax.Array:
    """Calibration ratio sqrt(s^2 / MSE_inf): predictive sd over RMSE of the posterior mean -> [].

    1 is calibrated, below 1 overconfident (the spread is too small for the error), above 1
    underconfident. Both terms are free of the number of draws (see `posterior_mean_mse`), after
    Fortin et al. 2014, J. Hydrometeorology 15:1708. Infinite where the error vanishes.
    """
    return spread_ratio(draw_variance(draws), posterior_mean_mse(draws, real))


@jax.jit
def spread_ratio(variance: jax.Array, error: jax.Array) -> jax.Array:
    """sqrt(variance / error) of any shape; infinite where the error vanishes."""
    ratio = jnp.sqrt(variance / jnp.where(error > 0, error, 1.0))
    return jnp.where(error > 0, ratio, jnp.inf)


@functools.partial(jax.jit, static_argnames="level")
def interval_coverage(draws: ArrayLike, real: ArrayLike, level: float = 0.8) -> jax.Array:
    """Share of true values inside the central `level` interval of their draws, in [0, 1] -> []."""
    return jnp.mean(inside_interval(draws, real, level))


@functools.partial(jax.jit, static_argnames="level")
def inside_interval(draws: ArrayLike, real: ArrayLike, level: float = 0.8) -> jax.Array:
    """1 where the true value is inside the central `level` interval of its draws, else 0: [N, D].

    The bounds sit at positions p (R + 1), p = (1 -+ level) / 2, between the sorted draws (Weibull
    plotting positions), which makes the expected coverage `level` when truth and draws are
    exchangeable, for any R >= 2 / (1 - level) - 1 (9 draws for 0.8). With fewer draws the whole
    range is used and the coverage of a calibrated forecast is (R - 1) / (R + 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"coverage level must lie between 0 and 1, got {level}")
    draws, real = _draws(draws, real)
    ordered, top = jnp.sort(draws, axis=0), draws.shape[0] - 1

    def quantile(p: float) -> jax.Array:
        position = min(max(p * (top + 2) - 1, 0.0), float(top))
        low = min(int(position), top - 1)
        return ordered[low] + (position - low) * (ordered[low + 1] - ordered[low])

    lower, upper = quantile((1 - level) / 2), quantile((1 + level) / 2)
    return ((real >= lower) & (real <= upper)).astype(jnp.float32)


@jax.jit
def patient_scores(draws: ArrayLike, real: ArrayLike) -> dict[str, jax.Array]:
    """Of each patient [N]: fair energy score, error of the posterior mean (mean over features,
    finite draws removed) and root mean square standard deviation of the draws."""
    return {
        "energy_score": energy_score(draws, real),
        "error": posterior_mean_error(jnp.asarray(draws), jnp.asarray(real)).mean(axis=1),
        "spread": jnp.sqrt(jnp.var(jnp.asarray(draws), axis=0, ddof=1).mean(axis=1)),
    }


@functools.partial(jax.jit, static_argnames="finite_draws")
def r2_by_group(
    generated: ArrayLike, real: ArrayLike, members: ArrayLike, *, finite_draws: bool = False
) -> jax.Array:
    """R2 within groups of samples, against the mean of everyone: -> [G].

    generated [N, D] (or draws [R, N, D] with `finite_draws`, which scores the posterior mean at
    infinitely many draws), real [N, D], members bool [G, N].

        R2_g = mean_d ( 1 - sum_{n in g} (y - yhat)^2 / sum_{n in g} (y - mean_all(y))^2 )

    per feature about that feature's mean over all samples, then averaged over features.
    """
    if finite_draws:
        draws, real = _draws(generated, real)
        error = posterior_mean_error(draws, real)
    else:
        generated, real = _pair(generated, real)
        error = (generated - real) ** 2
    weights = jnp.asarray(members, jnp.float32)
    spread = (real - real.mean(axis=0, keepdims=True)) ** 2
    return jnp.mean(1 - (weights @ error) / (weights @ spread), axis=-1)
