"""Ways in which tables are damaged between a measurement and the folder that is read.

A damage changes what is about to be written, of one table or of all; several may be combined.
`DAMAGES` holds them by name: to add one, decorate a function of (files, name, rng).
"""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow

NUM_PATIENTS = 40
ROUNDED = 3
"""Decimals of the values written."""
STYLES = {
    "numbered": (
        "P{:03d}",
        {"rna": "rna_{}", "mut": "mut_{}", "meth": "cpg_site{}", "rppa": "ab{}"},
    ),
    "barcodes": (
        "TCGA-A2-{:04d}-01",
        {"rna": "ENSG{:011d}", "mut": "ENSG{:011d}", "meth": "cg{:08d}", "rppa": "AKT_p{}"},
    ),
    "same genes": (
        "case-{}",
        {"rna": "gene_{}", "mut": "gene_{}", "meth": "gene_{}", "rppa": "gene_{}"},
    ),
    "own codes": ("BX{}-K", {"rna": "f{}", "mut": "m{}", "meth": "q{}", "rppa": "z{}"}),
}
"""How ids of patients and names of features look."""


@dataclasses.dataclass
class File:
    """One table, and how it is going to be written."""

    frame: pd.DataFrame
    sep: str = ","
    decimal: str = "."
    suffix: str = ".csv"
    encoding: str = "utf-8"
    packing: str = ""
    above: str = ""
    """Lines above the header."""
    id_name: str = "sample_id"
    across: bool = False
    numbered: str | None = None
    """Name of a saved row number in front of the ids."""
    change: Callable[[list[str], File], list[str]] = lambda lines, file: lines
    """What happens to the lines of text, that of the header first."""
    extra: tuple[tuple[str, Callable[[Path, Path], None]], ...] = ()
    """Files beside it: name -> what writes it, given its path and that of the table."""

    def write(self, folder: Path, name: str) -> None:
        path = folder / f"{name}{self.suffix}{self.packing}"
        frame = self.frame.rename_axis(self.id_name)
        frame = frame.T.rename_axis(self.id_name) if self.across else frame
        if self.numbered is not None:
            frame = frame.reset_index().rename_axis(self.numbered)
        if self.suffix == ".parquet":
            frame.to_parquet(path)
        elif self.suffix == ".feather":
            frame.reset_index().to_feather(path)
        elif self.suffix == ".xlsx":
            frame.to_excel(path)
        else:
            unknown = "NA" if self.sep == " " else ""
            text = frame.to_csv(
                sep=self.sep, decimal=self.decimal, lineterminator="\n", na_rep=unknown
            )
            lines = self.change(text.splitlines(), self)
            _pack(path, (self.above + "\n".join(lines) + "\n").encode(self.encoding))
        for other, writes in self.extra:
            writes(folder / other, path)


Files = dict[str, File]


class Damage(NamedTuple):
    """What is done, and what has to come of it."""

    apply: Callable[[Files, str, np.random.Generator], None]
    read: bool
    """Alone it is read to the same values."""
    keeps: bool
    """All values are still there, so that nothing but them may be read."""
    alone: bool
    """It is about the whole folder, or the form of a file: not combined with its like."""


DAMAGES: dict[str, Damage] = {}


def damage(read: bool = True, keeps: bool = True, alone: bool = False) -> Callable:
    def register(apply):
        DAMAGES[apply.__name__] = Damage(apply, read, keeps, alone)
        return apply

    return register


def cohort_files(style: str, seed: int) -> Files:
    """A cohort of 40 patients in four tables of unequal widths and kinds, with holes, and facts."""
    rng = np.random.default_rng(seed)
    patient, feature = STYLES[style]
    ids = pd.Index([patient.format(i + 7) for i in range(NUM_PATIENTS)])
    z = rng.normal(size=(NUM_PATIENTS, 3))
    files = {}
    for name, width, absent in (("rna", 14, 0), ("mut", 8, 3), ("meth", 11, 9), ("rppa", 3, 6)):
        x = z @ rng.normal(size=(3, width)) + 0.5 * rng.normal(size=(NUM_PATIENTS, width))
        if name == "mut":
            x = (x > 0.3).astype(float)
        elif name == "meth":
            x = 1 / (1 + np.exp(-x))
        names = [feature[name].format(i + 1) for i in range(width)]
        table = pd.DataFrame(x.round(ROUNDED), index=ids, columns=names)
        if name == "rppa":
            table = table.mask(rng.random(table.shape) < 0.06)
        kept = np.sort(rng.permutation(NUM_PATIENTS)[absent:])
        files[name] = File(table.iloc[kept])
    about = pd.DataFrame(
        {
            "cancer_type": rng.choice(["LUAD", "BRCA"], NUM_PATIENTS),
            "age": rng.integers(30, 90, NUM_PATIENTS),
        },
        index=ids,
    )
    files["samples"] = File(about)
    return files


def write(files: Files, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, file in files.items():
        file.write(folder, name)
    return folder


def tables_of(files: Files) -> list[str]:
    return [name for name in files if name != "samples"]


def _pack(path: Path, content: bytes) -> None:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(path.stem, content)
        return
    packed = {
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
        ".zst": lambda b: pyarrow.Codec("zstd").compress(b, asbytes=True),
    }
    path.write_bytes(packed.get(path.suffix, bytes)(content))


def _to_lines(file: File, change: Callable[[list[str]], list[str]]) -> None:
    """One more change of the lines of text; a table of another form becomes text."""
    if file.suffix in (".parquet", ".feather", ".xlsx"):
        file.suffix = ".csv"
    before = file.change
    file.change = lambda lines, own: change(before(lines, own))


# ---- which way round, which column is the id, where a line ends -------------------------------


@damage(alone=True)
def all_tables_across(files, name, rng):
    for table in tables_of(files):
        files[table].across, files[table].id_name = True, str(rng.choice(["", "gene", "ID_REF"]))


@damage(alone=True)
def one_table_across(files, name, rng):
    files[name].across, files[name].id_name = True, ""


@damage(read=False, alone=True)
def one_table_across_that_says_sample(files, name, rng):
    files[name].across = True


@damage(alone=True)
def row_numbers_in_front(files, name, rng):
    """In every table, each with its own numbers: joined by them, strangers meet."""
    for table in files:
        file = files[table]
        file.numbered = str(rng.choice(["", "index", "row"]))
        file.id_name = str(rng.choice(["barcode", "sample", "Patient ID", "code"]))


@damage(alone=True)
def row_numbers_in_one(files, name, rng):
    files[name].numbered, files[name].id_name = "", "who"


@damage()
def a_separator_behind_each_line(files, name, rng):
    file = files[name]
    _to_lines(file, lambda lines: [lines[0], *(line + file.sep for line in lines[1:])])


@damage()
def a_separator_behind_all(files, name, rng):
    file = files[name]
    _to_lines(file, lambda lines: [line + file.sep for line in lines])


@damage()
def header_one_short(files, name, rng):
    file = files[name]
    _to_lines(file, lambda lines: [lines[0].split(file.sep, 1)[1], *lines[1:]])


@damage(alone=True)
def ids_last(files, name, rng):
    file = files[name]
    file.across, file.numbered = False, None

    def turned(lines):
        cut = [line.split(file.sep, 1) for line in lines]
        return [file.sep.join(reversed(parts)) for parts in cut]

    _to_lines(file, turned)


@damage(read=False, keeps=False)
def the_end_is_missing(files, name, rng):
    file = files[name]
    _to_lines(file, lambda lines: [*lines[:-1], lines[-1].rsplit(file.sep, 1)[0]])


@damage(read=False, keeps=False)
def a_line_with_one_more(files, name, rng):
    file = files[name]
    where = int(rng.integers(1, 20))

    def longer(lines):
        lines[min(where, len(lines) - 1)] += file.sep + "7.5"
        return lines

    _to_lines(file, longer)


@damage()
def blank_lines(files, name, rng):
    _to_lines(files[name], lambda lines: [*lines[:9], "", *lines[9:], "", ""])


# ---- what is there but not read ---------------------------------------------------------------


def _form(suffix: str, packing: str = "", **settings) -> Callable:
    def apply(files, name, rng):
        file = files[name]
        file.suffix, file.packing = suffix, packing
        for key, value in settings.items():
            setattr(file, key, value)

    return apply


for _name, _apply in {
    "parquet": _form(".parquet"),
    "feather": _form(".feather"),
    "excel": _form(".xlsx"),
    "txt_with_tabs": _form(".txt", sep="\t"),
    "txt_with_blanks": _form(".txt", sep=" "),
    "tsv": _form(".tsv", sep="\t"),
    "csv_that_is_tsv": _form(".csv", sep="\t"),
    "tsv_that_is_csv": _form(".tsv"),
    "zip": _form(".csv", ".zip"),
    "gz": _form(".tsv", ".gz", sep="\t"),
    "bz2": _form(".csv", ".bz2"),
    "xz": _form(".csv", ".xz"),
    "zst": _form(".txt", ".zst", sep="\t"),
    "semicolons": _form(".csv", sep=";"),
    "decimal_commas": _form(".csv", sep=";", decimal=","),
    "decimal_commas_and_tabs": _form(".tsv", sep="\t", decimal=","),
    "bars": _form(".txt", sep="|"),
}.items():
    DAMAGES[_name] = Damage(_apply, read=True, keeps=True, alone=True)


@damage(alone=True)
def decimal_commas_in_quotes(files, name, rng):
    file = files[name]
    file.suffix, file.decimal, file.sep = ".csv", ",", ","


@damage()
def utf_16(files, name, rng):
    _to_lines(files[name], lambda lines: lines)
    files[name].encoding = "utf-16"


@damage()
def byte_order_mark(files, name, rng):
    _to_lines(files[name], lambda lines: lines)
    files[name].encoding = "utf-8-sig"


@damage()
def windows_lines(files, name, rng):
    _to_lines(files[name], lambda lines: [line + "\r" for line in lines])


@damage()
def quotes(files, name, rng):
    file = files[name]

    def quoted(lines):
        if any('"' in line for line in lines):
            return lines
        return [
            file.sep.join(f'"{cell}"' if cell else cell for cell in line.split(file.sep))
            for line in lines
        ]

    _to_lines(file, quoted)


@damage()
def comment_line(files, name, rng):
    _to_lines(files[name], lambda lines: lines)
    files[name].above = "# exported by a tool, version 3\n" + files[name].above


@damage()
def title_lines(files, name, rng):
    _to_lines(files[name], lambda lines: lines)
    files[name].above += "Supplementary table 4: levels\n\n"


@damage(alone=True)
def gct(files, name, rng):
    file = files[name]
    if name == "samples":
        return
    rows, columns = file.frame.T.shape
    file.suffix, file.sep, file.across, file.id_name = ".gct", "\t", True, "NAME"
    file.above, file.numbered = f"#1.2\n{rows}\t{columns}\n", None

    def described(lines):
        cut = [line.split("\t", 1) for line in lines]
        head = [f"{cut[0][0]}\tDescription\t{cut[0][1]}"]
        return head + [f"{first}\tna\t{rest}" for first, rest in cut[1:]]

    file.change = lambda lines, own: described(lines)


@damage(alone=True)
def parquet_parts(files, name, rng):
    file = files[name]
    frame = file.frame.rename_axis("sample_id")

    def parts(path: Path, table: Path) -> None:
        table.unlink()
        table.mkdir()
        (table / "_SUCCESS").touch()
        frame.iloc[:13].to_parquet(table / "part-00000-aa.snappy.parquet")
        frame.iloc[13:].to_parquet(table / "part-00001-aa.snappy.parquet")

    file.suffix, file.packing, file.across, file.numbered = ".parquet", "", False, None
    file.extra = (("", parts),)


@damage()
def a_copy_of_it(files, name, rng):
    def copied(path: Path, table: Path) -> None:
        stem = table.name.removesuffix(path.suffix)
        first, dot, rest = stem.partition(".")
        target = table.with_name(f"{first}{mark}{dot}{rest}")
        if table.is_file():
            target.write_bytes(table.read_bytes())

    mark = str(rng.choice([" (1)", " copy", " - Copy", "_backup"]))
    files[name].extra = (*files[name].extra, (".none", copied))


@damage(read=False, keeps=False)
def no_header(files, name, rng):
    _to_lines(files[name], lambda lines: lines[1:])


@damage(read=False)
def the_same_name_again(files, name, rng):
    other = ".tsv" if files[name].suffix != ".tsv" else ".csv"

    def written(path: Path, table: Path) -> None:
        (files[name].frame + 1 if name != "samples" else files[name].frame).to_csv(path)

    files[name].extra = (*files[name].extra, (f"{name}{other}", written))


@damage(read=False, keeps=False, alone=True)
def a_dead_link(files, name, rng):
    def linked(path: Path, table: Path) -> None:
        table.unlink()
        os.symlink("/annex/objects/none", table)

    files[name].extra = (*files[name].extra, ("", linked))


@damage(read=False, keeps=False, alone=True)
def a_format_of_r(files, name, rng):
    def renamed(path: Path, table: Path) -> None:
        table.rename(table.with_name(f"{name}.rds"))

    files[name].extra = (*files[name].extra, ("", renamed))


@damage()
def files_of_no_table(files, name, rng):
    def written(path: Path, table: Path) -> None:
        (path.parent / "README.txt").write_text("These tables were made by us.\nAsk us, please.\n")
        (path.parent / ".hidden.csv").write_text("a,b\n1,2\n")
        (path.parent / "notes.md").write_text("# Notes\n")

    files[name].extra = (*files[name].extra, ("", written))
