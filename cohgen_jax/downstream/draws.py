"""All draws that the analyses need, generated once in a few batched calls, and shared.

An order (a, b, ...) names the modalities taken away from every tested patient, in the order in
which they are generated: a from what is left, b from what is left and a, and so on, as
`sampling.cascade` does. Draw r of b is conditioned on draw r of a.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from cohgen_jax.downstream.study import NotPossible
from cohgen_jax.evaluation.masks import shown_latents
from cohgen_jax.sampling.generator import Generated, Generator
from cohgen_jax.seeds import seed_of

Order = tuple[str, ...]
Progress = Callable[[int, int, str], None]


def subsets_removed(modalities: Sequence[str]) -> list[Order]:
    """Every set of modalities that a patient may lack, having others: small ones first, sorted."""
    names = sorted(modalities)
    sizes = range(1, len(names))
    return [s for size in sizes for s in itertools.combinations(names, size)]


def pair_orders(modalities: Sequence[str]) -> list[tuple[Order, Order]]:
    """Both orders of every pair, where something is left to generate from."""
    if len(modalities) < 3:
        return []
    return [((a, b), (b, a)) for a, b in itertools.combinations(sorted(modalities), 2)]


def cascade_orders(
    generators: Mapping[str, Generator],
    modalities: Sequence[str],
    z: np.ndarray,
    orders: Sequence[Order],
    num_draws: int,
    seed: int,
    progress: Callable[[int], None] = lambda rows: None,
) -> dict[Order, dict[str, np.ndarray]]:
    """`cascade` for every order at once: all orders that are ready for a target share a call.

    z: [n, M, D] of patients who have everything, or with covariates [n, M + 1, D], which are always
      shown; what an order names is hidden first.

    Returns:
      Order -> target -> draws [R, n, D].
    """
    n, columns = len(z), {m: i for i, m in enumerate(modalities)}
    results: dict[Order, dict[str, np.ndarray]] = {order: {} for order in orders}
    calls = itertools.count()
    while any(len(done) < len(order) for order, done in results.items()):
        for target in modalities:
            ready = [o for o, done in results.items() if o[len(done) : len(done) + 1] == (target,)]
            if not ready:
                continue
            inputs, shown = [], []
            for order in ready:
                filled = fill(z, modalities, results[order], num_draws)
                here = np.ones((num_draws * n, len(modalities)), bool)
                here[:, [columns[m] for m in order[len(results[order]) :]]] = False
                inputs.append(filled.reshape(num_draws * n, *z.shape[1:]))
                shown.append(here)
            present = np.concatenate(shown)
            hidden = shown_latents(np.concatenate(inputs), present)
            own_seed = seed_of(seed, target, str(next(calls)))
            drawn = generators[target](hidden, present, 1, own_seed).draws[0]
            progress(len(drawn))
            for order, part in zip(ready, np.split(drawn, len(ready)), strict=True):
                results[order][target] = part.reshape(num_draws, n, -1)
    return results


def fill(
    z: np.ndarray, modalities: Sequence[str], drawn: Mapping[str, np.ndarray], num_draws: int
) -> np.ndarray:
    """[n, M, D] -> [R, n, M, D] with the drawn modalities [R, n, <= D] in place."""
    filled = np.repeat(z[None], num_draws, axis=0)
    for target, draws in drawn.items():
        filled[:, :, list(modalities).index(target), : draws.shape[-1]] = draws
    return filled


@dataclasses.dataclass(frozen=True)
class Draws:
    """Draws of every method for the tested patients of a study, and for holes in training."""

    modalities: tuple[str, ...]
    cascades: dict[str, dict[Order, dict[str, np.ndarray]]]
    """Method -> order -> target -> float32 [R, n, D]."""
    unconditional: dict[str, dict[str, np.ndarray]]
    """Method -> target -> [R, n, D], generated from no assay."""
    holes: dict[str, dict[str, np.ndarray]]
    """Method -> target -> [R, h, D]: the target of the h training samples that lack it."""

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(self.cascades)

    @property
    def with_spread(self) -> list[str]:
        """Methods whose draws differ, to be scored: all but the mean.

        Raises:
          NotPossible: there is none.
        """
        methods = [method for method in self.methods if method != "mean"]
        if not methods:
            raise NotPossible("the mean alone has no draws to compare: name more --methods")
        return methods

    def one(self, method: str, target: str) -> np.ndarray:
        """[R, n, D]: a modality from all others."""
        return self.cascades[method][(target,)][target]

    def completed(self, method: str, order: Order, z: np.ndarray) -> np.ndarray:
        """[n, M, D] -> [R, n, M, D]: what an order takes away, generated."""
        drawn = self.cascades[method][order]
        return fill(z, self.modalities, drawn, len(drawn[order[0]]))


def mean_generator(z: np.ndarray, present: np.ndarray, rows: np.ndarray, target: int) -> Generator:
    """The mean of a modality over the training samples that have it, for everyone."""
    mean = z[rows[present[rows, target]], target].mean(axis=0)

    def generate(z: np.ndarray, present: np.ndarray, num_draws: int, seed: int) -> Generated:
        draws = np.broadcast_to(mean, (num_draws, len(z), len(mean))).astype(np.float32)
        return Generated(draws, np.full((num_draws, len(z)), np.nan, np.float32))

    return generate


def generate_all(
    generators: Mapping[tuple[str, str], Generator],
    study,
    method: str,
    num_draws: int,
    seed: int,
    progress: Progress = lambda done, total, what: None,
) -> Draws:
    """Everything the analyses need of one method.

    generators: (method, target) -> generator. A constant (`mean`) is drawn once.
    """
    names, z, present = study.modalities, study.latents.z, study.latents.present
    by_target = {target: generators[method, target] for target in names}
    num_draws = 1 if method == "mean" else num_draws
    orders = [*subsets_removed(names), *(reverse for _, reverse in pair_orders(names))]
    rows, train = study.test, study.train
    total = num_draws * len(rows) * (sum(map(len, orders)) + len(names))
    total += num_draws * int((~present[train]).sum())
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total, method)

    progress(0, total, method)
    drawn = cascade_orders(by_target, names, z[rows], orders, num_draws, seed, advance)
    nothing = np.zeros((len(rows), len(names)), bool)
    unconditional, holes = {}, {}
    for m, target in enumerate(names):
        own_seed = seed_of(seed, "unconditional", target)
        free = by_target[target](shown_latents(z[rows], nothing), nothing, num_draws, own_seed)
        unconditional[target] = free.draws
        advance(num_draws * len(rows))
        lacking = train[~present[train, m]]
        if len(lacking):
            hidden = shown_latents(z[lacking], present[lacking])
            own_seed = seed_of(seed, "holes", target)
            holes[target] = by_target[target](hidden, present[lacking], num_draws, own_seed).draws
            advance(num_draws * len(lacking))
    return Draws(names, {method: drawn}, {method: unconditional}, {method: holes})


def merge(parts: Sequence[Draws]) -> Draws:
    """The draws of several methods as one."""
    joined = [
        {name: value for part in parts for name, value in getattr(part, field).items()}
        for field in ("cascades", "unconditional", "holes")
    ]
    return Draws(parts[0].modalities, *joined)


def save(draws: Draws, method: str, path: Path, key: str) -> None:
    """Write the draws of one method as NPZ; the key that made them is inside."""
    arrays = {"key": np.array(key), "modalities": np.array(json.dumps(draws.modalities))}
    for order, targets in draws.cascades[method].items():
        for target, values in targets.items():
            arrays[f"cascade:{json.dumps([order, target])}"] = values
    for kind in ("unconditional", "holes"):
        for target, values in getattr(draws, kind)[method].items():
            arrays[f"{kind}:{json.dumps(target)}"] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".part")
    with half.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
    half.replace(path)


def load(path: Path, method: str, key: str) -> Draws | None:
    """The draws that `save` wrote under this key; None if there are none, others, or damaged."""
    import zipfile

    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if str(file["key"]) != key:
                return None
            cascades, other = {}, {"unconditional": {}, "holes": {}}
            for name in file.files:
                kind, _, rest = name.partition(":")
                if kind == "cascade":
                    order, target = json.loads(rest)
                    cascades.setdefault(tuple(order), {})[target] = file[name]
                elif kind in other:
                    other[kind][json.loads(rest)] = file[name]
            names = tuple(json.loads(str(file["modalities"])))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return None
    return Draws(names, {method: cascades}, *({method: other[k]} for k in other))
