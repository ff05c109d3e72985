"""Text files of a table: encoding, comments, separator, where a line ends, and the cells.

What the file's ending says is tried first; where the lines say otherwise, they are believed and a
note tells it. Lines that do not fit their header are refused, for every value of such a line may
stand under the name of another.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import itertools
import lzma
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, TextIO

import pandas as pd

from cohgen_jax.cohort.sheets import Sheet
from cohgen_jax.cohort.spellings import joined
from cohgen_jax.cohort.written import PLAIN, Style, style_of, with_commas
from cohgen_jax.errors import InputError, shown

csv.field_size_limit(2**31 - 1)  # under a separator that it lacks, a line is one field

SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "vertical bars"}
BLANKS = r"\s+"
"""Fields separated by blanks: only where no separator fits."""
_HEAD = 40
"""Lines by which a file is judged."""
_HEAD_CHARACTERS = 1 << 24
_RISING = 8
"""Numbers that rise, from which they are names rather than values."""
_TITLES = 6
"""Lines above a header, such as "Table S1", that are passed over."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class _Layout(NamedTuple):
    """How the lines of a file are to be read."""

    sep: str
    names: tuple[str, ...]  # of the columns, as the header has them
    above: int  # lines above the first one of values
    features_down: bool = False
    left_out: tuple[str, ...] = ()  # columns that describe features, not samples
    text: tuple[str, ...] = ()  # columns that may be ids
    notes: tuple[str, ...] = ()


def _zstandard(path: Path) -> IO[bytes]:
    import pyarrow

    return pyarrow.input_stream(str(path), compression="zstd")


def _zip(path: Path) -> IO[bytes]:
    with zipfile.ZipFile(path) as archive:
        inside = [
            name
            for name in archive.namelist()
            if not name.endswith("/") and not name.startswith("__MACOSX/")
        ]
        if len(inside) != 1:
            raise InputError(
                f"{path.name} holds {len(inside)} files ({shown(inside)}): unpack it, one table a "
                "file"
            )
        return archive.open(inside[0])


OPENERS: dict[str, Callable[[Path], Any]] = {
    "": lambda path: path.open("rb"),
    ".gz": gzip.GzipFile,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _zstandard,
    ".zip": _zip,
}
"""Last suffix of a compressed text file -> what unpacks it."""


def read_text(path: Path, usual: str | None = None) -> Sheet:
    """The cells of a text file; `usual` is the separator that its suffix stands for.

    Raises:
        InputError: lines that do not fit the header, names that repeat, numbers that may be read
            in two ways, or a text that is no table.
    """
    with _opened(path) as lines:
        head = list(_limited(lines))
    layout = _layout(head, path.name, usual)
    encoding = _encoding(path)
    with _opened(path) as lines:
        names, width, notes = _columns(_skipped(lines, layout.above), layout, path.name)
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise InputError(f"{path.name}: columns occur more than once: {shown(repeated)}")
    if _is_cut(path):
        notes.append("it does not end with a line break: get it again if its end was lost")
    if not encoding.startswith("utf-8"):
        notes.append(f"its encoding is {encoding.upper()}")
    layout = layout._replace(text=_kept_as_text(names, head[layout.above :], layout.sep))
    frame = _cells(path, layout, names, width)
    texts = [frame[c] for c in frame.columns[1:] if frame[c].dtype == object]
    style, doubt = PLAIN, ""
    if with_commas(texts) or _all_dots_alike(head[layout.above :], layout.sep):
        every = _cells(path, layout, names, width, text=True)
        try:
            style = style_of([every[c] for c in every.columns if c in names[1:]], path.name)
        except InputError as error:
            doubt = str(error)
        if style != PLAIN:
            frame = _cells(path, layout, names, width, style=style)
            notes.append(style.told())
    frame = frame.drop(columns=[c for c in layout.left_out if c in frame.columns])
    return Sheet(
        frame, features_down=layout.features_down, doubt=doubt, notes=(*layout.notes, *notes)
    )


def looks_like_a_table(path: Path) -> bool:
    """Whether a text file of no particular suffix has a header and lines of as many fields."""
    try:
        with _opened(path) as lines:
            head = list(_limited(lines))
        layout = _layout(head, path.name, None)
    except (InputError, OSError, EOFError, ValueError, zipfile.BadZipFile, lzma.LZMAError):
        return False
    rows = [line for line in head[layout.above :] if line.strip()]
    fields = [cell for line in rows for cell in _fields(line, layout.sep)[1:]]
    least = 0.5 if layout.sep == BLANKS else 0.25  # sentences have blanks, too
    numbers = sum(_is_number(cell) or not cell for cell in fields)
    return len(rows) > 1 and bool(fields) and numbers > least * len(fields)


# ---- bytes to lines ---------------------------------------------------------------------------


def _opened(path: Path) -> TextIO:
    suffix = path.suffix.lower() if path.suffix.lower() in OPENERS else ""
    return io.TextIOWrapper(OPENERS[suffix](path), encoding=_encoding(path), newline="")


def _is_cut(path: Path) -> bool:
    """Whether the last line has no end; compressed files that were cut cannot be unpacked."""
    if path.suffix.lower() in OPENERS:
        return False
    with path.open("rb") as raw:
        raw.seek(-1, 2)
        return raw.read(1) not in (b"\n", b"\r", b"\0")


def _encoding(path: Path) -> str:
    suffix = path.suffix.lower() if path.suffix.lower() in OPENERS else ""
    with OPENERS[suffix](path) as raw:
        start = raw.read(1 << 12)
    marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    return marked or _without_mark(start)


def _without_mark(start: bytes) -> str:
    """UTF-16 shows by its zeros: in Western text every other byte is one."""
    if len(start) >= 8 and start[1:64:2].count(0) > 0.8 * len(start[1:64:2]):
        return "utf-16-le"
    if len(start) >= 8 and start[0:64:2].count(0) > 0.8 * len(start[0:64:2]):
        return "utf-16-be"
    return "utf-8"


def _limited(lines: TextIO) -> Iterator[str]:
    """The first lines, and not more than memory is good for."""
    total = 0
    for line in itertools.islice(lines, _HEAD):
        yield line
        total += len(line)
        if total > _HEAD_CHARACTERS:
            return


def _skipped(lines: TextIO, count: int) -> TextIO:
    for _ in itertools.islice(lines, count):
        pass
    return lines


def _fields(line: str, sep: str) -> list[str]:
    line = line.rstrip("\r\n")
    if sep == BLANKS:
        line, sep = re.sub(r"[ \t]+", " ", line.strip()), " "
    return next(csv.reader([line], delimiter=sep), []) if '"' in line else line.split(sep)


# ---- lines to a layout ------------------------------------------------------------------------


def _layout(head: Sequence[str], name: str, usual: str | None) -> _Layout:
    if head and head[0].lower().startswith(("#1.2", "#1.3")):
        return _gct(head, name)
    start = next((i for i, line in enumerate(head) if line.strip(' \t,;"\r\n')), len(head))
    comments = start
    while comments < len(head) and head[comments].lstrip('"').startswith("#"):
        comments += 1
    body = comments
    sep = _separator(head[body:], usual)
    header_is_comment = comments > start and _is_header(head[comments - 1], head[comments:], sep)
    if header_is_comment:
        body = comments - 1
    else:
        body += _titles(head[body:], sep)
    if body >= len(head) or not any(line.strip() for line in head[body + 1 :]):
        raise InputError(f"{name} is empty: a header and at least one row are needed")
    names = _fields(head[body], sep)
    if header_is_comment:
        names[0] = names[0].lstrip("# ")
    below = [fields[0] for line in head[body + 1 :] if (fields := _fields(line, sep))]
    _refuse_values(names, below, name)
    notes = []
    if body > start:
        notes.append(f"{body - start} lines above the header are comments or titles")
    if usual is not None and sep != usual:
        notes.append(f"fields are separated by {SEPARATORS.get(sep, 'blanks')}")
    return _Layout(sep, tuple(names), body + 1, notes=tuple(notes))


def _separator(lines: Sequence[str], usual: str | None) -> str:
    """The separator under which these lines are a table from the earliest line on: the usual one,
    else that of most fields."""
    lines = [line for line in lines if line.strip()]
    fits: dict[str, tuple[int, int]] = {}  # separator -> lines above its header, less its fields
    for sep in (*SEPARATORS, BLANKS):
        counts = [len(_fields(line, sep)) for line in lines]
        for first in range(min(_TITLES, len(counts) - 1)):
            width = Counter(counts[first + 1 :]).most_common(1)[0][0]
            if counts[first] >= 2 and width in (counts[first], counts[first] + 1):
                fits[sep] = (first, -counts[first])
                break
    if set(fits) - {BLANKS}:
        fits.pop(BLANKS, None)
    earliest = min((first for first, _ in fits.values()), default=0)
    if usual is not None and (not fits or fits.get(usual, (-1, 0))[0] == earliest):
        return usual
    return min(fits, key=lambda sep: fits[sep]) if fits else ","


def _titles(lines: Sequence[str], sep: str) -> int:
    """Lines above the header in which only the first field has a word ("Table S1")."""
    counts = [len([f for f in _fields(line, sep) if f.strip()]) for line in lines]
    usual = Counter(counts).most_common(1)[0][0] if counts else 0
    return next((i for i, n in enumerate(counts[:_TITLES]) if n > 1 or usual < 3), 0)


def _is_header(comment: str, lines: Sequence[str], sep: str) -> bool:
    """Whether a last line with # is the header: as many fields, and values right below it."""
    below = next((line for line in lines if line.strip()), "")
    names, values = _fields(comment, sep), _fields(below, sep)
    return (
        len(names) > 1
        and len(names) in (len(values), len(values) - 1)
        and any(_is_number(cell) for cell in values[1:])
        and not any(_is_number(cell) for cell in names[1:])
    )


def _gct(head: Sequence[str], name: str) -> _Layout:
    """GCT: version, sizes, header; columns that describe rows, then one a sample."""
    sizes = _fields(head[1], "\t") if len(head) > 1 else []
    try:
        about = [int(size) for size in sizes[:4] if size.strip()]
        describing, rows = (about[2], about[3]) if len(about) == 4 else (1, 0)
    except ValueError as error:
        raise InputError(f"{name}: its second line is not that of a GCT file") from error
    if len(head) < 4:
        raise InputError(f"{name} is empty: a header and at least one row are needed")
    names = [n.strip() for n in _fields(head[2], "\t")]
    left_out = tuple(names[1 : 1 + describing])
    notes = ("it is a GCT file",)
    return _Layout("\t", tuple(names), 3 + rows, True, left_out, notes=notes)


def _refuse_values(names: Sequence[str], below: Sequence[str], name: str) -> None:
    """Refuse a file without a header: names that are numbers, under an id like those below, or that
    are fractions and do not rise as masses and wavelengths do."""
    numbers = [float(n) for n in names[1:] if _is_number(n) and "," not in n]
    if 2 * len(numbers) < len(names):
        return
    fractions = not all(number.is_integer() for number in numbers)
    rising = len(numbers) >= _RISING and numbers == sorted(set(numbers))
    ids = [_shape(i) for i in below]
    is_id = any(c.isdigit() for c in names[0]) and ids.count(_shape(names[0])) > len(ids) / 2
    if is_id or (fractions and not rising):
        raise InputError(
            f"{name}: its first line ({shown(names)}) looks like values, not like the names of "
            "columns: put a header above it"
        )


def _shape(text: str) -> str:
    """A99 of P07: which of its characters are letters and digits."""
    return re.sub(r"[A-Za-z]", "A", re.sub(r"\d", "9", text.strip()))


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().replace(",", "."))
    except ValueError:
        return False
    return True


# ---- lines to columns -------------------------------------------------------------------------


def _columns(lines: TextIO, layout: _Layout, name: str) -> tuple[list[str], int, list[str]]:
    """Names of the columns, the most fields of a line, and notes, after a look at every line."""
    header = list(layout.names)
    named = len(header) - next((i for i, n in enumerate(reversed(header)) if n.strip()), 0)
    widths: Counter[int] = Counter()
    first_of: dict[int, int] = {}
    filled = 0  # fields up to the last that is not empty, in any line
    for number, row in enumerate(_rows(lines, layout.sep), start=layout.above + 1):
        if not row:
            continue
        widths[len(row)] += 1
        first_of.setdefault(len(row), number)
        if filled < len(row):
            filled = max(filled, next((i for i in range(len(row), filled, -1) if row[i - 1]), 0))
    if not widths:
        raise InputError(f"{name} is empty: a header and at least one row are needed")
    ends = ["lines end with a separator, which makes no column"]
    if filled <= named:
        _refuse([w for w in widths if w < named], first_of, widths, named, name)
        return header[:named], max(widths), ends if max(*widths, len(header)) > named else []
    short = filled == named + 1 and len(header) == named and min(widths) > named
    if short and layout.features_down:
        raise InputError(f"{name}: the header of this GCT file is one name short: write it again")
    if short:
        note = "the header is one name short: the first column has the ids, as R writes them"
        return ["", *header], max(widths), [note, *(ends if max(widths) > filled else [])]
    if filled <= len(header):
        raise InputError(
            f"{name}: its columns {named + 1} to {filled} hold values and have no name: name them, "
            "or remove the separator at the end of the header"
        )
    _refuse([w for w in widths if w != named], first_of, widths, named, name)
    raise InputError(f"{name} cannot be read: its header has no names")


def _refuse(
    odd: Iterable[int], first_of: dict[int, int], widths: Counter[int], width: int, name: str
) -> None:
    odd = sorted(odd, key=lambda w: first_of[w])
    if odd:
        raise InputError(
            f"{name} cannot be read: {sum(widths[w] for w in odd)} lines do not have the {width} "
            f"fields of the header, first line {first_of[odd[0]]} with {odd[0]}; is the file "
            "whole, is a separator within a cell without quotes?"
        )


def _rows(lines: TextIO, sep: str) -> Iterator[Sequence[str]]:
    """Fields of every line. Those without quotes are split at once, and no line is kept."""
    if sep == BLANKS:
        yield from (_fields(line, sep) for line in lines)
        return
    for line in lines:
        if '"' in line:
            yield from csv.reader(itertools.chain([line], lines), delimiter=sep)
            return
        line = line.rstrip("\r\n")
        yield line.split(sep) if line else ()


def _cells(
    path: Path,
    layout: _Layout,
    names: Sequence[str],
    width: int,
    text: bool = False,
    style: Style = PLAIN,
) -> pd.DataFrame:
    """The columns that have a name."""
    dummies = [f"\0{i}" for i in range(width - len(names))]  # behind a trailing separator
    with _opened(path) as lines:
        return pd.read_csv(
            _skipped(lines, layout.above),
            sep=layout.sep,
            header=None,
            names=[*names, *dummies],
            usecols=list(names) if dummies else None,
            index_col=False,
            dtype=str if text else dict.fromkeys(layout.text, str),
            low_memory=False,
            decimal=style.decimal,
            thousands=style.thousands,
            skip_blank_lines=True,
        )


def _kept_as_text(names: Sequence[str], rows: Sequence[str], sep: str) -> tuple[str, ...]:
    """The columns that may be ids, so that 001 is not read as 1."""
    second = [f[1] for f in (_fields(row, sep) for row in rows) if len(f) > 1]
    whole = bool(second) and all(cell.strip().isdigit() for cell in second)
    return tuple(
        n for i, n in enumerate(names) if i == 0 or (i == 1 and whole) or joined(n) in ID_NAMES
    )


def _all_dots_alike(head: Sequence[str], sep: str) -> bool:
    """Whether the dots of the first lines all stand before three digits, and not all cells have
    one: a reason to look at every cell."""
    cells = [c.strip() for line in head for c in _fields(line, sep)[1:]]
    dotted = [c for c in cells if "." in c and _is_number(c.replace(".", ""))]
    groups = [c for c in dotted if all(len(part) == 3 for part in c.split(".")[1:])]
    whole = any(c.lstrip("+-").isdigit() for c in cells)
    return bool(dotted) and len(groups) == len(dotted) and whole


ID_NAMES = frozenset(
    (
        *("sampleid", "patientid", "sample", "patient", "samplename", "samplebarcode", "barcode"),
        *("caseid", "case", "submitterid", "casesubmitterid", "subjectid", "subject", "donorid"),
        *("donor", "id", "ids", "modelid", "depmapid", "cellline", "participantid", "participant"),
        *("specimenid", "specimen", "aliquotid", "aliquot", "slideid", "slide", "pid", "uuid"),
        *("bcrpatientbarcode", "patientbarcode", "bcrsamplebarcode", "sampleidentifier"),
        *("patientidentifier", "caselistid", "individual", "individualid", "cellid", "cell", "mrn"),
        *("samples", "patients", "filename", "names", "cells", "tumorsamplebarcode", "samplecode"),
    )
)
"""Names (`joined`) of columns that say who a row is of."""
