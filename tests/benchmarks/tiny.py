"""A cohort of forty as rivals are given one: one shared factor, unequal widths, tables lacking."""

import numpy as np

from benchmarks.rivals.protocol import Cohort, Patients

MODALITIES = {"narrow": 3, "wide": 30, "mid": 12}


def tiny_cohort(num: int = 40, seed: int = 0) -> Cohort:
    """Features are a factor, told in part by the first covariate, and noise."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(num, 1))
    widths = np.array([min(size, 8) for size in MODALITIES.values()])
    present = rng.random((num, 3)) > 0.2
    present[:, 1] = True
    features, components = {}, np.zeros((num, 3, 8), np.float32)
    for m, (name, size) in enumerate(MODALITIES.items()):
        x = factor * rng.normal(size=size) + 0.2 * rng.normal(size=(num, size))
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        _, _, axes = np.linalg.svd(x, full_matrices=False)
        z = x @ axes[: widths[m]].T
        components[:, m, : widths[m]] = np.where(present[:, m, None], z, 0)
        features[name] = np.where(present[:, m, None], x, np.nan).astype(np.float32)
    covariates = np.concatenate([factor + rng.normal(size=(num, 1)), np.ones((num, 1))], axis=1)
    patients = Patients(components, features, covariates.astype(np.float32), present)
    rows = np.arange(num)
    return Cohort(patients, widths, rows[: num - 14], rows[num - 14 : num - 8], rows[num - 8 :])
