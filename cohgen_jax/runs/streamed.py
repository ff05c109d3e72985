"""New patients in such numbers that their tables are not read at once.

Parquet tables are gone through three times, a batch of rows after another: to judge whole columns
(codes of missing values), to judge rows (assays not done), and to sort the rows by patient, into
files of consecutive patients beside what is written. From there patients are encoded part by part,
once, and completed. Held of all patients are their ids, and which tables they have.

What is told of a whole table beside that (copied samples, blocks of zeros) is of its first rows.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cohgen_jax.cohort.copies import copied_samples_told
from cohgen_jax.cohort.folder import FACTS, table_files
from cohgen_jax.cohort.ids import one_spelling
from cohgen_jax.cohort.labels import sample_facts
from cohgen_jax.cohort.missing import Codes, Zeros, zero_blocks_told
from cohgen_jax.cohort.read import facts_of_folder, read_about
from cohgen_jax.cohort.rows import Rows, compute, of_one_form, open_rows, parquet_files, positions
from cohgen_jax.cohort.unchanged import unchanged
from cohgen_jax.errors import InputError
from cohgen_jax.runs.patients import Patients, encode_covariates, encode_patients, with_column
from cohgen_jax.runs.run import Run
from cohgen_jax.storage.checkpoint import writing

MANY = 1 << 15
"""Rows of a table from which it is not read at once."""
AT_ONCE, CELLS = 1 << 14, 1 << 24
"""Patients of a part, and what cells their tables may have."""
LEAST = 64
"""Patients that a part of wide tables has at least."""
SORTED = ".sorted"
"""Folder beside the completed tables, while they are written."""


class _Judged(NamedTuple):
    """What a table says before its rows are sorted."""

    rows: Rows
    codes: Codes
    believed: np.ndarray  # bool [F, codes]
    keep: np.ndarray  # bool [rows]: samples with a value, whose assay was done
    holed: np.ndarray  # bool [rows]: samples with an unknown cell
    notes: list[str]

    def batches(self, num_rows: int) -> Iterator[tuple[slice, pd.DataFrame]]:
        """Those of the table, with NaN for codes of a missing value."""
        for own, frame in self.rows.batches(num_rows):
            values = self.codes.emptied(frame.to_numpy(), self.believed)
            yield own, pd.DataFrame(values, frame.index, frame.columns)


class ManyPatients:
    """As `Patients`, in parts: consecutive patients by sample id."""

    def __init__(
        self, run: Run, judged: Mapping[str, _Judged], ids: Mapping[str, pa.StringArray], size: int
    ) -> None:
        """ids: modality -> sample id of each row of its table, in the spelling of all tables;
        size: patients of a part."""
        self.run, self.judged, self.size = run, judged, size
        kept = [ids[name].filter(pa.array(one.keep)) for name, one in judged.items()]
        every = compute.unique(pa.chunked_array(kept))
        self.ids: pa.StringArray = every.take(compute.sort_indices(every))
        self.where: dict[str, np.ndarray] = {}
        """Modality -> position of each row of its table among the patients, -1 if left out."""
        self.present, self.holed = np.zeros((2, len(self.ids), len(run.modalities)), bool)
        for name, one in judged.items():
            own, m = positions(ids[name], self.ids), run.index(name)
            own[~one.keep] = -1
            self.where[name] = own
            self.present[own[one.keep], m] = True
            self.holed[own[one.keep], m] = one.holed[one.keep]
        self.known = np.zeros((1, 0), np.float32)
        """Covariates [N, Q], or [1, Q] of everybody."""
        self.folder = Path()

    def with_holes(self, run: Run, modality: str) -> np.ndarray:
        """Positions of the patients with an unknown cell of what they have of a modality."""
        return np.flatnonzero(self.holed[:, run.index(modality)])

    @contextlib.contextmanager
    def sorted_in(self, out_dir: Path, parts: Collection[slice] | None = None) -> Iterator[None]:
        """Within, `part` has these parts, or all of them: the rows of all tables lie in `out_dir`,
        by patient."""
        self.folder = out_dir / SORTED
        self.folder.mkdir()
        kept = np.zeros(len(self.cuts), bool)
        kept[[own.start // self.size for own in self.cuts if parts is None or own in parts]] = True
        try:
            with writing(self.folder), unchanged([f for one in self.judged.values()
                                                  for f in one.rows.files]):  # fmt: skip
                for name in self.judged if kept.any() else ():
                    self._sort(name, kept)
            yield
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def cuts(self) -> list[slice]:
        """The patients of each part."""
        num = len(self.ids)
        return [slice(first, min(first + self.size, num)) for first in range(0, num, self.size)]

    def part(self, own: slice, target: str) -> Patients:
        """The patients of one of the `cuts`, with the table of the target alone."""
        empty = {
            name: pd.DataFrame(columns=list(self.run.codecs[name].features), dtype=np.float32)
            for name in self.run.modalities
        }
        part = own.start // self.size
        ids = pd.Index(self.ids[own].to_pylist(), name="sample_id")
        encoded = self.folder / f"{part}.npz"
        if encoded.exists():
            tables = empty | {target: self._table(target, part, ids, empty[target])}
            with np.load(encoded) as kept:
                z, residual = kept["z"], kept["residual"]
        else:
            tables = {n: self._table(n, part, ids, t) for n, t in empty.items()}
            _, z, _, residual = encode_patients(self.run, tables)
            with writing(encoded):
                np.savez(encoded, z=z, residual=residual)
        known = self.known if len(self.known) == 1 else self.known[own]
        z = with_column(z, np.broadcast_to(known, (len(ids), known.shape[1])))
        return Patients(ids, z, self.present[own], residual, tables, None, "")

    def _sort(self, name: str, kept: np.ndarray) -> None:
        """Append the rows of a table to the files of the parts that their patients are in; kept:
        bool [parts], those that are wanted."""
        one = self.judged[name]
        for own, frame in one.batches(self.size):
            where, values = self.where[name][own], frame.to_numpy()
            order = np.argsort(where, kind="stable")
            order = order[where[order] >= 0]
            parts = where[order] // self.size
            for rows in np.split(order, np.flatnonzero(np.diff(parts)) + 1):
                if not len(rows) or not kept[where[rows[0]] // self.size]:
                    continue
                records = np.empty(len(rows), _record(values.shape[1]))
                records["row"], records["values"] = where[rows] % self.size, values[rows]
                with self._file(name, int(where[rows[0]] // self.size)).open("ab") as file:
                    file.write(records.tobytes())

    def _file(self, name: str, part: int) -> Path:
        return self.folder / f"{self.run.index(name)}-{part}"

    def _table(self, name: str, part: int, ids: pd.Index, empty: pd.DataFrame) -> pd.DataFrame:
        if name not in self.judged or not self._file(name, part).exists():
            return empty
        features = list(self.judged[name].rows.features)
        records = np.fromfile(self._file(name, part), _record(len(features)))
        records = records[np.argsort(records["row"])]
        return pd.DataFrame(records["values"], ids[records["row"]], features)


def many_patients(
    run: Run, source: str | Path, tell: Callable[[str], None], settings: Sequence[str] = ()
) -> ManyPatients | None:
    """The patients of a folder of Parquet tables, if they are many (`MANY`); None where
    `read_patients` has to see the tables whole, which is told where they are large.

    Raises:
        InputError: as `read_patients` does.
    """
    source = Path(source)
    if not source.is_dir():
        return None
    files, notes = table_files(source)
    chosen = {name: parquet_files(files[name]) for name in run.modalities if name in files}
    lengths = [sum(pq.read_metadata(f).num_rows for f in parts) for parts in chosen.values()]
    if max(lengths, default=0) < MANY:
        return None
    about = read_about(source)
    with unchanged([f for parts in chosen.values() for f in parts]):
        tables = {
            name: open_rows(files[name].name, parts, run.codecs[name].features) if parts else None
            for name, parts in chosen.items()
        }
        for name, rows in tables.items():
            others = [o.ids for n, o in tables.items() if n != name and o is not None]
            if rows is None or (rows.doubtful and not _shared(rows.ids, others)):
                tell(
                    f"{files[name].name} is read at once, and takes memory for all patients: it is "
                    "no Parquet file with a column sample_id and every feature of the run"
                )
                return None
        for name in sorted(files.keys() - {*chosen, *FACTS}):
            tell(f"{name} is not a modality of this run and was not used")
        there = {name: rows for name, rows in tables.items() if rows is not None}
        size = min(AT_ONCE, max(LEAST, CELLS // sum(len(r.features) for r in there.values())))
        judged = {name: _judged(run, name, rows, size) for name, rows in there.items()}
    ids, joined = _one_spelling(judged)
    told = [n for one in judged.values() for n in one.notes]
    for note in (*(about["notes"] if about else ()), *notes, *joined, *told):
        tell(note)
    if not any(one.keep.any() for one in judged.values()):
        raise InputError(f"{source} has no patient with any value in {', '.join(chosen)}")
    patients = ManyPatients(run, judged, ids, size)
    patients.known = _known(run, source, patients.ids, tell, settings)
    return patients


def _judged(run: Run, name: str, rows: Rows, size: int) -> _Judged:
    codec = run.codecs[name]
    codes, notes = Codes(len(rows.features)), []
    for _, frame in rows.batches(size):
        codes.add(frame.to_numpy())
    believed = codes.believed()
    if believed.any():
        notes.append(codes.note(name, pd.Index(rows.features), believed))
    keep, zero, holed = np.zeros((3, len(rows.ids)), bool)
    judged = _Judged(rows, codes, believed, keep, holed, notes)
    zeros, kind = Zeros(len(rows.features)), statistics.mode(codec.kinds)
    for own, frame in judged.batches(size):
        unknown = np.isnan(frame.to_numpy())
        keep[own], holed[own] = ~unknown.all(axis=1), unknown.any(axis=1)
        zero[own] = zeros.add(frame.index, frame.to_numpy())
        if own.start == 0:
            first = frame.loc[keep[own]]
            strange = [
                *zero_blocks_told(name, first, kind),
                *copied_samples_told(name, first, kind),
            ]
            among = f"Of the first {len(first)} samples: " * (own.stop < len(keep))
            notes += [among + note for note in strange]
    empty = int((~keep).sum())
    if empty:
        notes.append(f"{name}: {empty} rows without a value count as no assay.")
    dropped, told = zeros.verdict(name, kind)
    keep &= ~(zero & dropped)
    return judged._replace(notes=notes + told)


def _one_spelling(
    judged: Mapping[str, _Judged],
) -> tuple[dict[str, pa.StringArray], list[str]]:
    """The ids of all tables in one spelling, and notes on what was joined."""
    ids = {name: one.rows.ids for name, one in judged.items()}
    if of_one_form(pa.concat_arrays(list(ids.values()))):
        return ids, []
    kept = {name: own.filter(pa.array(judged[name].keep)) for name, own in ids.items()}
    joined = one_spelling({name: own.to_pylist() for name, own in kept.items()})
    spelt = {
        name: pa.array([names.get(i, i) for i in ids[name].to_pylist()], pa.string())
        for name, names in joined.renamed.items()
    }
    return {**ids, **spelt}, joined.notes


def _known(
    run: Run,
    source: Path,
    ids: pa.StringArray,
    tell: Callable[[str], None],
    settings: Sequence[str],
) -> np.ndarray:
    """float32 [N, Q], covariates of the patients; [1, Q] where nothing tells them apart."""

    def index(num: int | None = None) -> pd.Index:
        return pd.Index(ids[:num].to_pylist(), name="sample_id")

    facts = pd.DataFrame(index=index(1))
    told = facts_of_folder(source, index) if run.covariates.width else None
    if told is not None:
        facts = sample_facts(index(), *told, [])
    return encode_covariates(run, facts, settings, tell)


def _shared(ids: pa.StringArray, others: Sequence[pa.StringArray]) -> bool:
    return not others or any(compute.any(compute.is_in(ids, value_set=o)).as_py() for o in others)


def _record(num_features: int) -> np.dtype:
    return np.dtype([("row", "<i4"), ("values", "<f4", (num_features,))])
