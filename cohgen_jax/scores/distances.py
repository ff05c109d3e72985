"""How far a set of generated samples is from a set of real ones, as distributions.

Two distances, each global, local and balanced (global times local):

energy      sqrt(2 E|X - Y| - E|X - X'| - E|Y - Y'|), means over all pairs, a point with itself
            included (Szekely and Rizzo 2013, J. Stat. Plan. Inference 143:1249)
pointwise   a point sees the others of its own set, and those of the other set, at certain
            distances: the Wasserstein-1 distance between these two one-dimensional samples,
            averaged over the points of each set and over both sets

Local: the same between the k nearest real and the k nearest generated samples of every point (a
point is its own nearest), averaged over the real points, over the generated points, and the two.
Global distances see the bulk, local ones the fine structure that generators tend to smooth away.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cohgen_jax.scores.pairwise import distances


class PairDistances(NamedTuple):
    """Distances within and between two sets; a leading batch axis is allowed."""

    real: np.ndarray  # [..., N, N]
    between: np.ndarray  # [..., N, M], real by generated
    generated: np.ndarray  # [..., M, M]

    def swapped(self) -> "PairDistances":
        return PairDistances(self.generated, self.between.swapaxes(-1, -2), self.real)

    def subset(self, rows: np.ndarray, columns: np.ndarray) -> "PairDistances":
        """Of chosen real and generated points: positions [..., n], [..., m]."""
        i, j = rows[..., :, None], columns[..., :, None]
        return PairDistances(
            self.real[i, rows[..., None, :]],
            self.between[i, columns[..., None, :]],
            self.generated[j, columns[..., None, :]],
        )


def pair_distances(generated: np.ndarray, real: np.ndarray) -> PairDistances:
    """generated [M, D], real [N, D]."""
    return PairDistances(
        distances(real, real), distances(real, generated), distances(generated, generated)
    )


def _energy(d: PairDistances) -> np.ndarray:
    axes = (-2, -1)
    squared = 2 * d.between.mean(axes) - d.real.mean(axes) - d.generated.mean(axes)
    return np.sqrt(np.maximum(squared, 0))


def _row_wasserstein(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean over rows of W1 between two samples: [..., N, n], [..., N, m] -> [...].

    W1 = integral over u of |Q_a(u) - Q_b(u)|, both quantile functions steps of width 1/n and 1/m.
    """
    a, b = np.sort(a, axis=-1), np.sort(b, axis=-1)
    n, m = a.shape[-1], b.shape[-1]
    if n != m:
        # In units of 1 / (n m) all steps end at integers.
        ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
        share = np.diff(ends, prepend=0) / (n * m)
        gap = np.abs(a[..., (ends - 1) // m] - b[..., (ends - 1) // n])
        return np.sum(gap * share, axis=-1).mean(-1)
    return np.abs(a - b).mean((-2, -1))


def _pointwise(d: PairDistances) -> np.ndarray:
    seen_from_real = _row_wasserstein(d.between, d.real)
    return (seen_from_real + _row_wasserstein(d.between.swapaxes(-1, -2), d.generated)) / 2


def _local(statistic: Callable[[PairDistances], np.ndarray], d: PairDistances, k: int) -> float:
    def around_real(d: PairDistances) -> float:
        within = np.argsort(d.real, axis=-1, kind="stable")[:, :k]
        other = np.argsort(d.between, axis=-1, kind="stable")[:, :k]
        return float(statistic(d.subset(within, other)).mean())

    return (around_real(d) + around_real(d.swapped())) / 2


def global_energy(d: PairDistances) -> float:
    return float(_energy(d))


def local_energy(d: PairDistances, k: int = 10) -> float:
    return _local(_energy, d, k)


def global_pointwise(d: PairDistances) -> float:
    return float(_pointwise(d))


def local_pointwise(d: PairDistances, k: int = 10) -> float:
    return _local(_pointwise, d, k)


def set_distances(generated: np.ndarray, real: np.ndarray, k: int = 10) -> dict[str, float]:
    """All six: {energy, pointwise} x {global, local, balanced}, named e.g. `energy_local`."""
    if min(len(generated), len(real)) < k:
        raise ValueError(
            f"local distances with k = {k} need {k} samples in both sets; "
            f"got {len(generated)} generated and {len(real)} real"
        )
    d = pair_distances(generated, real)
    energy, pointwise = global_energy(d), global_pointwise(d)
    near_energy, near_pointwise = local_energy(d, k), local_pointwise(d, k)
    return {
        "energy_global": energy,
        "energy_local": near_energy,
        "energy_balanced": energy * near_energy,
        "pointwise_global": pointwise,
        "pointwise_local": near_pointwise,
        "pointwise_balanced": pointwise * near_pointwise,
    }


def real_against_real(
    statistic: Callable[[PairDistances], float],
    real: np.ndarray,
    size: int,
    repeats: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Null distribution: a statistic between disjoint random subsets of the real set -> [B].

    Compare with `real_against_generated` of the same size: a generator whose distances fall into
    this distribution cannot be told from real data by the statistic. real [N, D], 2 size <= N.
    """
    if 2 * size > len(real):
        raise ValueError(f"two disjoint subsets of {size} need {2 * size} samples, not {len(real)}")
    d, rng = distances(real, real), np.random.default_rng(seed)
    both = PairDistances(d, d, d)
    values = []
    for _ in range(repeats):
        order = rng.permutation(len(real))
        values.append(statistic(both.subset(order[:size], order[size : 2 * size])))
    return np.array(values)


def real_against_generated(
    statistic: Callable[[PairDistances], float],
    generated: np.ndarray,
    real: np.ndarray,
    size: int,
    repeats: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """A statistic between random subsets of both sets, drawn without replacement -> [B].

    Draw rows of both sets independently: a generated sample need not meet its own truth.
    """
    if size > min(len(real), len(generated)):
        raise ValueError(
            f"subsets of {size} need as many samples; "
            f"got {len(generated)} generated and {len(real)} real"
        )
    d, rng = pair_distances(generated, real), np.random.default_rng(seed)
    return np.array(
        [
            statistic(
                d.subset(rng.permutation(len(real))[:size], rng.permutation(len(generated))[:size])
            )
            for _ in range(repeats)
        ]
    )
