"""Generated modalities beside what was measured, in one MuData."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

from cohgen_jax.cohort import RawTables
from cohgen_jax.cohort.kinds import kind_of
from cohgen_jax.cohort.tables import COMPANIONS, DRAW
from cohgen_jax.errors import InputError, unreadable
from cohgen_jax.interop.annotated import libraries, open_annotated, quiet, raw_tables_of
from cohgen_jax.storage.whole import whole_file


class Completed(NamedTuple):
    """What was generated of one modality, index sample_id, columns its features."""

    mean: pd.DataFrame
    layers: dict[str, pd.DataFrame]  # sd, low, high, as far as they were written
    draw: pd.DataFrame | None  # the first draw of each patient generated


def read_generated(folder: Path) -> dict[str, Completed]:
    """Completed tables by modality.

    Args:
        folder: output of `experiments/impute.py` (`<modality>_mean.parquet` and its companions), or
            plain tables `<modality>.parquet`.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder of generated tables: {folder}")
    files = {path.stem: path for path in sorted(folder.glob("*.parquet"))}
    means = {n.removesuffix("_mean"): p for n, p in files.items() if n.endswith("_mean")}
    if not means:
        ends = tuple(f"_{companion}" for companion in COMPANIONS)
        means = {n: p for n, p in files.items() if not n.endswith(ends) and n != "samples"}
    if not means:
        raise InputError(f"{folder} has no .parquet tables of generated modalities")
    out = {}
    for name, path in means.items():
        frames = {f"{name}_mean": _read(path)}
        if DRAW in frames[f"{name}_mean"].columns:
            raise InputError(f"{path} holds single draws; give a folder with {name}_mean.parquet")
        others = (name, *(f"{name}_{companion}" for companion in COMPANIONS[1:]))
        frames |= {n: _read(files[n]) for n in others if files.get(n, path) != path}
        out |= generated_of(frames)
    return out


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except Exception as error:  # of pandas and Arrow
        raise unreadable(path, error) from error


def generated_of(frames: Mapping[str, pd.DataFrame]) -> dict[str, Completed]:
    """The same of tables in memory, named as the files are (`Run.impute`)."""
    out = {}
    for name in [n.removesuffix("_mean") for n in frames if n.endswith("_mean")]:
        layers = {c: frames[f"{name}_{c}"] for c in COMPANIONS[1:] if f"{name}_{c}" in frames}
        first = None
        if name in frames:
            first = frames[name][frames[name][DRAW] == 0].drop(columns=DRAW)
        out[name] = Completed(frames[f"{name}_mean"], layers, first)
    return out


def write_back(
    source: Path, generated: Path, out: Path, layers: Mapping[str, str] | None = None
) -> list[str]:
    """Adds generated modalities to a MuData or AnnData file, beside what was measured.

    A modality `<m>_generated` holds the completed table (measured values as they are, else the mean
    of the draws), layers `sd`, `low` and `high` their spread, `draw` the first of them: values
    that the table could hold. `obs["generated"]` says which rows were not measured, `uns["kind"]`
    what the values are. Everything else is as in the source. An AnnData file becomes a MuData with
    its own table and these.

    Args:
        layers: what the source was read by, as in training (`cohgen_jax.interop.annotated`).

    Returns:
        The names of the modalities added.
    """
    if out.suffix != ".h5mu":
        raise InputError(f"{out}: generated modalities are written to a .h5mu file")
    data = open_annotated(source)
    raw = raw_tables_of(data, source.stem, source.name, layers)
    whole, added = with_generated(data, raw, read_generated(generated))
    with quiet():
        save(whole, out)
    return added


def with_generated(
    data: Any, raw: RawTables, generated: Mapping[str, Completed]
) -> tuple[Any, list[str]]:
    """(a MuData of all that `data` holds and the generated modalities, their names); see
    `write_back`.

    raw: what `raw_tables_of` says of `data`.
    """
    _, mudata = libraries()
    several = hasattr(data, "mod")
    with quiet():
        parts = dict(data.mod) if several else {raw.name: data}
        known = set().union(*(t.index for t in raw.tables.values()))
        added = []
        for name, made in generated.items():
            added.append(f"{name}_generated")
            if added[-1] in parts:
                raise InputError(
                    f"{raw.facts_source} has a modality {added[-1]} already: rename or remove it"
                )
            mean = made.mean
            if not mean.index.isin(list(known)).any():
                raise InputError(
                    f"{name}: no generated sample (like {mean.index[0]}) is in {raw.facts_source} "
                    f"(like {min(known)})"
                )
            parts[added[-1]] = _part(name, made, raw)
        whole = mudata.MuData(parts, axis=data.axis if several else 0)
        if several:
            _keep(data, whole)
    return whole, added


def _part(name: str, made: Completed, raw: RawTables) -> Any:
    mean = made.mean
    measured = raw.tables[name].index if name in raw.tables else pd.Index([])
    part = plain_anndata(mean, pd.DataFrame({"generated": ~mean.index.isin(measured)}))
    for layer, table in made.layers.items():
        part.layers[layer] = table.loc[mean.index, mean.columns].to_numpy(np.float32)
    if made.draw is not None:
        draw = made.draw.reindex(index=mean.index, columns=mean.columns)
        values = np.where(draw.isna(), mean, draw).astype(np.float32)
        part.layers["draw"] = values
        part.uns["kind"] = raw.kinds.get(name) or kind_of(values)
    return part


def _keep(data: Any, whole: Any) -> None:
    """What a MuData holds beside its modalities: `obs`, `var` and all that is aligned with them,
    where samples or features have come to it with nothing for these; `uns`."""
    for axis, mapping in (("obs", "obsmap"), ("var", "varmap")):
        frame, new = getattr(data, axis), getattr(whole, axis)
        where = _positions(getattr(data, mapping), getattr(whole, mapping), len(new))
        told = _aligned(frame, where, 1).set_axis(new.index, axis=0)
        for column in told.columns:
            new[column] = told[column]
        for attribute, axes in ((f"{axis}m", 1), (f"{axis}p", 2)):
            for key, values in getattr(data, attribute).items():
                if key in data.mod:  # which of them the modality has: mudata's own
                    continue
                kept = _aligned(values, where, axes)
                if isinstance(kept, pd.DataFrame):
                    kept = kept.set_axis(new.index, axis=0)
                getattr(whole, attribute)[key] = kept
    whole.uns.update(data.uns)


def _positions(old: Mapping[str, Any], new: Mapping[str, Any], length: int) -> np.ndarray:
    """int [length]: where each row of the new object was in the old one, -1 where it was not.

    Args:
        old, new: of each modality the place in it, from 1, of every row of the whole; 0: none.
    """
    where = np.full(length, -1)
    for name, places in old.items():
        was, now = np.ravel(places).astype(int), np.ravel(new[name]).astype(int)
        row = np.full(max(was.max(initial=0), now.max(initial=0)) + 1, -1)
        row[was[was > 0]] = np.flatnonzero(was > 0)
        where[now > 0] = row[now[now > 0]]
    return where


def _aligned(values: Any, where: np.ndarray, axes: int) -> Any:
    """Rows, and columns if both axes are meant, of an aligned array, sparse matrix or table."""
    if isinstance(values, pd.DataFrame):
        if (where < 0).any():  # whole numbers and booleans that leave room for what is not known
            values = values.astype(
                {c: "boolean" for c, dtype in values.dtypes.items() if dtype.kind == "b"}
                | {c: "Int64" for c, dtype in values.dtypes.items() if dtype.kind in "iu"}
            )
        return values.reset_index(drop=True).reindex(where)
    if scipy.sparse.issparse(values):
        has = np.flatnonzero(where >= 0)
        shape = (len(where), values.shape[0])
        choose = scipy.sparse.csr_matrix(
            (np.ones(len(has), values.dtype), (has, where[has])), shape
        )
        return choose @ values @ choose.T if axes == 2 else choose @ values
    values = np.asarray(values)
    if (where >= 0).all():
        return values[np.ix_(where, where)] if axes == 2 else values[where]
    around = [(0, 1)] * axes + [(0, 0)] * (values.ndim - axes)
    padded = np.pad(
        values.astype(np.result_type(values, np.float32)), around, constant_values=np.nan
    )
    return padded[np.ix_(where, where)] if axes == 2 else padded[where]


def plain_anndata(table: pd.DataFrame, obs: pd.DataFrame | None = None) -> Any:
    """float32 X and names of a table."""
    anndata, _ = libraries()
    index = pd.Index(table.index.astype(object))
    return anndata.AnnData(
        table.to_numpy(np.float32),
        obs=pd.DataFrame(index=index) if obs is None else obs.set_axis(index, axis=0),
        var=pd.DataFrame(index=pd.Index(table.columns.astype(object))),
    )


def save(data: Any, path: Path) -> None:
    """Writes MuData or AnnData whole, under a temporary name with the right ending first."""
    with whole_file(path) as temporary:
        if path.suffix == ".h5mu":
            data.write_h5mu(temporary)
        else:
            data.write_h5ad(temporary)
