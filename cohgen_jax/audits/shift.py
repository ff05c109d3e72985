"""Out of distribution: what a run generates, and what its flags say, when patients or their assays
are not like those it was trained on.

Patients   a kind of patient set aside before training (`--exclude cancer_type=KIRC` of train.py)
Assays     one source of the test patients as a user might get it wrong: in other units (x 1.5),
           with an offset (each feature one training standard deviation higher), its columns under
           each other's names (permuted), or empty (zero)

Errors are those of the truth that the sources no longer tell; a model is honest when its spread
grows with them, and a flag is of use when it goes up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.cohort import SET_ASIDE
from cohgen_jax.evaluation.masks import shown_latents
from cohgen_jax.runs.typicality import ATYPICAL, typicality
from cohgen_jax.sampling.generator import Generator
from cohgen_jax.scores import draws as metrics

if TYPE_CHECKING:
    from cohgen_jax.cohort import Cohort
    from cohgen_jax.runs.run import Run


class Case(NamedTuple):
    """Patients as a generator is to see them."""

    case: str
    shifted: str  # the modality that is not as it should be, "" when it is the patients
    z: np.ndarray  # [N, M, D], or [N, M + 1, D] with covariates
    residual: np.ndarray  # [N, M], what the codecs do not bring back
    rows: np.ndarray  # int [N], positions in the run, for the truth


def shifts(
    table: pd.DataFrame, sd: pd.Series, rng: np.random.Generator
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The same table got wrong in four ways: (name, table [N, F]); sd: [F] of each feature."""
    yield "x 1.5", 1.5 * table
    yield "+ 1 sd", table + sd
    mixed = table.to_numpy()[:, rng.permutation(table.shape[1])]
    yield "permuted", pd.DataFrame(mixed, table.index, table.columns)
    yield "zero", 0 * table.fillna(0)


def shift_of_run(
    run: Run,
    cohort: Cohort,
    generators: Mapping[tuple[str, str], Generator],
    *,
    num_draws: int = 10,
    patients: int = 300,
    seed: int = 0,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> pd.DataFrame:
    """A row a method, target and case; case `none` is test patients as they are.

    Targets are generated from all other modalities, for patients that have all.

    rmse           of the posterior mean, in latent standard deviations, free of the number of draws
    spread         root mean variance of the draws; spread_error: their ratio
    energy_score, coverage80, disagreement    as everywhere
    typicality     of the least typical source, median over patients
    flagged        share of patients with a source of typicality ATYPICAL or less (at most 0.05 a
                   source when all is well)

    cohort: the tables that the run was trained on. patients: most test, and most set-aside ones.
    """
    rng = np.random.default_rng(seed)
    complete = np.asarray(run.latents.present.all(axis=1))

    def some(split: str) -> np.ndarray:
        rows = run.rows(split)
        return np.sort(rng.permutation(rows[complete[rows]])[:patients])

    test, aside = some("test"), some(SET_ASIDE)

    def tables(rows: np.ndarray) -> list[pd.DataFrame]:
        return [
            cohort.table(name).loc[run.samples.index[rows], list(codec.features)]
            for name, codec in run.codecs.items()
        ]

    def as_they_are(case: str, rows: np.ndarray) -> Case:
        codecs = zip(run.codecs.values(), tables(rows), strict=True)
        residual = np.stack([codec.residual(table) for codec, table in codecs], axis=1)
        return Case(case, "", run.latents.z[rows], residual, rows)

    untouched = as_they_are("none", test)
    cases = [untouched]
    if len(aside) > 1:
        cases.append(as_they_are("set aside", aside))
    for m, (name, table) in enumerate(zip(run.modalities, tables(test), strict=True)):
        codec = run.codecs[name]
        sd = cohort.table(name, "train")[list(codec.features)].std()
        for case, wrong in shifts(table, sd, rng):
            z, residual = run.latents.z[test].copy(), untouched.residual.copy()
            z[:, m, : codec.width] = codec.encode(wrong)
            residual[:, m] = codec.residual(wrong)
            cases.append(Case(case, name, z, residual, test))
    scores = []
    jobs = [(key, case) for key in generators for case in cases if case.shifted != key[1]]
    typical = {id(case): _typicality(run, case) for case in cases}
    for done, ((method, target), case) in enumerate(jobs):
        progress(done, len(jobs), f"{method}: {target}, {case.shifted} {case.case}".rstrip())
        t = run.index(target)
        sources = np.arange(len(run.modalities)) != t
        shown = shown_latents(case.z, sources)
        generated = generators[method, target](
            shown, np.tile(sources, (len(shown), 1)), num_draws, seed
        )
        width = int(run.latents.widths[t])
        least = typical[id(case)][:, sources].min(axis=1)
        key = {"method": method, "target": target, "case": case.case, "shifted": case.shifted}
        scores.append(
            key
            | _scores(generated.draws[..., :width], run.latents.z[case.rows, t, :width])
            | {
                "disagreement": float(np.mean(generated.disagreement)),
                "typicality": float(np.median(least)),
                "flagged": float(np.mean(least <= ATYPICAL)),
            }
        )
    progress(len(jobs), len(jobs), "shifted")
    return pd.DataFrame(scores)


def _typicality(run: Run, case: Case) -> np.ndarray:
    return typicality(run, case.z, np.ones(case.residual.shape, bool), case.residual)


def _scores(draws: np.ndarray, real: np.ndarray) -> dict[str, Any]:
    spread = float(np.sqrt(metrics.draw_variance(draws)))
    return {
        "n": len(real),
        "rmse": float(np.sqrt(max(float(metrics.posterior_mean_mse(draws, real)), 0.0))),
        "spread": spread,
        "spread_error": float(metrics.spread_error(draws, real)),
        "energy_score": float(np.mean(metrics.energy_score(draws, real))),
        "coverage80": float(metrics.interval_coverage(draws, real)),
    }
