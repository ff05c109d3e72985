"""Missing modalities of new patients: tables with holes in, completed tables in raw units out.

The tables written are larger than those read, by the number of draws: memory does not grow with
what is written (`complete.py`), nor does it with what is read, where that is Parquet of many
patients (`streamed.py`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cohgen_jax.cohort.load import parse_layers
from cohgen_jax.cohort.read import RawTables, raw_tables, without_empty_rows
from cohgen_jax.cohort.unchanged import state_of
from cohgen_jax.errors import InputError
from cohgen_jax.runs.complete import (
    Imputation,
    Progress,
    asked_of,
    by_patient,
    complete_patients,
)
from cohgen_jax.runs.completed import SCORES, FrameTable, ParquetTable, ScoresTable
from cohgen_jax.runs.families import Method
from cohgen_jax.runs.in_parts import make_parts, move, parts_of, put_together
from cohgen_jax.runs.patients import Patients, patients_of, read_patients, streams_of
from cohgen_jax.runs.run import Run
from cohgen_jax.runs.streamed import ManyPatients, many_patients
from cohgen_jax.sampling.consensus import Consensus
from cohgen_jax.sampling.generate import sample_rows
from cohgen_jax.seeds import seed_of
from cohgen_jax.solvers import SolverConfig
from cohgen_jax.storage.distributed import Share
from cohgen_jax.storage.parts import Parts, holds_parts
from cohgen_jax.storage.rundir import LOCK, fingerprint, locked, refuse_shared

PARTS = ".parts"
"""Folder beside the completed tables, of what is done of them."""


def impute_tables(
    run: Run,
    input_dir: str | Path,
    out_dir: str | Path,
    *,
    tell: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda done, total, target: None,
    share: Share = Share(),
    resume: bool = False,
    **settings: Any,
) -> list[Path]:
    """Read a folder of tables, generate what is missing, write what `experiments/impute.py` says.

    Every patient is generated from whatever it has, all missing patterns in the same calls, and so
    are, with `fill`, the unknown cells of measured tables, given the known ones as well. Its
    noise is a function of its sample id and the seed: who else is in the folder changes nothing.

    Several processes that call with the same arguments, but for their `share`, write the same
    tables: each makes some of the parts, and process 0 puts them together.

    Args:
      share: which of how many processes this is.
      resume: keep what is done part by part, and go on with the parts that are there.
      settings: fields of `Imputation`.

    Returns:
      The files written.

    Raises:
      InputError: unknown targets, no table of a known modality, features missing from a table,
        nothing to generate, or an output folder that holds something.
    """
    how = Imputation(**settings).check(run)
    source, out_dir = Path(input_dir), Path(out_dir)
    if not share.is_first:
        tell = progress = lambda *_: None
    if resume or share.count > 1:
        return _impute_in_parts(run, source, out_dir, how, tell, progress, share, resume)
    written: list[Path] = []
    _check_empty(out_dir)
    with contextlib.ExitStack() as held:
        patients = _patients(run, source, tell, how)
        scores: list[ScoresTable] = []

        def open_table(name: str) -> ParquetTable:
            if not written:  # what can be refused has been refused
                held.enter_context(_claimed(out_dir))
                if isinstance(patients, ManyPatients):
                    held.enter_context(patients.sorted_in(out_dir))
                scores.append(held.enter_context(ScoresTable(out_dir / SCORES)))
            written.append(out_dir / f"{name}.parquet")
            return ParquetTable(written[-1])

        def keep(block: pd.DataFrame) -> None:
            scores[0].write(block)

        complete_patients(run, patients, how, open_table, keep, tell, progress)
    return [*written, out_dir / SCORES]


def _impute_in_parts(
    run: Run,
    source: Path,
    out_dir: Path,
    how: Imputation,
    tell: Callable[[str], None],
    progress: Progress,
    share: Share,
    resume: bool,
) -> list[Path]:
    """The same, part by part, of which this process makes its share."""
    job = dataclasses.asdict(how) | {"run": fingerprint(run.path)}
    state = state_of([source]).items()
    job["input"] = {str(file.relative_to(source)): about for file, about in state}
    with Parts.opened(
        out_dir / PARTS, share, job, resume=resume, held=_claimed(out_dir, resume)
    ) as parts:
        patients = _patients(run, source, tell, how)
        asked = asked_of(run, patients, how, tell)
        known = parts_of(asked, patients)
        make_parts(known, patients, parts, progress)
        parts.wait()
        put_together(known, parts)
        written = [out_dir / f"{name}.parquet" for one in asked for name in one.names]
        if share.is_first:
            parts.wait()
            move(known, parts.folder, out_dir)
            parts.remove()
            for one in asked:
                tell(one.told)
        else:
            parts.wait_for_end()
    return [*written, out_dir / SCORES]


def _patients(
    run: Run, source: Path, tell: Callable[[str], None], how: Imputation
) -> Patients | ManyPatients:
    many = many_patients(run, source, tell, how.settings)
    return many or read_patients(run, source, tell, how.settings)


def _check_empty(out_dir: Path) -> None:
    names = {file.name for file in out_dir.iterdir()} if out_dir.exists() else set()
    if holds_parts(out_dir / PARTS):
        raise InputError(
            f"{out_dir} holds parts of completed tables, which other processes make or which were "
            "cut short: --resume goes on with them; or remove the folder, or name a new one"
        )
    if LOCK in names:
        raise InputError(
            f"{out_dir} holds completed tables that another process writes, or that were cut short "
            "when it was killed: wait, or remove the folder, or name a new one"
        )
    if names - {PARTS}:
        raise InputError(f"{out_dir} is not empty: name a new folder for the completed tables")


@contextlib.contextmanager
def _claimed(out_dir: Path, resume: bool = False) -> Iterator[None]:
    """Hold an empty folder, or one with parts: its lock stays, if this process is killed, to say
    that the tables are not all there."""
    if not (resume and (out_dir / PARTS).exists()):
        _check_empty(out_dir)
    with locked(out_dir):
        try:
            yield
        finally:
            (out_dir / LOCK).unlink(missing_ok=True)


def impute_in_memory(
    run: Run,
    tables: Mapping[str, pd.DataFrame] | Any,
    *,
    tell: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> Any:
    """`impute_tables` without files: see `Run.impute`."""
    how, frames = Imputation(**settings).check(run), isinstance(tables, Mapping)
    raw = raw_tables(tables) if frames else _annotated(run, tables)
    patients = patients_of(run, raw, "the tables", tell, how.settings)
    made = completed_frames(run, patients, how, tell)
    if frames:
        return made
    from cohgen_jax.interop.completed import generated_of, with_generated

    disagreement = made.pop("disagreement")
    there = raw._replace(tables={m: t for m, t in patients.tables.items() if len(t)})
    whole, _ = with_generated(tables, there, generated_of(made))
    whole.uns["disagreement"] = disagreement
    return whole


def completed_frames(
    run: Run,
    patients: Patients,
    how: Imputation,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, pd.DataFrame]:
    """What `Run.impute` returns of tables, of patients who are encoded already."""
    made: dict[str, pd.DataFrame] = {}
    scores: list[pd.DataFrame] = []
    complete_patients(run, patients, how, lambda name: FrameTable(name, made), scores.append, tell)
    return {**made, "disagreement": pd.concat(scores)}


def _annotated(run: Run, data: Any) -> RawTables:
    """The tables of a MuData, its layers as the run was trained on them."""
    if not hasattr(data, "mod"):
        raise InputError(
            f"expected DataFrames by modality or a MuData, got {type(data).__name__}: name its "
            f"modality, as in {{{run.modalities[0]!r}: ...}}"
        )
    from cohgen_jax.interop.annotated import raw_tables_of

    layers = parse_layers(run.config.layers)
    raw = raw_tables_of(data, "", "the MuData", layers, lenient=True)
    return without_empty_rows(raw)


def sample_patients(
    run: Run,
    target: str,
    patients: Sequence[str] | str = "test",
    *,
    num_draws: int = 10,
    method: Method = "coherent",
    consensus: Consensus = "stacked",
    solver: SolverConfig = SolverConfig(),
    seed: int = 0,
) -> pd.DataFrame:
    """See `Run.sample`."""
    Imputation(
        num_draws=num_draws,
        targets=(target,),
        method=method,
        consensus=consensus,
        solver=solver,
        seed=seed,
    ).check(run)
    ids = run.samples.index
    refuse_shared(run.path, "sampling its own patients (Run.impute takes tables of new ones)")
    if isinstance(patients, str):
        if patients not in set(run.samples["split"]):
            known = ", ".join(sorted(set(run.samples["split"])))
            raise InputError(f"no patient of this run is in {patients!r}; it has {known}")
        rows = run.rows(patients)
    else:
        rows = ids.get_indexer(pd.Index(patients))
        if (rows < 0).any():
            raise InputError(
                f"sample {str(np.asarray(patients)[rows < 0][0])!r} is not of this run: "
                "Run.impute takes tables of new patients"
            )
    run, m, codec = run.sampled_by(solver), run.index(target), run.codecs[target]
    present = run.latents.present[rows].copy()
    present[:, m] = False
    nothing = ~present.any(axis=1)
    if nothing.any():
        raise InputError(
            f"{int(nothing.sum())} of {len(rows)} patients, {ids[rows[nothing][0]]} among them, "
            f"have no modality to generate {target} from"
        )
    own, streams = seed_of(seed, target), streams_of(ids[rows])
    samples = sample_rows(
        run.bank(method, target),
        run.modalities,
        run.latents.z[rows],
        present,
        own,
        num_draws,
        run.sampler_config(solver, consensus=consensus),
        sample_ids=streams,
    )
    draws = codec.draw(np.asarray(samples.draws)[..., : codec.width], streams, own)
    return by_patient(draws, ids[rows], list(codec.features))
