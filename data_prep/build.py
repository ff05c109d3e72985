"""The last stage: the cohort directory, as `cohgen_jax.cohort.load_cohort` reads it.

`<modality>.parquet` holds raw values (float32, index sample_id) of the samples in the split that
have the assay, without the features that are missing too often in train; cells that are missing
stay missing, since the codecs impute with what they learn on train. `samples.parquet` holds
patient, split, labels and survival; `cohort.json` the schema; `data_card.md` the story.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from cohgen_jax.cohort.read import mark_unfinished
from cohgen_jax.errors import InputError, shown
from data_prep.barcodes import patients
from data_prep.blocks import assemble, block_paths, merged_features
from data_prep.card import data_card
from data_prep.config import PrepConfig
from data_prep.files import write_json, write_text
from data_prep.ids import FLAGS
from data_prep.latents import informative_features
from data_prep.omics import KIND_OF, UNITS, kept_features
from data_prep.pipeline import (
    MODALITIES,
    load_blocks,
    raw_files,
    slide_table,
    split_paths,
    write_parquet,
)
from data_prep.published import RawSplits, export_ids, export_latents, export_merged
from data_prep.split import SET_ASIDE, SPLIT_RULES
from data_prep.stages import Stages

SCHEMA_VERSION = 1
"""Of the cohort directory."""

_ROMAN = {1.0: "I", 2.0: "II", 3.0: "III", 4.0: "IV"}


def usable_split(split: pd.DataFrame) -> pd.DataFrame:
    """The rows of a split that a cohort may use: nobody on two sides of it.

    The default split has only its SET_ASIDE rows to lose. Of a published split, test keeps its
    samples; samples of its patients leave train and val, those of val's patients leave train.
    """
    patient = pd.Series(patients(split["sample_id"]), index=split.index)
    side = split["split"]
    test = set(patient[side == "test"])
    val = set(patient[side == "val"]) - test
    keep = (
        (side == "test")
        | ((side == "val") & patient.isin(val))
        | ((side == "train") & ~patient.isin(test | val))
    )
    return split.loc[keep & (side != SET_ASIDE)]


def sample_facts(
    split: pd.DataFrame, clinical: pd.DataFrame, survival: pd.DataFrame
) -> pd.DataFrame:
    """`samples.parquet`: index sample_id (sorted); patient, split, labels, survival.

    Survival is that of the same vial, else of any sample of the patient.
    """
    rows = split.sort_values("sample_id").set_index("sample_id")
    labels = clinical.reindex(rows["original_id"]).set_axis(rows.index)
    out = pd.DataFrame({"patient_id": patients(rows.index)}, index=rows.index)
    out["split"], out["cancer_type"] = rows["split"], rows["cancertype"]
    out["stage"] = [_ROMAN.get(number) for number in labels["ajcc_pathologic_stage"]]
    outcome = survival.reindex(rows["original_id"]).set_axis(rows.index)
    if len(survival):
        of_patient = survival.groupby(patients(survival.index)).first()
        outcome = outcome.fillna(of_patient.reindex(out["patient_id"]).set_axis(rows.index))
    out["os_event"] = outcome["os_event"].astype(np.float32)
    out["os_days"] = outcome["os_days"].where(outcome["os_days"] >= 0).astype(np.float32)
    rest = labels.drop(columns=["cancertype", "ajcc_pathologic_stage"])
    out = out.join(rest)
    out["original_id"] = rows["original_id"]
    return out


def run_build(config: PrepConfig, stages: Stages) -> None:
    """Cohort directory, published tables if asked for, data card."""
    paths = split_paths(config)
    for name, path in paths.items():
        if not path.exists():
            raise InputError(f"{name} is not there yet: run the stage `split` first")
    files, skipped = raw_files(config)
    split = pd.read_parquet(paths["split"])
    usable = usable_split(split)
    slides = slide_table(config)
    present = [m for f, m in FLAGS.items() if 1 in usable[f].tolist()]
    if slides is not None and 1 in usable["wsi"].tolist():
        present.append("wsi")
    told: dict[str, Any] = {}
    config.out.mkdir(parents=True, exist_ok=True)
    mark_unfinished(config.out)
    for modality in tqdm(present, desc="cohort", unit="table"):
        told[modality] = _build_table(config, stages, modality, usable, slides)
    samples_path = config.out / "samples.parquet"
    survival_path = config.work / "clinical" / "survival.parquet"

    def build_samples() -> dict[str, Any]:
        facts = sample_facts(
            usable, pd.read_parquet(paths["reduced_clinical"]), pd.read_parquet(survival_path)
        )
        write_parquet(samples_path, facts)
        return {"samples": len(facts), "patients": len(set(facts["patient_id"]))}

    inputs = [paths["split"], paths["reduced_clinical"], survival_path]
    stages.run("build-samples", inputs, {}, [samples_path], build_samples)
    if config.published:
        _export(config, stages, slides)
    card = data_card(config, stages, files, skipped, present, pd.read_parquet(samples_path), split)
    write_text(config.out / "data_card.md", card)
    # Written last: until then the directory is refused.
    write_json(
        config.out / "cohort.json",
        {
            "schema_version": SCHEMA_VERSION,
            "name": config.out.name,
            "modalities": present,
            "units": {m: UNITS[m] for m in present},
            "notes": notes(config, stages, told, skipped),
        },
    )


def notes(
    config: PrepConfig, stages: Stages, told: dict[str, Any], skipped: list[str]
) -> list[str]:
    """What was done, in plain sentences."""
    info = stages.info("split") or {}
    out = [SPLIT_RULES["published" if config.published else "default"]]
    if config.published and info.get("patients_on_both_sides"):
        out.append(
            f"{info['patients_on_both_sides']} patients would have been on both sides of the "
            "published split; their training samples were left out of this cohort."
        )
    if info.get("incomplete_of_held_out_patients"):
        out.append(
            f"{info['incomplete_of_held_out_patients']} incomplete samples of held-out patients "
            "were left out."
        )
    slides = (stages.info("slides") or {}) if config.slides is not None else {}
    if slides.get("left_out"):
        out.append(
            f"wsi: {len(slides['left_out'])} columns are no part of the vectors and were left out: "
            f"{shown(slides['left_out'])}."
        )
    for modality, facts in told.items():
        if facts["features_sparse"]:
            out.append(
                f"{modality}: {facts['features_sparse']} features missing in "
                f"{config.max_missing:.0%} or more of train were dropped."
            )
    if skipped:
        out.append(f"No file was found for: {', '.join(skipped)}.")
    return out


def _build_table(config, stages: Stages, modality: str, usable, slides) -> dict[str, Any]:
    output = config.out / f"{modality}.parquet"
    listing = config.work / "features" / f"{modality}.csv"
    paths = split_paths(config)
    if modality == "wsi":
        inputs = [paths["split"], config.work / "slides" / "slide_vectors.parquet"]
    else:
        files, _ = raw_files(config)
        folder = config.work / "omics" / modality
        inputs = [paths["split"]]
        inputs += [
            path for p in files if KIND_OF[modality] in files[p] for path in block_paths(folder, p)
        ]

    def build() -> dict[str, Any]:
        if modality == "wsi":
            table = slides.drop(columns="slide_id")
            table = table[table.index.isin(usable["sample_id"])].astype(np.float32)
            everything = list(table.columns)
        else:
            blocks = load_blocks(config, modality)
            features = kept_features(modality, blocks)
            have = {s for block in blocks for s in block.samples}
            rows = usable[usable["original_id"].isin(have)].sort_values("sample_id")
            table = assemble(blocks, list(rows["original_id"]), features)
            table = table.set_axis(pd.Index(rows["sample_id"], name="sample_id"))
            everything = merged_features(blocks)
        train = table.index.isin(usable.loc[usable["split"] == "train", "sample_id"])
        if not train.any():
            raise InputError(f"{modality}: no training sample has it; leave it out")
        kept = informative_features(table, config.max_missing, np.asarray(train))
        if kept.empty:
            raise InputError(
                f"{modality}: every feature is missing in {config.max_missing:.0%} or more of the "
                "training samples; raise --max-missing"
            )
        told = {
            "features": len(everything),
            "features_unexpressed": len(everything) - table.shape[1],
            "features_sparse": table.shape[1] - len(kept),
        }
        write_text(listing, feature_list(everything, table.columns, kept).to_csv(index=False))
        table = table if len(kept) == table.shape[1] else table.loc[:, kept]
        write_wide(output, table)
        return told | {"samples": len(table), "kept": len(kept)}

    params = {
        "max_missing": config.max_missing,
        "published": config.published,
        "join_slides": config.join_slides,
        "sample_types": sorted(config.sample_types),
    }
    return stages.run(f"build-{modality}", inputs, params, [output, listing], build)


def feature_list(features: Sequence[str], expressed: pd.Index, kept: pd.Index) -> pd.DataFrame:
    """Every feature found and what became of it: kept, not expressed, missing too often."""
    names = pd.Index(features)
    fate = np.where(names.isin(expressed), "missing too often", "not expressed")
    return pd.DataFrame({"feature": names, "fate": np.where(names.isin(kept), "kept", fate)})


def write_wide(path: Path, table: pd.DataFrame) -> None:
    """Parquet of a float table with tens of thousands of columns.

    One row group, no dictionaries and no statistics: for noise-like floats they cost time and a
    footer of many megabytes and save nothing.
    """
    import pyarrow as pa
    from pyarrow import parquet

    from cohgen_jax.storage.whole import whole_file

    narrow = table if (table.dtypes == np.float32).all() else table.astype(np.float32)
    arrow = pa.Table.from_pandas(narrow)
    with whole_file(path) as temporary:
        parquet.write_table(
            arrow,
            temporary,
            row_group_size=max(len(table), 1),
            use_dictionary=False,
            write_statistics=False,
            compression="zstd",
        )


def _export(config: PrepConfig, stages: Stages, slides: pd.DataFrame | None) -> None:
    """The published tables; one stage, since they are only made for comparisons."""
    folder = config.work / "published"
    paths = split_paths(config)
    clinical_path = config.work / "clinical" / "clinical.parquet"
    blocks = {m: b for m in MODALITIES if (b := load_blocks(config, m))}
    listing = folder / "files.json"

    def build() -> dict[str, Any]:
        tables = {name: pd.read_parquet(path) for name, path in paths.items()}
        written = export_merged(folder, blocks, pd.read_parquet(clinical_path))
        written += export_ids(folder, tables, slides)
        raw = RawSplits(blocks, tables["split"], slides)
        written += export_latents(
            folder, raw, config.embedding, config.latent_dim, config.max_missing
        )
        names = sorted(str(p.relative_to(folder)) for p in written)
        write_json(listing, names)
        return {"files": len(names)}

    inputs = [*paths.values(), clinical_path]
    for modality in blocks:
        inputs += sorted((config.work / "omics" / modality).glob("*.npy"))
    params = {
        "embedding": config.embedding,
        "latent_dim": config.latent_dim,
        "max_missing": config.max_missing,
    }
    stages.run("published", inputs, params, [listing], build)
