"""A run before its models: directory, cohort, codecs, latents, written and read."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cohgen_jax.codec import (
    Codec,
    CodecConfig,
    Latents,
    encode_cohort,
    fit_codecs,
    load_codecs,
    padded_scale,
    published_config,
    save_codecs,
    with_covariates,
)
from cohgen_jax.cohort import Cohort, understood
from cohgen_jax.cohort.covariates import Covariates, choose_covariates, fit_covariates
from cohgen_jax.errors import InputError
from cohgen_jax.runs.config import ExperimentConfig
from cohgen_jax.runs.source import data_checksum, load_any_cohort, samples_checksum
from cohgen_jax.storage import rundir
from cohgen_jax.storage.checkpoint import is_whole, write_json, writing

if TYPE_CHECKING:
    from cohgen_jax.runs.run import Run

Tell = Callable[[str], None]


@contextlib.contextmanager
def prepared(
    config: ExperimentConfig,
    run_dir: Path,
    resume: bool,
    overwrite: bool,
    tell: Tell,
    check: Callable[[Cohort], Sequence[str]],
    earlier: Run | None = None,
    **extra: Any,
) -> Iterator[tuple[Cohort, Latents]]:
    """A run directory that is this process's, its cohort and the latents of its codecs.

    Everything that can be refused is refused before the first fit: `check` raises for what the
    cohort does not allow, and returns what is to be told. `earlier`: the run that is extended,
    whose codecs and covariates are taken. `extra`: what config.json says beside the configuration.
    """
    resolved = {**dataclasses.asdict(config), **extra}
    rundir.check(run_dir, resolved, resume=resume, overwrite=overwrite)
    cohort = load_any_cohort(config)
    told = check(cohort)
    resolved[rundir.DATA] = data_checksum(cohort)
    with rundir.locked(run_dir):
        rundir.prepare(run_dir, resolved, resume=resume, overwrite=overwrite)
        rundir.log(
            run_dir,
            "start",
            modalities=cohort.modalities,
            samples=len(cohort.samples),
            **rundir.environment(),
        )
        what = understood(cohort)
        tell(what.text())
        write_json(run_dir / "understood.json", what.to_json())
        for note in (*cohort.notes, *told):
            tell(note)
            rundir.log(run_dir, "note", text=note)
        yield cohort, _encoded(cohort, config, run_dir, earlier, tell)


def _encoded(
    cohort: Cohort, config: ExperimentConfig, run_dir: Path, earlier: Run | None, tell: Tell
) -> Latents:
    """Fit the codecs and encode the cohort, or read what an interrupted run left whole."""
    unfinished = run_dir / "checkpoints" / "codec"
    if is_whole(run_dir / "codec"):  # written last
        shutil.rmtree(unfinished, ignore_errors=True)
        latents = latents_of(run_dir, cohort.samples, load_codecs(run_dir / "codec"))
        _renew_labels(cohort.samples, run_dir, tell)
        return latents
    codec_config: CodecConfig | dict[str, CodecConfig] = config.codec
    if config.published_codecs:
        dim = config.codec.latent_dim
        codec_config = {name: published_config(name, dim) for name in cohort.modalities}
    if earlier is not None:
        codec_config = _no_wider(codec_config, cohort.modalities, earlier.latents.z.shape[2])
    fitted, training = unfinished / "fitted", unfinished / "training"

    def keep(name: str, codec: Codec) -> None:
        if codec.config.kind == "autoencoder":  # the only ones that take longer than reading them
            save_codecs({name: codec}, fitted / name)
            shutil.rmtree(training / name, ignore_errors=True)

    done = {m: load_codecs(fitted / m)[m] for m in cohort.modalities if is_whole(fitted / m)}
    done |= {} if earlier is None else earlier.codecs
    codecs = fit_codecs(
        cohort,
        codec_config,
        config.seed,
        tell,
        done=done,
        on_fit=keep,
        scratch=training,
        checkpoint_seconds=config.compute.checkpoint_seconds,
    )
    if earlier is None:
        train = cohort.samples.iloc[cohort.rows("train")]
        columns, notes = choose_covariates(train, config.covariates)
        covariates = fit_covariates(train, columns)
        known = covariates.encode(cohort.samples, [])
    else:
        covariates, notes = earlier.covariates, []
        known = covariates.encode(cohort.samples, notes)
    for note in (*notes, *covariates.notes):
        tell(note)
        rundir.log(run_dir, "note", text=note)
    latents = with_covariates(encode_cohort(cohort, codecs), known)
    half = run_dir / "latents.part"
    with writing(run_dir):
        cohort.samples.to_parquet(run_dir / "samples.parquet")
        write_json(run_dir / "covariates.json", covariates.to_json())
        pd.DataFrame(known, index=cohort.samples.index, columns=list(covariates.names)).to_parquet(
            run_dir / "covariates.parquet"
        )
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        for m, name in enumerate(cohort.modalities):
            rows = latents.present[:, m]
            pd.DataFrame(
                latents.z[rows, m, : latents.widths[m]],
                index=cohort.samples.index[rows],
                columns=pd.Index([f"latent_{d}" for d in range(latents.widths[m])]),
            ).to_parquet(half / f"{name}.parquet")
    shutil.rmtree(run_dir / "latents", ignore_errors=True)
    half.rename(run_dir / "latents")
    save_codecs(codecs, run_dir / "codec")
    shutil.rmtree(unfinished, ignore_errors=True)
    return latents


def _no_wider(
    config: CodecConfig | dict[str, CodecConfig], modalities: Sequence[str], dim: int
) -> dict[str, CodecConfig]:
    """The same with latents that fit models of width `dim`."""
    each = config if isinstance(config, dict) else dict.fromkeys(modalities, config)
    return {
        name: dataclasses.replace(codec, latent_dim=min(codec.latent_dim, dim))
        for name, codec in each.items()
    }


def _renew_labels(samples: pd.DataFrame, run_dir: Path, tell: Tell) -> None:
    """Take over labels and survival that were mended or added since the run began; patients and
    split are what they were, which the checksum of the data holds."""
    file = run_dir / "samples.parquet"
    old = read_parquet(file)
    changed = [
        column
        for column in dict.fromkeys([*old, *samples])
        if samples_checksum(old.reindex(columns=[column]))
        != samples_checksum(samples.reindex(columns=[column]))
    ]
    if not changed:
        return
    half = file.with_suffix(".part")
    with writing(file):
        samples.to_parquet(half)
        os.replace(half, file)
    tell(
        f"taken over from the cohort as it is now: {', '.join(map(str, changed))}; evaluate.py, "
        "audit.py and downstream.py make the results by labels again"
    )
    rundir.log(run_dir, "relabelled", columns=changed)


def read_latents(run_dir: str | Path) -> tuple[Latents, pd.DataFrame]:
    """The standardised latents of a run and its patients (with their split), trained or not."""
    run_dir = Path(run_dir)
    samples = read_parquet(run_dir / "samples.parquet")
    return latents_of(run_dir, samples, load_codecs(run_dir / "codec")), samples


def latents_of(run_dir: Path, samples: pd.DataFrame, codecs: dict[str, Codec]) -> Latents:
    widths = np.array([codec.width for codec in codecs.values()])
    z = np.zeros((len(samples), len(codecs), widths.max()), np.float32)
    present = np.zeros(z.shape[:2], bool)
    for m, name in enumerate(codecs):
        table = read_parquet(run_dir / "latents" / f"{name}.parquet")
        rows = samples.index.get_indexer(table.index)
        z[rows, m, : widths[m]] = table.to_numpy(np.float32)
        present[rows, m] = True
    latents = Latents(z, present, widths, tuple(codecs), padded_scale(codecs))
    known = read_parquet(run_dir / "covariates.parquet").reindex(samples.index)
    return with_covariates(latents, known.to_numpy(np.float32))


def read_covariates(run_dir: Path) -> Covariates:
    file = run_dir / "covariates.json"
    try:
        return Covariates.from_json(json.loads(file.read_text()))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file} is missing or damaged: copy the run again from its source, or train again"
        ) from error


def read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is missing or damaged: copy the run again from its source, or train again"
        ) from error
