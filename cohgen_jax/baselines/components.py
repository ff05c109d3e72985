"""Leading components of what is drawn, and the rest of a patient beside them.

Models of many values at once (a joint Gaussian, a network) model the components; whole outcomes
y = mean_y + (c - mean_c) B + rest get the rest of a random training patient, all of it.
Axes    R draws, N patients, C components, F outcomes.
"""

from typing import NamedTuple

import numpy as np

from cohgen_jax.baselines.patterns import pick

COMPONENTS = 64
"""Of a modality at most: those of largest scale."""


class Remainder(NamedTuple):
    components: np.ndarray  # c [n, C], of training patients
    outcomes: np.ndarray  # y [n, F]
    weights: np.ndarray  # B [C, F]

    def draw(self, components: np.ndarray, u: np.ndarray) -> np.ndarray:
        """[R, N, C] -> float32 [R, N, F], with the rest of the patient that u [R, N] picks."""
        n, used = self.components.shape
        gain = float(np.sqrt((n - 1) / max(n - 1 - used, 1)))  # degrees of freedom the fit took
        mean_c, mean_y = self.components.mean(axis=0), self.outcomes.mean(axis=0)
        draws = np.empty((*u.shape, self.outcomes.shape[1]), np.float32)
        for r, chosen in enumerate(pick(u, n)):
            c = components[r] - mean_c - gain * (self.components[chosen] - mean_c)
            draws[r] = mean_y + c.astype(np.float32) @ self.weights
            draws[r] += gain * (self.outcomes[chosen] - mean_y)
        return draws


def fit_rest(components: np.ndarray, outcomes: np.ndarray) -> Remainder:
    """B by least squares about the means."""
    inverse = np.linalg.pinv((components - components.mean(axis=0)).astype(float))
    weights = inverse.astype(np.float32) @ (outcomes - outcomes.mean(axis=0))
    return Remainder(components, outcomes, weights)
