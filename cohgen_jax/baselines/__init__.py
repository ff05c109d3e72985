"""What any generator has to beat, on the same split: climatology, regressions, similar patients, a
Gaussian, and where they are installed models of other libraries."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cohgen_jax.baselines import energy_network, vae
from cohgen_jax.baselines.energy_network import engression
from cohgen_jax.baselines.gaussian import gaussian
from cohgen_jax.baselines.logistic import logistic, seen_by_logistic
from cohgen_jax.baselines.nearest import nearest_patients
from cohgen_jax.baselines.patterns import Fit, fit_patterns, random_patient
from cohgen_jax.baselines.regression import kernel_ridge, ridge
from cohgen_jax.baselines.vae import multimodal_vae
from cohgen_jax.baselines.view import Project, View, view_of
from cohgen_jax.sampling.generator import Generator

REGRESSIONS: dict[str, Fit] = {
    "climatology": random_patient,
    "ridge": ridge,
    "kernel_ridge": kernel_ridge,
    "nearest": nearest_patients,
    "logistic": logistic,
    "engression": engression,
}
"""Name -> how one is fitted on complete rows: (x, y) -> draw function."""
SOURCELESS = ("climatology",)
"""Of these, what looks at nothing of a patient."""
EVENTS = ("logistic",)
"""Of these, what is for targets whose known cells are told: tables of binary features."""
JOINT: dict[str, Callable[..., dict[str, Generator]]] = {
    "gaussian": gaussian,
    "multimodal_vae": multimodal_vae,
}
"""Name -> one model of all modalities: (view, rows_train, rows_val) -> generators by target."""
OPTIONAL: dict[str, Callable[[], str | None]] = {
    "multimodal_vae": vae.missing,
    "engression": energy_network.missing,
}
"""What needs a library that need not be there -> why it cannot be had here; None where it can."""
BASELINES = tuple(n for n in (*REGRESSIONS, *JOINT) if n not in OPTIONAL and n not in EVENTS)
"""Those for every target."""


def fit_baselines(
    latents,
    rows_train: np.ndarray,
    rows_val: np.ndarray,
    *,
    features: Mapping[str, np.ndarray] | None = None,
    project: Mapping[str, Project] | None = None,
    known: Mapping[str, np.ndarray] | None = None,
    methods: Sequence[str] = BASELINES,
    targets: Sequence[str] | None = None,
) -> dict[tuple[str, str], Generator]:
    """Every baseline for every target, keyed (method, target) as `evaluate` takes them.

    Nothing is computed until a generator is called (for a regression: with a presence pattern) for
    the first time.

    Args:
      latents: `z` [N, M, D], or [N, M + 1, D] with covariates last, `present` [N, M], `widths` [M],
        `modalities`, and `scale` [M or M + 1, D] unless it is all one.
      rows_train, rows_val: integer positions; validation patients are of use to
        multimodal_vae alone.
      features: by modality, standardised features [N, F], rows as latents.z. Where they are given,
        whole vectors of them are drawn; else latents are.
      project: by modality, x [n, F] -> z [n, L], the latents of what is drawn so.
      known: bool [N, F], which of the features were measured, of modalities of binary features.
        They alone have a logistic regression, and expectations beside draws.
    """
    view = view_of(latents, rows_train, features, project, known)
    fitted = {}
    for method in methods:
        joint = JOINT[method](view, rows_train, rows_val) if method in JOINT else {}
        for t, target in enumerate(view.modalities):
            if targets is not None and target not in targets:
                continue
            if method in EVENTS and target not in view.known:
                continue
            others = [i for i in range(len(view.modalities)) if i != t]
            sources = [] if method in SOURCELESS else others
            events = method in EVENTS
            seen = seen_by_logistic(view, t) if events else view
            fitted[method, target] = joint.get(target) or fit_patterns(
                REGRESSIONS[method], seen, rows_train, t, sources, measured_only=events
            )
    return fitted


__all__ = [
    "BASELINES",
    "EVENTS",
    "JOINT",
    "OPTIONAL",
    "REGRESSIONS",
    "View",
    "engression",
    "fit_baselines",
    "fit_patterns",
    "gaussian",
    "kernel_ridge",
    "logistic",
    "multimodal_vae",
    "nearest_patients",
    "random_patient",
    "ridge",
    "view_of",
]
