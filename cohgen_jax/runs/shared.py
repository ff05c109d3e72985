"""A shared model: what a run learnt, without the patients whom it learnt from.

model.json       format, version, what the model holds, a checksum of every file
config.json      the configuration that it was trained with, without where the data lay
covariates.json  codec/  models/  regression/  consensus/  calibration*/   as in a run directory
typicality/      what is usual of the latents of each modality
README.md        the model card

`sharing/export.py` writes it, `open_run` opens it. Every file but the card is held to its checksum:
a folder in which one was altered, added or lost is refused. Checksums tell damage and edits, not
who made a model; nothing in it is executed or unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cohgen_jax.codec import Latents, load_codecs, padded_scale, save_codecs, with_covariates
from cohgen_jax.errors import InputError
from cohgen_jax.runs.calibration import DEFAULT, FEW_STEPS, load_calibrations, save_calibration
from cohgen_jax.runs.consensus import load_moments, save_moments
from cohgen_jax.runs.families import FAMILIES, families_of
from cohgen_jax.runs.models import Models, load_models, save_models
from cohgen_jax.runs.prepare import read_covariates
from cohgen_jax.runs.regressions import load_whole_regressions, save_whole_regressions
from cohgen_jax.runs.run import Run, read_configuration
from cohgen_jax.runs.typicality import Usual
from cohgen_jax.storage import rundir
from cohgen_jax.storage.checkpoint import is_whole, load_tree, save_tree, write_json

FORMAT, VERSION = "cohgen_jax shared model", 1
CARD = "README.md"
_NOT_OURS = (".git", ".gitattributes", ".gitignore", ".cache", ".huggingface")
"""What a hub or its client puts beside the files of a model."""


def save_shared(run: Run, folder: Path, about: Mapping[str, Any], data: str) -> None:
    """Write a run that holds no patients; the card is written by who calls.

    about: what model.json says beside; data: the checksum of the run's data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = dataclasses.asdict(dataclasses.replace(run.config, cohort="shared", extends=None))
    write_json(folder / "config.json", {**config, rundir.DATA: data})
    write_json(folder / "covariates.json", run.covariates.to_json())
    save_codecs(run.codecs, folder / "codec")
    for name, models in run.models.items():
        save_models(folder / "models" / name, models)
    if run.regressions:
        save_whole_regressions(folder / "regression", run.regressions)
    save_moments(folder / "consensus", run.moments)
    if run.calibrated_with is not None:
        save_calibration(folder / DEFAULT, run.calibration, run.residuals, run.calibrated_with)
    for solver, calibration in run.calibrated_too.items():
        save_calibration(folder / FEW_STEPS, calibration, {}, solver)
    usual = {name: of_modality._asdict() for name, of_modality in run.usual.items()}
    save_tree(folder / "typicality", "typicality", _float32(usual), {})
    head = {"format": FORMAT, "version": VERSION, **about}
    write_json(folder / rundir.SHARED, {**head, "files": checksums(folder)})


def open_shared(folder: Path) -> Run:
    """Open a shared model, checked.

    Raises:
      InputError: it is not one, of another version, or not as it was exported.
    """
    check_shared(folder)
    codecs = load_codecs(folder / "codec")
    covariates = read_covariates(folder)
    widths = np.array([codec.width for codec in codecs.values()])
    nobody = np.zeros((0, len(codecs), widths.max()), np.float32)
    latents = Latents(
        nobody, np.zeros(nobody.shape[:2], bool), widths, tuple(codecs), padded_scale(codecs)
    )
    calibrated = load_calibrations(folder)
    usual, _ = load_tree(folder / "typicality", "typicality")
    whole = is_whole(folder / "regression")
    return Run(
        path=folder,
        config=read_configuration(folder),
        samples=pd.DataFrame({"split": []}, index=pd.Index([], name="sample_id"), dtype=object),
        latents=with_covariates(latents, np.zeros((0, covariates.width), np.float32)),
        codecs=codecs,
        models={family: load_models(folder / "models" / family) for family in FAMILIES},
        covariates=covariates,
        regressions=load_whole_regressions(folder / "regression") if whole else {},
        moments=load_moments(folder / "consensus"),
        calibration=calibrated.default,
        calibrated_with=calibrated.solver,
        residuals=calibrated.residuals,
        calibrated_too=calibrated.too,
        usual={name: Usual(**saved) for name, saved in usual.items()},
    )


def check_shared(folder: Path) -> dict[str, Any]:
    """model.json of a shared model whose files are as they were exported; else InputError."""
    file = folder / rundir.SHARED
    try:
        about = json.loads(file.read_text())
        form, version, recorded = about["format"], about["version"], dict(about["files"])
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} is not a shared model (no {rundir.SHARED}); cohgen export makes one of a run"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is damaged, or not of a shared model of cohgen_jax") from error
    if form != FORMAT:
        raise InputError(f"{folder} is not a shared model of cohgen_jax: its format is {form!r}")
    if version != VERSION:
        raise InputError(
            f"{folder} is a shared model of version {version!r}, this program reads {VERSION}: "
            "install the version of cohgen-jax that its card names"
        )
    present = checksums(folder)
    for name in sorted({*present, *recorded}):
        if present.get(name) != recorded.get(name):
            wrong = (
                "is missing" if name not in present
                else "was not exported with it" if name not in recorded
                else "is not as it was exported (its checksum differs)"
            )  # fmt: skip
            raise InputError(
                f"{folder} is not the model that was exported: {name} {wrong}; get it again from "
                "its source"
            )
    return about


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a model but model.json and the card, by its path in the folder."""
    sums = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name in (rundir.SHARED, CARD) or name.split("/")[0] in _NOT_OURS:
            continue
        with path.open("rb") as file:
            sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


def kept_models(run: Run) -> dict[str, Models]:
    """The models of a run with the weights that it samples with alone."""
    kept = {}
    for name, models in run.models.items():
        metric = families_of(run.config)[name].config(run.config).keep
        kept[name] = dataclasses.replace(models, variables={metric: models.variables[metric]})
    return kept


def _float32(tree: Any) -> Any:
    """Checkpoints hold numbers of at most 32 bits."""
    if isinstance(tree, dict):
        return {name: _float32(value) for name, value in tree.items()}
    return np.asarray(tree, np.float32)
