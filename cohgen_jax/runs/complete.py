"""Completing patients: what each lacks of a target, and the cells, drawn, decoded and written.

Patients are generated, decoded and written block by block: memory does not grow with the draws.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import pandas as pd

from cohgen_jax.codec import Codec
from cohgen_jax.cohort.tables import COMPANIONS, DRAW
from cohgen_jax.errors import InputError, check_choices, check_seed
from cohgen_jax.runs.calibration import FLAGGED, INTERVAL, Calibration, interval
from cohgen_jax.runs.completed import FrameTable, ParquetTable
from cohgen_jax.runs.families import Method
from cohgen_jax.runs.patients import Patients, shown_sources, to_generate
from cohgen_jax.runs.run import Run
from cohgen_jax.runs.streamed import ManyPatients
from cohgen_jax.runs.typicality import typicality, usual_of
from cohgen_jax.sampling.bank import Ensemble
from cohgen_jax.sampling.consensus import Consensus
from cohgen_jax.sampling.generate import conditions, sample_rows
from cohgen_jax.seeds import seed_of
from cohgen_jax.solvers import SolverConfig

Progress = Callable[[int, int, str], None]
"""Told (done, total, target), in patients."""
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


def complete_patients(
    run: Run,
    patients: Patients | ManyPatients,
    how: Imputation,
    open_table: Callable[[str], ParquetTable | FrameTable],
    keep_scores: Callable[[pd.DataFrame], None],
    tell: Callable[[str], None],
    progress: Progress = lambda done, total, target: None,
) -> None:
    """Generate what these patients lack and write it, a table at a time, to what `open_table` opens
    under its name; how sure each is (disagreement.csv) goes to `keep_scores`, part by part."""
    every = asked_of(run, patients, how, tell)
    advance = advancing(progress, sum(int(asked.drawn.sum()) for asked in every))
    for asked in every:
        advance(0, asked.target)
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(open_table(name)) for name in asked.names]
            for own in patients.cuts:
                keep_scores(asked.complete(patients, own, files, advance))
        tell(asked.told)


def advancing(progress: Progress, total: int) -> Callable[[int, str], None]:
    """Takes (patients done since the last call, target)."""
    done = 0

    def advance(num: int, target: str) -> None:
        nonlocal done
        done += num
        progress(done, total, target)

    return advance


def asked_of(
    run: Run, patients: Patients | ManyPatients, how: Imputation, tell: Callable[[str], None]
) -> list[Asked]:
    """What is to be generated of every target.

    Raises:
        InputError: nothing.
    """
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
    usual = {
        name: run.usual.get(name) or usual_of(run, m)
        for m, name in enumerate(run.modalities)
        if present[:, m].any()
    }
    run = dataclasses.replace(run.sampled_by(how.solver), usual=usual)
    note = run.uncalibrated(how.solver, how.consensus)
    calibration = {} if note else run.calibration[how.method]
    if note:
        tell(note)
    expects = how.num_draws > 1 and any(target in calibration for target in wanted)
    every = []
    for target, rows in wanted.items():
        lacking, holed = np.zeros((2, len(present)), bool)
        lacking[rows] = holed[holes[target]] = True
        known = calibration.get(target)
        every.append(Asked(run, how, target, lacking, holed, known, expects))
    return every


class Asked:
    """What is asked of one target, and completing patients by it."""

    def __init__(
        self,
        run: Run,
        how: Imputation,
        target: str,
        lacking: np.ndarray,
        holed: np.ndarray,
        known: Calibration | None,
        expects: bool,
    ) -> None:
        """lacking, holed: bool [N], who lacks the target, and who a cell of it; expects: whether
        scores have columns of what calibration lets expect."""
        self.run, self.how, self.target, self.known, self.expects = run, how, target, known, expects
        self.m, self.codec = run.index(target), run.codecs[target]
        self.lacking, self.holed, self.drawn = lacking, holed, lacking | holed
        self.seed = seed_of(how.seed, target)
        self.bank = run.bank(how.method, target)
        self.config = run.sampler_config(how.solver, consensus=how.consensus, ensemble=how.ensemble)
        enough = how.num_draws >= LEAST_FOR_INTERVALS
        self.companions = COMPANIONS if enough else COMPANIONS[:2]
        self.names = [target, *(f"{target}_{companion}" for companion in self.companions)]

    @property
    def told(self) -> str:
        cells = f" and unknown cells of {self.holed.sum()}" if self.holed.any() else ""
        patients = f"{self.how.num_draws} draws for {self.lacking.sum()} patients{cells}"
        return f"{self.target}: {patients}, {len(self.codec.features)} features"

    def blocks(self, present: np.ndarray) -> list[np.ndarray]:
        """Positions of those who have the target or are given it, a block after the other."""
        everyone = np.flatnonzero(self.drawn | present[:, self.m])
        return _blocks(everyone, self.drawn, self.how.num_draws, len(self.codec.features))

    def complete(
        self,
        every: Patients | ManyPatients,
        part: slice,
        files: Sequence[ParquetTable | FrameTable],
        advance: Callable[[int, str], None],
    ) -> pd.DataFrame:
        """Write what the patients of a part lack, and the cells; returned are the scores of the
        former. files: of `names`."""
        patients = every.part(part, self.target)
        ids, z, present, m = patients.ids, patients.z, patients.present, self.m
        lacking, holed, drawn = self.lacking[part], self.holed[part], self.drawn[part]
        num_draws, codec, companions = self.how.num_draws, self.codec, self.companions
        streams, features, rows = patients.streams, list(codec.features), np.flatnonzero(lacking)
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
                    on_chunk=lambda num: advance(num, self.target),
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
                draws_file.write(by_patient(draws, ids[new], features))
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
    """`everyone` in runs whose tables, draws included, take about BLOCK_BYTES; those of such a run
    are one again."""
    rows = np.where(generated[everyone], num_draws, 1)
    block = (np.cumsum(rows) - rows) * num_features * 4 // BLOCK_BYTES
    return np.split(everyone, np.flatnonzero(np.diff(block)) + 1)


def by_patient(draws: np.ndarray, index: pd.Index, features: list[str]) -> pd.DataFrame:
    """Draws [R, n, F] as one table, patient by patient: column draw (0..R-1), then the features."""
    num_draws, num_rows, _ = draws.shape
    table = pd.DataFrame(
        draws.swapaxes(0, 1).reshape(num_draws * num_rows, -1),
        index=index.repeat(num_draws),
        columns=features,
    )
    draw = pd.DataFrame({DRAW: np.tile(np.arange(num_draws), num_rows)}, index=table.index)
    return pd.concat([draw, table], axis=1)
