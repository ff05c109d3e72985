"""TCGA barcodes: what a sample id says about patient, sample type and vial.

    TCGA-XX-XXXX-01A-...      TCGA - tissue source site - participant - sample type + vial
    |  patient  |  |
    |    sample    |vial

The sample id of a cohort is the barcode up to the sample type; the vial letter is dropped, since
assays of one sample are often made from different vials. Barcodes with dots or underscores, or in
lower case, are read as the barcodes that they are.
"""

import re
from collections.abc import Iterable

import pandas as pd

from cohgen_jax.cohort.ids import canonical_barcode

SAMPLE_PATTERN = re.compile(r"^TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}-\d{2}[A-Z]?$")

SAMPLE_TYPES = {
    "01": "primary solid tumour",
    "02": "recurrent solid tumour",
    "03": "primary blood-derived cancer",
    "05": "additional new primary",
    "06": "metastasis",
    "07": "additional metastasis",
    "10": "blood-derived normal",
    "11": "solid tissue normal",
}


def is_sample_barcode(text: str) -> bool:
    """True for `TCGA-XX-XXXX-01` and `TCGA-XX-XXXX-01A`."""
    return SAMPLE_PATTERN.match(text) is not None


def usual_spelling(ids: Iterable[str]) -> list[str]:
    """Barcodes in capitals with dashes; other ids as they are."""
    return [canonical_barcode(str(i)) or str(i) for i in ids]


def first_fields(ids: Iterable[str], fields: int = 4) -> list[str]:
    """The first `fields` dash-separated parts of every id (a slide's sample is its first four)."""
    return ["-".join(i.split("-")[:fields]) for i in usual_spelling(ids)]


def without_vial(ids: Iterable[str]) -> list[str]:
    """`TCGA-XX-XXXX-01A` -> `TCGA-XX-XXXX-01`; an id without a vial letter stays."""
    return [re.sub(r"^((?:[^-]+-){3}\d{2})[A-Z]$", r"\1", i) for i in usual_spelling(ids)]


def patients(ids: Iterable[str]) -> list[str]:
    """The patient of every sample: the first three barcode fields."""
    return first_fields(ids, 3)


def sample_types(ids: Iterable[str]) -> pd.Series:
    """The two-digit sample type of every id, index the id ("" where the id has none)."""
    ids = list(ids)
    matches = [re.match(r"^(?:[^-]+-){3}(\d{2})", i) for i in usual_spelling(ids)]
    return pd.Series([m.group(1) if m else "" for m in matches], index=ids, dtype=object)
