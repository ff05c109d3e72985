"""A joint Gaussian of all modalities; a draw is one of its conditional given the sources.

Model   x = all latents of a patient, side by side, ~ N(mean, S); with sources s and target t
        x_t | x_s ~ N(mean_t + W' (x_s - mean_s), S_tt - W' S_st),    W = S_ss^-1 S_st
Fit     expectation-maximisation on every training patient, whatever it has (Little & Rubin 2019,
        section 11.2): absent values are replaced by their conditional means, and their
        conditional covariance is added to the moments
Shrink  after each step S becomes (1 - d) S + d (tr S / F) I, with the intensity d of Ledoit & Wolf
        2004 (J. Multivar. Anal. 88:365) from the completed patients
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cohgen_jax.evaluation.generator import Generated, Generator

MAX_STEPS = 100
TOLERANCE = 1e-3
"""Of the largest change of a covariance, in units of the mean variance, at which EM ends."""


class Gaussian(NamedTuple):
    mean: np.ndarray  # [F]
    covariance: np.ndarray  # [F, F]


def conditional(covariance: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """W [G, U] and the covariance [U, U] of the rest, given the features marked in `given` [F]."""
    cross = covariance[np.ix_(given, ~given)]
    weights = np.linalg.solve(covariance[np.ix_(given, given)], cross)
    return weights, covariance[np.ix_(~given, ~given)] - weights.T @ cross


def groups(seen: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each distinct row of a boolean matrix [n, F], with the positions of the rows like it."""
    patterns, group = np.unique(seen, axis=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        yield pattern, np.flatnonzero(group.ravel() == index)


def fit_joint(x: np.ndarray, seen: np.ndarray) -> Gaussian:
    """Fit on incomplete rows. x: [n, F], any value where `seen` [n, F] is False."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    mean = np.mean(x, axis=0, where=seen)
    covariance = np.var(x, axis=0, where=seen).mean() * np.eye(x.shape[1])
    for _ in range(MAX_STEPS):
        completed, uncertain = np.where(seen, x, mean), np.zeros_like(covariance)
        for given, rows in groups(seen):
            if given.all():
                continue
            weights, rest = conditional(covariance, given)
            completed[np.ix_(rows, ~given)] += (x[np.ix_(rows, given)] - mean[given]) @ weights
            uncertain[np.ix_(~given, ~given)] += len(rows) * rest
        before, mean = covariance, completed.mean(axis=0)
        centred = completed - mean
        covariance = (centred.T @ centred + uncertain) / len(x)
        intensity = ledoit_wolf_shrinkage(centred, assume_centered=True)
        variance = np.trace(covariance) / len(covariance)
        covariance = (1 - intensity) * covariance + intensity * variance * np.eye(len(covariance))
        if np.abs(covariance - before).max() < TOLERANCE * variance:
            break
    return Gaussian(mean, covariance)


def gaussian(latents, rows_train: np.ndarray, rows_val: np.ndarray) -> dict[str, Generator]:
    """Generators by target. Validation patients are not used: there is nothing to choose.

    latents: `z` [N, M, D], `present` [N, M], `widths` [M], `modalities`.
    """
    dims = np.arange(latents.z.shape[2])[None] < np.asarray(latents.widths)[:, None]  # [M, D]
    modality = np.nonzero(dims)[0]  # [F], of each latent
    fitted: list[Gaussian] = []

    def joint() -> Gaussian:
        if not fitted:
            seen = np.asarray(latents.present, bool)[rows_train][:, modality]
            fitted.append(fit_joint(latents.z[rows_train][:, dims].astype(float), seen))
        return fitted[0]

    def generator(target: int) -> Generator:
        def generate(z: np.ndarray, present: np.ndarray, num_draws: int, seed: int) -> Generated:
            mean, covariance = joint()
            own, values = modality == target, np.asarray(z, float)[:, dims]
            # One block of numbers a patient: its draws do not depend on how many come after.
            noise = np.random.default_rng(seed).standard_normal((len(z), num_draws, own.sum()))
            draws = np.zeros((num_draws, len(z), z.shape[2]), np.float32)
            shown = np.asarray(present, bool)[:, modality] & ~own
            for given, rows in groups(shown):
                used = given | own
                weights, rest = conditional(covariance[np.ix_(used, used)], given[used])
                centre = mean[own] + (values[np.ix_(rows, given)] - mean[given]) @ weights
                drawn = centre[:, None] + noise[rows] @ np.linalg.cholesky(rest).T
                draws[:, rows, : own.sum()] = drawn.swapaxes(0, 1)
            return Generated(draws, np.full(draws.shape[:2], np.nan, np.float32))

        return generate

    return {name: generator(t) for t, name in enumerate(latents.modalities)}
