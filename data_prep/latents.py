"""The published arrays for training: imputed tables, latents, masks, standardised latents.

    05_imputed     features missing in >= 10 % of train dropped; k-nearest (rnaseq, rppa) or median
                   (cna) imputation fitted on train
    05b_embeddings latents; wsi by PCA after standardisation, the others by a pluggable embedding
    06_masked      train: union of samples with a 0/1 mask; val and test: samples of all modalities
    07_normalized  each latent minus its train mean, over its train standard deviation

Our own models take the cohort directory and fit their codecs themselves; these files serve
comparisons with the published system.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cohgen_jax.errors import InputError

SPLITS = ("train", "val", "test")

_PIECE = 4096
"""Features looked at together."""

WIDE = 50_000_000
"""Cells of a training table from which PCA is computed in float32."""

Splits = dict[str, pd.DataFrame]
"""One table a split, index sample_id."""

Embedding = Callable[[str, Splits, int], Splits]
"""(modality, imputed tables, latent width) -> latents, fitted on train only."""


def informative_features(
    table: pd.DataFrame, max_missing: float = 0.10, rows: np.ndarray | None = None
) -> pd.Index:
    """Columns missing in less than `max_missing` of the rows, or of those in the mask `rows`."""
    values = table.to_numpy()
    kept = []
    for start in range(0, values.shape[1], _PIECE):
        piece = values[:, start : start + _PIECE]
        missing = np.isnan(piece if rows is None else piece[rows]).mean(axis=0)
        kept.append(missing < max_missing)
    return table.columns[np.concatenate(kept)] if kept else table.columns


def has_missing(table: pd.DataFrame) -> bool:
    """True if any cell is missing."""
    values = table.to_numpy()
    pieces = range(0, values.shape[1], _PIECE)
    return any(np.isnan(values[:, start : start + _PIECE]).any() for start in pieces)


def impute(modality: str, tables: Splits, max_missing: float = 0.10) -> Splits:
    """Drops sparse features and fills the rest, both decided on train.

    The median fills cna; the mean of the 5 nearest train samples (Euclidean over the features both
    have) fills the others. `tables` is emptied on the way, so that two copies of a table of 60,000
    genes are never held.
    """
    columns = informative_features(tables["train"], max_missing)
    if columns.empty:
        raise InputError(
            f"{modality}: every feature is missing in {max_missing:.0%} or more of the training "
            "samples; raise --max-missing"
        )
    chosen = {}
    for split in list(tables):
        table = tables.pop(split)
        chosen[split] = table if len(columns) == table.shape[1] else table[columns]
    if not any(map(has_missing, chosen.values())):
        return chosen
    if modality == "cna":
        median = chosen["train"].median().to_numpy()
        return {split: _filled(chosen.pop(split), median) for split in list(chosen)}
    from sklearn.impute import KNNImputer

    imputer = KNNImputer(n_neighbors=5).fit(chosen["train"].to_numpy())
    return {
        split: table
        if table.empty
        else pd.DataFrame(
            np.asarray(imputer.transform(table.to_numpy())), index=table.index, columns=columns
        )
        for split, table in chosen.items()
    }


def _filled(table: pd.DataFrame, fill: np.ndarray) -> pd.DataFrame:
    """The table with missing cells replaced by the value of their column."""
    values = table.to_numpy(copy=True)
    for start in range(0, values.shape[1], _PIECE):
        piece = values[:, start : start + _PIECE]
        rows, columns = np.nonzero(np.isnan(piece))
        piece[rows, columns] = fill[start + columns]
    return pd.DataFrame(values, index=table.index, columns=table.columns)


def pca_embedding(modality: str, tables: Splits, width: int) -> Splits:
    """PCA after standardisation, fitted on train; columns pc1, pc2, ...

    The solver is scikit-learn's own choice with a fixed seed, as published. Tables of tens of
    thousands of features are computed in float32: in float64 the copies would not fit in 16 GB.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    train = tables["train"]
    if min(train.shape) < width:
        raise InputError(
            f"{modality}: PCA to {width} needs as many training samples and features, "
            f"found {train.shape[0]} x {train.shape[1]}; lower --latent-dim"
        )
    dtype = np.float64 if train.size < WIDE else np.float32
    # One copy is made here, so that scikit-learn may work in place.
    scaler = StandardScaler(copy=False)
    pca = PCA(width, random_state=42, copy=False)
    pca.fit(scaler.fit_transform(train.to_numpy(dtype, copy=True)))
    names = [f"pc{i + 1}" for i in range(width)]
    return {
        split: pd.DataFrame(
            pca.transform(scaler.transform(table.to_numpy(dtype, copy=True)))
            if len(table)
            else np.empty((0, width)),
            index=table.index,
            columns=names,
        )
        for split, table in tables.items()
    }


def first_columns(modality: str, tables: Splits, width: int) -> Splits:
    """The first `width` imputed columns, named 0, 1, ...: a stand-in that needs no training."""
    names = [str(i) for i in range(width)]
    return {s: t.iloc[:, :width].set_axis(names, axis=1) for s, t in tables.items()}


def autoencoder_embedding(modality: str, tables: Splits, width: int) -> Splits:
    """The published autoencoder of the modality, trained on train with early stopping on val."""
    from cohgen_jax.codec import fit_codec, published_config

    codec = fit_codec(tables["train"], tables["val"], published_config(modality, width), seed=0)
    return {
        split: pd.DataFrame(
            np.asarray(codec.encode(table)),
            index=table.index,
            columns=[str(i) for i in range(codec.width)],
        )
        for split, table in tables.items()
    }


EMBEDDINGS: dict[str, Embedding] = {
    "pca": pca_embedding,
    "columns": first_columns,
    "autoencoder": autoencoder_embedding,
}


def align(latents: Mapping[str, Splits]) -> tuple[dict[str, Splits], Splits]:
    """Latents of all modalities over one list of samples a split, with 0/1 masks.

    Train is the union of samples (absent rows NaN, mask 0); validation and test must have the
    same samples in every modality.

    Returns:
        (tables per modality and split, sorted by sample_id; masks per split, columns modalities)
    """
    aligned: dict[str, Splits] = {m: {} for m in latents}
    masks: Splits = {}
    for split in SPLITS:
        indices = {m: set(tables[split].index) for m, tables in latents.items()}
        union = sorted(set().union(*indices.values()))
        if split != "train":
            for modality, have in indices.items():
                lacking = sorted(set(union) - have)
                if lacking:
                    raise InputError(
                        f"{split}: {len(lacking)} samples have no {modality} (first {lacking[0]}), "
                        "but validation and test samples must have every modality"
                    )
        index = pd.Index(union, name="sample_id")
        for modality, tables in latents.items():
            aligned[modality][split] = tables[split].reindex(index)
        masks[split] = pd.DataFrame(
            {m: index.isin(list(have)).astype(int) for m, have in indices.items()}, index=index
        )
    return aligned, masks


def standardise(tables: Splits) -> Splits:
    """Each latent to zero mean and unit variance on train (a constant one is only centred)."""
    mean = tables["train"].mean()
    spread = tables["train"].std(ddof=0)
    spread = spread.where(spread > 0, 1.0)
    return {split: (table - mean) / spread for split, table in tables.items()}


def published_latents(
    raw: Mapping[str, Splits],
    embedding: Embedding,
    width: int,
    max_missing: float = 0.10,
    write: Callable[[str, Any], None] = lambda name, table: None,
) -> tuple[dict[str, Splits], Splits]:
    """Runs steps 05 to 07, one modality in memory at a time.

    Args:
        raw: per modality the tables of each split; looked up once each, so that a lazy mapping
            may load them on demand.
        write: called with (file name without ending, table) for every published file.
    Returns:
        Standardised latents and masks.
    """
    latents: dict[str, Splits] = {}
    for modality in raw:
        if modality == "wsi":
            latents[modality] = pca_embedding(modality, dict(raw[modality]), width)
        else:
            filled = impute(modality, dict(raw[modality]), max_missing)
            for split in SPLITS:
                write(f"05_imputed/{modality}_{split}", filled[split])
            latents[modality] = embedding(modality, filled, width)
            del filled
        for split in SPLITS:
            write(f"05b_embeddings/{modality}_{split}", latents[modality][split])
    aligned, masks = align(latents)
    for split in SPLITS:
        write(f"06_masked/masks_{split}", masks[split])
    standard = {}
    for modality, tables in aligned.items():
        standard[modality] = standardise(tables)
        for split in SPLITS:
            write(f"06_masked/{modality}_{split}", tables[split])
            write(f"07_normalized/{modality}_{split}", standard[modality][split])
    return standard, masks
