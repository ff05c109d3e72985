"""A small valid cohort, and ways in which such folders are damaged before anybody reads them.

A mishap is a function of a `Draft` (the files before they are written) and a random generator; it
is registered by `mishap` under what it does. `differences` and `silent` say what has become of the
cohort.
"""

from __future__ import annotations

import dataclasses
import gzip
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from cohgen_jax.cohort import Cohort, load_cohort, stage_number

NUM_PATIENTS = 40
GENES = (
    *("TP53", "EGFR", "KRAS", "BRAF", "PTEN", "RB1", "MYC", "CDKN2A", "PIK3CA", "BRCA1", "BRCA2"),
    *("ATM", "VHL", "APC", "SMAD4", "NF1", "KIT", "ALK", "ERBB2", "IDH1", "JAK2", "NRAS", "MET"),
    *("FGFR1", "FGFR2", "STK11", "KEAP1", "ARID1A", "CTNNB1", "GATA3"),
)
SIDES = ["train"] * 6 + ["val"] * 2 + ["test"] * 2
LABELS = ("cancer_type", "stage", "os_event", "os_days", "age")


@dataclasses.dataclass
class File:
    """A table and how it is written."""

    table: pd.DataFrame
    """Cells of any type, index the ids."""
    suffix: str
    sep: str = ","
    encoding: str = "utf-8"
    decimal: str = "."
    id_name: str = "sample_id"
    newline: str = "\n"
    transposed: bool = False
    numbered: str | None = None
    """Header of row numbers in front."""
    trailing: str = ""
    """Which lines end with a separator: "rows", or "all"."""
    above: tuple[str, ...] = ()
    """Lines before the header."""
    below: tuple[str, ...] = ()

    def write(self, folder: Path, name: str) -> None:
        path = folder / f"{name}{self.suffix}"
        if self.suffix == ".parquet":
            self.as_frame().to_parquet(path)
            return
        data = self.text().encode(self.encoding)
        path.write_bytes(gzip.compress(data) if self.suffix.endswith(".gz") else data)

    def as_frame(self) -> pd.DataFrame:
        """The table as pandas would write it to Parquet."""
        table = self.table.rename_axis(self.id_name)
        if self.transposed:
            table = table.T.rename_axis("gene")
        if self.numbered is not None:
            table = table.reset_index()
            table.insert(0, self.numbered or "index", np.arange(len(table)))
        return table

    def text(self) -> str:
        lines = [[self.id_name, *map(str, self.table.columns)]]
        lines += [
            [str(i), *map(self._cell, row)]
            for i, row in zip(self.table.index, self.table.to_numpy(object), strict=True)
        ]
        if self.transposed:
            lines = [list(column) for column in zip(*lines, strict=True)]
            lines[0][0] = "gene"
        if self.numbered is not None:
            numbers = [self.numbered, *map(str, range(len(lines) - 1))]
            lines = [[number, *line] for number, line in zip(numbers, lines, strict=True)]
        texts = [self.sep.join(line) for line in lines]
        first = {"": len(texts), "rows": 1, "all": 0}[self.trailing]
        texts[first:] = [text + self.sep for text in texts[first:]]
        return self.newline.join([*self.above, *texts, *self.below, ""])

    def _cell(self, value: object) -> str:
        if value is None or (isinstance(value, float) and np.isnan(value)):
            return ""
        if isinstance(value, float):
            return repr(float(value)).replace(".", self.decimal)
        return str(value)


@dataclasses.dataclass
class Draft:
    """A folder before it is written."""

    files: dict[str, File]
    """The modalities by name."""
    facts: File
    after: list[Callable[[Path], None]] = dataclasses.field(default_factory=list)
    """What is done to the folder when its files are written."""
    instead: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    """Modality, or "" for all -> what a note may say in place of it."""

    def any(self, rng: np.random.Generator, text: bool = False) -> str:
        """A modality; `text`: one that is not Parquet."""
        names = [m for m, f in self.files.items() if not text or f.suffix != ".parquet"]
        return names[int(rng.integers(len(names)))]

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        for name, file in self.files.items():
            file.write(folder, name)
        self.facts.write(folder, "clinical")
        for change in self.after:
            change(folder)
        return folder


Mishap = Callable[[Draft, np.random.Generator], None]
MISHAPS: dict[str, Mishap] = {}
"""What is done -> how; those that a draft does not allow leave it as it is."""


def mishap(what: str) -> Callable[[Mishap], Mishap]:
    def register(function: Mishap) -> Mishap:
        assert what not in MISHAPS
        MISHAPS[what] = function
        return function

    return register


# ---- a valid cohort ---------------------------------------------------------------------------

IDS: dict[str, Callable[[int], str]] = {
    "barcodes": lambda i: f"TCGA-{('A2', 'BH', '05')[i % 3]}-A{i:02d}Q-01",
    "letters": lambda i: f"Pat{i:03d}",
    "zeros": lambda i: f"{i + 3:05d}",
    "dashes": lambda i: f"SITE-{i % 4 + 1}-{i:03d}",
}


def draft(seed: int, ids: str, given_split: bool, symbols: bool) -> Draft:
    """40 patients with unequal tables: widths 12, 9, 6 and 3, one of 0/1, cells and assays missing.

    ids: of IDS. given_split: whether clinical.csv has a column split. symbols: features called as
    genes are.
    """
    rng = np.random.default_rng(seed)
    index = pd.Index([IDS[ids](i) for i in range(NUM_PATIENTS)], name="sample_id")
    factor = rng.normal(size=(NUM_PATIENTS, 3))
    files = {}
    shapes = {"rna": (12, 1, ".csv"), "cna": (9, 3, ".parquet"), "mut": (6, 4, ".csv.gz")}
    shapes["rppa"] = (3, 9, ".tsv")
    for name, (width, absent, suffix) in shapes.items():
        values = factor @ rng.normal(size=(3, width)) + rng.normal(size=(NUM_PATIENTS, width))
        values = {"rna": values + 6, "mut": (values > 0.4).astype(float)}.get(name, values)
        values = values.astype(np.float32).astype(float)
        if name in ("mut", "rppa"):
            values[rng.random(values.shape) < 0.03] = np.nan
        start = list(shapes).index(name) * 3
        names = GENES[start : start + width] if symbols else [f"{name}_{j}x" for j in range(width)]
        kept = np.sort(rng.permutation(NUM_PATIENTS)[absent:])
        table = pd.DataFrame(values[kept], index[kept], names)
        files[name] = File(table.dropna(how="all"), suffix, "\t" if suffix == ".tsv" else ",")
    facts = pd.DataFrame(
        {
            "cancer_type": np.resize(["LUAD", "BRCA"], NUM_PATIENTS),
            "stage": np.resize(["I", "II", "III", "IV", None], NUM_PATIENTS),
            "os_event": rng.integers(0, 2, NUM_PATIENTS),
            "os_days": rng.integers(400, 3500, NUM_PATIENTS),
            "age": rng.integers(35, 85, NUM_PATIENTS),
        },
        index,
    )
    if given_split:
        facts["split"] = rng.permutation(np.resize(SIDES, NUM_PATIENTS))
    return Draft(files, File(facts, ".csv"))


# ---- what became of it ------------------------------------------------------------------------


def load(folder: Path) -> Cohort:
    return load_cohort(folder, min_train=8, val_fraction=0.15, test_fraction=0.2)


def plain(name: str) -> str:
    """An id without letter case, separators, leading zeros, and what mishaps put behind it."""
    name = re.sub(r"_(rna|cna|mut|rppa)$", "", str(name).strip().lower())
    name = re.sub(r"^(tcga.{8}).01a?$", r"\1", name)
    name = re.sub(r"[^a-z0-9.]|\.(?!0$)", "", name).removesuffix(".0")
    return name.lstrip("0")


def differences(cohort: Cohort, whole: Cohort) -> dict[str, str]:
    """What of a cohort is not as in the whole one: modality or label -> in words."""
    found = {m: "is not of the cohort" for m in cohort.modalities if m not in whole.modalities}
    for name, wanted in whole.tables.items():
        if name not in cohort.tables:
            found[name] = "is not there"
        elif why := _table_differs(cohort.tables[name], wanted):
            found[name] = why
        elif cohort.kinds[name] != whole.kinds[name]:
            found[name] = f"is {cohort.kinds[name]}"
    samples, wanted = (c.samples.rename(index=plain) for c in (cohort, whole))
    for label in (*LABELS, "split"):
        if label == "split" and (found or "split" not in whole.label_columns):
            continue  # drawn anew of other patients
        if label not in samples:
            found[label] = "is not there"
            continue
        shared = samples.index.intersection(wanted.index)
        known = samples[label][~samples.index.duplicated()].reindex(shared)
        if not _same(label, known, wanted[label].reindex(shared)):
            found[label] = "has other values"
    return found


def torn_patients(cohort: Cohort) -> list[str]:
    """Patients with samples on several sides of the split, whatever their ids look like."""
    sides = cohort.samples.groupby([plain(i) for i in cohort.samples.index])["split"].nunique()
    return sides.index[sides > 1].tolist()


def silent(cohort: Cohort, whole: Cohort, instead: dict[str, list[str]]) -> list[str]:
    """Those of the differences that no note tells of which the whole cohort lacks: by the modality,
    the label, the file of the labels, or what may be said instead (`Draft.instead`)."""
    notes = [n for n in cohort.notes if n not in whole.notes]
    notes = [n for n in notes if not n.startswith(("Kinds of values", "The split was drawn"))]
    left = []
    for part, why in differences(cohort, whole).items():
        names = [
            part,
            *instead.get("", []),
            *instead.get(part, []),
            *([] if part in whole.tables else ["clinical"]),
        ]
        said = (re.search(rf"\b{re.escape(name)}\b", note) for note in notes for name in names)
        if not any(said):
            left.append(f"{part} {why}")
    return left


def _table_differs(table: pd.DataFrame, wanted: pd.DataFrame) -> str:
    table, wanted = table.rename(index=plain), wanted.rename(index=plain)
    if table.index.has_duplicates or set(table.index) != set(wanted.index):
        return f"has other samples ({len(table)}, not {len(wanted)})"
    if set(table.columns) != set(wanted.columns):
        return f"has other features ({list(table.columns)})"
    values = table.loc[wanted.index, wanted.columns].to_numpy(float)
    same = np.allclose(values, wanted.to_numpy(float), rtol=1e-5, atol=1e-6, equal_nan=True)
    return "" if same else "has other values"


def _same(label: str, known: pd.Series, wanted: pd.Series) -> bool:
    if label == "stage":
        known, wanted = stage_number(known), stage_number(wanted)
    elif label in ("cancer_type", "split"):
        return bool((known.fillna("") == wanted.fillna("")).all())
    numbers = [pd.to_numeric(x, errors="coerce").to_numpy(float) for x in (known, wanted)]
    return bool(np.allclose(*numbers, rtol=0.01, equal_nan=True))


# ---- which way round, which column, where a line ends -----------------------------------------


@mishap("row numbers before the ids of one table")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.files[d.any(rng)].numbered = str(rng.choice(["", "Unnamed: 0", "index"]))


@mishap("row numbers before the ids of all tables, ids called otherwise")
def _(d: Draft, rng: np.random.Generator) -> None:
    header = str(rng.choice(["", "Unnamed: 0", "X"]))
    for file in d.files.values():
        file.numbered, file.id_name = header, "case"


@mishap("row numbers before the ids of clinical")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.facts.numbered, d.facts.id_name = "", "Patient_ID"


@mishap("one table transposed")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.files[d.any(rng)].transposed = True


@mishap("all tables transposed")
def _(d: Draft, rng: np.random.Generator) -> None:
    for file in d.files.values():
        file.transposed = True


@mishap("rows that end with a separator")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.files[d.any(rng, text=True)].trailing = "rows"


@mishap("all lines end with a separator")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.files[d.any(rng, text=True)].trailing = "all"


@mishap("rows of clinical that end with a separator")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.facts.trailing = "rows"


@mishap("another separator than the suffix says")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng, text=True)]
    file.sep = str(rng.choice([s for s in (";", "\t", ",", "|") if s != file.sep]))


@mishap("clinical with semicolons")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.facts.sep = ";"


@mishap("decimal comma")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng, text=True)]
    file.decimal, file.sep = ",", ";" if file.sep == "," else file.sep


@mishap("a byte-order mark")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.files[d.any(rng, text=True)].encoding = "utf-8-sig"


@mishap("UTF-16")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.files[d.any(rng, text=True)].encoding = "utf-16"


@mishap("lines of Windows and empty lines at the end")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng, text=True)]
    file.newline, file.below = "\r\n", ("", "")


@mishap("comments above the header")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.files[d.any(rng, text=True)].above = ("# exported on Monday", "# genome hg38")


@mishap("a title above the header")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.files[d.any(rng, text=True)].above = ("Table S2 of the paper",)


@mishap("rows in another order")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng)]
    file.table = file.table.iloc[rng.permutation(len(file.table))]


@mishap("columns in another order")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng)]
    file.table = file.table.iloc[:, rng.permutation(file.table.shape[1])]


@mishap("clinical in another order")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.facts.table = d.facts.table.sample(frac=1, random_state=int(rng.integers(99)))


@mishap("a file that ends in the middle of a line")
def _(d: Draft, rng: np.random.Generator) -> None:
    name = d.any(rng, text=True)

    def cut(folder: Path) -> None:
        path = folder / f"{name}{d.files[name].suffix}"
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * rng.uniform(0.6, 0.95))])

    d.after.append(cut)


# ---- who is whom ------------------------------------------------------------------------------


def rename(file: File, change: Callable[[str], str]) -> None:
    file.table = file.table.rename(index=change)


@mishap("ids of one table in lower case")
def _(d: Draft, rng: np.random.Generator) -> None:
    rename(d.files[d.any(rng)], str.lower)


@mishap("ids of clinical in upper case")
def _(d: Draft, rng: np.random.Generator) -> None:
    rename(d.facts, str.upper)


@mishap("dots for dashes in the ids of one table")
def _(d: Draft, rng: np.random.Generator) -> None:
    rename(d.files[d.any(rng)], lambda i: i.replace("-", "."))


@mishap("dots and lower case in all tables, dashes in clinical")
def _(d: Draft, rng: np.random.Generator) -> None:
    for file in d.files.values():
        rename(file, lambda i: i.replace("-", ".").lower())


@mishap("some ids of one table in another spelling")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng)]
    some = set(rng.permutation(file.table.index)[:6])
    rename(file, lambda i: i.replace("-", "_").lower() if i in some else i)


@mishap("leading zeros lost in one table")
def _(d: Draft, rng: np.random.Generator) -> None:
    rename(d.files[d.any(rng)], lambda i: i.lstrip("0"))


@mishap("leading zeros lost in clinical")
def _(d: Draft, rng: np.random.Generator) -> None:
    rename(d.facts, lambda i: i.lstrip("0"))


@mishap("ids as fractions in one table")
def _(d: Draft, rng: np.random.Generator) -> None:
    rename(d.files[d.any(rng)], lambda i: f"{int(i)}.0" if i.isdigit() else i)


@mishap("vials in the barcodes of one table")
def _(d: Draft, rng: np.random.Generator) -> None:
    rename(d.files[d.any(rng)], lambda i: i + "A" if i.startswith("TCGA") else i)


@mishap("ids with the name of the table behind them")
def _(d: Draft, rng: np.random.Generator) -> None:
    name = d.any(rng)
    rename(d.files[name], lambda i: f"{i}_{name}")


@mishap("patients in clinical, samples in tables")
def _(d: Draft, rng: np.random.Generator) -> None:
    rename(d.facts, lambda i: i.removesuffix("-01"))


@mishap("spaces around ids")
def _(d: Draft, rng: np.random.Generator) -> None:
    rename(d.files[d.any(rng)], lambda i: f" {i} ")


@mishap("patients twice, with the same values")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng)]
    file.table = pd.concat([file.table, file.table.iloc[3:6]])


@mishap("patients twice, with other values")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng)]
    file.table = pd.concat([file.table, file.table.iloc[3:5].set_axis(file.table.index[8:10])])


@mishap("patients twice, numbered")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.instead[""] = [*d.instead.get("", []), "sample ids repeat another one", "samples belong to"]
    for file in d.files.values():
        again = file.table.iloc[3:5]
        file.table = pd.concat([file.table, again.rename(index=lambda i: f"{i}.1")])


@mishap("a feature twice")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng, text=True)]
    file.table = pd.concat([file.table, file.table.iloc[:, :1] + 0.0], axis=1)


@mishap("ids of others in one table")
def _(d: Draft, rng: np.random.Generator) -> None:
    rename(d.files[d.any(rng)], lambda i: f"Q{hash(i) % 1000}x{i[::-1]}")


# ---- what is data -----------------------------------------------------------------------------


@mishap("a row of means")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng)]
    mean = file.table.mean().to_frame(str(rng.choice(["mean", "Average"]))).T
    file.table = pd.concat([file.table, mean])


@mishap("a row of totals")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng)]
    file.table = pd.concat([file.table, file.table.sum().to_frame("Total").T])


@mishap("a column of means")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng)]
    file.table = file.table.assign(mean=file.table.mean(axis=1))


@mishap("survival in a table of measurements")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng)]
    days = d.facts.table["os_days"].set_axis([plain(i) for i in d.facts.table.index])
    known = days[~days.index.duplicated()].reindex([plain(i) for i in file.table.index])
    file.table = file.table.assign(**{"OS.time": known.to_numpy(float)})


@mishap("cancer type in a table of measurements")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng)]
    file.table = file.table.assign(cancer_type=np.resize(["LUAD", "BRCA"], len(file.table)))


@mishap("row numbers behind")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng)]
    file.table = file.table.assign(n=np.arange(len(file.table)))


def another(d: Draft, name: str, new: str, change: Callable[[File], File] = lambda f: f) -> None:
    file = dataclasses.replace(d.files[name])
    d.instead[new] = [name]  # it is no copy where the other one cannot be read
    d.after.append(lambda folder: change(file).write(folder, new))


@mishap("a copy of a file")
def _(d: Draft, rng: np.random.Generator) -> None:
    name = d.any(rng)
    another(d, name, str(rng.choice([f"{name} (1)", f"{name}_copy", f"copy of {name}"])))


@mishap("a copy of a file in another unit")
def _(d: Draft, rng: np.random.Generator) -> None:
    name = "rna" if rng.random() < 0.5 else "cna"
    another(d, name, f"{name}_raw", lambda f: dataclasses.replace(f, table=2.0**f.table))


@mishap("the same table in another format")
def _(d: Draft, rng: np.random.Generator) -> None:
    another(d, "cna", "cna", lambda f: dataclasses.replace(f, suffix=".csv"))


# ---- what is there but not read ---------------------------------------------------------------


def move(d: Draft, name: str, change: Callable[[Path], None]) -> None:
    d.after.append(lambda folder: change(folder / f"{name}{d.files[name].suffix}"))


def lines_of(d: Draft, name: str, change: Callable[[list[str], str], list[str]]) -> None:
    """Change the lines of a table of plain text, given its separator, once it is written."""
    file = d.files[name]
    if file.suffix in (".csv", ".tsv", ".txt") and file.encoding == "utf-8":

        def rewrite(folder: Path) -> None:
            path = folder / f"{name}{file.suffix}"
            if path.is_file():
                lines = path.read_bytes().decode().split(file.newline)
                path.write_bytes(file.newline.join(change(lines, file.sep)).encode())

        d.after.append(rewrite)


@mishap("a header that is one name short")
def _(d: Draft, rng: np.random.Generator) -> None:
    lines_of(d, d.any(rng, text=True), lambda lines, sep: [lines[0].partition(sep)[2], *lines[1:]])


@mishap("no header")
def _(d: Draft, rng: np.random.Generator) -> None:
    lines_of(d, d.any(rng, text=True), lambda lines, sep: lines[1:])


@mishap("ids behind the values")
def _(d: Draft, rng: np.random.Generator) -> None:
    def turned(lines: list[str], sep: str) -> list[str]:
        parts = [line.partition(sep) for line in lines]
        return [f"{rest}{sep}{first}" if rest else first for first, _, rest in parts]

    lines_of(d, d.any(rng, text=True), turned)


@mishap("a line with one field more")
def _(d: Draft, rng: np.random.Generator) -> None:
    where = int(rng.integers(1, 20))

    def longer(lines: list[str], sep: str) -> list[str]:
        return [f"{line}{sep}7.5" if i == where else line for i, line in enumerate(lines)]

    lines_of(d, d.any(rng, text=True), longer)


@mishap("a line with one field less")
def _(d: Draft, rng: np.random.Generator) -> None:
    where = int(rng.integers(1, 20))

    def shorter(lines: list[str], sep: str) -> list[str]:
        return [line.rpartition(sep)[0] if i == where else line for i, line in enumerate(lines)]

    lines_of(d, d.any(rng, text=True), shorter)


@mishap("quotes around all cells")
def _(d: Draft, rng: np.random.Generator) -> None:
    def quoted(lines: list[str], sep: str) -> list[str]:
        cells = [line.split(sep) for line in lines]
        return [sep.join(f'"{cell}"' if cell else "" for cell in row) for row in cells]

    lines_of(d, d.any(rng, text=True), quoted)


@mishap("fields separated by blanks, as R writes them")
def _(d: Draft, rng: np.random.Generator) -> None:
    def blanks(lines: list[str], sep: str) -> list[str]:
        cells = [line.split(sep) for line in lines if line]
        cells[0] = cells[0][1:]
        return [*(" ".join(cell or "NA" for cell in row) for row in cells), ""]

    file = d.files[name := d.any(rng, text=True)]
    file.suffix = ".txt"
    lines_of(d, name, blanks)


@mishap("a GCT file")
def _(d: Draft, rng: np.random.Generator) -> None:
    def described(lines: list[str], sep: str) -> list[str]:
        cells = [line.split(sep, 1) for line in lines if line]
        rows = [f"{first}\tna\t{rest}" for first, rest in cells[1:]]
        head = ["#1.2", f"{len(rows)}\t{cells[0][1].count(sep) + 1}"]
        return [*head, f"NAME\tDescription\t{cells[0][1]}", *rows, ""]

    file = d.files[name := d.any(rng, text=True)]
    file.suffix, file.sep, file.transposed = ".tsv", "\t", True
    lines_of(d, name, described)


@mishap("a dead link")
def _(d: Draft, rng: np.random.Generator) -> None:
    def kill(path: Path) -> None:
        path.unlink()
        path.symlink_to(path.parent / ".git" / "annex" / path.name)

    move(d, d.any(rng), kill)


@mishap("a hidden table")
def _(d: Draft, rng: np.random.Generator) -> None:
    move(d, d.any(rng), lambda path: path.rename(path.with_name(f".{path.name}")))


@mishap("what macOS leaves beside files")
def _(d: Draft, rng: np.random.Generator) -> None:
    name = d.any(rng)
    beside = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X"
    move(d, name, lambda path: path.with_name(f"._{path.name}").write_bytes(beside))


@mishap("a suffix .txt")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.files[d.any(rng, text=True)].suffix = ".txt"


@mishap("a suffix that says nothing")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.files[d.any(rng, text=True)].suffix = ".data"


@mishap("a suffix in upper case")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng, text=True)]
    file.suffix = file.suffix.replace(".csv", ".CSV").replace(".tsv", ".TSV").replace(".GZ", ".gz")


@mishap("a suffix .gz of a file that is none")
def _(d: Draft, rng: np.random.Generator) -> None:
    move(d, "rna", lambda path: path.rename(path.with_name("rna.csv.gz")))


@mishap("a table in a folder of its own")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.instead[""] = [*d.instead.get("", []), "more"]

    def down(path: Path) -> None:
        (path.parent / "more").mkdir(exist_ok=True)
        path.rename(path.parent / "more" / path.name)

    move(d, d.any(rng), down)


@mishap("an empty file")
def _(d: Draft, rng: np.random.Generator) -> None:
    move(d, d.any(rng), lambda path: path.write_bytes(b""))


@mishap("a folder of Parquet parts")
def _(d: Draft, rng: np.random.Generator) -> None:
    def split(path: Path) -> None:
        table = d.files["cna"].as_frame()
        path.unlink()
        path.mkdir()
        for k, rows in enumerate(np.array_split(np.arange(len(table)), 3)):
            table.iloc[rows].to_parquet(path / f"part-{k}.parquet")
        (path / "_SUCCESS").touch()

    move(d, "cna", split)


# ---- what is zero, what is missing ------------------------------------------------------------


@mishap("zeros for an absent assay")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[str(rng.choice(["rna", "cna", "rppa"]))]  # nobody wonders at no mutation
    whole = file.table.reindex(d.facts.table.index)
    whole.loc[~whole.index.isin(file.table.index)] = 0.0
    file.table = whole if len(whole) == NUM_PATIENTS else file.table


@mishap("empty rows for an absent assay")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng)]
    if set(file.table.index) < set(d.facts.table.index):
        file.table = file.table.reindex(d.facts.table.index)


def some_cells(file: File, rng: np.random.Generator, value: object) -> None:
    table = file.table.astype(object if isinstance(value, str) else float)
    rows, columns = rng.permutation(len(table))[:4], rng.integers(0, table.shape[1], 4)
    for i, j in zip(rows, columns, strict=True):
        table.iat[i, j] = value
    file.table = table


def fill(file: File, value: object) -> None:
    """Missing cells hold this instead."""
    table = file.table.astype(object)
    words = isinstance(value, str)
    file.table = table.where(table.notna(), value) if words else file.table.fillna(value)


@mishap("a number for missing cells")
def _(d: Draft, rng: np.random.Generator) -> None:
    fill(d.files[str(rng.choice(["mut", "rppa"]))], float(rng.choice([-9999, -999, 1e30, -99])))


@mishap("words for missing cells")
def _(d: Draft, rng: np.random.Generator) -> None:
    words = ("NA", "[Not Available]", "null", "n/a", "#N/A", "-", "None", "?")
    fill(d.files[str(rng.choice(["mut", "rppa"]))], str(rng.choice(words)))


@mishap("a number for cells that are known")
def _(d: Draft, rng: np.random.Generator) -> None:
    some_cells(d.files[d.any(rng)], rng, float(rng.choice([-9999, -999, 1e30, -99])))


@mishap("words that are no number")
def _(d: Draft, rng: np.random.Generator) -> None:
    some_cells(d.files[d.any(rng, text=True)], rng, str(rng.choice(["<0.1", "high", "1.2.3"])))


@mishap("infinite values")
def _(d: Draft, rng: np.random.Generator) -> None:
    some_cells(d.files[d.any(rng)], rng, float(rng.choice([np.inf, -np.inf])))


@mishap("a column of zeros")
def _(d: Draft, rng: np.random.Generator) -> None:
    file = d.files[d.any(rng)]
    file.table = file.table.assign(**{str(file.table.columns[0]): 0.0})


# ---- labels -----------------------------------------------------------------------------------


def relabel(d: Draft, old: str, new: str, change: Callable = lambda cells: cells) -> None:
    if old in d.facts.table:
        table = d.facts.table.assign(**{old: change(d.facts.table[old])})
        d.facts.table = table.rename(columns={old: new})


@mishap("infinite survival")
def _(d: Draft, rng: np.random.Generator) -> None:
    at = int(rng.integers(NUM_PATIENTS))
    relabel(d, "os_days", "os_days", lambda x: [*x[:at], np.inf, *x[at + 1 :]])


@mishap("negative survival")
def _(d: Draft, rng: np.random.Generator) -> None:
    at = int(rng.integers(NUM_PATIENTS))
    relabel(d, "os_days", "os_days", lambda x: x.where(np.arange(len(x)) != at, -5))


@mishap("survival in months, and called so")
def _(d: Draft, rng: np.random.Generator) -> None:
    new = str(rng.choice(["OS_MONTHS", "os_months", "Overall Survival (Months)"]))
    relabel(d, "os_days", new, lambda x: (x.astype(float) / 30.4375).round(2))


@mishap("survival in months, and called days")
def _(d: Draft, rng: np.random.Generator) -> None:
    relabel(d, "os_days", "os_days", lambda x: (x.astype(float) / 30.4375).round(2))


@mishap("events of cBioPortal")
def _(d: Draft, rng: np.random.Generator) -> None:
    words = {0: "0:LIVING", 1: "1:DECEASED"}
    relabel(d, "os_event", "OS_STATUS", lambda x: [words.get(i, i) for i in x])


@mishap("events in words")
def _(d: Draft, rng: np.random.Generator) -> None:
    relabel(d, "os_event", "vital_status", lambda x: np.where(x == 1, "Dead", "Alive"))


@mishap("events of another code")
def _(d: Draft, rng: np.random.Generator) -> None:
    relabel(d, "os_event", "os_event", lambda x: x + 1)


@mishap("stages in words")
def _(d: Draft, rng: np.random.Generator) -> None:
    relabel(d, "stage", "AJCC Stage", lambda x: [None if s is None else f"Stage {s}A" for s in x])


@mishap("labels in other letter case")
def _(d: Draft, rng: np.random.Generator) -> None:
    for label in d.facts.table.columns:
        relabel(d, str(label), str(label).upper().replace("_", " "))


@mishap("sides of the split in other words")
def _(d: Draft, rng: np.random.Generator) -> None:
    words = {"train": "Training", "val": "Validation", "test": "TEST"}
    relabel(d, "split", "Split", lambda x: [words[s] for s in x])


@mishap("a split of train and test")
def _(d: Draft, rng: np.random.Generator) -> None:
    relabel(d, "split", "split", lambda x: x.replace("val", "train"))


@mishap("a side of the split that is none")
def _(d: Draft, rng: np.random.Generator) -> None:
    relabel(d, "split", "split", lambda x: x.replace("val", "fold 2"))


@mishap("half of clinical")
def _(d: Draft, rng: np.random.Generator) -> None:
    d.facts.table = d.facts.table.iloc[: NUM_PATIENTS // 2]


@mishap("two samples tables")
def _(d: Draft, rng: np.random.Generator) -> None:
    other = dataclasses.replace(d.facts, table=d.facts.table.assign(os_days=1))
    d.after.append(lambda folder: other.write(folder, "samples"))
