"""Missing modalities of new patients: tables with holes in, completed tables in raw units out.

The tables written are larger than those read, by the number of draws: patients are generated,
decoded and written block by block, so that memory does not grow with what is written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cohgen_jax.calibrate import FLAGGED, Calibration, interval
from cohgen_jax.codec import Codec
from cohgen_jax.codec.preprocess import standardise, unstandardise
from cohgen_jax.errors import InputError, check_seed
from cohgen_jax.evaluation.typicality import typicality
from cohgen_jax.patients import read_patients, shown_sources, to_generate
from cohgen_jax.run import Run
from cohgen_jax.sampling.bank import Ensemble
from cohgen_jax.sampling.consensus import Consensus
from cohgen_jax.sampling.generate import sample_rows
from cohgen_jax.training.config import SolverConfig

Method = Literal["coherent", "multi"]
LEAST_FOR_INTERVALS = 10
"""Draws a patient with which their quantiles are written as an interval."""
BLOCK_BYTES = 1 << 26
"""Decoded values of a block of patients; decoding and writing them takes a few times that."""


def impute_tables(
    run: Run,
    input_dir: str | Path,
    out_dir: str | Path,
    *,
    num_draws: int = 10,
    targets: Sequence[str] = (),
    regenerate: bool = False,
    method: Method = "coherent",
    consensus: Consensus = "stacked",
    ensemble: Ensemble = "average",
    solver: SolverConfig = SolverConfig(),
    seed: int = 0,
    settings: Sequence[str] = (),
    tell: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int, str], None] = lambda done, total, target: None,
) -> list[Path]:
    """Read a folder of tables, generate what is missing, write what `experiments/impute.py` says.

    Every patient is generated from whatever it has, all missing patterns in the same calls. Its
    noise is a function of its sample id and the seed: who else is in the folder changes nothing.

    Returns:
      The files written.

    Raises:
      InputError: unknown targets, no table of a known modality, features missing from a table,
        nothing to generate, or an output folder that holds something.
    """
    out_dir = Path(out_dir)
    if num_draws < 1:
        raise InputError(f"--draws must be at least 1, got {num_draws}")
    for name, value, known in (("method", method, Method), ("consensus", consensus, Consensus)):
        if value not in get_args(known):
            raise InputError(f"unknown {name} {value!r}; one of {', '.join(get_args(known))}")
    check_seed(seed)
    schedule = run.config.diffusion.build()
    chain = solver.build(schedule, run.config.diffusion.predicts)
    for target in targets:
        run.index(target)
    if out_dir.exists() and any(out_dir.iterdir()):
        raise InputError(f"{out_dir} is not empty: name a new folder for the completed tables")
    patients = read_patients(run, input_dir, tell, settings)
    ids, z, present, tables = patients.ids, patients.z, patients.present, patients.tables
    wanted = to_generate(run, present, targets, regenerate)
    if not wanted:
        raise InputError(
            "nothing to generate: nobody lacks a target and has another modality to generate it "
            "from; --regenerate also generates what is there"
        )
    for target in sorted(set(targets) - set(wanted)):
        tell(f"{target}: nobody lacks it, nothing was generated")
    out_dir.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    disagreements = []

    def advance(num: int, target: str) -> None:
        nonlocal done
        done += num
        progress(done, total, target)

    run = run.sampled_by(solver)
    note = run.uncalibrated(solver, consensus)
    calibration = {} if note else run.calibration[method]
    if note:
        tell(note)

    done, total = 0, sum(map(len, wanted.values()))
    typical = typicality(run, z, present, patients.residual)
    streams = patients.streams
    for target, rows in wanted.items():
        m, codec = run.index(target), run.codecs[target]
        bank = run.coherent_bank(target) if method == "coherent" else run.multi_bank(target)
        features, names = list(codec.features), [target, f"{target}_mean", f"{target}_sd"]
        known = calibration.get(target)
        if num_draws >= LEAST_FOR_INTERVALS:
            names += [f"{target}_low", f"{target}_high"]
        disagreement, generated = np.zeros(len(ids)), np.zeros(len(ids), bool)
        spread = np.full(len(ids), np.nan)
        generated[rows] = True
        everyone = np.flatnonzero(generated | present[:, m])
        progress(done, total, target)
        with contextlib.ExitStack() as stack:
            files = [out_dir / f"{name}.parquet" for name in names]
            draws_file, *completed_files = [stack.enter_context(_Parquet(f)) for f in files]
            for block in _blocks(everyone, generated, num_draws, len(features)):
                new, kept = block[generated[block]], ids[block[~generated[block]]]
                x = draws = np.zeros((num_draws, 0, len(features)), np.float32)
                if len(new):
                    samples = sample_rows(
                        bank,
                        run.modalities,
                        z[new],
                        present[new],
                        seed + m,
                        num_draws,
                        schedule=schedule,
                        solver=chain,
                        consensus=consensus,
                        ensemble=ensemble,
                        sample_ids=streams[new],
                        on_chunk=lambda num, target=target: advance(num, target),
                    )
                    disagreement[new] = np.asarray(samples.disagreement).mean(axis=0)
                    latent = np.asarray(samples.draws)[..., : codec.width]
                    if num_draws > 1:
                        spread[new] = np.sqrt(latent.var(axis=0, ddof=1).mean(axis=1))
                    x = codec.draw_standardised(latent, streams[new], seed + m)
                    draws = codec.units(x)
                    draws_file.write(_by_patient(draws, ids[new], features))
                sd = draws.std(axis=0, ddof=1) if num_draws > 1 else np.full_like(draws[0], np.nan)
                mean, values = draws.mean(axis=0), _filled(codec, tables[target].loc[kept])
                made_of = [(mean, values), (sd, np.zeros_like(values))]
                if len(made_of) < len(completed_files):
                    ends = interval(x, known.width if known else 1.0) if len(new) else (x[0], x[0])
                    made_of += [(codec.units(end), values) for end in ends]
                for file, (made, observed) in zip(completed_files, made_of, strict=True):
                    completed = np.concatenate([made, observed]).astype(np.float32)
                    table = pd.DataFrame(completed, [*ids[new], *kept], features)
                    file.write(table.sort_index())
        written += files
        disagreements.append(
            pd.DataFrame(
                {
                    "modality": target,
                    "sources": [shown_sources(run, present[row], m) for row in rows],
                    "disagreement": disagreement[rows],
                    "spread": spread[rows],
                    **_expectation(known, spread[rows]),
                    "typicality": np.nanmin(np.delete(typical, m, axis=1)[rows], axis=1),
                },
                index=ids[rows],
            )
        )
        tell(f"{target}: {num_draws} draws for {len(rows)} patients, {len(features)} features")
    written.append(out_dir / "disagreement.csv")
    with _whole(written[-1]) as partial:
        pd.concat(disagreements).to_csv(partial)
    return written


def _expectation(known: Calibration | None, spread: np.ndarray) -> dict[str, np.ndarray]:
    """What validation patients of like spread let expect; empty where nothing is known."""
    if known is None or np.isnan(spread).any():
        return {}
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
    draw = pd.DataFrame({"draw": np.tile(np.arange(num_draws), num_rows)}, index=table.index)
    return pd.concat([draw, table], axis=1)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file to write: it gets its name when it is whole, and is gone if it does not become so."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


class _Parquet(contextlib.ExitStack):
    """A Parquet table written block by block, each a row group."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.partial = self.enter_context(_whole(path))
        self.writer: pq.ParquetWriter | None = None

    def write(self, block: pd.DataFrame) -> None:
        table = pa.Table.from_pandas(block.rename_axis("sample_id"))
        writer = self.writer or self.enter_context(pq.ParquetWriter(self.partial, table.schema))
        writer.write_table(table)
        self.writer = writer


def _filled(codec: Codec, table: pd.DataFrame) -> np.ndarray:
    """Observed values [n, F] as they are, single missing cells imputed by the codec."""
    imputed = standardise(codec.preprocess, table, allow_absent=0.0)
    values = table.reindex(columns=list(codec.features)).to_numpy(np.float32)
    return np.where(np.isnan(values), unstandardise(codec.preprocess, imputed), values)
