"""The published system's processed files, read as a cohort of latents.

    07_normalized/<dim>/<modality>_{train,val,test}.csv   sample_id, then latents; in train the rows
                                                          of absent modalities are there and empty
    06_masked/<dim>/masks_train.csv                       sample_id, a 0/1 column a modality
    downstream_labels/{split}_{stage,cancer_type}.csv     labels

The folder <dim> may be left out. Scalers lie beside them as pickles and are not looked at: the
tables are standardised. data_prep writes the same with --published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cohgen_jax.cohort import Cohort
from cohgen_jax.cohort.cohort import SPLITS
from cohgen_jax.cohort.labels import sample_facts
from cohgen_jax.errors import InputError

NORMALISED, MASKED, LABELS = "07_normalized", "06_masked", "downstream_labels"
LABEL_NAMES = ("cancer_type", "stage")
SAMPLE = "sample_id"


def is_processed(path: str | Path) -> bool:
    """Whether this is a folder of the published layout, or one of those with its tables: in any
    other, tables by such names are tables of the user's."""
    path = Path(path)
    return NORMALISED in (path.name, path.parent.name) or (path / NORMALISED).is_dir()


def load_processed(path: str | Path, modalities: Sequence[str] | None = None) -> Cohort:
    """The processed tables with their own split; latents as they stand in the files.

    Args:
        path: the folder that holds 07_normalized, 07_normalized itself, or the tables' folder.
        modalities: names and order; all, alphabetically, by default.

    Raises:
        InputError: several latent widths, a modality without one of its three tables, samples or
            masks that contradict one another, held-out samples that lack a modality, unknown cells.
    """
    folder = tables_folder(path)
    names = list(modalities) if modalities is not None else _modalities(folder)
    read = {m: {side: _table(folder, m, side) for side in SPLITS} for m in names}
    ids = {side: _common_ids(read, side) for side in SPLITS}
    masks = _masks(folder)
    tables, notes = {}, []
    for modality in names:
        parts = read[modality]
        widths = {side: list(part.columns) for side, part in parts.items()}
        if widths["val"] != widths["train"] or widths["test"] != widths["train"]:
            raise InputError(f"{folder}: the columns of {modality} differ between its three tables")
        kept = [_present(parts["train"], modality, masks, folder)]
        for side in ("val", "test"):
            empty = parts[side].index[parts[side].isna().any(axis=1)]
            if len(empty):
                raise InputError(
                    f"{folder / f'{modality}_{side}.csv'}: sample {empty[0]!r} has empty cells, "
                    "but held-out samples of this layout have every modality"
                )
            kept.append(parts[side])
        tables[modality] = pd.concat(kept).astype(np.float32)
    order = pd.Index(np.concatenate([ids[side] for side in SPLITS]), name=SAMPLE)
    if order.has_duplicates:
        twice = order[order.duplicated()][0]
        raise InputError(f"{folder}: sample {twice!r} is on two sides of the split")
    labels = _labels(folder, ids)
    samples = sample_facts(order, labels, LABELS, notes)
    samples["split"] = np.repeat(list(SPLITS), [len(ids[side]) for side in SPLITS])
    sides = samples.groupby("patient_id")["split"].nunique()
    if (sides > 1).any():
        notes.append(
            f"{int((sides > 1).sum())} patients have samples on both sides of the published split, "
            "which is by sample: scores on them flatter every model."
        )
    notes.append(
        "These tables are latents of the published chain: scores are of latents, and --codec.kind "
        "identity keeps them as they are."
    )
    return Cohort(
        name=folder.name if folder.name != NORMALISED else folder.parent.name,
        modalities=tuple(names),
        tables=tables,
        samples=samples,
        units=dict.fromkeys(names, "standardised latents"),
        kinds=dict.fromkeys(names, "continuous"),
        notes=tuple(notes),
    )


def tables_folder(path: str | Path) -> Path:
    """Where the normalised tables lie; InputError without any, or with several widths."""
    path = Path(path)
    top = path / NORMALISED if (path / NORMALISED).is_dir() else path
    if _modalities(top):
        return top
    below = (
        [p for p in sorted(top.iterdir()) if p.is_dir() and _modalities(p)] if top.is_dir() else []
    )
    if len(below) > 1:
        raise InputError(
            f"{top} holds latents of several widths: {', '.join(p.name for p in below)}; name one "
            f"({below[0]})"
        )
    if not below:
        raise InputError(
            f"{path} holds no published tables ({NORMALISED}/<dim>/<modality>_train.csv, _val and "
            "_test)"
        )
    return below[0]


def _modalities(folder: Path) -> list[str]:
    """Modalities with a train table and another side here."""
    trained = {path.name.removesuffix("_train.csv") for path in folder.glob("*_train.csv")}
    others = {
        m: [(folder / f"{m}_{side}.csv").is_file() for side in ("val", "test")] for m in trained
    }
    return sorted(m for m in trained if m != "masks" and any(others[m]))


def _table(folder: Path, modality: str, side: str) -> pd.DataFrame:
    file = folder / f"{modality}_{side}.csv"
    table = _csv(file)
    values = table.apply(pd.to_numeric, errors="coerce")
    wrong = values.isna() & table.notna()
    if wrong.any(axis=None):
        column = table.columns[wrong.any()][0]
        raise InputError(
            f"{file}: column {column!r} holds {table.loc[wrong[column], column].iloc[0]!r}"
        )
    if not np.isfinite(values.to_numpy(float)[values.notna().to_numpy()]).all():
        raise InputError(f"{file} holds infinite values")
    return values


def _csv(file: Path) -> pd.DataFrame:
    """A table by sample_id, the first column by that name."""
    try:
        table = pd.read_csv(file, dtype={SAMPLE: str})
    except FileNotFoundError as error:
        raise InputError(
            f"{file} is missing: a modality has a table for each of {SPLITS}"
        ) from error
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{file} is not a table: {error}") from error
    if SAMPLE not in table:
        raise InputError(f"{file} has no column {SAMPLE}")
    table = table.set_index(SAMPLE)
    if table.index.has_duplicates:
        raise InputError(
            f"{file}: sample {table.index[table.index.duplicated()][0]!r} occurs twice"
        )
    return table


def _common_ids(read: Mapping[str, Mapping[str, pd.DataFrame]], side: str) -> pd.Index:
    """The samples of one side, in the order of the first modality's table."""
    first, *others = read
    ids = read[first][side].index
    for other in others:
        differing = ids.symmetric_difference(read[other][side].index)
        if len(differing):
            raise InputError(
                f"{other}_{side}.csv and {first}_{side}.csv do not have the same samples: "
                f"{differing[0]!r} is in one alone"
            )
    return ids


def _masks(folder: Path) -> pd.DataFrame | None:
    """06_masked/<dim>/masks_train.csv, wherever the tables' folder lies below its parent."""
    dim = folder.name if folder.name != NORMALISED else ""
    top = folder.parent if dim and folder.parent.name == NORMALISED else folder
    for place in (top.parent / MASKED / dim, top.parent / MASKED, folder):
        if (place / "masks_train.csv").is_file():
            return _csv(place / "masks_train.csv")
    return None


def _present(
    train: pd.DataFrame, modality: str, masks: pd.DataFrame | None, folder: Path
) -> pd.DataFrame:
    """The rows of a training table that are there, held to the mask."""
    here = train.notna().all(axis=1)
    partly = train.notna().any(axis=1) & ~here
    if partly.any():
        raise InputError(
            f"{folder / f'{modality}_train.csv'}: sample {train.index[partly][0]!r} has some empty "
            "cells; a row of latents is whole, or empty where the modality is absent"
        )
    if masks is not None:
        if modality not in masks:
            raise InputError(f"masks_train.csv has no column {modality}")
        said = masks[modality].reindex(train.index)
        differing = train.index[(said == 1).to_numpy() != here.to_numpy()]
        if len(differing):
            raise InputError(
                f"masks_train.csv and {modality}_train.csv contradict each other on "
                f"{len(differing)} samples, {differing[0]!r} among them"
            )
    return train[here]


def _labels(folder: Path, ids: Mapping[str, pd.Index]) -> pd.DataFrame | None:
    """Labels of the samples, by their id, or where a table has none in the order of the tables."""
    places = [parent / LABELS for parent in (folder, *folder.parents[:3])]
    place = next((p for p in places if p.is_dir()), None)
    if place is None:
        return None
    labels = {}
    for name in LABEL_NAMES:
        parts = []
        for side in SPLITS:
            file = place / f"{side}_{name}.csv"
            if not file.is_file():
                continue
            table = pd.read_csv(file, dtype=str)
            columns = [c for c in table.columns if c != SAMPLE and not c.startswith("Unnamed")]
            column = name if name in table else columns[0] if len(columns) == 1 else None
            if column is None:
                raise InputError(
                    f"{file}: which of {', '.join(columns)} is the {name}? Call it that"
                )
            if SAMPLE in table:
                parts.append(table.drop_duplicates(SAMPLE).set_index(SAMPLE)[column])
            elif len(table) == len(ids[side]):
                parts.append(table[column].set_axis(ids[side]))
            else:
                raise InputError(
                    f"{file} has {len(table)} rows and no {SAMPLE}, the tables {len(ids[side])}"
                )
        if parts:
            labels[name] = pd.concat(parts)
    return pd.DataFrame(labels).rename_axis(SAMPLE) if labels else None
