"""The tables and facts of AnnData and MuData, in files or in memory.

Tables   .h5mu: every modality is one; a sample absent from its `obs` lacks the assay
         .h5ad: columns are split by `var["modality"]` or `var["feature_types"]` if there is one,
         else they are one modality named after the file
Layers   of every modality X, or what MODALITY=LAYER asks for: a layer, or `raw`, which has features
         of its own; NAME=obsm:KEY makes a modality of a table in `obsm`, which most often was
         computed from another and then is none. `*` stands for every modality. Raw counts and
         tables in `obsm` that are not read are told
Facts    `obs` of the whole and of every modality, of each column the first that knows a value;
         where they differ is told
Ids      samples whose name repeats are refused; features are made unique as scanpy does, and told
Sparse   stays sparse if it is large (cohgen_jax.cohort.sparse)
"""

import contextlib
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

from cohgen_jax.cohort import SOURCES, RawTables
from cohgen_jax.cohort.cohort import Origin
from cohgen_jax.cohort.kinds import KINDS, Kind, kind_of
from cohgen_jax.cohort.sparse import is_sparse, row_blocks, table_of
from cohgen_jax.cohort.tables import numeric
from cohgen_jax.errors import InputError, shown, unreadable
from cohgen_jax.interop.hdf5 import flaw
from cohgen_jax.interop.obs import joined_facts

SUFFIXES = (".h5mu", ".h5ad")
SPLIT_COLUMNS = ("modality", "feature_types")
EVERY, RAW, OBSM = "*", "raw", "obsm:"
"""Of MODALITY=LAYER: every modality; `.raw`; a key of `obsm`."""
LOOKED_AT = 200
"""Rows by which raw counts are recognised."""


class Source(NamedTuple):
    """One file or object."""

    parts: Mapping[str, Any]  # modality -> AnnData
    obs: pd.DataFrame | None  # of a MuData as a whole
    obsm: Mapping[str, Any]  # likewise
    uns: Mapping[str, Any]
    splits: bool  # whether `var` may tell modalities apart


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What anndata and mudata need to run without a word, their notes to their own developers, and
    to leave `obs` and `var` as they are.

    anndata 0.12 cannot write the string type that pandas 3 infers; the older object columns it can.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if int(pd.__version__.split(".")[0]) >= 3:
            stack.enter_context(pd.option_context("future.infer_string", False))
        if "mudata" in sys.modules:
            stack.enter_context(sys.modules["mudata"].set_options(pull_on_update=False))
        yield


def libraries() -> tuple[Any, Any]:
    """anndata and mudata."""
    try:
        with quiet():
            import anndata
            import mudata
    except ImportError as error:
        raise InputError(
            f"reading .h5mu and .h5ad needs {error.name}: pip install 'cohgen-jax[prep]'"
        ) from error
    return anndata, mudata


def open_annotated(path: Path) -> Any:
    """The MuData or AnnData object of a file; `InputError` if it is neither."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a file ending in {' or '.join(SUFFIXES)}")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    anndata, mudata = libraries()
    damage = flaw(path)
    if damage is not None:
        raise unreadable(path, ValueError(damage))
    try:
        with quiet():
            several = path.suffix == ".h5mu"
            data = mudata.read_h5mu(path) if several else anndata.read_h5ad(path)
            for part in (data, *data.mod.values()) if several else (data,):
                _check_sparse(part)
            return data
    except Exception as error:  # both libraries let the errors of HDF5 and of each other through
        raise unreadable(path, error) from error


def _check_sparse(part: Any) -> None:
    """Raises ValueError for a sparse matrix whose indices point beyond it: SciPy would follow."""
    single = (getattr(part, "X", None), getattr(getattr(part, "raw", None), "X", None))
    groups = [
        getattr(part, name, None) or {} for name in ("layers", "obsm", "varm", "obsp", "varp")
    ]
    for values in (*single, *(matrix for group in groups for matrix in group.values())):
        if values is not None and scipy.sparse.issparse(values):
            values.check_format(full_check=True)
            if np.any(np.diff(values.indptr) < 0):  # not looked at where the last says 0 values
                raise ValueError("rows of a sparse matrix that end before they begin")


def register() -> None:
    """Lets `load_cohort` read `.h5mu` and `.h5ad` files as it reads folders."""
    for suffix in SUFFIXES:
        SOURCES[suffix] = read_raw_tables


def read_raw_tables(
    path: str | Path, layers: str | Mapping[str, str] | None = None, *, lenient: bool = False
) -> RawTables:
    """The tables and facts of a `.h5mu` or `.h5ad` file, nothing fitted.

    Args:
        layers: what to read instead of X, of all modalities, or by modality (an .h5ad file's is
            named after the file).
        lenient: whether modalities that `layers` names may be absent.
    """
    path = Path(path)
    return raw_tables_of(open_annotated(path), path.stem, path.name, layers, lenient=lenient)


def raw_tables_of(
    data: Any,
    stem: str,
    source: str,
    layers: str | Mapping[str, str] | None = None,
    *,
    lenient: bool = False,
) -> RawTables:
    """The same of a MuData or AnnData in memory: `stem` names the table of an AnnData, `source` is
    what messages call it."""
    return raw_tables_of_several([(data, stem)], stem, source, layers, lenient=lenient)


def raw_tables_of_several(
    objects: Sequence[tuple[Any, str]],
    name: str,
    source: str,
    layers: str | Mapping[str, str] | None = None,
    *,
    lenient: bool = False,
) -> RawTables:
    """The same of several objects, each with its stem, as of one that holds all their modalities.

    name: of what they are together.
    """
    sources = [_source(*pair) for pair in objects]
    wanted = {EVERY: layers} if isinstance(layers, str) else dict(layers or {})
    embeddings = {m: key.removeprefix(OBSM) for m, key in wanted.items() if key.startswith(OBSM)}
    chosen = {m: layer for m, layer in wanted.items() if m not in embeddings}
    tables: dict[str, pd.DataFrame] = {}
    notes: list[str] = []
    kinds: dict[str, Kind] = {}
    units: dict[str, str] = {}
    with quiet():
        for opened in sources:
            for part_name, part in opened.parts.items():
                of_part = _tables_of(part, part_name, source, chosen, opened.splits, notes)
                _add(tables, of_part)
                if len(of_part) == 1 and part.uns.get("kind") in KINDS:
                    kinds[part_name] = part.uns["kind"]
        _add(tables, _embeddings(sources, embeddings, source, lenient, notes))
        known = {EVERY, *tables, *(m for opened in sources for m in opened.parts)}
        unknown = [m for m in chosen if m not in known]
        if unknown and not lenient:
            raise InputError(
                f"layers: {source} has no modality {unknown[0]!r}; it has: {', '.join(tables)}"
            )
        frames = []
        for opened in sources:
            frames += [("the whole", opened.obs)] if opened.obs is not None else []
            frames += [(m, part.obs) for m, part in opened.parts.items()]
        facts = joined_facts(frames, notes)
        told = [f"Read from {source}."]
        for opened in sources:
            its_units, its_notes, its_kinds = _about(opened.uns)
            units |= its_units
            told = [*its_notes, *told]
            kinds |= its_kinds
    return RawTables(
        name=name,
        tables=tables,
        facts=facts if facts.shape[1] else None,
        facts_source=source,
        units={m: u for m, u in units.items() if m in tables},
        notes=(*told, *notes),
        kinds={m: k for m, k in kinds.items() if m in tables},
        origins=dict.fromkeys(
            tables, Origin(file=source, orientation="down", id_column="obs_names")
        ),
    )


def in_memory(values: Any, name: str) -> Any:
    """float32 [n, F], an array or a CSR matrix, of whatever anndata holds or leaves in its file."""
    try:
        for read in ("to_memory", "compute"):  # of a backed matrix, of a lazy one
            values = getattr(values, read)() if hasattr(values, read) else values
        with np.errstate(over="ignore"):  # too large for float32 is infinite, and refused as such
            if scipy.sparse.issparse(values):
                return scipy.sparse.csr_matrix(values, dtype=np.float32)
            return np.asarray(values[...] if hasattr(values, "chunks") else values, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: its values are not numbers ({error})") from error


def _source(data: Any, stem: str) -> Source:
    if not hasattr(data, "mod"):
        return Source({stem: data}, None, {}, data.uns, True)
    # mudata repeats columns of the modalities as "<modality>:<column>", and keeps masks in obsm.
    obs = data.obs.loc[:, [c for c in data.obs if str(c).split(":")[0] not in data.mod]]
    obsm = {key: values for key, values in data.obsm.items() if key not in data.mod}
    return Source(dict(data.mod), obs, obsm, data.uns, False)


def _add(tables: dict[str, pd.DataFrame], more: Mapping[str, pd.DataFrame]) -> None:
    for name, table in more.items():
        if name in tables:
            raise InputError(
                f"modality {name!r} is there twice, in two files or in obsm: rename one"
            )
        tables[name] = table


def _tables_of(
    data: Any,
    name: str,
    source: str,
    chosen: Mapping[str, str],
    splits: bool,
    notes: list[str],
) -> dict[str, pd.DataFrame]:
    """The tables of one AnnData."""
    if data.obs_names.has_duplicates:
        again = list(dict.fromkeys(data.obs_names[data.obs_names.duplicated()]))
        raise InputError(
            f"{source}, {name}: {len(again)} samples occur more than once in obs_names: "
            f"{shown(again)}; keep one row of each or, where they are different samples of a "
            "patient, name them apart (obs_names_make_unique) and say the patient in obs, as "
            "patient_id"
        )
    column = next((c for c in SPLIT_COLUMNS if splits and c in data.var), None)
    if column is None:
        layer = chosen.get(name, chosen.get(EVERY))
        notes += _counts_elsewhere(data, name, layer)
        values, features = _values(data, name, layer)
        return {name: _table(values, data.obs_names, features, f"{source}, {name}", notes)}
    tables = {}
    for assay in dict.fromkeys(data.var[column].astype(str)):
        layer = chosen.get(assay, chosen.get(name, chosen.get(EVERY)))
        values, features = _values(data, assay, layer)
        if len(features) != data.n_vars:
            raise InputError(
                f"{source}, {assay}: raw has other features than X, which var[{column!r}] says "
                "nothing about; choose a layer"
            )
        of_assay = np.flatnonzero(data.var[column].astype(str) == assay)
        values, features = values[:, of_assay], features[of_assay]
        table = _table(values, data.obs_names, features, f"{source}, {assay}", notes)
        # A sample without the assay is a row of NaN there: absent, not all missing.
        tables[assay] = _with_values(table)
    return tables


def _values(data: Any, name: str, layer: str | None) -> tuple[Any, pd.Index]:
    """X, a layer or `.raw`, and the features that it has."""
    if layer is not None and layer not in data.layers and not (layer == RAW and data.raw):
        have = ", ".join([*data.layers, *([RAW] if data.raw else [])]) or "none"
        raise InputError(f"{name} has no layer {layer!r}; it has: {have}")
    features = data.var_names
    if layer is None:
        values = data.X
    elif layer in data.layers:
        values = data.layers[layer]
    else:
        values, features = data.raw.X, data.raw.var_names
    if values is None:
        raise InputError(f"{name} has no values: X is empty; choose a layer with --layers")
    return in_memory(values, name), features


def _table(
    values: Any, ids: pd.Index, features: pd.Index, name: str, notes: list[str]
) -> pd.DataFrame:
    """float32, ids and names of the string type that pandas itself would choose."""
    index = pd.Index(list(map(str, ids)), name="sample_id")
    columns = pd.Index(list(map(str, features)))
    if columns.has_duplicates:
        anndata, _ = libraries()
        again = list(dict.fromkeys(columns[columns.duplicated()]))
        columns = anndata.utils.make_index_unique(columns)
        notes.append(
            f"{name}: {len(again)} features have a name that others have ({shown(again)}); those "
            f"after the first are told apart as {again[0]}-1 and so on."
        )
    if not scipy.sparse.issparse(values):
        return numeric(pd.DataFrame(values, index, columns), name)
    infinite = np.flatnonzero(np.isinf(values.data))
    if len(infinite):
        row = int(np.searchsorted(values.indptr, infinite[0], side="right")) - 1
        raise InputError(
            f"{name}, column {columns[values.indices[infinite[0]]]!r}, row {index[row]!r}: "
            f"infinite value ({len(infinite)} in all); leave the cell empty if it is not known"
        )
    table = table_of(values, index, columns)
    return table if is_sparse(table) else numeric(table, name)


def _with_values(table: pd.DataFrame) -> pd.DataFrame:
    some = [~np.isnan(values).all(axis=1) for _, values in row_blocks(table)]
    return table.loc[np.concatenate(some)]


def _counts_elsewhere(data: Any, name: str, layer: str | None) -> list[str]:
    """A note if X is no counts and a layer, or `.raw`, not asked for, is."""
    if layer is not None or data.X is None or _some_kind(data.X, name) == "counts":
        return []
    others = dict(data.layers) | ({RAW: data.raw.X} if data.raw else {})
    counts = [other for other in others if _some_kind(others[other], name) == "counts"]
    return [
        f"{name}: X is read, and the layer {other} holds raw counts: --layers {name}={other} reads "
        "these."
        for other in counts[:1]
    ]


def _some_kind(values: Any, name: str) -> Kind:
    """Of the first rows."""
    some = in_memory(values[:LOOKED_AT], name)
    return kind_of(some.toarray() if scipy.sparse.issparse(some) else some)


def _embeddings(
    sources: Sequence[Source],
    wanted: Mapping[str, str],
    source: str,
    lenient: bool,
    notes: list[str],
) -> dict[str, pd.DataFrame]:
    """Tables in `obsm` that are asked for; where several modalities have one, each before its
    own."""
    held: dict[str, list[tuple[str, pd.Index, Any]]] = {}
    for opened in sources:
        for key, values in opened.obsm.items():
            assert opened.obs is not None
            held.setdefault(key, []).append(("", opened.obs.index, values))
        for name, part in opened.parts.items():
            for key, values in part.obsm.items():
                held.setdefault(key, []).append((name, part.obs_names, values))
    tables = {}
    for name, key in wanted.items():
        if key not in held and not lenient:
            raise InputError(
                f"{source} has nothing called {key!r} in obsm; it has: {', '.join(held) or 'none'}"
            )
        for owner, ids, values in held.get(key, []):
            unique = len(held[key]) == 1 or not owner
            title = name if unique else f"{owner}_{name}"
            tables[title] = _embedding(values, ids, key, f"{source}, obsm[{key!r}]", notes)
    left = [key for key in held if key not in wanted.values()]
    if left:
        notes.append(
            f"Tables in obsm were not read, since most are computed from others: {shown(left)} "
            f"(--layers NAME={OBSM}{left[0]} makes one a modality)."
        )
    return tables


def _embedding(values: Any, ids: pd.Index, key: str, name: str, notes: list[str]) -> pd.DataFrame:
    columns = pd.Index(map(str, getattr(values, "columns", [])))
    numbers = in_memory(values, name)
    if numbers.ndim != 2:
        raise InputError(f"{name} has shape {numbers.shape}, expected two axes")
    if not len(columns):
        columns = pd.Index([f"{key}_{i}" for i in range(numbers.shape[1])])
    return _with_values(_table(numbers, ids, columns, name, notes))


def _about(uns: Mapping[str, Any]) -> tuple[dict[str, str], list[str], dict[str, Kind]]:
    """Units, notes and kinds in `uns["cohort"]`."""
    about = uns.get("cohort", {})
    about = about if isinstance(about, Mapping) else {}

    def texts(key: str) -> dict[str, str]:
        said = about.get(key, {})
        return {str(k): str(v) for k, v in said.items()} if isinstance(said, Mapping) else {}

    notes = [str(note) for note in np.atleast_1d(about.get("notes", []))]
    kinds: dict[str, Kind] = {m: k for m, k in texts("kinds").items() if k in KINDS}  # pyright: ignore
    return texts("units"), notes, kinds
