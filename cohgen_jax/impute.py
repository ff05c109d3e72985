"""Missing modalities of new patients: tables with holes in, completed tables in raw units out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from cohgen_jax.codec.preprocess import standardise, unstandardise
from cohgen_jax.cohort import read_tables
from cohgen_jax.errors import InputError
from cohgen_jax.run import Run
from cohgen_jax.sampling.consensus import Consensus
from cohgen_jax.sampling.generate import sample_rows

Method = Literal["coherent", "multi"]


def impute_tables(
    run: Run,
    input_dir: str | Path,
    out_dir: str | Path,
    *,
    num_draws: int = 10,
    targets: Sequence[str] = (),
    regenerate: bool = False,
    method: Method = "coherent",
    consensus: Consensus = "mean",
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> list[Path]:
    """Read a folder of tables, generate what is missing, write what `experiments/impute.py` says.

    Every patient is generated from whatever it has, all missing patterns in the same calls.

    Returns:
      The files written.

    Raises:
      InputError: unknown targets, no table of a known modality, features missing from a table,
        nothing to generate, or an output folder that holds something.
    """
    out_dir = Path(out_dir)
    if num_draws < 1:
        raise InputError(f"--draws must be at least 1, got {num_draws}")
    for target in targets:
        run.index(target)
    if out_dir.exists() and any(out_dir.iterdir()):
        raise InputError(f"{out_dir} is not empty: name a new folder for the completed tables")
    tables = _read(run, input_dir, tell)
    ids = pd.Index(sorted(set().union(*(table.index for table in tables.values()))))
    ids.name = "sample_id"
    z = np.zeros((len(ids), *run.latents.z.shape[1:]), np.float32)
    present = np.zeros(z.shape[:2], bool)
    for name, table in tables.items():
        m, rows = run.index(name), ids.get_indexer(table.index)
        try:
            z[rows, m, : run.codecs[name].width] = run.codecs[name].encode(table)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        present[rows, m] = True
    wanted = _to_generate(run, present, targets, regenerate)
    if not wanted:
        raise InputError(
            "nothing to generate: every patient has every target; --regenerate generates what is "
            "there from the other modalities"
        )
    out_dir.mkdir(parents=True, exist_ok=True)
    written, disagreements = [], []
    schedule = run.config.diffusion.build()
    solver = run.config.solver.build(schedule)
    for target, rows in wanted.items():
        m, codec = run.index(target), run.codecs[target]
        samples = sample_rows(
            run.coherent_bank(target) if method == "coherent" else run.multi_bank(target),
            run.modalities,
            z[rows],
            present[rows],
            seed + m,
            num_draws,
            schedule=schedule,
            solver=solver,
            consensus=consensus,
            on_chunk=on_rows,
        )
        draws = codec.decode(np.asarray(samples.draws)[..., : codec.width])
        features, index = list(codec.features), ids[rows]
        for name, table in (
            (target, _stacked(draws, index, features)),
            (f"{target}_mean", draws.mean(axis=0)),
            (f"{target}_sd", draws.std(axis=0, ddof=1) if num_draws > 1 else draws[0] * np.nan),
        ):
            if not isinstance(table, pd.DataFrame):
                table = pd.DataFrame(table, index=index, columns=features)
                observed = tables.get(target)
                if observed is not None:
                    kept = observed.loc[observed.index.difference(index)]
                    table = pd.concat([table, _observed(codec, kept, name.endswith("_sd"))])
                table = table.sort_index().rename_axis("sample_id")
            path = out_dir / f"{name}.parquet"
            table.to_parquet(path)
            written.append(path)
        disagreements.append(
            pd.DataFrame(
                {
                    "modality": target,
                    "sources": [
                        "+".join(
                            s for i, s in enumerate(run.modalities) if present[row, i] and i != m
                        )
                        for row in rows
                    ],
                    "disagreement": np.asarray(samples.disagreement).mean(axis=0),
                },
                index=index,
            )
        )
        tell(f"{target}: {num_draws} draws for {len(rows)} patients, {len(features)} features")
    path = out_dir / "disagreement.csv"
    pd.concat(disagreements).to_csv(path)
    return [*written, path]


def _read(run: Run, input_dir: str | Path, tell: Callable[[str], None]) -> dict[str, pd.DataFrame]:
    raw = read_tables(input_dir)
    for note in raw.notes:
        tell(note)
    for name in sorted(set(raw.tables) - set(run.modalities)):
        tell(f"{name} is not a modality of this run and was not used")
    tables = {
        name: raw.tables[name].dropna(how="all") for name in run.modalities if name in raw.tables
    }
    tables = {name: table for name, table in tables.items() if len(table)}
    if not tables:
        raise InputError(
            f"{input_dir} has no table of {', '.join(run.modalities)}: name the files after the "
            "modalities of the run (for instance "
            f"{run.modalities[0]}.parquet)"
        )
    return tables


def _to_generate(
    run: Run, present: np.ndarray, targets: Sequence[str], regenerate: bool
) -> dict[str, np.ndarray]:
    """Target -> positions of the patients to generate it for, each with at least one source."""
    wanted = {}
    for target in targets or run.modalities:
        m = run.index(target)
        has_source = np.delete(present, m, axis=1).any(axis=1)
        rows = np.flatnonzero(has_source & (regenerate | ~present[:, m]))
        if len(rows):
            wanted[target] = rows
    return wanted


def _stacked(draws: np.ndarray, index: pd.Index, features: list[str]) -> pd.DataFrame:
    """Draws [R, n, F] as one table: column draw (0..R-1), then the features."""
    frames = [pd.DataFrame(draw, index=index, columns=features) for draw in draws]
    for r, frame in enumerate(frames):
        frame.insert(0, "draw", r)
    return pd.concat(frames).rename_axis("sample_id")


def _observed(codec, table: pd.DataFrame, as_sd: bool) -> pd.DataFrame:
    """Observed values as they are, missing cells imputed by the codec; or their sd, which is 0."""
    values = table.reindex(columns=list(codec.features)).to_numpy(np.float32)
    if as_sd:
        filled = np.zeros_like(values)
    else:
        imputed = unstandardise(
            codec.preprocess, standardise(codec.preprocess, table, allow_absent=0.0)
        )
        filled = np.where(np.isnan(values), imputed, values)
    return pd.DataFrame(filled, index=table.index, columns=list(codec.features))
