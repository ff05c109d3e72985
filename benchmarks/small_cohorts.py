"""Few patients: the kernel regression, and whole runs, beside ridge and the training average, over
several splits.

    python -m benchmarks.small_cohorts --data tables/
    python -m benchmarks.small_cohorts --data tables/ --cohorts cll --splits 10
    python -m benchmarks.small_cohorts --data tables/ --cohorts cll --splits 3 --networks
    python -m benchmarks.small_cohorts --data tables/ --cohorts tcga-40 tcga-80 --splits 3

tables/ has a folder of tables for each cohort. NAME-120 is 120 patients of NAME to train and to
validate, judged by HELD_OUT others; of one split, those of fewer patients are among those of more.
A modality of held-out patients is generated from all others that they have.

The regression (training/regression.py, drawn as a Gaussian posterior through the codec) is what the
stacked consensus hears almost alone where validation patients are few; it takes no network, hence
seconds. With --networks a run of the default recipe is trained on every split, minutes each, and
its two methods, `coherent` (stacked) and `multi`, stand beside it.

Scored is CRPS in units of the tables, fair, mean over the known features of a patient, then over
patients. Differences are paired by patient and split; their standard errors are over patients, who
may be held out in several splits, and say nothing of who trained. Kept after each split.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
import tyro

from benchmarks.readme import refresh, small_cohort_row
from cohgen_jax.baselines import fit_baselines
from cohgen_jax.codec import Codec, Latents, encode_cohort, fit_codecs, with_covariates
from cohgen_jax.cohort import Cohort, RawTables, cohort_from
from cohgen_jax.cohort.covariates import choose_covariates, fit_covariates
from cohgen_jax.cohort.read import raw_tables
from cohgen_jax.estimator import CohortModel
from cohgen_jax.evaluation.masks import shown_latents
from cohgen_jax.evaluation.of_run import run_generators
from cohgen_jax.evaluation.tables import cohort_of
from cohgen_jax.evaluation.units import patient_crps, score_units, units_of
from cohgen_jax.runs.config import ExperimentConfig, recipe, resized
from cohgen_jax.runs.families import METHODS
from cohgen_jax.runs.source import cohort_settings
from cohgen_jax.sampling.generator import Generated, Generator
from cohgen_jax.sampling.stacking import Pattern, nearest_pattern
from cohgen_jax.training.regression import Regression, fit_regression, patterns_of, predict

BASELINES = ("kernel_ridge", "ridge", "climatology")
HELD_OUT = 400
VALIDATED = 0.1
"""Share of the patients of a subset who validate."""
FACTS = ("clinical", "samples")
RESULT = Path(__file__).with_suffix(".json")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Small cohorts, over several splits."""

    data: Path
    """Folder of folders of tables."""
    cohorts: tuple[str, ...] = ("cll", "breast", "citeseq", "tcga-60", "tcga-120", "tcga-250")
    splits: int = 5
    draws: int = 16
    networks: bool = False
    """Train a run on every split as well."""
    least_steps: int | None = None
    """Of an epoch of its networks; the recipe's by default."""
    out: Path = RESULT


class Prepared(NamedTuple):
    cohort: Cohort
    codecs: dict[str, Codec]
    latents: Latents
    generators: dict[tuple[str, str], Generator]
    model: CohortModel | None
    """Whose folder its generators read, which goes with it."""


def main(arguments: Arguments) -> None:
    for name in arguments.cohorts:
        for split in range(arguments.splits):
            tables, samples = read(arguments.data, name, split)
            config = dataclasses.replace(recipe("default"), split_seed=split, seed=split)
            if arguments.least_steps is not None:
                config = resized(config, least_steps=arguments.least_steps)
            prepared = prepare(tables, samples, config, arguments.networks)
            scores = judged(prepared, arguments.draws, split)
            kept = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
            kept.setdefault(name, {})[str(split)] = scores
            arguments.out.write_text(json.dumps(kept) + "\n")
            jax.clear_caches()  # every cohort has its own shapes
        for target in scores:
            print(name, target, small_cohort_row(kept[name], target), flush=True)
    if arguments.out == RESULT:
        refresh("small cohorts")


def read(data: Path, name: str, split: int) -> tuple[dict[str, pd.DataFrame], pd.DataFrame | None]:
    """(tables, what else is known of their patients), of some patients or of all."""
    name, _, few = name.partition("-")
    files = [f for f in sorted((data / name).glob("*.*")) if f.suffix in (".csv", ".parquet")]
    every = {
        f.stem: pd.read_csv(f, index_col=0) if f.suffix == ".csv" else pd.read_parquet(f)
        for f in files
        if "position" not in f.stem
    }
    facts = next((every.pop(fact) for fact in FACTS if fact in every), None)
    if facts is not None and "split" in facts:
        facts = facts.drop(columns="split")  # one of many
    if few:
        assert facts is not None
        every.pop("mut", None)
        facts = subset(facts, every, int(few), split)
        every = {table: t.loc[t.index.isin(facts.index)] for table, t in every.items()}
    return every, facts


def subset(
    facts: pd.DataFrame, tables: dict[str, pd.DataFrame], few: int, split: int
) -> pd.DataFrame:
    """The facts of `few` patients who have every table and of those who judge, with their sides."""
    whole = facts.index
    for table in tables.values():
        whole = whole.intersection(table.index)
    whole = np.random.default_rng(0).permutation(np.sort(whole.to_numpy()))
    others = np.random.default_rng(split + 1).permutation(whole[HELD_OUT:])[:few]
    side = pd.Series("test", index=whole[:HELD_OUT])
    side = pd.concat([side, pd.Series("train", index=others)])
    side[others[:: round(1 / VALIDATED)]] = "val"
    return facts.loc[side.index].assign(split=side)


def prepare(
    tables: dict[str, pd.DataFrame],
    samples: pd.DataFrame | None,
    config: ExperimentConfig,
    networks: bool,
) -> Prepared:
    """Everything fitted on the training patients of a split."""
    generators: dict[tuple[str, str], Generator] = {}
    model = None
    if networks:
        model = CohortModel(config).fit(tables, samples)
        run = model.run_
        cohort, codecs, latents = cohort_of(run), run.codecs, run.latents
        every = run_generators(run, run.modalities)
        generators |= {of: every[of] for of in every if of[0] in METHODS}
    else:
        facts = {} if samples is None else {"samples": samples}
        cohort, codecs, latents = _encoded(raw_tables({**tables, **facts}), config)
    train, val = cohort.rows("train"), cohort.rows("val")
    for target in latents.modalities:
        generators["regression", target] = regression(latents, codecs, train, target)
    generators |= fit_baselines(
        latents,
        train,
        val,
        methods=BASELINES,
        features={
            name: codec.standardised(cohort.table(name).reindex(cohort.samples.index))
            for name, codec in codecs.items()
        },
        project={name: codec.project for name, codec in codecs.items()},
    )
    return Prepared(cohort, codecs, latents, generators, model)


def _encoded(raw: RawTables, config: ExperimentConfig) -> tuple[Cohort, dict[str, Codec], Latents]:
    cohort = cohort_from(raw._replace(name="tables"), **cohort_settings(config))
    codecs = fit_codecs(cohort, config.codec, config.seed)
    known = cohort.samples.iloc[cohort.rows("train")]
    covariates = fit_covariates(known, choose_covariates(known, config.covariates)[0])
    latents = encode_cohort(cohort, codecs)
    return cohort, codecs, with_covariates(latents, covariates.encode(cohort.samples, []))


def regression(
    latents: Latents, codecs: dict[str, Codec], train: np.ndarray, target: str
) -> Generator:
    """Draws of the Gaussian posterior that the regression of each pattern of sources states, as
    `runs/regressions.py` has it; fitted when a pattern first turns up."""
    t, width = (
        latents.modalities.index(target),
        int(latents.widths[latents.modalities.index(target)]),
    )
    others = [m for m in range(len(latents.modalities)) if m != t]
    rows = train[latents.present[train, t]]
    present, unseen = latents.present[rows][:, others], np.square(codecs[target].kept)
    worth = latents.scale[t, :width] ** 2
    known = dict.fromkeys(patterns_of(present))
    fitted: dict[Pattern, Regression] = {}

    def blocks(z: np.ndarray, pattern: Pattern) -> list[np.ndarray]:
        seen = [z[:, m] * latents.scale[m] for m, here in zip(others, pattern, strict=True) if here]
        return [*seen, z[:, -1]] if z.shape[1] > len(latents.modalities) else seen

    def generate(z: np.ndarray, shown: np.ndarray, num_draws: int, seed: int) -> Generated:
        noise = np.random.default_rng(seed).standard_normal((num_draws, len(z), width), np.float32)
        draws = np.zeros((num_draws, len(z), z.shape[2]), np.float32)
        for wanted in np.unique(shown[:, others], axis=0):
            own = np.flatnonzero((shown[:, others] == wanted).all(axis=1))
            pattern = nearest_pattern(known, tuple(wanted.tolist()))
            assert pattern is not None  # that of no source is known
            if pattern not in fitted:
                having = rows[present[:, np.array(pattern, bool)].all(axis=1)]
                fitted[pattern] = fit_regression(
                    blocks(latents.z[having], pattern), latents.z[having, t, :width], worth
                )
            mean, variance = predict(fitted[pattern], blocks(z[own], pattern), len(own))
            draws[:, own, :width] = mean + np.sqrt(variance * unseen) * noise[:, own]
        return Generated(draws, np.full_like(draws, np.nan))

    return generate


def judged(prepared: Prepared, draws: int, seed: int) -> dict[str, dict]:
    """Target -> how many trained; a number for each held-out patient (no id is kept); by method
    CRPS of each, and scores."""
    cohort, codecs, latents, generators, _ = prepared
    train, test, found = cohort.rows("train"), cohort.rows("test"), {}
    streams = [zlib.crc32(str(name).encode()) for name in cohort.samples.index]
    for t, target in enumerate(latents.modalities):
        beside = np.delete(latents.present[test], t, axis=1).any(axis=1)
        rows = test[latents.present[test, t] & beside]
        if len(rows) < 2:
            continue
        table = cohort.table(target).reindex(cohort.samples.index)
        units = units_of(codecs[target], table, train, np.array(streams, np.uint32))
        shown = latents.present[rows].copy()
        shown[:, t] = False
        z, methods = shown_latents(latents.z[rows], shown), {}
        for method in [method for method, of in generators if of == target]:
            generated = generators[method, target](z, shown, draws, seed)
            pair = units.of(generated, rows, seed), units.truth[rows], units.mean, units.sd
            scores = score_units(*pair)
            methods[method] = {
                "crps": patient_crps(*pair).round(5).tolist(),
                **{k: round(scores[k], 4) for k in ("r2", "variance_ratio", "coverage80")},
            }
        found[target] = {
            "trained": int(latents.present[train, t].sum()),
            "patients": [streams[row] for row in rows],
            "methods": methods,
        }
    return found


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
