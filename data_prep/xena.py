"""Tables of the UCSC Xena GDC hub: names, places, and strict reading.

Matrices (`star_counts`, `gene-level_absolute`, `protein`) are TSV with features in rows and
samples in columns; `clinical` and `survival` have one sample a row.
"""

import gzip
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.cohort.foreign import is_no_feature
from cohgen_jax.errors import InputError
from data_prep.barcodes import is_sample_barcode, usual_spelling

MIRROR = "https://gdc-hub.s3.us-east-1.amazonaws.com/download/"

PROJECTS = (
    *("BRCA", "GBM", "LUAD", "OV", "UCEC", "KIRC", "HNSC", "LGG", "THCA", "LUSC"),
    *("PRAD", "SKCM", "COAD", "STAD", "BLCA", "LIHC", "CESC", "KIRP", "TGCT", "SARC"),
)

KINDS = ("clinical", "protein", "star_counts", "gene-level_absolute", "survival")

FIRST_COLUMN = {
    "clinical": "sample",
    "survival": "sample",
    "star_counts": "Ensembl_ID",
    "gene-level_absolute": "Ensembl_ID",
    "protein": "peptide_target",
}

_NULLS = ["", "NA", "NaN", "nan", "null", "#N/A"]


class Matrix(NamedTuple):
    """One omics table of one project.

    values: float64 [samples, features], NaN = missing
    samples, features: their ids, in file order
    repeated: feature ids that occurred more than once (the first row was kept)
    left_out: rows that are no features: counters of an aligner, summaries of the others
    """

    values: np.ndarray
    samples: list[str]
    features: list[str]
    repeated: list[str]
    left_out: Sequence[str] = ()


def file_name(project: str, kind: str) -> str:
    """`TCGA-BRCA.star_counts.tsv.gz`"""
    return f"TCGA-{project}.{kind}.tsv.gz"


def find_file(folder: Path, project: str, kind: str) -> Path | None:
    """The file of a project in `folder`: flat or `tcga_<P>_ucsc_xena/raw_data/`, gzip or not."""
    stem = f"TCGA-{project}.{kind}.tsv"
    places = [folder, folder / f"tcga_{project}_ucsc_xena" / "raw_data", folder / project]
    for place in places:
        for name in (stem + ".gz", stem):
            if (place / name).is_file():
                return place / name
    return None


def projects_in(folder: Path) -> list[str]:
    """Projects with any file in `folder`, in the order of PROJECTS, others after by name."""
    names = {
        m.group(1)
        for pattern in ("TCGA-*.tsv*", "*/TCGA-*.tsv*", "*/raw_data/TCGA-*.tsv*")
        for path in folder.glob(pattern)
        if (m := re.match(r"TCGA-([A-Z0-9]+)\.", path.name))
    }
    return [p for p in PROJECTS if p in names] + sorted(names - set(PROJECTS))


def resolve_projects(names: Sequence[str]) -> list[str]:
    """`all` -> every project; `BRCA` or `TCGA-BRCA` -> BRCA; unknown names are an error."""
    wanted = [n.upper().removeprefix("TCGA-") for n in names]
    if wanted == ["ALL"]:
        return list(PROJECTS)
    unknown = [n for n in wanted if n not in PROJECTS]
    if unknown:
        raise InputError(
            f"unknown project {', '.join(unknown)}: choose from all, {', '.join(PROJECTS)}"
        )
    return [p for p in PROJECTS if p in wanted]


def header(path: Path) -> list[str]:
    """The column names of a TSV (plain or gzip); what is not text is named."""
    try:
        opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path)  # noqa: SIM115
        with opened as f:
            line = f.readline()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: not a readable {'gzip ' if path.suffix == '.gz' else ''}TSV ({error}); "
            "delete it and download it again"
        ) from error
    return line.rstrip("\r\n").split("\t")


def check_header(path: Path, kind: str) -> list[str]:
    """Column names of a Xena file after checking that they are those of its kind."""
    names = header(path)
    names[1:] = usual_spelling(names[1:])
    expected = FIRST_COLUMN[kind]
    if names[0] != expected:
        raise InputError(
            f"{path}: the first column is {names[0][:60]!r}, but a {kind} table starts with "
            f"{expected!r} (tab separated); is this file really TCGA {kind} from the Xena hub?"
        )
    if len(names) < 2:
        raise InputError(f"{path}: only the column {expected!r}; a {kind} table has more columns")
    if kind == "survival" and not {"OS", "OS.time"} <= set(names):
        raise InputError(f"{path}: a survival table has columns OS and OS.time, found {names}")
    if FIRST_COLUMN[kind] != "sample":
        strange = [n for n in names[1:] if not is_sample_barcode(n)]
        if strange:
            raise InputError(
                f"{path}: column {strange[0]!r} is not a TCGA sample barcode; a {kind} table has "
                "one column a sample, named like TCGA-XX-XXXX-01A"
            )
    return names


def read_matrix(path: Path, kind: str) -> Matrix:
    """Reads a features-by-samples table into float64 [samples, features].

    A repeated feature id keeps its first row, a repeated sample its first column; counters of an
    aligner (__no_feature) and rows called mean or total are left out.
    Raises `InputError` for a wrong header or a cell that is not a number.
    """
    import pyarrow as pa
    from pyarrow import csv

    names = check_header(path, kind)
    columns = [names[0], *(f"{i}" for i in range(1, len(names)))]
    types: Mapping[str, pa.DataType] = {columns[0]: pa.string()} | dict.fromkeys(
        columns[1:], pa.float64()
    )
    try:
        table = csv.read_csv(
            path,
            # Large blocks: a wide table cut into many chunks costs more than it gains.
            read_options=csv.ReadOptions(column_names=columns, skip_rows=1, block_size=1 << 25),
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=csv.ConvertOptions(column_types=types, null_values=_NULLS),
        )
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise InputError(
            f"{path}: not a complete {kind} table ({error}); cells must be numbers or empty and "
            "every row as long as the header"
        ) from error
    features = table.column(0).to_pylist()
    if not features:
        raise InputError(f"{path}: the {kind} table has a header and no rows")
    values = np.empty((len(names) - 1, len(features)))
    for j in range(len(names) - 1):
        values[j] = table.column(1 + j).to_numpy()
    left_out = [f for f in features if is_no_feature(f)]
    if left_out:
        kept = [j for j, f in enumerate(features) if not is_no_feature(f)]
        values, features = values[:, kept], [features[j] for j in kept]
    return _first_of_each(values, names[1:], features)._replace(left_out=left_out)


def _first_of_each(values: np.ndarray, samples: list[str], features: list[str]) -> Matrix:
    rows, columns = pd.Index(samples), pd.Index(features)
    repeated = columns[columns.duplicated()].unique().tolist()
    if rows.has_duplicates:
        values, samples = values[~rows.duplicated()], rows[~rows.duplicated()].tolist()
    if repeated:
        values, features = values[:, ~columns.duplicated()], columns.drop_duplicates().tolist()
    return Matrix(values, list(samples), list(features), repeated)


def read_rows(path: Path, kind: str) -> pd.DataFrame:
    """Reads a clinical or survival table; a sample listed twice keeps its first row."""
    check_header(path, kind)
    try:
        table = pd.read_csv(path, sep="\t", na_values=_NULLS, low_memory=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, OSError, EOFError) as error:
        raise InputError(f"{path}: not a complete {kind} table ({error})") from error
    if table.empty:
        raise InputError(f"{path}: the {kind} table has a header and no rows")
    return table.drop_duplicates("sample").reset_index(drop=True)
