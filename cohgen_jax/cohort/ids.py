"""Who is whom: ids of the same sample, or patient, that tables spell differently.

Ids mean what they say as long as they agree. Where one table writes an id that another writes in
another way, the ways are tried in this order, each on what the one before left over:

spelling  letter case, separators, spaces, dashes:  tcga.02.0001 and TCGA-02-0001
zeros     leading zeros, numbers read as fractions:  920, 920.0 and 0920
barcode   vial, portion and aliquot of one sample;   the sample of a patient listed without it
affix     what a table puts before or behind each id:  P0001_rna and P0001, X920 and 920

Two spellings are joined if no table has both. Where one has, they are told, and count as samples
of one patient, so that a split never tears them.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import pandas as pd

from cohgen_jax.errors import shown

EXAMPLES = 3
"""Spelt out of a kind of near miss."""
LEAST_WITH_AFFIX = 3
"""Ids that must carry the same affix for it to be one."""
SHARE_WITH_AFFIX = 0.5
"""Of the ids of a table that match nothing else."""
_BARCODES = (
    (re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}(-.*)?"), 3),
    (re.compile(r"TARGET-\d{2}-[A-Z0-9]{6}(-.*)?"), 3),
    (re.compile(r"HCM-[A-Z]{4}-\d{4}-[A-Z0-9]{3}(-.*)?"), 3),
    (re.compile(r"C3[LN]-\d{5}(-.*)?"), 2),
    (re.compile(r"GTEX-[A-Z0-9]{4,5}(-.*)?"), 2),
    (re.compile(r"P-\d{7}-T\d{2}(-.*)?"), 2),
)
"""Barcodes of TCGA, TARGET, HCMI, CPTAC, GTEx and MSK-IMPACT; how many fields name the patient."""
_SEPARATORS = re.compile(r"[\s_.,:;|/\\\-\u2010-\u2015\u2212]+")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]")
_NUMBER = re.compile(r"0*(\d+)(?:\.0*)?")
_REPEAT = re.compile(r"(.+?)(?:[._ -]+[A-Za-z]{0,8}\d{0,2}|\s?\(\d\))")
_NORMAL = ("10", "11", "12", "13", "14")
"""Sample types of TCGA that are no tumour."""


class Joined(NamedTuple):
    """What was made of ids that differ in spelling."""

    renamed: dict[str, dict[str, str]]
    """Table -> id as it stands there -> id that it has with the others."""
    kin: dict[str, str]
    """Id that may be another one, and was left apart -> that other one."""
    notes: list[str]


def canonical_barcode(text: str) -> str | None:
    """A barcode of a known project in its usual spelling, None for any other id."""
    plain = _SEPARATORS.sub("-", _clean(text).upper())
    return plain if any(pattern.fullmatch(plain) for pattern, _ in _BARCODES) else None


def barcode_patient(text: str) -> str | None:
    """The patient of a barcode, as TCGA-A1-A001 of tcga.a1.a001.01a; None for any other id."""
    plain = _SEPARATORS.sub("-", _clean(text).upper())
    for pattern, fields in _BARCODES:
        if pattern.fullmatch(plain):
            return "-".join(plain.split("-")[:fields])
    return None


def loose(text: str) -> str:
    """An id without letter case and separators; those between two digits count."""
    plain = _SEPARATORS.sub("-", _clean(text).casefold())
    return re.sub(r"(?<!\d)-|-(?!\d)", "", plain)


def without_zeros(text: str) -> str:
    """The same without leading zeros, and of a whole number in whatever form."""
    plain = _clean(text)
    number = _NUMBER.fullmatch(plain)
    if number:
        return number[1]
    if re.fullmatch(r"\d+\.\d+", plain):  # 1.05 is not 1.5
        return plain
    return re.sub(r"(?<!\d)0+(?=\d)", "", loose(plain))


def patients_of_ids(ids: Iterable[str], kin: Mapping[str, str] | None = None) -> list[str]:
    """Patient of each sample: of its barcode, of the sample that it repeats (P7.1 of P7), or
    itself."""
    ids, kin = list(ids), kin or {}
    known = set(ids)
    patients = []
    for name in ids:
        name = _end(name, kin)
        patients.append(barcode_patient(name) or _repeated(name, known) or name)
    return patients


def barcodes_told(ids: Collection[str]) -> list[str]:
    """Notes on barcodes in another spelling, and on ids among them that are none."""
    barcodes = {i: canonical_barcode(i) for i in ids}
    odd = [i for i, barcode in barcodes.items() if barcode not in (None, i)]
    foreign = {i: None for i, barcode in barcodes.items() if barcode is None}
    notes = []
    if odd:
        notes.append(
            f"{len(odd)} sample ids are barcodes in another spelling ({_first(odd)}): samples are "
            f"grouped by patient as {barcode_patient(odd[0])}."
        )
    patients = {barcode_patient(i) for i in barcodes if i not in foreign}
    if len(patients) < len(barcodes) - len(foreign):
        notes.append(
            f"{len(barcodes) - len(foreign)} samples belong to {len(patients)} patients by their "
            "barcodes."
        )
    if foreign and len(foreign) <= len(barcodes) / 2:
        notes.append(
            f"{len(foreign)} of {len(barcodes)} sample ids are no barcodes ({_first(foreign)}): "
            "each counts as a patient of its own."
        )
    return notes


def repeats_told(ids: Collection[str], kin: Mapping[str, str]) -> list[str]:
    """A note on samples that by their id repeat another one."""
    known = set(ids)
    again = {i: _repeated(i, known) for i in ids if i not in kin}
    pairs = [f"{i} of {first}" for i, first in again.items() if first]
    if not pairs:
        return []
    return [
        f"{len(pairs)} sample ids repeat another one with a number or a word behind it "
        f"({_first(pairs)}): they count as samples of the same patient."
    ]


def samples_within(sample_ids: Collection[str], patients: Collection[str]) -> dict[str, str]:
    """Sample -> the patient whose id is how its own begins (P007-T1 of P007); empty where most of
    the patients have no such sample."""
    within = {
        long: short for (before, _), long, short in _within(sample_ids, patients) if not before
    }
    enough = len(set(within.values())) >= max(LEAST_WITH_AFFIX, SHARE_WITH_AFFIX * len(patients))
    return within if enough else {}


def one_spelling_of_tables(
    tables: Mapping[str, pd.DataFrame],
) -> tuple[dict[str, pd.DataFrame], Joined]:
    """The tables with one spelling for each sample, and what was joined or left apart."""
    joined = one_spelling({name: table.index for name, table in tables.items()})
    changed = dict(tables)
    for name, names in joined.renamed.items():
        index = [names.get(i, i) for i in tables[name].index]
        changed[name] = tables[name].set_axis(pd.Index(index, name="sample_id"), axis=0)
    return changed, joined


def one_spelling(ids_of: Mapping[str, Iterable[str]], like: str = "") -> Joined:
    """One spelling for the ids of several tables.

    ids_of: table -> its ids, each once. The spelling is that of the table `like`, else that of most
    tables, the longer of two.
    """
    state = _State({name: {i: i for i in ids} for name, ids in ids_of.items()}, like)
    state.join(loose, "letter case, spaces or separators")
    state.join(without_zeros, "leading zeros, or a number read as a fraction")
    state.join(_sample, "the vial, portion or aliquot of a barcode", shorter=True)
    state.join(_patient_of_one_sample(state.ids()), "the sample that a barcode names")
    for name in ids_of:
        state.join_affix(name)
    state.join_bare()
    return Joined(state.renamed(), state.kin, state.notes)


class _State:
    """Ids in the middle of being joined."""

    def __init__(self, now: dict[str, dict[str, str]], like: str) -> None:
        self.now, self.like = now, like  # table -> id there -> id so far
        self.kin: dict[str, str] = {}
        self.notes: list[str] = []

    def ids(self) -> dict[str, list[str]]:
        """Id so far -> the tables that have it."""
        tables_of: dict[str, list[str]] = defaultdict(list)
        for name, ids in self.now.items():
            for current in ids.values():
                tables_of[current].append(name)
        return tables_of

    def renamed(self) -> dict[str, dict[str, str]]:
        changes = {t: {a: b for a, b in ids.items() if a != b} for t, ids in self.now.items()}
        return {table: names for table, names in changes.items() if names}

    def join(self, key: Callable[[str], str | None], what: str, shorter: bool = False) -> None:
        """Join the ids of equal keys (None: alone) that no table has apart."""
        tables = self.ids()
        groups: dict[str, list[str]] = defaultdict(list)
        for current in tables:
            if (k := key(current)) is not None:
                groups[k].append(current)
        self._settle([g for g in groups.values() if len(g) > 1], tables, what, shorter)

    def join_bare(self) -> None:
        """Join tables that share nothing with others, if they do without an ending, or a beginning,
        that all of their ids have: P0001_rna of one and P0001_cna of another."""
        tables = self.ids()
        bare: dict[str, tuple[str, dict[str, str]]] = {}
        for name, ids in self.now.items():
            alone = all(len(tables[i]) == 1 for i in ids.values())
            affix, shorter = _same_affix(list(ids.values())) if alone else ("", {})
            bare[name] = (affix, shorter or {i: i for i in ids.values()})
        keys = {name: {without_zeros(b) for b in ids.values()} for name, (_, ids) in bare.items()}
        for name, (affix, ids) in bare.items():
            shared = max((len(keys[name] & keys[n]) for n in keys if n != name), default=0)
            if affix and shared >= max(LEAST_WITH_AFFIX, SHARE_WITH_AFFIX * len(ids)):
                self.now[name] = {a: ids[b] for a, b in self.now[name].items()}
                old, new = next(iter(ids.items()))
                self.notes.append(
                    f"{len(ids)} sample ids of {name} match those of the other tables without "
                    f"{affix!r} ({old!r} is {new!r}) and were joined with them; if these are "
                    "others, rename them."
                )
        self.join(loose, "letter case, spaces or separators")
        self.join(without_zeros, "leading zeros, or a number read as a fraction")

    def join_affix(self, name: str) -> None:
        """Join the ids of a table that others have with, or without, the same affix."""
        tables = self.ids()
        alone = [i for i in self.now[name].values() if len(tables[i]) == 1]
        others = [i for i in tables if name not in tables[i]]
        pairs: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for longer, shorter, turned in ((alone, others, False), (others, alone, True)):
            for affix, long, short in _within(longer, shorter):
                pairs[affix].setdefault(*((short, long) if turned else (long, short)))
        enough = max(LEAST_WITH_AFFIX, SHARE_WITH_AFFIX * len(alone))
        usual = sorted((a for a in pairs if len(pairs[a]) >= enough), key=lambda a: -len(pairs[a]))
        if len(usual) == 1:
            before, behind = usual[0]
            shown_affix = " and ".join(repr(a) for a in (before, behind) if a)
            groups = [[a, b] for a, b in pairs[usual[0]].items()]
            self._settle(groups, tables, f"{shown_affix} before or behind the id", shorter=True)
        near = {a: b for p in pairs.values() for a, b in p.items() if a in self.ids()}
        left = {
            a: b
            for a, b in near.items()
            if b in self.ids() and _end(a, self.kin) != _end(b, self.kin)
        }
        if left:
            self._tell_apart(list(left.items()), name, "what stands before or behind the id")

    def _settle(
        self, groups: list[list[str]], tables: dict[str, list[str]], what: str, shorter: bool
    ) -> None:
        pairs, apart = [], []
        for group in groups:
            counts = Counter(table for current in group for table in tables[current])
            if max(counts.values()) > 1:
                # Tables that have both know them apart, if every table that has one does.
                if any(count == 1 for count in counts.values()) or len(counts) == 1:
                    pair = [(other, group[0]) for other in group[1:]]
                    apart += [p for p in pair if _end(p[0], self.kin) != _end(p[1], self.kin)]
                continue
            best = max(group, key=lambda i: _rank(i, tables[i], self.like, shorter))
            pairs += [(other, best) for other in group if other != best]
        if pairs:
            new = dict(pairs)
            where = sorted({t for old, _ in pairs for t in tables[old]})
            for table in where:
                self.now[table] = {a: new.get(b, b) for a, b in self.now[table].items()}
            self.notes.append(
                f"{len(pairs)} sample ids of {', '.join(where)} differ from those of the other "
                f"tables in {what} and were joined with them "
                f"({_first([f'{a!r} is {b!r}' for a, b in pairs])}); if these are others, rename "
                "them."
            )
        if apart:
            where = sorted({t for pair in apart for i in pair for t in tables[i]})
            self._tell_apart(apart, ", ".join(where), what)

    def _tell_apart(self, pairs: list[tuple[str, str]], where: str, what: str) -> None:
        for other, first in pairs:
            if _end(first, self.kin) != other:
                self.kin.setdefault(other, first)
        self.notes.append(
            f"{len(pairs)} sample ids of {where} differ from others only in {what} "
            f"({_first([f'{a!r} and {b!r}' for a, b in pairs])}), and are no clear pairs: they are "
            "kept apart, as samples of one patient. Write them alike where they are the same "
            "sample, or give their patients in a column patient_id of samples."
        )


def _rank(name: str, tables: list[str], like: str, shorter: bool) -> tuple:
    """How good a spelling is: common, whole, of a fitting length, in capitals as barcodes are."""
    whole = re.search(r"\.0*$", name) is None
    length = -len(name) if shorter else len(name)
    return (like in tables, len(tables), whole, length, sum(map(str.isupper, name)), name)


def _repeated(name: str, known: Collection[str]) -> str | None:
    """P7 of P7.1, where there is P7."""
    again = _REPEAT.fullmatch(name)
    return again[1] if again and again[1] in known and barcode_patient(name) is None else None


def _clean(text: str) -> str:
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", str(text))).strip()


def _sample(name: str) -> str | None:
    """The sample of a barcode of TCGA, without vial, portion and aliquot."""
    plain = canonical_barcode(name) or ""
    match = re.match(r"(TCGA-[^-]+-[^-]+-\d{2})[A-Z]?(-|$)", plain)
    return match[1] if match else None


def _patient_of_one_sample(ids: Collection[str]) -> Callable[[str], str | None]:
    """Patients that some table lists by themselves, of whom there is one sample, a tumour."""
    samples: dict[str, set[str]] = defaultdict(set)
    for name in ids:
        if (patient := barcode_patient(name)) is not None:
            samples[patient].add(canonical_barcode(name) or name)
    one = {
        patient
        for patient, of_patient in samples.items()
        if patient in of_patient
        and len(of_patient) == 2
        and not _is_normal(max(of_patient, key=len))
    }

    def key(name: str) -> str | None:
        patient = barcode_patient(name)
        return patient if patient in one else None

    return key


def _is_normal(barcode: str) -> bool:
    return barcode.startswith("TCGA") and barcode.split("-")[3][:2] in _NORMAL


def _within(
    longer: Collection[str], shorter: Collection[str]
) -> Iterator[tuple[tuple[str, str], str, str]]:
    """((before, behind), long, short) for ids that hold another one between two boundaries."""
    known = {without_zeros(short): short for short in shorter}
    if not known:
        return
    for long in longer:
        if barcode_patient(long) is not None:
            continue  # what stands behind a barcode names the sample
        cuts = [0, *(m.end() for m in re.finditer(_BOUNDARY, long)), len(long)]
        spans = sorted(
            ((i, j) for i in cuts for j in cuts if i < j and (i, j) != (0, len(long))),
            key=lambda span: span[0] - span[1],
        )
        for i, j in spans:
            before, middle, behind = long[:i], long[i:j], long[j:]
            if not re.search(r"\d", middle) or re.search(r"^[\W_]|[\W_]$", middle):
                continue
            short = known.get(without_zeros(middle))
            if short is not None:
                yield (before, behind), long, short
                break


def _same_affix(ids: list[str]) -> tuple[str, dict[str, str]]:
    """The last field, or the first, that all these ids share, and each id without it."""
    for pattern in (
        r"(?P<bare>.*\d.*?)(?P<affix>[\W_]+[^\W_]+)",
        r"(?P<affix>[^\W_]+[\W_]+)(?P<bare>.*\d.*)",
    ):
        matches = [re.fullmatch(pattern, i) for i in ids]
        affixes = {m["affix"] if m else "" for m in matches}
        if len(affixes) == 1 and (affix := affixes.pop()) and len(ids) >= LEAST_WITH_AFFIX:
            return affix, {i: m["bare"] for i, m in zip(ids, matches, strict=True) if m}
    return "", {}


_BOUNDARY = r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])|(?<=[\W_])(?=[^\W_])|(?<=[^\W_])(?=[\W_])"


def _end(name: str, kin: Mapping[str, str]) -> str:
    seen = {name}
    while name in kin and kin[name] not in seen:
        name = kin[name]
        seen.add(name)
    return name


def _first(items: Collection[str]) -> str:
    return shown(list(items)[:EXAMPLES]) + (", ..." if len(items) > EXAMPLES else "")
