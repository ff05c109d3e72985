"""The stages of TCGA preparation tied to their files.

    download  <work>/raw/TCGA-<P>.<kind>.tsv.gz           (download.py)
    omics     <work>/omics/<modality>/<P>.npy, .json      (omics.py)
    clinical  <work>/clinical/clinical.parquet, survival.parquet
    slides    <work>/slides/slide_vectors.parquet         (slides/)
    split     <work>/split/{summary,removed,ids,split,reduced_clinical}.parquet
    build     the cohort directory and its data card      (build.py, card.py)

Each function runs its own stage only and reads what the earlier ones left; `Stages` skips what is
done and unchanged.
"""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from cohgen_jax.errors import InputError, shown
from cohgen_jax.storage.whole import whole_file
from data_prep.barcodes import patients, sample_types, without_vial
from data_prep.blocks import Block, block_paths, load_block, merged_samples
from data_prep.clinical import merge_clinical, merge_survival, reduce_clinical
from data_prep.config import PrepConfig
from data_prep.ids import check_overlap, omics_summary, sample_ids
from data_prep.omics import KIND_OF, prepare_project
from data_prep.slides.embeddings import h5_files, read_slide_vectors, sample_vectors, slide_samples
from data_prep.slides.raw import encode_slides, is_raw_slides
from data_prep.split import SET_ASIDE, leaking_patients, split_patients, split_samples
from data_prep.stages import Stages
from data_prep.xena import KINDS, find_file, projects_in, read_rows, resolve_projects

log = logging.getLogger("data_prep")

MODALITIES = ("cna", "rnaseq", "rppa")


def wanted_projects(config: PrepConfig) -> list[str]:
    """The projects asked for; "all" of an offline folder means those that are in it."""
    if config.offline is not None and [p.lower() for p in config.projects] == ["all"]:
        projects = projects_in(config.offline)
        if not projects:
            raise InputError(
                f"{config.offline} has no TCGA-<project>.<kind>.tsv[.gz] file, directly or in "
                "tcga_<project>_ucsc_xena/raw_data/"
            )
        return projects
    return resolve_projects(config.projects)


def raw_files(config: PrepConfig) -> tuple[dict[str, dict[str, Path]], list[str]]:
    """Files of every project by kind, and the projects that have none at all."""
    files: dict[str, dict[str, Path]] = {}
    empty = []
    for project in wanted_projects(config):
        paths = {k: p for k in KINDS if (p := find_file(config.raw, project, k)) is not None}
        if paths:
            files[project] = paths
        else:
            empty.append(project)
    if not files:
        raise InputError(
            f"no file of {', '.join(empty)} in {config.raw}; run `python -m data_prep.tcga "
            "download` first, or give --offline a folder that has them"
        )
    return files, empty


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Writes a table whole; equal tables are equal bytes."""
    with whole_file(path) as temporary:
        table.to_parquet(temporary)


def run_omics(config: PrepConfig, stages: Stages) -> None:
    """One block a project and modality."""
    files, empty = raw_files(config)
    for project in empty:
        log.warning("%s has no file at all: skipped", project)
    tasks = [(p, m) for p in files for m in MODALITIES if KIND_OF[m] in files[p]]
    for project, modality in tqdm(tasks, desc="omics", unit="table"):
        path = files[project][KIND_OF[modality]]
        folder = config.work / "omics" / modality
        told = stages.run(
            f"omics-{modality}-{project}",
            [path],
            {"sample_types": sorted(config.sample_types), "dtype": config.dtype},
            block_paths(folder, project),
            lambda p=path, m=modality, f=folder, j=project: prepare_project(
                p, j, m, f, config.sample_types, config.dtype
            ),
        )
        if told["repeated_features"]:
            log.warning(
                "%s: %d feature ids occur more than once (%s); the first row of each was kept",
                path.name,
                told["repeated_features"],
                ", ".join(told["repeated_examples"]),
            )
        if told["left_out"]:
            log.warning("%s: no features, left out: %s", path.name, shown(told["left_out"]))


def load_blocks(config: PrepConfig, modality: str) -> list[Block]:
    """The blocks of a modality in project order; projects without the assay have none."""
    files, _ = raw_files(config)
    folder = config.work / "omics" / modality
    blocks = []
    for project in files:
        if KIND_OF[modality] not in files[project]:
            continue
        if not block_paths(folder, project)[1].exists():
            raise InputError(
                f"{modality} of {project} is not prepared: run the stage `omics` first"
            )
        blocks.append(load_block(folder, project))
    return blocks


def run_clinical(config: PrepConfig, stages: Stages) -> None:
    """Clinical and survival tables of all projects, merged."""
    files, _ = raw_files(config)
    folder = config.work / "clinical"
    sources = {k: {p: f[k] for p, f in files.items() if k in f} for k in ("clinical", "survival")}
    if not sources["clinical"]:
        raise InputError(f"no clinical file in {config.raw}: labels cannot be made")
    outputs = [folder / "clinical.parquet", folder / "survival.parquet"]

    def build() -> dict[str, Any]:
        tables = {
            kind: {p: read_rows(path, kind) for p, path in tqdm(by.items(), desc=kind)}
            for kind, by in sources.items()
        }
        if config.sample_types:
            for by in tables.values():
                for project, table in by.items():
                    types = sample_types(table["sample"])
                    by[project] = table.loc[types.isin(config.sample_types).to_numpy()]
        clinical, survival = merge_clinical(tables["clinical"]), merge_survival(tables["survival"])
        # Columns can mix numbers and text across projects: text is what parquet can hold.
        mixed = [c for c in clinical.columns if clinical[c].dtype == object]
        clinical[mixed] = clinical[mixed].map(lambda v: v if pd.isna(v) else str(v))
        write_parquet(outputs[0], clinical)
        write_parquet(outputs[1], survival)
        return {"clinical": len(clinical), "survival": len(survival)}

    paths = [path for by in sources.values() for path in by.values()]
    stages.run(
        "clinical",
        paths,
        {"sample_types": sorted(config.sample_types), "of": list(files)},
        outputs,
        build,
    )


def run_slides(config: PrepConfig, stages: Stages) -> None:
    """Slide vectors: read as they are, or from raw slides."""
    if config.slides is None:
        return
    if not config.slides.exists():
        raise FileNotFoundError(f"no such slides: {config.slides}")
    source, pooling = config.slides, "none" if config.published else config.patch_pooling
    failed: list[tuple[str, str]] = []
    if is_raw_slides(source):
        source, failed = encode_slides(config, stages)
        pooling = config.patch_pooling
    inputs = h5_files(source, config.published) if source.is_dir() else [source]
    output = config.work / "slides" / "slide_vectors.parquet"

    def build() -> dict[str, Any]:
        read = read_slide_vectors(
            source, pooling, config.published, lambda x: tqdm(x, desc="slides", unit="file")
        )
        write_parquet(output, read.table)
        skipped = sorted([*read.skipped, *failed])
        return {
            "slides": len(read.table),
            "width": read.table.shape[1],
            "skipped": skipped,
            "left_out": list(read.left_out),
        }

    params = {"pooling": pooling, "failed": failed}
    if config.published:
        params["order"] = [path.name for path in inputs]
    told = stages.run("slides", inputs, params, [output], build)
    for name, reason in told["skipped"]:
        log.warning("slide %s skipped: %s", name, reason)
    if told["left_out"]:
        log.warning(
            "%s: %d columns are no part of the vectors and were left out: %s",
            source.name,
            len(told["left_out"]),
            shown(told["left_out"]),
        )


def slide_table(config: PrepConfig) -> pd.DataFrame | None:
    """Sample vectors of the slides stage (columns slide_id, 0, 1, ...), None without slides."""
    if config.slides is None:
        return None
    path = config.work / "slides" / "slide_vectors.parquet"
    if not path.exists():
        raise InputError("the slides are not read yet: run the stage `slides` first")
    slides = pd.read_parquet(path)
    if config.sample_types:
        types = sample_types(slide_samples(list(slides.index)))
        slides = slides.loc[types.isin(config.sample_types).to_numpy()]
    return sample_vectors(slides, "first" if config.published else config.join_slides)


def split_paths(config: PrepConfig) -> dict[str, Path]:
    """Files of the split stage by name."""
    names = ("summary", "removed", "ids", "split", "reduced_clinical")
    return {name: config.work / "split" / f"{name}.parquet" for name in names}


def run_split(config: PrepConfig, stages: Stages) -> None:
    """Who has what, vial-free ids, train / val / test, clean clinical labels."""
    files, _ = raw_files(config)
    clinical_path = config.work / "clinical" / "clinical.parquet"
    if not clinical_path.exists():
        raise InputError("clinical tables are not merged yet: run the stage `clinical` first")
    blocks = {m: load_blocks(config, m) for m in MODALITIES}
    slides = slide_table(config)
    outputs = split_paths(config)

    def build() -> dict[str, Any]:
        clinical = pd.read_parquet(clinical_path)
        samples = {m: merged_samples(b) for m, b in blocks.items()}
        check_overlap({**samples, **({} if slides is None else {"wsi": list(slides.index)})})
        project_of = {
            s: project
            for m in MODALITIES
            for project in reversed(list(files))
            if KIND_OF[m] in files[project]
            for s in load_block(config.work / "omics" / m, project).samples
        } | dict(zip(clinical.index, clinical["project"], strict=True))
        summary, removed = omics_summary({**samples, "clinical": list(clinical.index)}, project_of)
        ids = sample_ids(summary, [] if slides is None else list(slides.index))
        draw = split_samples if config.published else split_patients
        split = draw(ids, val=config.val_fraction, test=config.test_fraction, seed=config.seed)
        cancer_type = dict(zip(summary["sample_id"], summary["cancertype"], strict=True))
        reduced = reduce_clinical(
            clinical,
            cancer_type,
            rare_diagnosis=config.rare_diagnosis,
            count_as=None if config.published else patients(clinical.index),
        )
        tables = [summary, removed, ids, split, reduced]
        for path, table in zip(outputs.values(), tables, strict=True):
            write_parquet(path, table)
        leaking = leaking_patients(split)
        return {
            "samples": len(split),
            "set_aside_few_omics": len(removed),
            "other_vials": len(summary) - len(ids),
            "incomplete_of_held_out_patients": split["split"].tolist().count(SET_ASIDE),
            "sizes": split["split"].value_counts().to_dict(),
            "patients_on_both_sides": len(leaking),
            "slides_without_sample": 0
            if slides is None
            else int((~slides.index.isin(without_vial(summary["sample_id"]))).sum()),
        }

    inputs = [clinical_path]
    for modality in MODALITIES:
        folder = config.work / "omics" / modality
        inputs += [block_paths(folder, p)[1] for p in files if KIND_OF[modality] in files[p]]
    if config.slides is not None:
        inputs.append(config.work / "slides" / "slide_vectors.parquet")
    params = {
        "published": config.published,
        "join_slides": config.join_slides,
        "sample_types": sorted(config.sample_types),
        "rare_diagnosis": config.rare_diagnosis,
        "val": config.val_fraction,
        "test": config.test_fraction,
        "seed": config.seed,
        "projects": list(files),
    }
    told = stages.run("split", inputs, params, list(outputs.values()), build)
    if told["patients_on_both_sides"]:
        log.warning(
            "published split: %d patients have samples in train and in a held-out split",
            told["patients_on_both_sides"],
        )
