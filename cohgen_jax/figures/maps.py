"""Real and generated samples on two axes: principal components of the real ones, and UMAP.

Maps are made from real samples alone; generated ones are placed into them, so that they cannot
bend the map to their own shape.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cohgen_jax.figures.style import house_style, method_colour, method_label, panels

NEIGHBOURS = 15


class Map(NamedTuple):
    points: dict[str, np.ndarray]
    """"real" and the methods -> [N, 2]."""
    labels: tuple[str, str]
    """Of the two axes."""


def pca_map(real: np.ndarray, generated: Mapping[str, np.ndarray]) -> Map:
    """real [N, D], generated: method -> [n, D]. Labels say the share of variation of an axis."""
    centre = real.mean(axis=0)
    _, singular, directions = np.linalg.svd(real - centre, full_matrices=False)
    share = singular**2 / np.sum(singular**2)
    points = {m: (v - centre) @ directions[:2].T for m, v in {"real": real, **generated}.items()}
    return Map(points, (f"PC1 ({share[0]:.0%})", f"PC2 ({share[1]:.0%})"))


def umap_map(train: np.ndarray, sets: Mapping[str, np.ndarray], seed: int = 0) -> Map:
    """UMAP (McInnes et al. 2018, arXiv:1802.03426) of training samples [N, D]; needs umap-learn.

    Real and generated samples alike are placed into it: UMAP pulls those it was fitted on to other
    places than those that come later. sets: "real" and the methods -> [n, D].
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of umap and numba, about their own settings
        from umap import UMAP

        umap = UMAP(n_neighbors=min(NEIGHBOURS, len(train) - 1), random_state=seed, n_jobs=1)
        umap.fit(train)
        placed = {method: np.asarray(umap.transform(values)) for method, values in sets.items()}
    return Map(placed, ("UMAP 1", "UMAP 2"))


def as_table(maps: Mapping[str, Map], samples: Mapping[str, pd.Index]) -> pd.DataFrame:
    """One row a point: target, method, sample_id, x, y. samples: target -> ids of its rows."""
    rows = [
        pd.DataFrame(
            {"target": target, "method": method, "sample_id": samples[target]}
            | {"x": xy[:, 0], "y": xy[:, 1]}
        )
        for target, of_target in maps.items()
        for method, xy in of_target.points.items()
    ]
    return pd.concat(rows, ignore_index=True)


def map_panels(maps: Mapping[str, Map]) -> Figure:
    """A row a target, real first and then each method before the real ones in grey."""
    methods = list(dict.fromkeys(m for of_target in maps.values() for m in of_target.points))
    with house_style():
        figure, axes = panels(len(maps), len(methods), width=2.1, height=1.95)
        for row, (target, of_target) in enumerate(maps.items()):
            real = of_target.points["real"]
            # A few outliers of a heavy tail must not squeeze everyone else together.
            low, high = np.quantile(real, [0.005, 0.995], axis=0)
            pad = 0.12 * (high - low)
            for column, method in enumerate(methods):
                panel = axes[row, column]
                panel.set(xticks=[], yticks=[])
                panel.set_xlim(low[0] - pad[0], high[0] + pad[0])
                panel.set_ylim(low[1] - pad[1], high[1] + pad[1])
                if method != "real":
                    _cloud(panel, real, "#D0D0D0", 5)
                if method in of_target.points:
                    colour = "#4D4D4D" if method == "real" else method_colour(method, methods)
                    _cloud(panel, of_target.points[method], colour, 6)
                if row == 0:
                    panel.set_title(method_label(method))
            axes[row, 0].set_xlabel(of_target.labels[0])
            axes[row, 0].set_ylabel(f"{target}\n{of_target.labels[1]}")
    return figure


def _cloud(axes: Axes, points: np.ndarray, colour: str, size: float) -> None:
    axes.scatter(
        points[:, 0], points[:, 1], s=size, color=colour, alpha=0.7, linewidths=0, rasterized=True
    )
