"""The published chain's intermediate tables as CSV, for comparison with the published system.

Same names and layout as the published scripts write: `merged/merged_<modality>.csv`,
`summary_omics_gt1.tsv`, `wsi_embeddings_filtered.csv`, `IDs_file.csv`, `train_test_split_ids.csv`,
`merged/reduced_clinical.csv`, `05_imputed/`, `05b_embeddings/`, `06_masked/`, `07_normalized/`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from cohgen_jax.storage.whole import whole_file
from data_prep.blocks import Block, assemble, merged_features
from data_prep.latents import EMBEDDINGS, SPLITS, Splits, published_latents
from data_prep.omics import kept_features


def write_csv(path: Path, table: pd.DataFrame, sep: str = ",") -> None:
    """Writes a table whole; the index, if it has a name, is the first column."""
    import pyarrow as pa
    from pyarrow import csv

    frame = table.reset_index() if table.index.name else table
    options = csv.WriteOptions(delimiter=sep, quoting_style="needed")
    with whole_file(path) as temporary:
        csv.write_csv(pa.Table.from_pandas(frame, preserve_index=False), temporary, options)


def export_merged(
    folder: Path, blocks: Mapping[str, Sequence[Block]], clinical: pd.DataFrame
) -> list[Path]:
    """Merged tables of every modality (rnaseq also after gene filtering) and of clinical data."""
    written = []
    for modality, parts in tqdm(blocks.items(), desc="merged csv"):
        tables = {f"merged_{modality}": merged_features(parts)}
        if modality == "rnaseq":
            tables["merged_rnaseq_QC"] = kept_features(modality, parts)
        for name, features in tables.items():
            written.append(folder / "merged" / f"{name}.csv")
            write_csv(written[-1], assemble(parts, features=features))
    written.append(folder / "merged" / "merged_clinical.csv")
    write_csv(written[-1], clinical.drop(columns="project"))
    return written


def export_ids(
    folder: Path, split_tables: Mapping[str, pd.DataFrame], slides: pd.DataFrame | None
) -> list[Path]:
    """Summary, set-aside samples, ids, split, reduced clinical table and the matched slides."""
    plain = {
        "summary": ("summary_omics_gt1.tsv", "\t"),
        "removed": ("summary_removed_lt2.tsv", "\t"),
        "ids": ("IDs_file.csv", ","),
        "split": ("train_test_split_ids.csv", ","),
        "reduced_clinical": ("merged/reduced_clinical.csv", ","),
    }
    for key, (name, sep) in plain.items():
        write_csv(folder / name, split_tables[key], sep)
    written = [folder / name for name, _ in plain.values()]
    if slides is not None:
        matched = slides.loc[
            slides.index.isin(list(split_tables["ids"]["sample_id"]))
        ].reset_index()
        matched = matched.loc[:, ["slide_id", "sample_id", *matched.columns[2:]]]
        written.append(folder / "wsi_embeddings_filtered.csv")
        write_csv(written[-1], matched)
    return written


class RawSplits(Mapping[str, Splits]):
    """Raw tables by modality and split, assembled when asked for, so that one is held at a time.

    Omics rows are in the order of the split table, slides in that of their ids, as published.
    """

    def __init__(
        self,
        blocks: Mapping[str, Sequence[Block]],
        split: pd.DataFrame,
        slides: pd.DataFrame | None,
    ):
        self._blocks, self._split, self._slides = blocks, split, slides

    def __iter__(self) -> Iterator[str]:
        yield from self._blocks
        if self._slides is not None:
            yield "wsi"

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, modality: str) -> Splits:
        rows = {s: self._split.loc[self._split["split"] == s] for s in SPLITS}
        if modality == "wsi" and self._slides is not None:
            vectors = self._slides.drop(columns="slide_id")
            # The published chain hands slide vectors on as text, and the decimals of a float32
            # read as float64 are not its binary value: PCA sees the difference in the 7th digit.
            decimal = vectors.to_numpy().astype(str).astype(np.float64)
            vectors = pd.DataFrame(decimal, index=vectors.index, columns=vectors.columns)
            return {s: vectors.loc[vectors.index.isin(list(rows[s]["sample_id"]))] for s in SPLITS}
        parts = self._blocks[modality]
        features = kept_features(modality, parts)
        have = {sample for block in parts for sample in block.samples}
        out = {}
        for split in SPLITS:
            present = rows[split].loc[rows[split]["original_id"].isin(list(have))]
            table = assemble(parts, list(present["original_id"]), features)
            out[split] = table.set_axis(pd.Index(present["sample_id"], name="sample_id"))
        return out


def export_latents(
    folder: Path, raw: Mapping[str, Splits], embedding: str, width: int, max_missing: float
) -> list[Path]:
    """Steps 05 to 07 as CSV."""
    written = []

    def write(name: str, table: pd.DataFrame) -> None:
        written.append(folder / f"{name}.csv")
        write_csv(written[-1], table)

    published_latents(raw, EMBEDDINGS[embedding], width, max_missing, write)
    return written
