"""Completed tables made part by part, whichever process makes which, and put together.

A part is one target of consecutive patients: of tables that are streamed those that are read
together, of others those that are written together. So the parts, and with them the tables, are the
same to the byte however many processes share them.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cohgen_jax.runs.complete import Asked, Progress, advancing
from cohgen_jax.runs.completed import SCORES, ParquetTable, ScoresTable
from cohgen_jax.runs.patients import Patients
from cohgen_jax.runs.streamed import ManyPatients
from cohgen_jax.storage.parts import Parts

Known = Mapping[str, tuple[Asked, slice]]
"""Name of a part -> what is asked of which patients; a target's follow each other."""


def parts_of(asked: Sequence[Asked], patients: Patients | ManyPatients) -> Known:
    return {
        f"{one.target}-{k}": (one, own)
        for one in asked
        for k, own in enumerate(_cuts(one, patients))
    }


def make_parts(
    known: Known, patients: Patients | ManyPatients, parts: Parts, progress: Progress
) -> None:
    """Those of this process. progress: of these."""
    groups: dict[object, list[str]] = {}
    for name, (_, own) in known.items():
        # Patients that are streamed are sorted and encoded once, for all targets.
        together = own.start if isinstance(patients, ManyPatients) else name
        groups.setdefault(together, []).append(name)
    mine = parts.deal(list(groups.values()))
    advance = advancing(progress, sum(int(known[n][0].drawn[known[n][1]].sum()) for n in mine))
    with contextlib.ExitStack() as held:
        if mine and isinstance(patients, ManyPatients):
            place = held.enter_context(tempfile.TemporaryDirectory(prefix=".", dir=parts.folder))
            held.enter_context(patients.sorted_in(Path(place), [known[name][1] for name in mine]))
        for name in mine:
            one, own = known[name]
            advance(0, one.target)
            with parts.making(name) as folder, contextlib.ExitStack() as stack:
                tables = [folder / f"{table}.parquet" for table in one.names]
                files = [stack.enter_context(ParquetTable(table)) for table in tables]
                scores = stack.enter_context(ScoresTable(folder / SCORES))
                scores.write(one.complete(patients, own, files, advance))


def put_together(known: Known, parts: Parts) -> None:
    """The completed tables from their parts, which are all there: parts, too, each of one table."""
    tables = _tables(known)
    for file in parts.deal([[file] for file in tables]):
        with parts.making(file) as folder, ParquetTable(folder / file) as table:
            for name in tables[file]:
                if (parts.folder / name / file).exists():  # somebody there has it
                    table.write_all(parts.folder / name / file)


def move(known: Known, folder: Path, out_dir: Path) -> None:
    """Completed tables, which are all there, to where they belong."""
    with ScoresTable(out_dir / SCORES) as scores:  # the last to get its name
        for file in _tables(known):
            if (folder / file / file).exists():  # not moved before
                os.replace(folder / file / file, out_dir / file)
        for name in known:
            scores.write_all(folder / name / SCORES)


def _tables(known: Known) -> dict[str, list[str]]:
    """Name of the file of each completed table -> parts that it is made of."""
    tables: dict[str, list[str]] = {}
    for name, (one, _) in known.items():
        for table in one.names:
            tables.setdefault(f"{table}.parquet", []).append(name)
    return tables


def _cuts(one: Asked, patients: Patients | ManyPatients) -> list[slice]:
    if isinstance(patients, ManyPatients):
        return patients.cuts
    starts = [int(block[0]) for block in one.blocks(patients.present)[1:]]
    return [slice(*ends) for ends in zip([0, *starts], [*starts, len(patients.ids)], strict=True)]
