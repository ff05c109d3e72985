"""`TcgaMultimodal`: a cohort directory as a tensorflow-datasets dataset, without TensorFlow.

    python -m data_prep.tcga_multimodal --cohort data/tcga --data-dir data/tfds
    source = tfds.data_source("tcga_multimodal/raw", split="train", data_dir="data/tfds")

Configurations
    raw      the tables of the cohort directory, in their units
    latent   latents of every modality, standardised, the codec fitted on train
Splits       train, val, test: those of the cohort, by patient
Features     <modality>   float32 [F], NaN where a cell is missing, all NaN without the assay
             present      bool [M], in the order of `metadata["modalities"]`
             sample_id, patient_id, cancer_type, stage   text, "" where unknown
             os_event, os_days                           float32, NaN where unknown
             labels       text: the other columns of `samples.parquet`, as JSON
Metadata     modalities, feature names, units, notes, fingerprint of the cohort

Records are ArrayRecord, set explicitly: the default format, TFRecord, needs TensorFlow at the last
step of the build. ArrayRecord is also what gives random access, hence shuffling and exact resume.
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from cohgen_jax.cohort import SPLITS, Cohort, load_cohort
from cohgen_jax.errors import InputError
from cohgen_jax.interop.tfds_cohort import NUMBER_FACTS, TEXT_FACTS

FILE_FORMAT = "array_record"

CONFIGS = {
    "raw": "The tables of the cohort, in their units.",
    "latent": "Latents of every modality, standardised on train.",
}


def fingerprint(cohort: Cohort) -> str:
    """SHA-256 of every value, id, label and name in a cohort."""
    digest = hashlib.sha256(cohort.samples.to_csv().encode())
    for m in cohort.modalities:
        table = cohort.tables[m]
        digest.update(json.dumps([m, list(table.index), list(table.columns)]).encode())
        digest.update(np.ascontiguousarray(table.to_numpy(np.float32)).tobytes())
    return digest.hexdigest()


def latent_cohort(cohort: Cohort, width: int, seed: int = 0) -> Cohort:
    """The cohort with each table replaced by its standardised latents, fitted on train."""
    from cohgen_jax.codec import CodecConfig, encode_cohort, fit_codecs

    codecs = fit_codecs(cohort, CodecConfig(latent_dim=width), seed)
    latents = encode_cohort(cohort, codecs)
    tables = {}
    for k, m in enumerate(latents.modalities):
        have = np.asarray(latents.present[:, k], dtype=bool)
        values = np.asarray(latents.z[have, k, : int(latents.widths[k])], dtype=np.float32)
        names = [f"{m}_{i}" for i in range(values.shape[1])]
        tables[m] = pd.DataFrame(values, index=cohort.samples.index[have], columns=names)
    notes = (*cohort.notes, f"Tables are latents of at most {width} columns, fitted on train.")
    units = dict.fromkeys(cohort.modalities, "standardised latent")
    return dataclasses.replace(cohort, tables=tables, units=units, notes=notes)


class TcgaMultimodal(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Builds one configuration of the dataset from a cohort directory.

    Not registered by name: what was built is found by name through its files, by
    `tfds.data_source` and `tfds.builder`, without this module.
    """

    name = "tcga_multimodal"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Raw and latent tables of a cohort directory."}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name=name, description=text) for name, text in CONFIGS.items()
    ]

    def __init__(self, *, cohort: Cohort, **kwargs: Any):
        """`cohort`: the tables to pack; the rest is tensorflow-datasets' own."""
        self.cohort = cohort
        super().__init__(file_format=FILE_FORMAT, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        cohort = self.cohort
        features: dict[str, Any] = {
            m: tfds.features.Tensor(shape=(cohort.tables[m].shape[1],), dtype=np.float32)
            for m in cohort.modalities
        }
        features["present"] = tfds.features.Tensor(shape=(len(cohort.modalities),), dtype=np.bool_)
        for name in ("sample_id", *TEXT_FACTS, "labels"):
            features[name] = tfds.features.Text()
        for name in NUMBER_FACTS:
            features[name] = tfds.features.Scalar(dtype=np.float32)
        metadata = tfds.core.MetadataDict(
            cohort=cohort.name,
            modalities=list(cohort.modalities),
            feature_names={m: list(map(str, t.columns)) for m, t in cohort.tables.items()},
            units=cohort.units,
            notes=list(cohort.notes),
            fingerprint=fingerprint(cohort),
        )
        return tfds.core.DatasetInfo(
            builder=self,
            description="Aligned omics and histology of cancer patients, with missing assays.",
            features=tfds.features.FeaturesDict(features),
            metadata=metadata,
            # Records stay in the order of the cohort: shuffling belongs to the reader.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        del dl_manager
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        cohort = self.cohort
        rows = cohort.rows(split)
        ids = cohort.samples.index[rows]
        values = {m: cohort.tables[m].reindex(ids).to_numpy(np.float32) for m in cohort.modalities}
        present = cohort.present[rows]
        for i, sample in enumerate(ids):
            facts = cohort.samples.loc[sample]
            example: dict[str, Any] = {m: values[m][i] for m in cohort.modalities}
            example |= {"present": present[i], "sample_id": str(sample)}
            example |= {name: _text(facts.get(name)) for name in TEXT_FACTS}
            example |= {name: _number(facts.get(name)) for name in NUMBER_FACTS}
            others = facts.drop(labels=["split", *TEXT_FACTS, *NUMBER_FACTS], errors="ignore")
            example["labels"] = json.dumps({k: _plain(v) for k, v in others.items()})
            yield i, example


def _text(value: Any) -> str:
    return "" if value is None or pd.isna(value) else str(value)


def _number(value: Any) -> np.float32:
    return np.float32(np.nan if value is None or pd.isna(value) else value)


def _plain(value: Any) -> Any:
    if value is None or pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def make_builder(
    cohort: Cohort, data_dir: Path, config: str = "raw", latent_dim: int = 32
) -> TcgaMultimodal:
    """The builder of one configuration over a cohort."""
    if config not in CONFIGS:
        raise InputError(f"unknown configuration {config!r}: {', '.join(CONFIGS)}")
    packed = latent_cohort(cohort, latent_dim) if config == "latent" else cohort
    return TcgaMultimodal(cohort=packed, config=config, data_dir=str(data_dir))


def build(builder: TcgaMultimodal) -> None:
    """Writes the dataset; one already there is kept if it holds the same cohort, else replaced."""
    stored = Path(builder.data_dir) / "metadata.json"
    mode = tfds.GenerateMode.REUSE_DATASET_IF_EXISTS
    if stored.exists():
        metadata = json.loads(stored.read_text(encoding="utf-8"))
        if metadata.get("fingerprint") != fingerprint(builder.cohort):
            mode = tfds.GenerateMode.REUSE_CACHE_IF_EXISTS
    settings = tfds.download.DownloadConfig(download_mode=mode)
    builder.download_and_prepare(download_config=settings)


def main() -> int:
    """Builds the dataset from a cohort directory."""
    import tyro

    def pack(cohort: Path, data_dir: Path, config: str = "raw", latent_dim: int = 32) -> None:
        """Packs a cohort directory as the dataset tcga_multimodal.

        Args:
            cohort: cohort directory.
            data_dir: where tensorflow-datasets keeps datasets.
            config: raw or latent.
            latent_dim: width of the latents, for latent.
        """
        builder = make_builder(load_cohort(cohort), data_dir, config, latent_dim)
        build(builder)
        counts = {name: info.num_examples for name, info in builder.info.splits.items()}
        print(f"{builder.data_dir}: {counts}")

    try:
        tyro.cli(pack, prog="python -m data_prep.tcga_multimodal")
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
