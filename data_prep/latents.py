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

Splits = dict[str, pd.DataFrame]
"""One table a split, index sample_id."""

Embedding = Callable[[str, Splits, int], Splits]
"""(modality, imputed tables, latent width) -> latents, fitted on train only."""


def informative_features(train: pd.DataFrame, max_missing: float = 0.10) -> pd.Index:
    """Columns missing in less than `max_missing` of the rows."""
    return train.columns[(train.isna().mean(axis=0) < max_missing).to_numpy()]


def impute(modality: str, tables: Splits, max_missing: float = 0.10) -> Splits:
    """Drops sparse features and fills the rest, both decided on train.

    The median fills cna; the mean of the 5 nearest train samples (Euclidean over the features both
    have) fills the others.
    """
    from sklearn.impute import KNNImputer, SimpleImputer

    columns = informative_features(tables["train"], max_missing)
    if columns.empty:
        raise InputError(
            f"{modality}: every feature is missing in {max_missing:.0%} or more of the training "
            "samples; raise --max-missing"
        )
    chosen = {split: table[columns] for split, table in tables.items()}
    if not any(t.isna().to_numpy().any() for t in chosen.values()):
        return chosen
    imputer = SimpleImputer(strategy="median") if modality == "cna" else KNNImputer(n_neighbors=5)
    imputer.fit(chosen["train"].to_numpy())
    return {
        split: table
        if table.empty
        else pd.DataFrame(
            np.asarray(imputer.transform(table.to_numpy())), index=table.index, columns=columns
        )
        for split, table in chosen.items()
    }


def pca_embedding(modality: str, tables: Splits, width: int) -> Splits:
    """PCA after standardisation, fitted on train; columns pc1, pc2, ...

    The solver is scikit-learn's own choice with a fixed seed, as published.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    train = tables["train"]
    if min(train.shape) < width:
        raise InputError(
            f"{modality}: PCA to {width} needs as many training samples and features, "
            f"found {train.shape[0]} x {train.shape[1]}; lower --latent-dim"
        )
    scaler = StandardScaler().fit(train.to_numpy(np.float64))
    pca = PCA(width, random_state=42).fit(scaler.transform(train.to_numpy(np.float64)))
    names = [f"pc{i + 1}" for i in range(width)]
    return {
        split: pd.DataFrame(
            pca.transform(scaler.transform(table.to_numpy(np.float64)))
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
