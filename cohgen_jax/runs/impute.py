"""Missing modalities of new patients: tables with holes in, completed tables in raw units out.

The tables written are larger than those read, by the number of draws: patients are generated,
decoded and written block by block, so that memory does not grow with what is written; nor does it
with what is read, where that is Parquet of many patients (`streamed.py`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from cohgen_jax.codec import Codec
from cohgen_jax.cohort.load import parse_layers
from cohgen_jax.cohort.read import RawTables, raw_tables, without_empty_rows
from cohgen_jax.cohort.tables import COMPANIONS, DRAW
from cohgen_jax.errors import InputError, check_choices, check_seed
from cohgen_jax.runs.calibration import FLAGGED, INTERVAL, Calibration, interval
from cohgen_jax.runs.completed import FrameTable, ParquetTable, ScoresTable
from cohgen_jax.runs.families import Method
from cohgen_jax.runs.patients import (
    Patients,
    patients_of,
    read_patients,
    shown_sources,
    streams_of,
    to_generate,
)
from cohgen_jax.runs.run import Run
from cohgen_jax.runs.streamed import ManyPatients, many_patients
from cohgen_jax.runs.typicality import typicality
from cohgen_jax.sampling.bank import Ensemble
from cohgen_jax.sampling.consensus import Consensus
from cohgen_jax.sampling.generate import conditions, sample_rows
from cohgen_jax.seeds import seed_of
from cohgen_jax.solvers import SolverConfig
from cohgen_jax.storage.rundir import LOCK, locked, refuse_shared

LEAST_FOR_INTERVALS = 10
"""Draws a patient with which their quantiles are written as an interval."""
BLOCK_BYTES = 1 << 26
"""Decoded values of a block of patients; decoding and writing them takes a few times that."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imputation:
    """How patients are completed (experiments/impute.py --help says more of each)."""

    num_draws: int = 10
    targets: Sequence[str] = ()
    regenerate: bool = False
    fill: bool = True
    method: Method = "coherent"
    consensus: Consensus = "stacked"
    ensemble: Ensemble = "average"
    solver: SolverConfig = SolverConfig()
    seed: int = 0
    settings: Sequence[str] = ()
    """COLUMN=VALUE of a covariate, which every patient is then given."""

    def __post_init__(self):
        check_choices(self)
        check_seed(self.seed)
        if self.num_draws < 1:
            raise InputError(f"--draws must be at least 1, got {self.num_draws}")

    def check(self, run: Run) -> Self:
        """Refuse what this run does not have."""
        diffusion = run.config.diffusion
        self.solver.check(diffusion.num_steps, diffusion.predicts)
        for target in self.targets:
            run.index(target)
        return self


def impute_tables(
    run: Run,
    input_dir: str | Path,
    out_dir: str | Path,
    *,
    tell: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int, str], None] = lambda done, total, target: None,
    **settings: Any,
) -> list[Path]:
    """Read a folder of tables, generate what is missing, write what `experiments/impute.py` says.

    Every patient is generated from whatever it has, all missing patterns in the same calls, and so
    are, with `fill`, the unknown cells of measured tables, given the known ones as well. Its
    noise is a function of its sample id and the seed: who else is in the folder changes nothing.

    Args:
      settings: fields of `Imputation`.

    Returns:
      The files written.

    Raises:
      InputError: unknown targets, no table of a known modality, features missing from a table,
        nothing to generate, or an output folder that holds something.
    """
    how = Imputation(**settings).check(run)
    out_dir, written = Path(out_dir), []
    _check_empty(out_dir)
    with contextlib.ExitStack() as held:
        many = many_patients(run, input_dir, tell, how.settings)
        patients = many or read_patients(run, input_dir, tell, how.settings)
        scores: list[ScoresTable] = []

        def open_table(name: str) -> ParquetTable:
            if not written:  # what can be refused has been refused
                held.enter_context(_claimed(out_dir))
                if many:
                    held.enter_context(many.sorted_in(out_dir))
                scores.append(held.enter_context(ScoresTable(out_dir / "disagreement.csv")))
            written.append(out_dir / f"{name}.parquet")
            return ParquetTable(written[-1])

        def keep(block: pd.DataFrame) -> None:
            scores[0].write(block)

        complete_patients(run, patients, how, open_table, keep, tell, progress)
    return [*written, out_dir / "disagreement.csv"]


def _check_empty(out_dir: Path) -> None:
    names = [file.name for file in out_dir.iterdir()] if out_dir.exists() else []
    if LOCK in names:
        raise InputError(
            f"{out_dir} holds completed tables that another process writes, or that were cut short "
            "when it was killed: wait, or remove the folder, or name a new one"
        )
    if names:
        raise InputError(f"{out_dir} is not empty: name a new folder for the completed tables")


@contextlib.contextmanager
def _claimed(out_dir: Path) -> Iterator[None]:
    """Hold an empty folder: its lock stays, if this process is killed, to say that the tables are
    not all there."""
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
    return _by_patient(draws, ids[rows], list(codec.features))


def complete_patients(
    run: Run,
    patients: Patients | ManyPatients,
    how: Imputation,
    open_table: Callable[[str], ParquetTable | FrameTable],
    keep_scores: Callable[[pd.DataFrame], None],
    tell: Callable[[str], None],
    progress: Callable[[int, int, str], None] = lambda done, total, target: None,
) -> None:
    """Generate what these patients lack and write it, a table at a time, to what `open_table` opens
    under its name; how sure each is (disagreement.csv) goes to `keep_scores`, part by part."""
    present, targets, nobody = patients.present, how.targets, np.zeros(0, int)
    lacked = to_generate(run, present, targets, how.regenerate)
    wanted = {target: lacked.get(target, nobody) for target in targets or run.modalities}
    holes = dict.fromkeys(wanted, nobody)
    if how.fill:
        holes = {t: np.setdiff1d(patients.with_holes(run, t), wanted[t]) for t in wanted}
    for target in [t for t in wanted if not len(wanted[t]) + len(holes[t])]:
        del wanted[target]
        if target in targets:
            tell(f"{target}: nobody lacks it, nothing was generated")
    if not wanted:
        raise InputError(
            "nothing to generate: nobody lacks a target, or a cell of it, and has another modality "
            "to generate it from; --regenerate also generates what is there"
        )

    def advance(num: int, target: str) -> None:
        nonlocal done
        done += num
        progress(done, total, target)

    run = run.sampled_by(how.solver)
    note = run.uncalibrated(how.solver, how.consensus)
    calibration = {} if note else run.calibration[how.method]
    if note:
        tell(note)
    done, total = 0, sum(len(wanted[t]) + len(holes[t]) for t in wanted)
    expects = how.num_draws > 1 and any(target in calibration for target in wanted)
    for target, rows in wanted.items():
        asked = _Asked(run, how, target, calibration.get(target), expects)
        new, holed = np.zeros((2, len(present)), bool)
        new[rows] = holed[holes[target]] = True
        progress(done, total, target)
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(open_table(name)) for name in asked.names]
            for own, part in patients.parts(target):
                keep_scores(
                    asked.complete(
                        part, new[own], holed[own], files, lambda num, t=target: advance(num, t)
                    )
                )
        filled = f" and unknown cells of {len(holes[target])}" if len(holes[target]) else ""
        told = f"{target}: {how.num_draws} draws for {len(rows)} patients"
        tell(f"{told}{filled}, {len(run.codecs[target].features)} features")


class _Asked:
    """What is asked of one target, and completing patients by it."""

    def __init__(
        self, run: Run, how: Imputation, target: str, known: Calibration | None, expects: bool
    ) -> None:
        """expects: whether scores have columns of what calibration lets expect."""
        self.run, self.how, self.target, self.known, self.expects = run, how, target, known, expects
        self.m, self.codec = run.index(target), run.codecs[target]
        self.seed = seed_of(how.seed, target)
        self.bank = run.bank(how.method, target)
        self.config = run.sampler_config(how.solver, consensus=how.consensus, ensemble=how.ensemble)
        enough = how.num_draws >= LEAST_FOR_INTERVALS
        self.companions = COMPANIONS if enough else COMPANIONS[:2]
        self.names = [target, *(f"{target}_{companion}" for companion in self.companions)]

    def complete(
        self,
        patients: Patients,
        lacking: np.ndarray,
        holed: np.ndarray,
        files: Sequence[ParquetTable | FrameTable],
        advance: Callable[[int], None],
    ) -> pd.DataFrame:
        """Write what these patients lack, and the cells; returned are the scores of the former.

        lacking, holed: bool [N], who lacks the target, and who a cell of it; files: of `names`.
        """
        ids, z, present, m = patients.ids, patients.z, patients.present, self.m
        num_draws, codec, companions = self.how.num_draws, self.codec, self.companions
        streams, features = patients.streams, list(codec.features)
        rows, drawn = np.flatnonzero(lacking), lacking | holed
        everyone = np.flatnonzero(drawn | present[:, m])
        disagreement, spread = np.zeros(len(ids)), np.full(len(ids), np.nan)
        # As measured, where that is known and not generated anew.
        measured = patients.tables[self.target].reindex(index=ids, columns=features)
        measured = measured.astype(np.float32)
        measured.iloc[rows] = np.nan
        draws_file, *completed_files = files
        for block in _blocks(everyone, drawn, num_draws, len(features)):
            new = block[drawn[block]]
            made = {name: np.zeros((0, len(features)), np.float32) for name in companions}
            if len(new):
                samples = sample_rows(
                    self.bank,
                    self.run.modalities,
                    z[new],
                    present[new],
                    self.seed,
                    num_draws,
                    self.config,
                    sample_ids=streams[new],
                    on_chunk=advance,
                )
                disagreement[new] = np.asarray(samples.disagreement).mean(axis=0)
                latent = np.asarray(samples.draws)[..., : codec.width]
                if num_draws > 1:
                    spread[new] = np.sqrt(latent.var(axis=0, ddof=1).mean(axis=1))
                x = codec.draw_standardised(latent, streams[new], self.seed)
                if samples.mean is not None:  # as one more draw
                    mean = codec.restored(np.asarray(samples.mean)[..., : codec.width])
                    x = np.concatenate([x, mean])
                own = np.flatnonzero(holed[new])
                if len(own):
                    columns = [self.run.index(source) for source in self.bank.sources]
                    conds = conditions(self.bank, z[new[own]], columns)
                    variance = self.bank.variance(conds, present[new[own]][:, columns])
                    x[:, own] = codec.conditioned(
                        x[:, own], measured.iloc[new[own]], variance[:, : codec.width]
                    )
                x, mean = x[:num_draws], x[num_draws] if len(x) > num_draws else None
                draws = codec.units(x)
                made = _made(codec, x, draws, mean, self.known, companions)
                there = measured.iloc[new].to_numpy()
                draws = np.where(np.isnan(there), draws, there)
                draws_file.write(_by_patient(draws, ids[new], features))
            there = measured.iloc[block].to_numpy()
            unknown, own = np.isnan(there), drawn[block]
            for file, name in zip(completed_files, companions, strict=True):
                completed = np.where(unknown, np.nan, 0 if name == "sd" else there)
                completed[own] = np.where(unknown[own], made[name], completed[own])
                file.write(pd.DataFrame(completed.astype(np.float32), ids[block], features))
        typical = typicality(self.run, z, present, patients.residual)
        return pd.DataFrame(
            {
                "modality": self.target,
                "sources": [shown_sources(self.run, present[row], m) for row in rows],
                "disagreement": disagreement[rows],
                "spread": spread[rows],
                **_expectation(self.known, spread[rows], self.expects),
                "typicality": np.nanmin(np.delete(typical, m, axis=1)[rows], axis=1),
            },
            index=ids[rows],
        )


def _made(
    codec: Codec,
    x: np.ndarray,
    draws: np.ndarray,
    mean: np.ndarray | None,
    known: Calibration | None,
    companions: Sequence[str],
) -> dict[str, np.ndarray]:
    """COMPANIONS of draws [R, N, F], in units, float32 [N, F] each.

    x: [R, N, F], the draws in units of x; mean: [N, F], expectation of x if it is known.
    """
    value = codec.expected(draws, mean)
    sd = draws.std(axis=0, ddof=1) if len(draws) > 1 else np.full_like(value, np.nan)
    binary = np.array([kind == "binary" for kind in codec.kinds])
    p = value[:, binary]
    if len(draws) > 1:
        sd[:, binary] = np.sqrt(p * (1 - p))
    made = {"mean": value, "sd": sd}
    if "low" in companions:
        low, high = map(codec.units, interval(x, known.width if known else 1.0))
        # The quantiles of 0 and 1 are known from the probability of 1.
        low[:, binary], high[:, binary] = p > INTERVAL[1], p > INTERVAL[0]
        made |= {"low": low, "high": high}
    return made


def _expectation(
    known: Calibration | None, spread: np.ndarray, expects: bool
) -> dict[str, np.ndarray]:
    """What validation patients of like spread let expect: no columns where it is asked of nobody,
    empty ones where nothing is known."""
    if not expects:
        return {}
    if known is None:
        unknown = np.full(len(spread), np.nan)
        return {"spread_rank": unknown, "expected_error": unknown, "flagged": unknown}
    rank, error = known.expected(spread)
    return {"spread_rank": rank, "expected_error": error, "flagged": rank > FLAGGED}


def _blocks(
    everyone: np.ndarray, generated: np.ndarray, num_draws: int, num_features: int
) -> list[np.ndarray]:
    """`everyone` in runs whose tables, draws included, take about BLOCK_BYTES."""
    rows = np.cumsum(np.where(generated[everyone], num_draws, 1))
    block = rows * num_features * 4 // BLOCK_BYTES
    return np.split(everyone, np.flatnonzero(np.diff(block)) + 1)


def _by_patient(draws: np.ndarray, index: pd.Index, features: list[str]) -> pd.DataFrame:
    """Draws [R, n, F] as one table, patient by patient: column draw (0..R-1), then the features."""
    num_draws, num_rows, _ = draws.shape
    table = pd.DataFrame(
        draws.swapaxes(0, 1).reshape(num_draws * num_rows, -1),
        index=index.repeat(num_draws),
        columns=features,
    )
    draw = pd.DataFrame({DRAW: np.tile(np.arange(num_draws), num_rows)}, index=table.index)
    return pd.concat([draw, table], axis=1)
