"""The data card: what is in the cohort, what was left out and why, where it came from.

It holds no time of its own making, so that the same sources and settings give the same bytes.
"""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from data_prep.config import PrepConfig
from data_prep.ids import FLAGS
from data_prep.omics import KIND_OF, UNITS
from data_prep.split import SPLIT_RULES
from data_prep.stages import Stages

_FLAG_OF = {modality: flag for flag, modality in FLAGS.items()} | {"wsi": "wsi"}


def markdown_table(table: pd.DataFrame) -> str:
    """A pipe table; the index is the first column."""
    head = [str(table.index.name or ""), *map(str, table.columns)]
    rows = [[str(i), *map(str, row)] for i, row in zip(table.index, table.to_numpy(), strict=True)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def counts_by_project(split: pd.DataFrame, modalities: Sequence[str]) -> pd.DataFrame:
    """Samples per cancer type: each modality, complete, and each side of the split."""
    flags = [_FLAG_OF[m] for m in modalities]
    have = split.loc[:, flags].set_axis(list(modalities), axis=1)
    have["complete"] = have.to_numpy().all(axis=1).astype(int)
    table = have.groupby(split["cancertype"].to_numpy()).sum()
    sides = pd.crosstab(split["cancertype"], split["split"])
    ordered = [s for s in ("train", "val", "test", "aside") if s in sides]
    table = table.join(sides[ordered])
    table.loc["all"] = table.sum()
    table.index.name = "project"
    return table.astype(int)


def missing_patterns(split: pd.DataFrame, modalities: Sequence[str]) -> pd.DataFrame:
    """Samples per pattern of present modalities, the most frequent first."""
    present = split[[_FLAG_OF[m] for m in modalities]].set_axis(list(modalities), axis=1)
    named = present.apply(
        lambda row: " + ".join(m for m, v in row.items() if v) or "(none)", axis=1
    )
    counts = pd.crosstab(named, split["split"])
    counts = counts[[s for s in ("train", "val", "test", "aside") if s in counts]]
    order = sorted(counts.index, key=lambda pattern: (-counts.loc[pattern].sum(), pattern))
    counts = counts.loc[order]
    counts.index.name = "present"
    return counts


def features_kept(stages: Stages, modalities: Sequence[str]) -> pd.DataFrame:
    """Features found, dropped with the reason, and kept, per modality."""
    rows = {}
    for modality in modalities:
        told = stages.info(f"build-{modality}") or {}
        rows[modality] = {
            "found": told["features"],
            "not expressed": told["features_unexpressed"],
            "missing too often": told["features_sparse"],
            "kept": told["kept"],
            "samples": told["samples"],
            "unit": UNITS[modality],
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "modality"
    return table


def sources(
    config: PrepConfig, stages: Stages, files: Mapping[str, Mapping[str, Path]]
) -> pd.DataFrame:
    """Every file read: date, size and SHA-256."""
    from data_prep.download import load_manifest

    manifest = load_manifest(config.work / "raw") if config.offline is None else {}
    rows = []
    for project, by_kind in files.items():
        for kind, path in by_kind.items():
            known = manifest.get(path.name, {})
            rows.append(
                {
                    "file": path.name,
                    "project": project,
                    "kind": kind,
                    "date": known.get("last_modified") or _file_date(path),
                    "bytes": path.stat().st_size,
                    "sha256": stages.checksums.of(path),
                }
            )
    return pd.DataFrame(rows).set_index("file")


def _file_date(path: Path) -> str:
    day = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    return day.strftime("%Y-%m-%d")


def omics_notes(
    stages: Stages, files: Mapping[str, Mapping[str, Path]], modalities: Sequence[str]
) -> list[str]:
    """Repeated ids, samples left out, tables a project lacks."""
    lines = []
    for modality in modalities:
        if modality not in KIND_OF:
            continue
        lacking = [p for p in files if KIND_OF[modality] not in files[p]]
        if lacking:
            lines.append(f"- {modality}: no file for {', '.join(lacking)}.")
        for project in files:
            told = stages.info(f"omics-{modality}-{project}") if project not in lacking else None
            for key, words in (
                ("repeated_features", "repeated feature ids (first row kept)"),
                ("samples_of_other_types", "samples of other types left out"),
                ("samples_without_a_value", "samples without a single value left out"),
            ):
                if told and told[key]:
                    lines.append(f"- {modality}, {project}: {told[key]} {words}.")
            if told and told["left_out"]:
                names = ", ".join(told["left_out"])
                lines.append(f"- {modality}, {project}: rows that are no features: {names}.")
    return lines


def _skipped(reasons: Sequence[tuple[str, str]]) -> str:
    index = pd.Index([file for file, _ in reasons], name="file")
    return markdown_table(pd.DataFrame({"why skipped": [why for _, why in reasons]}, index=index))


def data_card(
    config: PrepConfig,
    stages: Stages,
    files: Mapping[str, Mapping[str, Path]],
    skipped: Sequence[str],
    modalities: Sequence[str],
    samples: pd.DataFrame,
    split: pd.DataFrame,
) -> str:
    """The card as Markdown."""
    info = stages.info("split") or {}
    slides = stages.info("slides") if config.slides is not None else None
    mode = "published" if config.published else "default"
    sizes = samples.groupby("split")["patient_id"].agg(["size", "nunique"])
    sizes = sizes.reindex([s for s in ("train", "val", "test") if s in sizes.index])
    sizes.columns = ["samples", "patients"]
    known = pd.DataFrame(
        {"known": samples.notna().sum(), "values": samples.nunique(dropna=True)}
    ).drop(index=["patient_id", "split", "original_id"])
    known.index.name = "column"
    parts = [
        f"# Data card: {config.out.name}",
        f"{len(samples)} samples of {samples['patient_id'].nunique()} patients, "
        f"{samples['cancer_type'].nunique()} cancer types, modalities {', '.join(modalities)}.",
        "## Split",
        SPLIT_RULES[mode],
        f"Validation {config.val_fraction:.0%}, test {config.test_fraction:.0%} of each cancer "
        f"type, seed {config.seed}.",
        markdown_table(pd.DataFrame(sizes)),
        "## Samples per project",
        markdown_table(counts_by_project(split, modalities)),
        "## Missing patterns",
        markdown_table(missing_patterns(split, modalities)),
        "## Features",
        f"A gene is expressed with one count per million in a fifth of the samples. Features "
        f"missing in {config.max_missing:.0%} or more of the training samples are dropped. "
        "Each feature and what became of it: `prep/features/<modality>.csv`.",
        markdown_table(features_kept(stages, modalities)),
        "## Labels",
        f"Diagnoses with fewer than {config.rare_diagnosis} patients are called Other. A vial is "
        "one physical portion of a sample; of several, the alphabetically first was used.",
        markdown_table(known),
        "## Left out",
        "\n".join(
            [
                f"- {info.get('set_aside_few_omics', 0)} samples with fewer than two omics.",
                f"- {info.get('other_vials', 0)} further vials of samples already there.",
                f"- {info.get('incomplete_of_held_out_patients', 0)} incomplete samples of "
                "held-out patients.",
                f"- {info.get('slides_without_sample', 0)} slide samples without omics.",
                *([f"- No file at all: {', '.join(skipped)}."] if skipped else []),
                *omics_notes(stages, files, modalities),
            ]
        ),
    ]
    if config.sample_types:
        parts.append(f"Sample types kept: {', '.join(sorted(config.sample_types))}.")
    if slides is not None:
        parts += ["## Slides", f"{slides['slides']} slide vectors of width {slides['width']}."]
        if slides["left_out"]:
            columns = ", ".join(slides["left_out"])
            parts.append(f"Columns that are no part of the vectors, left out: {columns}.")
        if slides["skipped"]:
            parts.append(_skipped(slides["skipped"]))
    parts += ["## Sources", f"From {config.offline.name if config.offline else config.mirror}"]
    parts.append(markdown_table(sources(config, stages, files)))
    return "\n\n".join(parts) + "\n"
