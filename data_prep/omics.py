"""Omics tables: one transform a modality, project by project, then one gene set for all.

    rnaseq  log2(count + 1) -> counts -> counts per million -> log2(CPM + 1)
    cna     copy number; 0 is missing; log2(x / 2) clipped to [-2, 2]
    rppa    protein level minus the median of its sample

Source: Marchesi, Lazzaro et al., PLOS Comput. Biol., doi 10.1371/journal.pcbi.1013455.
Computed in float64 (RPPA subtracts nearly equal numbers), stored in float32 by default.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cohgen_jax.errors import InputError
from data_prep.barcodes import sample_types
from data_prep.blocks import Block, count_per_feature, merged_features, save_block
from data_prep.xena import read_matrix

KIND_OF = {"cna": "gene-level_absolute", "rnaseq": "star_counts", "rppa": "protein"}
"""Modality -> the Xena table it comes from."""

UNITS = {
    "cna": "log2(absolute copy number / 2), clipped to [-2, 2]",
    "rnaseq": "log2(counts per million + 1)",
    "rppa": "protein level minus the sample's median",
    "wsi": "slide embedding, as given by its encoder",
}

MIN_CPM = 1.0
MIN_EXPRESSED = 0.20
"""A gene is kept when its CPM reaches MIN_CPM in at least this share of the samples."""


def log_cpm(log_counts: np.ndarray) -> np.ndarray:
    """log2(count + 1) [samples, genes] -> log2(CPM + 1), in place; NaN where there are no reads."""
    counts = np.exp2(log_counts, out=log_counts)
    counts -= 1.0
    total = np.nansum(counts, axis=1, keepdims=True)
    counts *= 1e6 / np.where(total > 0, total, np.nan)
    counts += 1.0
    return np.log2(counts, out=counts)


def log_copy_ratio(copies: np.ndarray) -> np.ndarray:
    """Absolute copy number [samples, genes] -> log2(x / 2) in [-2, 2], in place; 0 is missing."""
    copies[copies == 0] = np.nan
    copies *= 0.5
    return np.clip(np.log2(copies, out=copies), -2.0, 2.0, out=copies)


def median_centred(levels: np.ndarray) -> np.ndarray:
    """Protein levels [samples, proteins] minus each sample's median over measured proteins."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All-NaN slice")
        levels -= np.nanmedian(levels, axis=1, keepdims=True)
    return levels


TRANSFORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rnaseq": log_cpm,
    "cna": log_copy_ratio,
    "rppa": median_centred,
}

_RANGE = {
    "rnaseq": (0.0, 40.0, "log2(count + 1) lies in 0..40; are these raw counts?"),
    "cna": (0.0, 1e5, "absolute copy numbers are not negative; are these log ratios?"),
    "rppa": (-1e3, 1e3, "protein levels lie in -1000..1000"),
}


def expressed(values: np.ndarray) -> np.ndarray:
    """True where log2(CPM + 1) says CPM >= MIN_CPM; missing is False."""
    return values >= np.float32(np.log2(1.0 + MIN_CPM))


def prepare_project(
    path: Path,
    project: str,
    modality: str,
    folder: Path,
    types: Sequence[str] = (),
    dtype: str = "float32",
) -> dict[str, Any]:
    """Reads, transforms and writes one project's block of one modality.

    Args:
        path: the Xena table. types: sample types to keep ("01", ...); empty keeps all.
        dtype: of the values stored.
    Returns:
        Counts for the data card: samples, features, repeated ids, samples left out.
    """
    raw = read_matrix(path, KIND_OF[modality])
    _check_range(raw.values, modality, path)
    keep = np.ones(len(raw.samples), dtype=bool)
    if types:
        keep = sample_types(raw.samples).isin(list(types)).to_numpy()
    values = raw.values if keep.all() else raw.values[keep]
    samples = [s for s, k in zip(raw.samples, keep, strict=True) if k]
    values = TRANSFORMS[modality](values)
    measured = np.asarray((~np.isnan(values)).any(axis=1))
    block = Block(
        (values if measured.all() else values[measured]).astype(dtype),
        [s for s, m in zip(samples, measured, strict=True) if m],
        raw.features,
    )
    save_block(folder, project, block)
    told: dict[str, Any] = {
        "samples": len(block.samples),
        "features": len(block.features),
        "repeated_features": len(raw.repeated),
        "repeated_examples": raw.repeated[:5],
        "left_out": list(raw.left_out),
        "samples_of_other_types": int((~keep).sum()),
        "samples_without_a_value": int((~measured).sum()),
    }
    if modality == "rnaseq" and block.samples:
        told["genes_expressed"] = int((expressed(block.values).mean(axis=0) >= MIN_EXPRESSED).sum())
    return told


def _check_range(values: np.ndarray, modality: str, path: Path) -> None:
    low, high, hint = _RANGE[modality]
    smallest, largest = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    if smallest < low or largest > high:
        raise InputError(
            f"{path}: {modality} values from {smallest:g} to {largest:g}, but {hint} "
            f"(expected the Xena table {KIND_OF[modality]})"
        )


def kept_features(modality: str, blocks: Sequence[Block]) -> list[str]:
    """The merged feature set: all for cna and rppa, the expressed genes for rnaseq.

    The share of samples is over all merged samples; a project without the gene counts as not
    expressing it.
    """
    features = merged_features(blocks)
    if modality != "rnaseq":
        return features
    samples = sum(len(block.samples) for block in blocks)
    share = count_per_feature(blocks, features, expressed) / max(samples, 1)
    return [f for f, s in zip(features, share, strict=True) if s >= MIN_EXPRESSED]
