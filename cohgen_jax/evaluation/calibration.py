"""Is the spread of the draws honest? Scores and curves beside those of metrics.py.

Axes    R draws, N samples, D features. The forecast comes first, the truth last; float32.

Calibration is agreement of spread and error; sharpness is how small the spread is. A forecast of
the overall distribution for everyone is calibrated and useless: "maximise sharpness subject to
calibration" (Gneiting, Balabdaoui and Raftery 2007, JRSS B 69:243).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.typing import ArrayLike

from cohgen_jax.evaluation.metrics import draw_variance, spread_error


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
        own, truth = sample
        return jnp.mean((differences(truth) - differences(own).mean(axis=0)) ** 2)

    return jax.lax.map(of_sample, (jnp.swapaxes(draws, 0, 1), real), batch_size=64)


def ranks(draws: ArrayLike, real: ArrayLike) -> jax.Array:
    """Rank of each true value among its draws, 0 .. R: [N, D] int. Uniform when calibrated."""
    draws, real = jnp.asarray(draws, jnp.float32), jnp.asarray(real, jnp.float32)
    return jnp.sum(draws < real[None], axis=0)


def rank_histogram(draws: ArrayLike, real: ArrayLike) -> pd.DataFrame:
    """Columns rank (0 .. R) and share of the true values that have it; all 1/(R + 1) when honest.

    A bowl says that draws are too close together, a hill too far apart, a slope that they are
    shifted (Hamill 2001, Mon. Weather Rev. 129:550): the draws' PIT histogram.
    """
    num = len(draws) + 1
    counts = np.bincount(np.asarray(ranks(draws, real)).ravel(), minlength=num)
    return pd.DataFrame({"rank": np.arange(num), "share": counts / counts.sum()})


def reliability_curve(draws: ArrayLike, real: ArrayLike) -> pd.DataFrame:
    """Coverage of every central interval that R draws can make without interpolation.

    The interval between the j-th smallest and the j-th largest draw holds an exchangeable truth
    with chance (R + 1 - 2 j) / (R + 1), column `nominal`; `observed` is the share that it holds.
    """
    num = len(draws)
    counts = rank_histogram(draws, real)["share"].to_numpy()
    inside = [counts[j : num + 1 - j].sum() for j in range(1, num // 2 + 1)]
    nominal = [(num + 1 - 2 * j) / (num + 1) for j in range(1, num // 2 + 1)]
    return pd.DataFrame({"nominal": nominal, "observed": inside})[::-1].reset_index(drop=True)


def calibration_scores(draws: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """One row of metrics/calibration.csv, from R >= 2 draws [R, N, D] and the truth [N, D].

    crps               mean over samples and features
    variogram_score    mean over samples
    spread             sharpness: root mean square standard deviation of the draws
    error              root mean square error of the posterior mean, finite draws removed
    spread_error       spread / error, 1 when calibrated
    calibration_error  mean |observed - nominal| of the reliability curve
    """
    curve = reliability_curve(draws, real)
    spread, ratio = float(jnp.sqrt(draw_variance(draws))), float(spread_error(draws, real))
    return {
        "crps": float(jnp.mean(crps(draws, real))),
        "variogram_score": float(jnp.mean(variogram_score(draws, real))),
        "spread": spread,
        "error": spread / ratio if np.isfinite(ratio) else 0.0,
        "spread_error": ratio,
        "calibration_error": float((curve["observed"] - curve["nominal"]).abs().mean()),
    }
