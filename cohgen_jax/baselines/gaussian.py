"""A joint Gaussian of all modalities; a draw is one of its conditional given the sources.

Model   c = leading components of a patient's modalities (z * scale), side by side with the
        covariates, ~ N(mean, S); with what is known s and target t
        c_t | c_s ~ N(mean_t + W' (c_s - mean_s), S_tt - W' S_st),    W = S_ss^-1 S_st
Fit     expectation-maximisation on every training patient, whatever it has (Little & Rubin 2019,
        section 11.2): absent values are replaced by their conditional means, and their
        conditional covariance is added to the moments. Covariates are always known
Shrink  after each step S becomes (1 - d) S + d (tr S / F) I, with the intensity d of Ledoit & Wolf
        2004 (J. Multivar. Anal. 88:365) from the completed patients
Draw    c_t, and the rest as components.py has it. Where all latents are components and the
        outcomes are latents, there is no rest
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cohgen_jax.baselines.components import COMPONENTS, fit_rest
from cohgen_jax.baselines.patterns import MIN_TRAIN
from cohgen_jax.baselines.view import View
from cohgen_jax.errors import InputError
from cohgen_jax.sampling.generator import Generated, Generator

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


class Columns(NamedTuple):
    """What the joint Gaussian is of: components of the modalities, then the covariates."""

    modality: np.ndarray  # int [F], M for a covariate
    component: np.ndarray  # int [F], column of z[:, modality]
    scale: np.ndarray  # [F]

    def of(self, z: np.ndarray) -> np.ndarray:
        """float64 [n, F] of z [n, M or M + 1, D]."""
        return z[:, self.modality, self.component] * self.scale


def columns_of(view: View, rows_train: np.ndarray) -> Columns:
    """The COMPONENTS of largest scale of each modality, fewer than a third of its patients."""
    modality, component, scale = [], [], []
    for m, width in enumerate(view.widths):
        scales = view.scale[m, :width]
        most = min(COMPONENTS, view.present[rows_train, m].sum() // 3, (scales > 0).sum())
        chosen = np.sort(np.argsort(-scales, kind="stable")[:most])
        modality.append(np.full(len(chosen), m))
        component.append(chosen)
        scale.append(scales[chosen])
    # Shrinkage draws all variances to their mean, which would drown rare categories.
    sd = view.z[rows_train][:, -1, view.covariates].std(axis=0)
    usual = np.sqrt(np.mean(np.concatenate(scale) ** 2)) if any(map(len, scale)) else 1.0
    varies = sd > 0
    modality.append(np.full(varies.sum(), len(view.modalities)))
    component.append(view.covariates[varies])
    scale.append(usual / sd[varies])
    return Columns(*(np.concatenate(parts) for parts in (modality, component, scale)))


def gaussian(view: View, rows_train: np.ndarray, rows_val: np.ndarray) -> dict[str, Generator]:
    """Generators by target. Validation patients are not used: there is nothing to choose."""
    rows_train = np.asarray(rows_train)

    def known(present: np.ndarray, columns: Columns) -> np.ndarray:
        """bool [n, F]: which columns a patient has, all covariates among them."""
        present = np.asarray(present, bool)
        return np.hstack([present, np.ones((len(present), 1), bool)])[:, columns.modality]

    @functools.cache
    def joint() -> tuple[Columns, Gaussian]:
        columns = columns_of(view, rows_train)
        x = columns.of(view.z[rows_train]).astype(float)
        return columns, fit_joint(x, known(view.present[rows_train], columns))

    def generator(target: int) -> Generator:
        having = rows_train[view.present[rows_train, target]]

        def generate(z: np.ndarray, present: np.ndarray, num_draws: int, seed: int) -> Generated:
            if len(having) < MIN_TRAIN:
                raise InputError(
                    f"a Gaussian of {view.modalities[target]} needs {MIN_TRAIN} training patients "
                    f"that have it; there are {len(having)}"
                )
            columns, (mean, covariance) = joint()
            of_target, values = columns.modality == target, columns.of(np.asarray(z, float))
            # One block of numbers a patient: its draws do not depend on how many come after.
            noise = np.random.default_rng(seed).standard_normal(
                (len(z), num_draws, of_target.sum())
            )
            components = np.zeros((num_draws, len(z), of_target.sum()))
            for given, rows in groups(known(present, columns) & ~of_target):
                used = given | of_target
                weights, left = conditional(covariance[np.ix_(used, used)], given[used])
                centre = mean[of_target] + (values[np.ix_(rows, given)] - mean[given]) @ weights
                drawn = centre[:, None] + noise[rows] @ np.linalg.cholesky(left).T
                components[:, rows] = drawn.swapaxes(0, 1)
            u = np.random.default_rng([seed, 1]).random((len(z), num_draws)).T
            patients = columns.of(view.z[having])[:, of_target]
            rest = fit_rest(patients, view.outcomes(target, having))
            return view.generated(target, rest.draw(components, u))

        return generate

    return {name: generator(t) for t, name in enumerate(view.modalities)}
