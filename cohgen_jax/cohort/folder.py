"""What lies in a folder of tables: which file is which table, and why the others are none."""

from __future__ import annotations

import filecmp
import re
from pathlib import Path

from cohgen_jax.cohort.tables import LOOSE, table_name, table_suffix
from cohgen_jax.cohort.text import looks_like_a_table
from cohgen_jax.cohort.understood import Doubt
from cohgen_jax.errors import InputError, shown

FACTS = ("samples", "clinical")
"""Tables that hold facts about samples, not measurements; the first found is used."""
UNREAD = {
    **dict.fromkeys((".rds", ".rda", ".rdata"), "R's own format: write.csv writes a table"),
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".pt", ".pth"), "opening it may run a program"),
    **dict.fromkeys((".h5ad", ".h5mu"), "a whole cohort: name this file in place of the folder"),
    **dict.fromkeys((".h5", ".hdf5", ".loom", ".zarr"), "save its table as Parquet or CSV"),
    **dict.fromkeys((".npy", ".npz", ".mat", ".mtx"), "numbers without names: save them as CSV"),
    **dict.fromkeys((".xls", ".xlsb", ".xlsm", ".ods"), "save it as .xlsx or CSV"),
    **dict.fromkeys((".sav", ".dta", ".sas7bdat", ".xpt"), "save it as Parquet or CSV"),
    **dict.fromkeys((".json", ".jsonl", ".xml", ".avro", ".orc"), "save it as Parquet or CSV"),
    **dict.fromkeys((".maf", ".vcf", ".bed", ".seg", ".dat", ".data"), "write it as a table of "
                    "samples x features"),
    **dict.fromkeys((".tar", ".tgz", ".7z", ".rar", ".zip", ".gz", ".bz2", ".xz", ".zst"),
                    "unpack it"),
}  # fmt: skip
"""Suffix of files that may hold data and are not read -> what to do."""
_PART = re.compile(r"(part|data|chunk|file)?[-_.]?\d[\w.=-]*\.(parquet|pq)", re.IGNORECASE)
_COPY = re.compile(
    r"(?:copy|kopie|copie|copia|cópia) (?:of|von|de|di) (?P<of>.+)"
    r"|(?P<named>.+?)(?:\s*\(\d+\)|[\s_-]+(?:copy|kopie|copie|copia|backup|bak)(?:[\s_]*\(?\d+\)?)?"
    r"|\s*\((?:copy|kopie|another copy|\d+(?:st|nd|rd|th) copy)\)|\.(?:bak|backup|orig|old))",
    re.IGNORECASE,
)
"""Names that file managers, browsers and people give to a second copy of a file."""


def table_files(path: Path) -> tuple[dict[str, Path], list[str]]:
    """Name -> file of the tables in a folder, and notes on what there is besides.

    Raises:
        InputError: two files are the same table, or one looks like another copy of it.
    """
    files: dict[str, Path] = {}
    others, dead, why = [], [], []
    # What macOS writes beside a file (._rna.csv) holds nothing of it.
    hidden = [f.name for f in path.iterdir() if f.name[0] == "." and f.name[:2] != "._"]
    hidden = sorted(name for name in hidden if table_name(Path(name)) is not None)
    for file in sorted(f for f in path.iterdir() if not f.name.startswith(".")):
        name = _table(file)
        if file.name == "cohort.json":
            continue
        if not file.exists():
            dead.append(file.name)
        elif name is None:
            others.append(file.name)
            if file.suffix.lower() in UNREAD:
                why.append(f"{file.name} ({UNREAD[file.suffix.lower()]})")
        else:
            same = next((n for n in files if n.casefold() == name.casefold()), None)
            if same is not None:
                raise InputError(
                    f"{files[same].name} and {file.name} are both the table {name!r}: remove one"
                )
            files[name] = file
    notes = [f"Not tables, left alone: {shown(others)}."] if others else []
    if why:
        notes.append(Doubt(f"May hold data, and cannot be read here: {shown(why)}."))
    if dead:
        notes.append(
            Doubt(
                f"Links to files that are not there, not read: {shown(dead)}; fetch them "
                "(git-annex, DVC) or remove the links."
            )
        )
    if hidden:
        notes.append(f"Hidden files, not read: {shown(hidden)}; rename them if they are meant.")
    return _without_copies(files, notes), notes


def _table(file: Path) -> str | None:
    """The name of the table that a file or folder is, None where it is none."""
    if file.is_dir():
        if table_suffix(file) is not None:
            return table_name(file)
        inside = [f for f in file.iterdir() if f.name[0] not in "._"]
        parts = bool(inside) and all(f.is_file() and _PART.fullmatch(f.name) for f in inside)
        return file.name if parts else None
    name = table_name(file)
    text = (table_suffix(file) or "").startswith(".txt")
    return None if name is None or (text and not looks_like_a_table(file)) else name


def _without_copies(files: dict[str, Path], notes: list[str]) -> dict[str, Path]:
    """The files without those that are called as another copy of one, and are one."""
    by_name = {name.casefold(): file for name, file in files.items()}
    kept = {}
    for name, file in files.items():
        match = _COPY.fullmatch(name)
        first = by_name.get((match["of"] or match["named"]).strip().casefold()) if match else None
        if first is None:
            kept[name] = file
        elif file.is_file() and first.is_file() and filecmp.cmp(first, file, shallow=False):
            notes.append(f"{file.name} was left out: it is a copy of {first.name}.")
        elif table_name(first) not in FACTS:
            kept[name] = file  # its values will say whether it is one
        else:
            raise InputError(
                f"{file.name} is called as a copy of {first.name} is, and has other contents: "
                "remove the one that is not meant"
            )
    return kept


def is_loose(file: Path) -> bool:
    """Whether its suffix is used for much else than tables."""
    return table_suffix(file) in LOOSE
