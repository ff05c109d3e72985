"""Cohorts from MuData and AnnData files, and back, because that is what omics researchers hold.

    python -m data_prep.mudata_io to-cohort --source study.h5mu --out data/study
    python -m data_prep.mudata_io from-cohort --cohort data/study --out study.h5mu
    python -m data_prep.mudata_io write-back --source study.h5mu --generated DIR --out new.h5mu

Read     .h5mu: every modality is one; a sample absent from its `obs` lacks the assay
         .h5ad: columns are split by `var["modality"]` or `var["feature_types"]` if there is one,
         else they are one modality named after the file; tables in `obsm` are modalities too
Layers   of every modality X, or the layer asked for; raw counts that lie in another are told
Facts    `obs` columns; of a MuData its own, then those of the modalities
Written  one modality a table, facts in `obs`; units, kinds of values and notes in `uns["cohort"]`
"""

import contextlib
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.cohort import SOURCES, Cohort, Origin, RawTables, load_cohort, save_cohort
from cohgen_jax.cohort.kinds import KINDS, kind_of
from cohgen_jax.cohort.tables import COMPANIONS, DRAW, numeric
from cohgen_jax.errors import InputError
from data_prep.files import whole_file

SUFFIXES = (".h5mu", ".h5ad")
SPLIT_COLUMNS = ("modality", "feature_types")
LOOKED_AT = 200
"""Rows by which raw counts are recognised."""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What anndata and mudata need to run without a word: their notes to their own developers.

    anndata 0.12 cannot write the string type that pandas 3 infers; the older object columns it can.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if int(pd.__version__.split(".")[0]) >= 3:
            stack.enter_context(pd.option_context("future.infer_string", False))
        yield


def _libraries() -> tuple[Any, Any]:
    try:
        with _quiet():
            import anndata
            import mudata
    except ImportError as error:
        raise InputError(
            f"reading .h5mu and .h5ad needs {error.name}: pip install 'cohgen-jax[prep]'"
        ) from error
    return anndata, mudata


def _open(path: Path) -> Any:
    """The MuData or AnnData object of a file; `InputError` if it is neither."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a file ending in {' or '.join(SUFFIXES)}")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    anndata, mudata = _libraries()
    try:
        with _quiet():
            return mudata.read_h5mu(path) if path.suffix == ".h5mu" else anndata.read_h5ad(path)
    except Exception as error:  # both libraries let the errors of HDF5 and of each other through
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path}: not a readable {path.suffix[1:]} file ({reason[0]})") from error


def _dense(values: Any) -> np.ndarray:
    """float32 [n, F] of an array, a sparse matrix or a table."""
    if hasattr(values, "toarray"):
        values = values.astype(np.float32).toarray()  # a dense one in float64 would be twice that
    return np.asarray(values, dtype=np.float32)


def _table(data: Any, name: str, layer: str | None) -> pd.DataFrame:
    if layer is not None and layer not in data.layers:
        have = ", ".join(data.layers) or "none"
        raise InputError(f"{name} has no layer {layer!r}; it has: {have}")
    values = data.X if layer is None else data.layers[layer]
    if values is None:
        raise InputError(f"{name} has no values: X is empty; choose a layer with --layer")
    try:
        dense = _dense(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: its values are not numbers ({error})") from error
    return pd.DataFrame(
        dense,
        index=pd.Index(data.obs_names.astype(object), name="sample_id"),
        columns=pd.Index(data.var_names.astype(object)),
    )


def _counts_elsewhere(data: Any, name: str, layer: str | None) -> list[str]:
    """A note if X is no counts and a layer, not asked for, is."""
    if layer is not None or data.X is None or _some_kind(data.X) == "counts":
        return []
    found = [other for other in data.layers if _some_kind(data.layers[other]) == "counts"]
    return [
        f"{name}: X is read, and the layer {other} holds raw counts: --layers {name}={other} reads "
        "these."
        for other in found[:1]
    ]


def _some_kind(values: Any) -> str:
    """Of the first rows."""
    return kind_of(_dense(values[:LOOKED_AT]))


def _modalities_of(data: Any, stem: str, layer: str | None) -> dict[str, pd.DataFrame]:
    """The tables of one AnnData."""
    whole = _table(data, stem, layer)
    column = next((c for c in SPLIT_COLUMNS if c in data.var), None)
    if column is None:
        tables = {stem: whole}
    else:
        assays = data.var[column].astype(str).to_numpy()
        tables = {k: whole.loc[:, np.asarray(assays == k)] for k in dict.fromkeys(assays)}
        # A sample without the assay is a row of NaN there: absent, not all missing.
        tables = {k: t[t.notna().any(axis=1)] for k, t in tables.items()}
    for key, values in data.obsm.items():
        names = list(map(str, getattr(values, "columns", [])))
        dense = _dense(values)
        if dense.ndim != 2:
            raise InputError(f"{stem}: obsm[{key!r}] has shape {dense.shape}, expected two axes")
        columns = names or [f"{key}_{i}" for i in range(dense.shape[1])]
        table = pd.DataFrame(dense, index=whole.index, columns=columns)
        tables[key.removeprefix("X_")] = table.loc[table.notna().any(axis=1)]
    return tables


def _facts(frame: pd.DataFrame) -> pd.DataFrame:
    """`obs` with plain columns: categories become their values."""
    out = frame.copy()
    for name in out.columns:
        if isinstance(out[name].dtype, pd.CategoricalDtype):
            out[name] = out[name].astype(object)
    return out.set_axis(pd.Index(out.index.astype(object), name="sample_id"), axis=0)


def read_raw_tables(path: str | Path, layers: str | Mapping[str, str] | None = None) -> RawTables:
    """The tables and facts of a `.h5mu` or `.h5ad` file, nothing fitted.

    Args:
        layers: layer to read instead of X, of all modalities, or by modality (an .h5ad file's is
            named after the file).
    """
    path = Path(path)
    return raw_tables_of(_open(path), path.stem, path.name, layers)


def raw_tables_of(
    data: Any, stem: str, source: str, layers: str | Mapping[str, str] | None = None
) -> RawTables:
    """The same of a MuData or AnnData in memory: `stem` names the table of an AnnData, `source` is
    what messages call it."""
    several = hasattr(data, "mod")
    parts = dict(data.mod) if several else {stem: data}
    chosen = dict.fromkeys(parts, layers) if isinstance(layers, str) else dict(layers or {})
    unknown = [name for name in chosen if name not in parts]
    if unknown:
        raise InputError(
            f"layers: {source} has no modality {unknown[0]!r}; it has: {', '.join(parts)}"
        )
    told = [n for name, p in parts.items() for n in _counts_elsewhere(p, name, chosen.get(name))]
    with _quiet():
        if several:
            tables = {name: _table(part, name, chosen.get(name)) for name, part in parts.items()}
            facts = _facts(data.obs)
            for part in data.mod.values():
                own = _facts(part.obs)
                facts = facts.combine_first(own.loc[:, [c for c in own if c not in facts.columns]])
            # mudata repeats columns of the modalities as "<modality>:<column>".
            facts = facts.loc[:, [c for c in facts if str(c).split(":")[0] not in data.mod]]
        else:
            tables = _modalities_of(data, stem, chosen.get(stem))
            facts = _facts(data.obs)
        about = data.uns.get("cohort", {})
        about = about if isinstance(about, Mapping) else {}
        units = {str(k): str(v) for k, v in dict(about.get("units", {})).items()}
        notes = [str(note) for note in np.atleast_1d(about.get("notes", []))]
        kinds = {str(m): str(k) for m, k in dict(about.get("kinds", {})).items()}
    for name, table in tables.items():
        if table.index.has_duplicates or table.columns.has_duplicates:
            what = "samples" if table.index.has_duplicates else "features"
            raise InputError(f"{source}, {name}: {what} occur more than once; make them unique")
    tables = {m: numeric(_plain(t), f"{source}, {m}") for m, t in tables.items()}
    return RawTables(
        name=stem,
        tables=tables,
        facts=_plain(facts) if facts.shape[1] else None,
        facts_source=source,
        units={m: u for m, u in units.items() if m in tables},
        notes=(*notes, f"Read from {source}.", *told),
        kinds={m: k for m, k in kinds.items() if m in tables and k in KINDS},
        origins=dict.fromkeys(
            tables, Origin(file=source, orientation="down", id_column="obs_names")
        ),
    )


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """The table with ids and names of the string type that pandas itself would choose."""
    return table.set_axis(pd.Index(list(map(str, table.index)), name="sample_id"), axis=0).set_axis(
        pd.Index(list(map(str, table.columns))), axis=1
    )


def register() -> None:
    """Lets `load_cohort` read `.h5mu` and `.h5ad` files as it reads folders."""
    for suffix in SUFFIXES:
        SOURCES[suffix] = read_raw_tables


def to_cohort(sources: Sequence[Path], out: Path, layer: str | None = None, **settings) -> Cohort:
    """A cohort directory from one file, or from several that are a modality each.

    Args:
        settings: of `load_cohort`: seed, val_fraction, test_fraction, max_missing, min_train.
    """
    if len(sources) == 1 and layer is None:
        register()
        cohort = load_cohort(sources[0], **settings)
    else:
        cohort = _from_several([read_raw_tables(s, layer) for s in sources], out, settings)
    save_cohort(cohort, out)
    return cohort


def _from_several(parts: Sequence[RawTables], out: Path, settings: Mapping[str, Any]) -> Cohort:
    """One cohort of several files' tables, by way of a folder of tables that is then replaced."""
    import tempfile

    tables: dict[str, pd.DataFrame] = {}
    for part in parts:
        for name, table in part.tables.items():
            if name in tables:
                raise InputError(f"modality {name!r} is in two files; rename one")
            tables[name] = table
    facts = None
    for part in parts:
        if part.facts is not None:
            facts = part.facts if facts is None else facts.combine_first(part.facts)
    with tempfile.TemporaryDirectory() as folder:
        for name, table in tables.items():
            table.to_parquet(Path(folder) / f"{name}.parquet")
        if facts is not None:
            facts.to_parquet(Path(folder) / "samples.parquet")
        cohort = load_cohort(folder, modalities=tuple(tables), **settings)
    units = {m: u for part in parts for m, u in part.units.items()}
    notes = tuple(n for part in parts for n in part.notes)
    return Cohort(
        name=out.name,
        modalities=cohort.modalities,
        tables=cohort.tables,
        samples=cohort.samples,
        units=units,
        kinds=cohort.kinds,
        notes=(*notes, *cohort.notes),
    )


def _anndata(table: pd.DataFrame, obs: pd.DataFrame | None = None) -> Any:
    anndata, _ = _libraries()
    index = pd.Index(table.index.astype(object))
    return anndata.AnnData(
        table.to_numpy(np.float32),
        obs=pd.DataFrame(index=index) if obs is None else obs.set_axis(index, axis=0),
        var=pd.DataFrame(index=pd.Index(table.columns.astype(object))),
    )


def _storable(facts: pd.DataFrame) -> pd.DataFrame:
    """Facts as HDF5 can hold them: text as categories, the rest as it is."""
    out = facts.set_axis(pd.Index(facts.index.astype(object)), axis=0)
    for name in out.columns:
        if not pd.api.types.is_numeric_dtype(out[name]) and not pd.api.types.is_bool_dtype(
            out[name]
        ):
            text = [None if pd.isna(v) else str(v) for v in out[name]]
            out[name] = pd.Categorical(pd.Series(text, dtype=object))
    return out


def save_mudata(cohort: Cohort, path: str | Path) -> None:
    """A cohort as a `.h5mu` file; reading it back gives the same cohort."""
    _, mudata = _libraries()
    path = Path(path)
    with _quiet():
        whole = mudata.MuData({m: _anndata(cohort.tables[m]) for m in cohort.modalities})
        # mudata orders samples by first appearance; facts follow.
        facts = _storable(cohort.samples.reindex(whole.obs_names.astype(object)))
        for name in facts.columns:
            whole.obs[name] = (
                facts[name].to_numpy()
                if facts[name].dtype != "category"
                else (pd.Categorical(facts[name]))
            )
        whole.uns["cohort"] = {
            "name": cohort.name,
            "notes": np.array(cohort.notes, dtype=object),
            "units": dict(cohort.units),
            "kinds": dict(cohort.kinds),
        }
        _save(whole, path)


def _save(data: Any, path: Path) -> None:
    """Writes MuData or AnnData whole, under a temporary name with the right ending first."""
    with whole_file(path) as temporary:
        if path.suffix == ".h5mu":
            data.write_h5mu(temporary)
        else:
            data.write_h5ad(temporary)


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
        frames = {f"{name}_mean": pd.read_parquet(path)}
        if DRAW in frames[f"{name}_mean"].columns:
            raise InputError(f"{path} holds single draws; give a folder with {name}_mean.parquet")
        others = (name, *(f"{name}_{companion}" for companion in COMPANIONS[1:]))
        frames |= {n: pd.read_parquet(files[n]) for n in others if files.get(n, path) != path}
        out |= generated_of(frames)
    return out


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


def write_back(source: Path, generated: Path, out: Path) -> list[str]:
    """Adds generated modalities to a MuData or AnnData file, beside what was measured.

    A modality `<m>_generated` holds the completed table (measured values as they are, else the mean
    of the draws), layers `sd`, `low` and `high` their spread, `draw` the first of them: values
    that the table could hold. `obs["generated"]` says which rows were not measured, `uns["kind"]`
    what the values are. An AnnData file becomes a MuData with its own table and these.

    Returns:
        The names of the modalities added.
    """
    if out.suffix != ".h5mu":
        raise InputError(f"{out}: generated modalities are written to a .h5mu file")
    data = _open(source)
    raw = raw_tables_of(data, source.stem, source.name)
    whole, added = with_generated(data, raw, read_generated(generated))
    with _quiet():
        _save(whole, out)
    return added


def with_generated(
    data: Any, raw: RawTables, generated: Mapping[str, Completed]
) -> tuple[Any, list[str]]:
    """(a MuData of what `data` holds and the generated modalities, their names); see `write_back`.

    raw: what `raw_tables_of` says of `data`.
    """
    _, mudata = _libraries()
    several = hasattr(data, "mod")
    with _quiet():
        parts = dict(data.mod) if several else {raw.name: data}
        known = set().union(*(t.index for t in raw.tables.values()))
        added = []
        for name, made in generated.items():
            mean = made.mean
            if not mean.index.isin(list(known)).any():
                raise InputError(
                    f"{name}: no generated sample (like {mean.index[0]}) is in {raw.facts_source} "
                    f"(like {min(known)})"
                )
            measured = raw.tables[name].index if name in raw.tables else pd.Index([])
            flags = pd.DataFrame({"generated": ~mean.index.isin(measured)})
            part = _anndata(mean, flags)
            for layer, table in made.layers.items():
                part.layers[layer] = table.loc[mean.index, mean.columns].to_numpy(np.float32)
            if made.draw is not None:
                draw = made.draw.reindex(index=mean.index, columns=mean.columns)
                values = np.where(draw.isna(), mean, draw).astype(np.float32)
                part.layers["draw"] = values
                part.uns["kind"] = raw.kinds.get(name) or kind_of(values)
            added.append(f"{name}_generated")
            parts[added[-1]] = part
        whole = mudata.MuData(parts)
        facts = data.obs if several else data.obs.iloc[:, :0]
        for column in facts.columns:
            if str(column).split(":")[0] not in parts:
                whole.obs[column] = facts[column].reindex(whole.obs_names)
        whole.uns.update(data.uns if several else {})
    return whole, added


def main() -> int:
    """Command line: to-cohort, from-cohort, write-back."""
    import tyro

    def make_cohort(
        source: tuple[Path, ...],
        out: Path,
        layer: str | None = None,
        seed: int = 42,
        val_fraction: float = 0.07,
        test_fraction: float = 0.15,
        min_train: int = 64,
    ) -> None:
        """Makes a cohort directory from MuData or AnnData files.

        Args:
            source: a .h5mu or .h5ad file, or several that are one modality each.
            out: cohort directory to write.
            layer: layer to read instead of X.
            seed: of the split, if the file has no column split.
            val_fraction: share of patients for validation.
            test_fraction: share of patients for test.
            min_train: fewest training patients a modality may have.
        """
        settings = {"seed": seed, "val_fraction": val_fraction, "test_fraction": test_fraction}
        cohort = to_cohort(source, out, layer, min_train=min_train, **settings)
        print(cohort.summary().to_string())

    def make_mudata(cohort: Path, out: Path) -> None:
        """Writes a cohort as a MuData file.

        Args:
            cohort: cohort directory.
            out: .h5mu file to write.
        """
        save_mudata(load_cohort(cohort), out)

    def add_generated(source: Path, generated: Path, out: Path) -> None:
        """Adds generated modalities to a MuData or AnnData file.

        Args:
            source: .h5mu or .h5ad file.
            generated: folder of completed tables, as experiments/impute.py writes it.
            out: .h5mu file to write.
        """
        print(f"added {', '.join(write_back(source, generated, out))}")

    commands = {
        "to-cohort": make_cohort,
        "from-cohort": make_mudata,
        "write-back": add_generated,
    }
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog="python -m data_prep.mudata_io")
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
