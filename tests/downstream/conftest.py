"""A study of Gaussian latents in which the truth is known, and generators that are exact."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.downstream.draws import Draws, generate_all, merge
from cohgen_jax.downstream.study import Study
from cohgen_jax.sampling.generator import Generated

WIDTH = 3


class FakeLatents(NamedTuple):
    z: np.ndarray
    present: np.ndarray
    widths: np.ndarray
    modalities: tuple[str, ...]

    @property
    def scale(self) -> np.ndarray:
        """Every component is worth the same."""
        return np.ones(self.z.shape[1:], np.float32)


def planted_study(seed: int = 0, num: int = 500, *, holes: float = 0.0, permuted: bool = False):
    """Modalities a, b, c see the same factors u [N, 3] with noise of sd 0.5.

    Stage and hazard follow u_0 and u_1; every second sample is for testing. `permuted` deals the
    outcomes out at random.
    """
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((num, WIDTH))
    z = factors[:, None] + 0.5 * rng.standard_normal((num, 3, WIDTH))
    score = factors[:, 0] + factors[:, 1]
    stage = np.array(["I", "II", "III", "IV"])[np.digitize(score, [-1, 0, 1])]
    death = rng.exponential(1000 * np.exp(-score))
    censored = rng.uniform(300, 4000, num)
    outcomes = pd.DataFrame(
        {
            "stage": stage,
            "os_event": (death <= censored).astype(float),
            "os_days": np.ceil(np.minimum(death, censored)),
        }
    )
    if permuted:
        outcomes = outcomes.iloc[rng.permutation(num)].reset_index(drop=True)
    samples = outcomes.assign(
        patient_id=[f"P{i}" for i in range(num)],
        split=np.where(np.arange(num) % 2, "test", "train"),
        cancer_type=np.array(["x", "y"])[rng.integers(0, 2, num)],
    ).set_index(pd.Index([f"S{i}" for i in range(num)], name="sample_id"))
    present = np.ones((num, 3), bool)
    present[np.flatnonzero(rng.random(num) < holes), 2] = False
    present[1::2] = True
    z = np.where(present[:, :, None], z, 0).astype(np.float32)
    return Study(FakeLatents(z, present, np.full(3, WIDTH), ("a", "b", "c")), samples)


def exact_generator(target: int):
    """Draws from p(target | present) of the planted model, feature by feature.

    u | k views has mean sum / (k + 1/4) and variance 1 / (1 + 4 k); the target adds 1/4.
    """

    def generate(z, present, num_draws, seed):
        present = present & (np.arange(3) != target)
        views = present.sum(axis=1)[:, None]
        mean = np.where(present[:, :, None], z, 0).sum(axis=1) / (views + 0.25)
        sd = np.sqrt(1 / (1 + 4 * views) + 0.25)
        noise = np.random.default_rng([seed, target]).standard_normal((num_draws, *mean.shape))
        draws = (mean + sd * noise).astype(np.float32)
        return Generated(draws, np.full(draws.shape[:2], np.nan, np.float32))

    return generate


def noise_generator(target: int):
    """Draws that know nothing of the patient."""

    def generate(z, present, num_draws, seed):
        shape = (num_draws, len(z), WIDTH)
        draws = np.random.default_rng([seed, target, 1]).standard_normal(shape) * np.sqrt(1.25)
        return Generated(draws.astype(np.float32), np.full(shape[:2], np.nan, np.float32))

    return generate


def planted_draws(study: Study, num_draws: int = 5, seed: int = 0) -> Draws:
    """`multi` is exact, `nearest` knows nothing."""
    generators = {}
    for t, name in enumerate(study.modalities):
        generators["multi", name] = exact_generator(t)
        generators["nearest", name] = noise_generator(t)
    return merge(
        [generate_all(generators, study, m, num_draws, seed) for m in ("nearest", "multi")]
    )
