"""Which sample has which assay, and one id for a sample whatever the vial.

The summary lists every sample with its cancer type and a 0/1 flag an assay; samples with fewer
than two of the three omics are set aside. Ids then lose the vial letter, on the omics and on the
slide side, so that slides (vial Z) meet the assays of the same sample.
"""

from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from cohgen_jax.errors import InputError
from data_prep.barcodes import without_vial

FLAGS = {"genomics": "cna", "transcriptomics": "rnaseq", "proteomics": "rppa"}
"""Column of the summary -> modality."""

COMPLETE = (*FLAGS, "clinical", "wsi")

MIN_OMICS = 2


def omics_summary(
    samples: Mapping[str, Sequence[str]], project_of: Mapping[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The summary of samples with at least two omics, and of those set aside.

    Args:
        samples: ids per modality ("cna", "rnaseq", "rppa") and "clinical".
        project_of: sample id -> cancer type.
    Returns:
        Two tables, columns sample_id, cancertype, FLAGS..., clinical; sorted by sample_id.
    """
    ids = sorted({s for listed in samples.values() for s in listed})
    table = pd.DataFrame({"sample_id": ids, "cancertype": [project_of[s] for s in ids]})
    for flag, modality in {**FLAGS, "clinical": "clinical"}.items():
        table[flag] = table["sample_id"].isin(list(samples.get(modality, ()))).astype(int)
    enough = table[list(FLAGS)].sum(axis=1) >= MIN_OMICS
    return table.loc[enough].reset_index(drop=True), table.loc[~enough].reset_index(drop=True)


def sample_ids(summary: pd.DataFrame, slide_samples: Collection[str]) -> pd.DataFrame:
    """The summary under vial-free ids, with a `wsi` flag.

    Of several vials the alphabetically first is kept, whatever assays the others have.

    Args:
        slide_samples: vial-free ids of the samples that have a slide vector.
    Returns:
        Columns sample_id, original_id, cancertype, flags, wsi; sorted by sample_id.
    """
    table = summary.rename(columns={"sample_id": "original_id"}).sort_values("original_id")
    table.insert(0, "sample_id", without_vial(table["original_id"]))
    table = table.drop_duplicates("sample_id").sort_values("sample_id", ignore_index=True)
    table["wsi"] = table["sample_id"].isin(list(slide_samples)).astype(int)
    return table


def check_overlap(samples: Mapping[str, Collection[str]]) -> None:
    """Every modality must share samples with another one (vial-free ids).

    Raises `InputError` naming the modality that matches nothing, with ids of both sides.
    """
    plain = {m: set(without_vial(ids)) for m, ids in samples.items() if len(ids)}
    if len(plain) < 2:
        have = ", ".join(plain) or "none"
        raise InputError(
            f"a cohort needs two modalities with samples, found: {have}; "
            "check --projects, --offline and --sample-types"
        )
    for modality, ids in plain.items():
        others = set().union(*(v for m, v in plain.items() if m != modality))
        if not ids & others:
            raise InputError(
                f"no {modality} sample matches a sample of any other modality: {modality} has ids "
                f"like {min(ids)}, the others like {min(others)}; ids must be TCGA barcodes of the "
                "same samples"
            )
