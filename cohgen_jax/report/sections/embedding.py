"""Real and generated patients on the same map: principal components, and UMAP where computed."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pandas as pd

from cohgen_jax.evaluation.fullest import in_words
from cohgen_jax.figures.maps import Map, as_table, map_panels, pca_map, umap_map
from cohgen_jax.figures.style import group_look, method_colour, method_label, save
from cohgen_jax.report.files import RunFiles
from cohgen_jax.report.interactive import dots, layout, uid
from cohgen_jax.report.page import Block, Picture, Plot, Text
from cohgen_jax.runs.families import METHODS
from cohgen_jax.storage.checkpoint import write_json

MAX_POINTS = 700
"""Patients shown a target: enough to see the cloud, few enough for a page that opens at once."""
MAX_TRAIN = 2000
"""Training patients that a UMAP is made of."""
PCA_CAPTION = (
    "Principal components of the measured patients; the axes name the share of variation they "
    "hold. Generated patients should fill the same cloud: one that is too narrow hedges."
)
UMAP_CAPTION = (
    "UMAP of training patients (umap-learn, 15 neighbours), {} placed into it, "
    "measured and generated. Who lies beside whom can be read; distances and areas cannot."
)


def blocks(run: RunFiles) -> list[Block]:
    sets = real_and_generated(run)
    if not sets:
        return []
    maps = {target: pca_map(*clouds(by_method)) for target, by_method in sets.items()}
    parts: list[Block] = [
        Text.of(
            f"{run.evaluated.capitalize()}: measured, and one draw of each, generated "
            f"{in_words(run.fullest, run.modalities)}."
        ),
        _plot(run, "pca", maps, sets, PCA_CAPTION),
    ]
    cached = read_umap(run, sets)
    if cached is None:
        parts.append(Text.of(f"UMAP: experiments/report.py --run {run.path} computes it."))
    else:
        parts.append(_plot(run, "umap", cached, sets, UMAP_CAPTION.format(run.evaluated)))
    return parts


def real_and_generated(run: RunFiles) -> dict[str, dict[str, pd.DataFrame]]:
    """target -> {"real", method} -> latents of the same patients, one draw each."""
    sets = {}
    for target in run.modalities:
        drawn = {m: run.generated(m, target) for m in METHODS}
        drawn = {m: table for m, table in drawn.items() if table is not None}
        if not drawn:
            continue
        ids = next(iter(drawn.values())).index
        if len(ids) > MAX_POINTS:
            ids = ids[np.sort(np.random.default_rng(0).choice(len(ids), MAX_POINTS, False))]
        if len(ids) > 2:
            real = {"real": run.latents(target).loc[ids]}
            sets[target] = real | {m: table.loc[ids] for m, table in drawn.items()}
    return sets


def clouds(by_method: dict[str, pd.DataFrame]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    values = {method: table.to_numpy(np.float64) for method, table in by_method.items()}
    return values.pop("real"), values


def training(run: RunFiles, target: str) -> np.ndarray:
    """Latents of training patients, a sample of them where they are many."""
    table = run.latents(target)
    split = run.samples["split"].loc[table.index]
    values = table[(split == "train").to_numpy()].to_numpy(np.float32)
    rng = np.random.default_rng(0)
    return values if len(values) <= MAX_TRAIN else values[rng.permutation(len(values))[:MAX_TRAIN]]


def compute_umap(run: RunFiles, progress: Callable[[int, int, str], None]) -> None:
    """Write metrics/umap.csv and metrics/umap.json, unless they are there for these data."""
    sets = real_and_generated(run)
    if not sets or read_umap(run, sets) is not None:
        return
    maps = {}
    for done, (target, by_method) in enumerate(sets.items()):
        progress(done, len(sets), target)
        values = {method: table.to_numpy(np.float32) for method, table in by_method.items()}
        maps[target] = umap_map(training(run, target), values)
    progress(len(sets), len(sets), "done")
    table = as_table(maps, {target: by_method["real"].index for target, by_method in sets.items()})
    folder = run.path / "metrics"
    (folder / "umap.json").unlink(missing_ok=True)  # written last: the sign of a whole table
    table.round({"x": 3, "y": 3}).to_csv(folder / "umap.csv", index=False)
    write_json(folder / "umap.json", {"of": _checksum(sets)})


def read_umap(run: RunFiles, sets: dict[str, dict[str, pd.DataFrame]]) -> dict[str, Map] | None:
    """The cached maps, None where they are of other data."""
    about, table = run.json("metrics/umap.json"), run.table("umap")
    if about is None or table is None or about["of"] != _checksum(sets):
        return None
    return {
        str(target): Map(
            {
                str(m): rows[["x", "y"]].to_numpy()
                for m, rows in of_target.groupby("method", sort=False)
            },
            ("UMAP 1", "UMAP 2"),
        )
        for target, of_target in table.groupby("target", sort=False)
    }


def _checksum(sets: dict[str, dict[str, pd.DataFrame]]) -> str:
    crc = 0
    for by_method in sets.values():
        for method, table in by_method.items():
            crc = zlib.crc32(method.encode(), crc)
            crc = zlib.crc32(np.ascontiguousarray(table.to_numpy(np.float32)).tobytes(), crc)
    return f"{crc:08x}"


def _plot(
    run: RunFiles,
    name: str,
    maps: dict[str, Map],
    sets: dict[str, dict[str, pd.DataFrame]],
    caption: str,
) -> Plot:
    still = Picture(
        save(map_panels(maps), run.path / "figures" / name),
        caption,
        f"{name.upper()} of real and generated patients, a panel for each target and method.",
    )
    axes = layout(height=520, x="", y="")
    for side in ("xaxis", "yaxis"):
        axes[side] |= {"zeroline": False, "showticklabels": False}
    axes["legend"] = {"y": 1, "yanchor": "top"}
    changes = {
        ("target", target): {
            "xaxis": {"title": {"text": of_target.labels[0]}},
            "yaxis": {"title": {"text": of_target.labels[1]}},
        }
        for target, of_target in maps.items()
    }
    traces = []
    for target, of_target in maps.items():
        ids = sets[target]["real"].index
        traces += [_cloud(m, xy, ids, target) for m, xy in of_target.points.items()]
        if "cancer_type" in run.samples:
            types = run.samples["cancer_type"].loc[ids].fillna("unknown").to_numpy()
            for method, xy in of_target.points.items():
                traces += _by_type(method, xy, types, target)
    return Plot(traces, axes, still, changes)


def _cloud(method: str, xy: np.ndarray, ids: pd.Index, target: str) -> dict:
    look = {"color": method_colour(method), "size": 5, "opacity": 0.75}
    if method == "real":
        look |= {"symbol": "circle-open", "opacity": 1}
    return dots(
        method,
        (),
        *xy.T.round(2).tolist(),
        text=list(ids),
        hovertemplate="%{text}",
        marker=look,
        meta={"target": target, "colours": "real and generated"},
    )


def _by_type(method: str, xy: np.ndarray, types: np.ndarray, target: str) -> list[dict]:
    traces = []
    for i, kind in enumerate(sorted(set(types))):
        rows, (colour, symbol) = types == kind, group_look(i)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": str(kind),
                "uid": uid(method, str(kind)),
                "legendgroup": str(kind),
                "x": xy[rows, 0].round(2).tolist(),
                "y": xy[rows, 1].round(2).tolist(),
                "hoverinfo": "name",
                "marker": {"color": colour, "symbol": symbol, "size": 6, "opacity": 0.8},
                "meta": {"target": target, "colours": f"{method_label(method)}, by cancer type"},
            }
        )
    return traces
