"""The analyses of a run: draws once, tables cached by what made them, figures, one summary.

run/generated/downstream/<method>.npz     all draws of a method, shared by the analyses
run/metrics/downstream/<name>.csv         the tidy table; <name>_claims.csv, <name>_tests.csv
run/metrics/downstream/<name>.json        what made it: key, options, seconds, notes
run/metrics/downstream_summary.csv, .json one row a claim, of all analyses; draws, seeds, trees
run/figures/downstream_<name>.svg, .png
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from cohgen_jax.baselines import BASELINES, OPTIONAL, fit_baselines
from cohgen_jax.downstream import draws as drawing
from cohgen_jax.downstream.analyses import ANALYSES, Analysis
from cohgen_jax.downstream.draws import Draws
from cohgen_jax.downstream.options import Options, Result, Workers
from cohgen_jax.downstream.statistics import CLAIM_COLUMNS
from cohgen_jax.downstream.study import NotPossible, Study
from cohgen_jax.errors import InputError, check_choices, check_seed, need
from cohgen_jax.evaluation.fidelity import write_table
from cohgen_jax.evaluation.of_run import KNOWN, run_generators
from cohgen_jax.runs.run import Run
from cohgen_jax.runs.source import samples_checksum
from cohgen_jax.solvers import SolverConfig
from cohgen_jax.storage import rundir
from cohgen_jax.storage.checkpoint import write_json

DRAWS_VERSION = 2
"""Raised when the same run and seed give other draws."""
METHODS = ("mean", "nearest", "ridge", "kernel_ridge", "coherent_mean", "multi", "coherent")
LEFT_OUT_WHEN_QUICK = ("ridge", "coherent_mean")

Progress = Callable[[str, int, int, str], None]
"""(what runs, done, total, detail)"""
Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DownstreamConfig:
    """Which analyses, and how much work they do."""

    analyses: tuple[str, ...] = ("all",)
    """Names of analyses, or `all`."""
    quick: bool = False
    """Small sizes: 3 draws, 2 seeds, 25 trees, without ridge and the plain mean; to see that
    everything works."""
    methods: tuple[str, ...] = METHODS
    """Ways to fill a gap: models, rules of consensus, baselines."""
    draws: int = 10
    """Draws of every patient and missing modality."""
    seeds: int = 5
    """Repeats of every forest; the paper has 10."""
    trees: int = 100
    """Trees of a classification forest."""
    survival: Literal["quick", "long"] = "quick"
    """Random survival forests: 30 trees of depth 12, or 100 trees without limit."""
    bootstrap: int = 2000
    """Bootstrap draws of patients behind every interval."""
    solver: SolverConfig = SolverConfig()
    jobs: int = 0
    """Processes; as many as there are cores when 0. Does not change any result."""
    seed: int = 0

    def __post_init__(self):
        check_choices(self)
        known = ("all", *(a.name for a in ANALYSES))
        for name in self.analyses:
            if name not in known:
                raise InputError(f"unknown analysis {name!r}; one of {', '.join(known)}")
        for name in self.methods:
            if name not in ("mean", *KNOWN):
                raise InputError(f"unknown method {name!r}; one of mean, {', '.join(KNOWN)}")
        if not self.methods:
            raise InputError(f"no methods; known: mean, {', '.join(KNOWN)}")
        for name, least in (("draws", 2), ("seeds", 1), ("trees", 1), ("bootstrap", 20)):
            if getattr(self, name) < least:
                raise InputError(f"--{name} must be at least {least}, got {getattr(self, name)}")
        if self.jobs < 0:
            raise InputError(f"--jobs must not be negative, got {self.jobs}")
        check_seed(self.seed)

    @property
    def chosen(self) -> tuple[Analysis, ...]:
        wanted = {"all"} & set(self.analyses)
        return tuple(a for a in ANALYSES if wanted or a.name in self.analyses)

    @property
    def num_draws(self) -> int:
        return min(self.draws, 3) if self.quick else self.draws

    @property
    def used_methods(self) -> tuple[str, ...]:
        dropped = LEFT_OUT_WHEN_QUICK if self.quick and self.methods == METHODS else ()
        return tuple(m for m in dict.fromkeys(self.methods) if m not in dropped)

    @property
    def options(self) -> Options:
        shared = {"survival": self.survival, "bootstrap": self.bootstrap, "seed": self.seed}
        if self.quick:
            return Options(seeds=min(self.seeds, 2), trees=min(self.trees, 25), **shared)
        return Options(seeds=self.seeds, trees=self.trees, **shared)


def analyse_run(
    run: Run,
    config: DownstreamConfig,
    progress: Progress = lambda what, done, total, detail: None,
    tell: Tell = lambda line: None,
) -> pd.DataFrame:
    """Compute the chosen analyses of a run, write them into it, and return the summary of claims.

    An analysis that was computed from the same draws with the same options is read instead.
    One that the run cannot have (no stage, too few deaths, ...) is skipped, and told.
    """
    import joblib

    rundir.refuse_shared(run.path, "a downstream analysis")
    need("downstream analyses", "downstream", "statsmodels", "pingouin", "sksurv")
    study = Study.of_run(run)
    note = run.uncalibrated(config.solver)
    if note:
        tell(note)
    workers = config.jobs or joblib.cpu_count()
    with rundir.locked(run.path):
        made, drawn, samples = _made_by(run, config), None, samples_checksum(run.samples)
        for analysis in config.chosen:
            inputs = {"draws": made, "methods": config.used_methods, "samples": samples}
            key = _key(inputs | {"options": dataclasses.asdict(config.options)}, analysis)
            if _is_current(run.path, analysis, key):
                tell(f"{analysis.name}: as computed before")
                continue
            try:
                drawn = drawn or _all_draws(run, study, config, made, progress)
                began = time.perf_counter()
                report = _reporter(progress, analysis.name)
                result = analysis.compute(study, drawn, config.options, Workers(workers, report))
            except NotPossible as reason:
                tell(f"{analysis.name}: skipped: {reason}")
                _forget(run.path, analysis, str(reason))
                continue
            seconds = time.perf_counter() - began
            _write(run.path, analysis, result, key, config, seconds)
            for note in result.notes:
                tell(note)
            rundir.log(run.path, "analysed", name=analysis.name, seconds=round(seconds, 1))
        return _summary(run.path)


def _reporter(progress: Progress, name: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(name, done, total, "")


def _made_by(run: Run, config: DownstreamConfig) -> dict[str, Any]:
    """Everything that the draws depend on. A run may be calibrated long after it was trained."""
    calibration = run.sampled_by(config.solver).calibration
    return {
        "version": DRAWS_VERSION,
        "run": rundir.read_config(run.path),
        "draws": config.num_draws,
        "solver": dataclasses.asdict(config.solver),
        "scale": {m: {t: c.scale.tolist() for t, c in o.items()} for m, o in calibration.items()},
        "moments": sorted(run.moments),
        "regressions": sorted(run.regressions),
        "covariates": run.covariates.to_json(),
        "seed": config.seed,
    }


def _key(made: Mapping[str, Any], analysis: Analysis | None = None) -> str:
    facts = {"made": made}
    if analysis is not None:
        facts |= {"analysis": analysis.name, "version": analysis.version}
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _all_draws(
    run: Run, study: Study, config: DownstreamConfig, made: dict[str, Any], progress: Progress
) -> Draws:
    """Read the draws of every method, or generate and keep them."""
    generators = run_generators(run, run.modalities, solver=config.solver)
    baselines = [m for m in config.used_methods if m in (*BASELINES, *OPTIONAL)]
    generators |= fit_baselines(run.latents, run.rows("train"), run.rows("val"), methods=baselines)
    for m, target in enumerate(run.modalities):
        latents = run.latents
        generators["mean", target] = drawing.mean_generator(
            latents.z, latents.present, study.train, m
        )
    parts = []
    for method in config.used_methods:
        path = run.path / "generated" / "downstream" / f"{method}.npz"
        key = _key(made | {"method": method})
        part = drawing.load(path, method, key)
        if part is None:
            part = drawing.generate_all(
                generators,
                study,
                method,
                config.num_draws,
                config.seed,
                lambda done, total, what: progress("draws", done, total, what),
            )
            drawing.save(part, method, path, key)
        parts.append(part)
    return drawing.merge(parts)


def _is_current(path: Path, analysis: Analysis, key: str) -> bool:
    """Whether the analysis was written whole, by the same inputs."""
    files = [analysis.table_file, analysis.claims_file, analysis.figure_stem + ".svg"]
    there = all((path / file).exists() for file in files)
    return there and _about(path, analysis).get("key") == key


def _about(path: Path, analysis: Analysis) -> dict[str, Any]:
    """What made the result; without a key where none was written whole."""
    try:
        about = json.loads((path / analysis.table_file).with_suffix(".json").read_text())
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _forget(path: Path, analysis: Analysis, reason: str) -> None:
    """Nothing of an earlier run of an analysis that is now skipped may be taken for its result."""
    table = path / analysis.table_file
    for file in (table, path / analysis.claims_file, path / analysis.tests_file):
        file.unlink(missing_ok=True)
    for suffix in (".svg", ".png"):
        (path / (analysis.figure_stem + suffix)).unlink(missing_ok=True)
    table.parent.mkdir(parents=True, exist_ok=True)
    write_json(table.with_suffix(".json"), {"name": analysis.name, "skipped": reason})


def _write(
    path: Path,
    analysis: Analysis,
    result: Result,
    key: str,
    config: DownstreamConfig,
    seconds: float,
) -> None:
    from cohgen_jax.figures.style import save

    table = path / analysis.table_file
    table.parent.mkdir(parents=True, exist_ok=True)
    table.with_suffix(".json").unlink(missing_ok=True)  # written last: the sign of a whole result
    result.table.to_csv(table, index=False)
    result.claims.to_csv(path / analysis.claims_file, index=False)
    (path / analysis.tests_file).unlink(missing_ok=True)
    if len(result.tests):
        result.tests.to_csv(path / analysis.tests_file, index=False)
    save(analysis.draw(result.table), path / analysis.figure_stem)
    about = {
        "name": analysis.name,
        "title": analysis.title,
        "key": key,
        "version": analysis.version,
        "options": dataclasses.asdict(config.options),
        "draws": config.num_draws,
        "methods": list(config.used_methods),
        "data": rundir.read_config(path)[rundir.DATA],
        "seconds": round(seconds, 1),
        "notes": list(result.notes),
    }
    write_json(table.with_suffix(".json"), about)


def _summary(path: Path) -> pd.DataFrame:
    """All claims of the analyses that the run holds, written beside the other metrics; each with
    the draws, seeds and trees behind it, which another command may have chosen."""
    parts = []
    for analysis in ANALYSES:
        about = _about(path, analysis)
        if "key" not in about or not (path / analysis.claims_file).exists():
            continue
        claims = pd.read_csv(path / analysis.claims_file)
        work = {"draws": about["draws"]} | {k: about["options"][k] for k in ("seeds", "trees")}
        if len(claims):
            parts.append(claims.assign(**work))
    columns = [*CLAIM_COLUMNS, "draws", "seeds", "trees"]
    summary = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    write_table(summary, path / "metrics" / "downstream_summary")
    return summary
