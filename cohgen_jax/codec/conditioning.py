"""Unknown cells of a table that was measured: draws of all of it, moved to what is known of it.

    x_u | x_o  =  x_u^r + S_uo S_oo^-1 (x_o - x_o^r),     x^r ~ N(m, S)

is a draw of the conditional for each draw x^r (Matheron's rule; Wilson et al. 2021, JMLR 22:105,
eq. 10), here from the other modalities of the patient, with S = A A' + diag(psi^2): in A the
loadings of the latents, times their standard deviations given the other modalities, and those of
the rest (rest.py).
Axes    R draws, N patients, F features, K columns of A.
"""

import numpy as np

LEAST_NOISE = 0.05
"""Of psi: what the score of a measured value does not say (it is the middle of its level)."""


def condition(
    x: np.ndarray, measured: np.ndarray, loadings: np.ndarray, sd: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """float32 [R, N, F]: draws x with the known cells of measured [N, F] (NaN: unknown) in their
    place, and the others moved accordingly. loadings: [F, K]; sd: [N, K]; noise: [F]."""
    x = np.array(x, np.float32)
    psi = np.maximum(noise, LEAST_NOISE).astype(np.float64)
    for n, cells in enumerate(measured):
        known = ~np.isnan(cells)
        unknown = ~known
        if unknown.any() and known.any():
            a = loadings * sd[n]
            weighted = a[known] / psi[known, None] ** 2  # of Woodbury's identity, in K dimensions
            inner = np.eye(a.shape[1]) + a[known].T @ weighted
            # [R, K]: what the known cells say of the components beyond the draw
            moved = np.linalg.solve(inner, weighted.T @ (cells[known] - x[:, n, known]).T).T
            x[:, n, unknown] += moved @ a[unknown].T
        x[:, n, known] = cells[known]
    return x
