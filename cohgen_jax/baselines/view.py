"""What baselines see of patients, and what they draw of them.

See     the latents of the sources in natural scale, z * scale: each component counts by its share
        of the table's variance, nothing is whitened away; and the covariates, z[:, M] * scale[M]
Draw    the target in standardised features x [F], whole vectors of them, where there are such;
        its latents z [L] where there are not
Axes    R draws, N patients, M modalities, D padded width, P inputs, F outcomes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cohgen_jax.errors import InputError
from cohgen_jax.sampling.generator import Generated

ROWS = 4096
"""Patients that are worked on at once."""

Project = Callable[[np.ndarray], np.ndarray]
"""x [n, F] -> z [n, L], a codec's."""


class View(NamedTuple):
    """One cohort as its baselines have it; made by `view_of`."""

    z: np.ndarray  # float32 [N, M, D], or [N, M + 1, D] with covariates
    present: np.ndarray  # bool [N, M]
    widths: np.ndarray  # int [M]
    modalities: tuple[str, ...]
    scale: np.ndarray  # float32 [M or M + 1, D], as z
    covariates: np.ndarray  # int [C]: the columns of z[:, M] that any training patient has
    features: Mapping[str, np.ndarray]  # [N, F] of each modality, rows as z; may be empty
    project: Mapping[str, Project]
    known: Mapping[str, np.ndarray]  # bool [N, F]: cells that were measured, of tables of events

    def inputs(self, z: np.ndarray, sources: Sequence[int]) -> np.ndarray:
        """float32 [n, P]: the sources of z [n, M or M + 1, D] side by side, covariates last."""
        blocks = [z[:, m, : self.widths[m]] * self.scale[m, : self.widths[m]] for m in sources]
        blocks.append(self.given(z))
        return np.concatenate(blocks, axis=1).astype(np.float32)

    def given(self, z: np.ndarray) -> np.ndarray:
        """[n, C]: the covariates; none where there is no column for them."""
        if not len(self.covariates):
            return np.zeros((len(z), 0), np.float32)
        m = len(self.modalities)
        return z[:, m, self.covariates] * self.scale[m, self.covariates]

    def size(self, target: int) -> int:
        """F or L: how many values are drawn of a target."""
        drawn = self.features.get(self.modalities[target])
        return int(self.widths[target]) if drawn is None else drawn.shape[1]

    def wants_mean(self, target: int) -> bool:
        """Whether expectations are scored beside draws."""
        return self.modalities[target] in self.known

    def outcomes(self, target: int, rows: np.ndarray, *, measured_only: bool = False) -> np.ndarray:
        """float32 [n, F or L]: what is drawn of the target, of patients who have it.

        measured_only: NaN in the cells that nobody measured, of a target whose cells are `known`.
        """
        name = self.modalities[target]
        if name not in self.features:
            return np.asarray(self.z[rows, target, : self.widths[target]], np.float32)
        values = np.asarray(self.features[name][rows], np.float32)
        if measured_only:
            return np.where(self.known[name][rows], values, np.nan)
        # An unknown cell counts as the average of its feature, which is 0.
        return np.nan_to_num(values)

    def generated(
        self, target: int, drawn: np.ndarray, mean: np.ndarray | None = None
    ) -> Generated:
        """Draws [R, N, F or L] of a target, and their expectation, as evaluation takes them."""
        name, num_draws, patients = self.modalities[target], *drawn.shape[:2]
        draws = np.zeros((num_draws, patients, self.z.shape[2]), np.float32)
        absent = np.full((num_draws, patients), np.nan, np.float32)
        width = int(self.widths[target])
        if name not in self.features:
            draws[..., :width] = drawn
            return Generated(draws, absent)
        for draw, x in zip(draws, drawn, strict=True):
            for start in range(0, patients, ROWS):
                block = slice(start, start + ROWS)
                draw[block, :width] = self.project[name](x[block])
        return Generated(draws, absent, drawn, None if mean is None else mean[None])


def view_of(
    latents,
    rows_train: np.ndarray,
    features: Mapping[str, np.ndarray] | None = None,
    project: Mapping[str, Project] | None = None,
    known: Mapping[str, np.ndarray] | None = None,
) -> View:
    """latents: `z`, `present`, `widths`, `modalities` and, unless it is all one, `scale`, which may
    lack the covariates. features: standardised, [N, F] of some or all modalities. known: bool
    [N, F] of those among them whose expectations are scored."""
    features, project = features or {}, project or {}
    lacking = [name for name in features if name not in project]
    if lacking:
        raise InputError(f"{lacking[0]}: features to draw, but no way from these to latents")
    z, modalities = np.asarray(latents.z, np.float32), tuple(latents.modalities)
    scale = np.ones(z.shape[1:], np.float32)
    scales = getattr(latents, "scale", None)
    if scales is not None:
        scale[: len(scales)] = scales
    columns = np.zeros(0, int)
    if z.shape[1] > len(modalities):
        columns = np.flatnonzero((z[rows_train, -1] != 0).any(axis=0))
    present = np.asarray(latents.present, bool)
    widths = np.asarray(latents.widths)[: len(modalities)]
    return View(z, present, widths, modalities, scale, columns, features, project, known or {})
