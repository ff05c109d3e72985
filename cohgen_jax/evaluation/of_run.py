"""The evaluation of a run: all conditions and methods, generated data, tables, figures, report."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from cohgen_jax.baselines import BASELINES, EVENTS, OPTIONAL, fit_baselines
from cohgen_jax.errors import InputError, check_choices, check_seed
from cohgen_jax.evaluation.fidelity import (
    Condition,
    Evaluation,
    conditions,
    evaluate,
    judged,
    who_has,
    write_table,
)
from cohgen_jax.evaluation.fullest import fullest
from cohgen_jax.evaluation.honesty import TABLES, honesty_of, temperature_rows, write_honesty
from cohgen_jax.evaluation.in_parts import Pair, Scored, make_parts, read_parts
from cohgen_jax.evaluation.masks import shown_latents
from cohgen_jax.evaluation.tables import cohort_of, features_of_run, units_of_run
from cohgen_jax.runs.families import METHODS
from cohgen_jax.sampling.consensus import Consensus
from cohgen_jax.sampling.generate import bank_generator, sample_rows
from cohgen_jax.sampling.generator import Generated, Generator
from cohgen_jax.scores import distances
from cohgen_jax.solvers import SolverConfig, ddim
from cohgen_jax.storage import rundir
from cohgen_jax.storage.checkpoint import write_json, writing
from cohgen_jax.storage.distributed import Share
from cohgen_jax.storage.parts import Parts
from cohgen_jax.storage.staged import PART, commit, staged

if TYPE_CHECKING:
    from cohgen_jax.cohort import Cohort
    from cohgen_jax.runs.run import Run

OTHER_RULES: dict[str, Consensus] = {
    "coherent_mean": "mean",
    "coherent_loss": "loss",
    "coherent_product": "product",
}
"""The same single-condition models under other rules of consensus than the evaluation's own."""
KNOWN = (*METHODS, *OTHER_RULES, *BASELINES, *EVENTS)
WRITTEN = (
    *("fidelity", "fidelity_by_cancer_type", "binary_features", "binary_calibration"),
    *(*TABLES, "null_distributions", "disagreement"),
)
"""Tables of an evaluation, as metrics/<name>.csv and .json; some need a method or a label."""
REPLACED = (
    "metrics/evaluation.json",
    *(f"metrics/{name}{end}" for name in WRITTEN for end in (".csv", ".json")),
    "metrics/by_patient.parquet",
    *(f"generated/{method}" for method in METHODS),
)
"""What an evaluation writes, and replaces as a whole: an earlier one may have had other methods,
targets or patients."""
REPEATS = 200
"""Pairs of random subsets in a null distribution."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is evaluated."""

    split: Literal["test", "val"] = "test"
    draws: int = 10
    """Draws for each patient; each is one repeat of the published evaluation."""
    methods: tuple[str, ...] = (*METHODS, "coherent_mean", "coherent_loss", *BASELINES, *EVENTS)
    """Also known: coherent_product, and with the optional extra `benchmarks` multimodal_vae and
    engression."""
    targets: tuple[str, ...] = ()
    """Modalities to generate; all when empty."""
    num_sources: tuple[int, ...] = ()
    """From how many others each is generated, from every subset of so many; every number when
    empty, of more than six modalities one, all but one, and all."""
    consensus: Consensus = "stacked"
    """The rule of the method `coherent`; `coherent_mean` and `coherent_loss` are as published."""
    solver: SolverConfig = SolverConfig()
    cohort: str = ""
    """Where the cohort lies now; by default where it was in training. Without it, no scores
    in units of the tables."""
    keep_generated: Literal["all", "full", "none"] = "all"
    """Which generated latents are written: of all conditions, of those from the fullest sources
    (fullest.py), none."""
    seed: int = 0

    def __post_init__(self):
        check_choices(self)
        if not self.methods:
            raise InputError(f"no methods to evaluate; known: {', '.join(KNOWN)}")
        known = (*KNOWN, *OPTIONAL)
        for method in self.methods:
            if method not in known:
                raise InputError(f"unknown method {method!r}; one of {', '.join(known)}")
        check_seed(self.seed)
        if self.draws < 2:
            raise InputError(f"draws must be at least 2, got {self.draws}")


def run_generators(
    run: Run,
    targets: Sequence[str],
    *,
    consensus: Consensus = "stacked",
    solver: SolverConfig = SolverConfig(),
) -> dict[tuple[str, str], Generator]:
    """Coherent Denoising by every rule and the multi-condition model, keyed (method, target).

    Calibrated if the run has been for this solver (`Run.uncalibrated` tells). The published rules
    know no variance: where the solver needs it, they are sampled by the default one.
    """
    run = run.sampled_by(solver)
    without = SolverConfig() if solver.name == "gaussian" else solver
    rules: dict[str, Consensus] = {"coherent": consensus, **OTHER_RULES}
    generators = {}
    for target in targets:
        multi = run.multi_bank(target)
        for method, rule in rules.items():
            generators[method, target] = bank_generator(
                lambda sources, target=target: run.coherent_bank(target, sources),
                run.modalities,
                target,
                run.sampler_config(solver if method == "coherent" else without, consensus=rule),
            )
        generators["multi", target] = bank_generator(
            lambda sources, multi=multi: multi,
            run.modalities,
            target,
            run.sampler_config(solver),
        )
    return generators


def evaluate_run(
    run: Run,
    config: EvaluationConfig,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
    tell: Callable[[str], None] = lambda line: None,
    *,
    share: Share = Share(),
    resume: bool = False,
) -> Evaluation | None:
    """Evaluate a run and write metrics/ and generated/ into it, in the place of those of an earlier
    evaluation, which are there until this one is whole.

    Several processes that call with the same arguments, but for their `share`, write the same: each
    evaluates some of the methods and targets. Process 0 puts them together, and it alone returns
    them.

    Args:
      share: which of how many processes this is.
      resume: go on with what the same evaluation has kept: it keeps what is done if it is shared or
        begins with `resume`, too.
    """
    if not share.is_first:
        progress = tell = lambda *_: None
    rundir.refuse_shared(run.path, "evaluation")
    targets = tuple(dict.fromkeys(config.targets)) or run.modalities
    for target in targets:
        run.index(target)
    conditions(run.modalities, num_sources=config.num_sources)
    note = run.uncalibrated(config.solver, config.consensus)
    if note:
        tell(note)
    config = _available(config, tell)
    cohort = _cohort(run, config, tell)
    began = time.perf_counter()
    job = dataclasses.asdict(config) | {"run": rundir.fingerprint(run.path)}
    job |= {"units": cohort is not None}

    @contextlib.contextmanager
    def held() -> Iterator[None]:
        keep = resume or share.count > 1
        with rundir.locked(run.path), staged(run.path, resume=resume, keep=keep):
            yield

    part = run.path / PART
    with Parts.opened(part / "parts", share, job, resume=resume, held=held()) as parts:
        generators = run_generators(run, targets, consensus=config.consensus, solver=config.solver)
        baselines = [m for m in config.methods if m in (*BASELINES, *EVENTS, *OPTIONAL)]
        whole = {}
        if cohort is not None and any(m != "multimodal_vae" for m in baselines):
            whole = features_of_run(run, cohort, targets)._asdict()
        generators |= fit_baselines(
            run.latents,
            run.rows("train"),
            run.rows("val"),
            methods=baselines,
            targets=targets,
            **whole,
        )
        chosen = [
            (method, target)
            for method in config.methods
            for target in targets
            if (method, target) in generators  # a logistic regression is of binary tables alone
        ]
        rows = run.rows(config.split)
        full = _fullest(run, config, targets, rows)
        means = _posterior_means(run, config.consensus)
        units = None if cohort is None else units_of_run(run, cohort, targets)
        unconditional = [m for m in config.methods if m in _sourceless(run)]

        def score(pair: Pair, progress: Callable[[int, int, str], None]) -> Scored:
            tempered: list[pd.DataFrame] = []
            shown: dict[Pair, np.ndarray] = {}

            def keep(method: str, condition: Condition, rows: np.ndarray, made: Generated) -> None:
                if method not in METHODS:
                    return
                is_full = condition.label == full.get(condition.target)
                if is_full:
                    shown[method, condition.target] = made.draws[0]
                    tempered.extend(_tempered(run, config, means, method, condition, rows, made))
                if config.keep_generated == "all" or (config.keep_generated == "full" and is_full):
                    _write_generated(run, part, method, condition, rows, made)

            evaluation = evaluate(
                {pair: generators[pair]},
                run.latents,
                rows,
                draws=config.draws,
                seed=config.seed,
                labels=run.samples.get("cancer_type"),
                patients=run.samples["patient_id"],
                unconditional=unconditional,
                num_sources=config.num_sources,
                together=(*METHODS, *OTHER_RULES),
                units=units,
                progress=progress,
                keep=keep,
            )
            table = pd.concat(tempered, ignore_index=True) if tempered else pd.DataFrame()
            return Scored(evaluation, table, shown)

        jobs = judged(chosen, run.latents, rows, unconditional, config.num_sources, tell)
        pairs = make_parts(jobs, score, parts, progress)
        if not share.is_first:
            parts.wait_for_end()
            return None
        parts.wait()
        result, tempered, shown = read_parts(parts.folder, pairs)
        metrics = part / "metrics"
        metrics.mkdir(parents=True, exist_ok=True)
        write_json(metrics / "evaluation.json", dataclasses.asdict(config))
        write_table(result.conditions, metrics / "fidelity")
        if len(result.by_label):
            write_table(result.by_label, metrics / "fidelity_by_cancer_type")
        if len(result.by_feature):
            write_table(result.by_feature, metrics / "binary_features")
            write_table(result.curves, metrics / "binary_calibration")
        rules = [m for m in config.methods if m == "coherent" or m in OTHER_RULES]
        honesty = honesty_of(result, tempered, rules, baselines)
        write_honesty(honesty, result, run.samples.index, metrics)
        nulls = _null_distributions(run, rows, shown, targets)
        if len(nulls):
            write_table(nulls, metrics / "null_distributions")
        if "coherent" in config.methods:
            along = _disagreement(run, config, full)
            if len(along):
                write_table(along, metrics / "disagreement")
        commit(run.path, REPLACED)
        rundir.log(
            run.path,
            "evaluated",
            split=config.split,
            conditions=len(result.conditions),
            seconds=round(time.perf_counter() - began, 1),
            **rundir.environment(),
        )
    return result


def _available(config: EvaluationConfig, tell: Callable[[str], None]) -> EvaluationConfig:
    """Without the methods that cannot be had here, each told in a line."""
    skipped = []
    for method, why_missing in OPTIONAL.items():
        reason = why_missing() if method in config.methods else None
        if reason is not None:
            tell(f"{method} is skipped: {reason}")
            skipped.append(method)
    return dataclasses.replace(config, methods=tuple(m for m in config.methods if m not in skipped))


def _cohort(run: Run, config: EvaluationConfig, tell: Callable[[str], None]) -> Cohort | None:
    """The measured tables; None, told why, where they are not to be had any more.

    Raises:
      InputError: tables that were named and are not those of the run.
    """
    try:
        return cohort_of(run, config.cohort)
    except (InputError, OSError) as reason:
        if config.cohort:
            raise
        tell(f"no scores in units of the tables, of latents alone: {reason}")
        return None


def _sourceless(run: Run) -> tuple[str, ...]:
    """Methods that are also evaluated without any source, from covariates alone if there are any.

    Of nothing, nearest patients are random training patients: train against test.
    """
    regressions = ("ridge", "kernel_ridge", "logistic") if run.covariates.width else ()
    return ("coherent", "climatology", "nearest", *regressions)


def _posterior_means(run: Run, consensus: Consensus) -> dict[str, Callable[..., Generator]]:
    """Method -> generator of the posterior mean of a target: one step at temperature 0."""
    if run.config.diffusion.predicts == "eps":
        return {}  # which is not to be had from one evaluation
    config = run.sampler_config(consensus=consensus, temperature=0.0)
    config = dataclasses.replace(config, solver=ddim(config.solver.schedule, 1))
    stacked = dataclasses.replace(config, consensus="stacked")
    return {
        "coherent": lambda target: bank_generator(
            lambda sources: run.coherent_bank(target, sources),
            run.modalities,
            target,
            config,
        ),
        "multi": lambda target: bank_generator(
            lambda sources: run.multi_bank(target), run.modalities, target, stacked
        ),
    }


def _tempered(
    run: Run,
    config: EvaluationConfig,
    means: dict[str, Callable[..., Generator]],
    method: str,
    condition: Condition,
    rows: np.ndarray,
    generated: Generated,
) -> list[pd.DataFrame]:
    """Scores between draws and posterior mean; none where the mean is not to be had."""
    if method not in means:
        return []
    t = run.index(condition.target)
    width = int(run.latents.widths[t])
    shown = np.zeros((len(rows), len(run.modalities)), bool)
    shown[:, [run.index(source) for source in condition.sources]] = True
    z = shown_latents(run.latents.z[rows], shown)
    mean = means[method](condition.target)(z, shown, 1, config.seed).draws[0]
    table = temperature_rows(
        np.asarray(generated.draws)[..., :width], mean[:, :width], run.latents.z[rows, t, :width]
    )
    for column, (name, value) in enumerate(condition.key(method).items()):
        table.insert(column, name, value)
    return [table]


def _write_generated(
    run: Run,
    part: Path,
    method: str,
    condition: Condition,
    rows: np.ndarray,
    generated: Generated,
) -> None:
    """Latents of one condition: index sample_id, columns draw, latent_0, latent_1, ..."""
    width = int(run.latents.widths[run.index(condition.target)])
    num_draws = len(generated.draws)
    table = pd.DataFrame(
        generated.draws[..., :width].reshape(-1, width),
        columns=[f"latent_{d}" for d in range(width)],
        index=pd.Index(np.tile(run.samples.index[rows], num_draws), name="sample_id"),
    )
    table.insert(0, "draw", np.repeat(np.arange(num_draws), len(rows)))
    folder = part / "generated" / method
    file = folder / f"{condition.target}_from_{condition.label}.parquet"
    with writing(file):
        folder.mkdir(parents=True, exist_ok=True)
        table.to_parquet(file)


def _null_distributions(
    run: Run, rows: np.ndarray, shown: dict[tuple[str, str], np.ndarray], targets: Sequence[str]
) -> pd.DataFrame:
    """Distances between random half sets: real and real, train and test, generated and real.

    One row a target, statistic and pair of sets: mean, sd and central 95 % over `REPEATS` pairs.
    A generated set whose distance lies where real against real does cannot be told from real
    data by that statistic.
    """
    statistics = {"energy": distances.global_energy, "pointwise": distances.global_pointwise}
    table = []
    for target in targets:
        t, width = run.index(target), int(run.latents.widths[run.index(target)])

        def values(chosen: np.ndarray, t: int = t, width: int = width) -> np.ndarray:
            return run.latents.z[chosen[run.latents.present[chosen, t]], t, :width]

        real = values(rows)
        size = min(len(real) // 2, 200)
        if not size:
            continue
        sets = {"train": values(run.rows("train"))}
        sets |= {m: draw[:, :width] for (m, drawn), draw in shown.items() if drawn == target}
        for name, statistic in statistics.items():
            by_set = {"real": distances.real_against_real(statistic, real, size, REPEATS)}
            for other, points in sets.items():
                if len(points) >= size:
                    by_set[other] = distances.real_against_generated(
                        statistic, points, real, size, REPEATS
                    )
            for other, sample in by_set.items():
                low, high = np.quantile(sample, [0.025, 0.975])
                table.append(
                    {
                        "target": target,
                        "distance": name,
                        "real against": other,
                        "mean": sample.mean(),
                        "sd": sample.std(ddof=1),
                        "low": low,
                        "high": high,
                        "patients": size,
                    }
                )
    return pd.DataFrame(table)


def _fullest(
    run: Run, config: EvaluationConfig, targets: Sequence[str], rows: np.ndarray
) -> dict[str, str]:
    """Target -> the sources that stand for it (fullest.py), of those that two patients have."""
    every = conditions(run.modalities, num_sources=config.num_sources, targets=targets)
    counts = [len(who_has(c, run.modalities, run.latents.present, rows)) for c in every]
    table = pd.DataFrame(
        [c.key("") | {"n": n} for c, n in zip(every, counts, strict=True) if n >= 2]
    )
    return fullest(table) if len(table) else {}


def _disagreement(run: Run, config: EvaluationConfig, chosen: dict[str, str]) -> pd.DataFrame:
    """Disagreement along the chain of Coherent Denoising from the fullest sources, one draw a
    patient. chosen: target -> these; of a single one nobody can disagree.

    One row a target and step: diffusion time t, mean over patients and the middle 80 % of them.
    """
    sampling = run.sampler_config(config.solver, consensus=config.consensus, keep_trajectory=True)
    rows, table = run.rows(config.split), []
    for target, sources in chosen.items():
        columns = [run.index(source) for source in sources.split("+")]
        if len(columns) < 2:
            continue
        bank = run.coherent_bank(target)
        used = rows[run.latents.present[rows][:, columns].all(axis=1)]
        if not len(used):
            continue
        shown = np.zeros((len(used), len(run.modalities)), bool)
        shown[:, columns] = True
        z, present = shown_latents(run.latents.z[used], shown), shown
        samples = sample_rows(bank, run.modalities, z, present, config.seed, 1, sampling)
        trajectory = np.asarray(samples.trajectory).squeeze(0)  # [P, S]
        low, high = np.quantile(trajectory, [0.1, 0.9], axis=0)
        table.append(
            pd.DataFrame(
                {"target": target, "t": sampling.solver.timesteps[: len(low)]}
                | {"mean": trajectory.mean(axis=0), "low": low, "high": high}
            )
        )
    return pd.concat(table, ignore_index=True) if table else pd.DataFrame()
