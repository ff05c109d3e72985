"""Every target from every subset of sources, by every method, scored on the same patients.

With four modalities there are 4 targets x 7 subsets = 28 conditions a method. Coherent Denoising
of one source is that source's single-condition model, so the 28 of `coherent` are the published 12
single and 16 coherent conditions; with the 28 of `multi` they make the published 56.
Baselines take the same 28.
"""

import itertools
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.by_kind import score_kinds
from cohgen_jax.evaluation.clustered import error_of_mean
from cohgen_jax.evaluation.masks import shown_latents
from cohgen_jax.evaluation.units import Units, patient_crps, score_units
from cohgen_jax.sampling.generator import Generated, Generator
from cohgen_jax.scores import draws as metrics
from cohgen_jax.scores.calibration import calibration_scores, rank_shares
from cohgen_jax.scores.distances import set_distances
from cohgen_jax.scores.manifold import manifold_metrics
from cohgen_jax.storage.checkpoint import write_text

NUM_NEIGHBOURS = 10
"""k of the manifold metrics and local distances, as published."""
DRAW_SCORES = (
    *("r2", "r2_sd", "r2_mean", "r2_inf"),
    *("mse", "mse_sd", "mse_mean"),
    *("cosine_distance", "cosine_distance_sd", "cosine_distance_mean"),
    *("energy_score", "energy_score_se", "crps", "variogram_score"),
    *("spread", "error", "spread_error", "coverage80", "calibration_error"),
)
"""Columns of the table of conditions that are scores of all draws, in order."""
MIN_GROUP = 5
"""Groups of patients with fewer members are left out of the table by label."""


KEY = ("method", "target", "sources", "num_sources")


class Condition(NamedTuple):
    target: str
    sources: tuple[str, ...]

    @property
    def label(self) -> str:
        return source_label(self.sources)

    def key(self, method: str) -> dict[str, str | int]:
        """What identifies the condition of a method in every table: the columns KEY."""
        return dict(zip(KEY, (method, self.target, self.label, len(self.sources)), strict=True))


class Evaluation(NamedTuple):
    conditions: pd.DataFrame
    """One row a method, target and subset of sources."""
    by_label: pd.DataFrame
    """The same, split by label (cancer type); empty without labels."""
    by_patient: pd.DataFrame
    """One row a condition and sample: `row` of the latents, `patient` if told, the columns
    of `score_patients` and, where there are units, `units_crps`."""
    ranks: pd.DataFrame
    """One row a condition and rank of the truth among its draws: `rank` and `share`."""
    by_feature: pd.DataFrame
    """One row a condition and binary feature (by_kind.binary_by_feature); empty without any."""
    curves: pd.DataFrame
    """One row a condition and bin of its probabilities (by_kind.calibration_curve)."""


def source_label(sources: Iterable[str]) -> str:
    """How tables name a subset of sources: `cna+rna`, or `none`."""
    return "+".join(sources) or "none"


MANY = 6
"""Modalities beyond which not every subset of sources is judged: there are 2**(M - 1) a target."""


def conditions(
    modalities: Sequence[str],
    *,
    num_sources: Collection[int] = (),
    unconditional: bool = False,
    targets: Sequence[str] | None = None,
) -> list[Condition]:
    """Each target with every subset of the other modalities that has so many sources.

    num_sources: every number when empty; of more than MANY modalities one, all but one, and all.
    unconditional: and without any source.

    Raises:
      InputError: a number of sources that no target has.
    """
    most = len(modalities) - 1
    wrong = [size for size in num_sources if not 1 <= size <= most]
    if wrong:
        raise InputError(
            f"num_sources must be between 1 and {most}, the modalities beside a target; got "
            f"{', '.join(map(str, wrong))}"
        )
    every = range(1, most + 1) if most < MANY else (1, most - 1, most)
    sizes = sorted({*(num_sources or every), *[0] * unconditional})
    return [
        Condition(target, subset)
        for target in (modalities if targets is None else targets)
        for size in sizes
        for subset in itertools.combinations([m for m in modalities if m != target], size)
    ]


def who_has(
    condition: Condition, modalities: Sequence[str], present: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Those of the rows that have the target and all sources. present: bool [N, M]."""
    needed = [list(modalities).index(m) for m in (condition.target, *condition.sources)]
    return rows[present[rows][:, needed].all(axis=1)]


@jax.jit
def _draw_scores(draws: jax.Array, real: jax.Array) -> dict[str, jax.Array]:
    """All scores of scores/draws.py and scores/calibration.py in one compiled program."""
    mean = draws.mean(axis=0)
    energy = metrics.energy_score(draws, real)
    scores = {
        "r2_mean": metrics.r2(mean, real),
        "r2_inf": metrics.r2_inf(draws, real),
        "mse_mean": metrics.mse(mean, real),
        "cosine_distance_mean": metrics.cosine_distance(mean, real),
        "energy": energy,
        "energy_score": energy.mean(),
        "spread_error": metrics.spread_error(draws, real),
        "coverage80": metrics.interval_coverage(draws, real, 0.8),
    } | calibration_scores(draws, real)
    for name in ("r2", "mse", "cosine_distance"):
        each = getattr(metrics, name)(draws, real)
        scores |= {name: each.mean(), f"{name}_sd": each.std(ddof=1)}
    return scores


def score_draws(
    draws: np.ndarray, real: np.ndarray, patients: np.ndarray | None = None
) -> dict[str, float]:
    """Scores of R >= 2 draws [R, N, D] against the truth [N, D], without padding columns.

    patients: whose the samples are [N]; by default each is a patient of its own.

    n, draws                   samples; draws a sample, each of which is one repeat
    patients                   where some have several samples
    r2, mse, cosine_distance   of single draws: mean over draws, `_sd` their standard deviation
    r2_mean, mse_mean,
    cosine_distance_mean       of the mean of the R draws
    r2_inf                     of the posterior mean, finite-draw variance removed
    energy_score, _se          fair energy score, mean over samples, and its standard error over
                               patients
    crps, variogram_score, spread, error, calibration_error: see scores/calibration.py
    spread_error, coverage80   spread / error; share of values in the central 80 % interval
    precision, recall, f1,
    density, manifold_coverage,
    energy_*, pointwise_*      of the first draw as a set (manifold.py, distances.py); NaN with
                               10 patients or fewer
    """
    draws, real = np.asarray(draws, np.float32), np.asarray(real, np.float32)
    if len(draws) < 2:
        raise InputError(f"scoring needs 2 draws or more a patient, got {len(draws)}")
    if not np.isfinite(draws).all():
        bad = np.flatnonzero(~np.isfinite(draws).all(axis=(0, 2)))
        raise InputError(
            f"generated values of {len(bad)} patients are not finite (first: row {bad[0]})"
        )
    scores = {"n": len(real)}
    if patients is not None and len(set(patients)) < len(real):
        scores["patients"] = len(set(patients))
    scores["draws"] = len(draws)
    computed = dict(_draw_scores(draws, real))
    energy = np.asarray(computed.pop("energy"), float)
    computed["energy_score_se"] = error_of_mean(energy, patients)
    scores |= {name: float(computed[name]) for name in DRAW_SCORES}
    if len(real) > NUM_NEIGHBOURS:
        manifold = manifold_metrics(draws[0], real, NUM_NEIGHBOURS)._asdict()
        manifold["manifold_coverage"] = manifold.pop("coverage")
        scores |= manifold | set_distances(draws[0], real, NUM_NEIGHBOURS)
    return scores


def score_patients(generated: Generated, real: np.ndarray) -> pd.DataFrame:
    """What is known of each patient's forecast, and how it did; draws and truth without padding.

    energy_score   fair energy score of the draws
    error          mean squared error of the posterior mean over features, finite draws removed
                   (negative at times)
    spread         root mean square standard deviation of the draws
    disagreement   of the denoisers, mean over draws
    """
    scores = metrics.patient_scores(
        np.asarray(generated.draws, np.float32), np.asarray(real, np.float32)
    )
    table = pd.DataFrame({name: np.asarray(score) for name, score in scores.items()})
    return table.assign(disagreement=np.asarray(generated.disagreement).mean(axis=0))


def score_by_label(draws: np.ndarray, real: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """R2 within each label (missing labels are ignored), per feature about the global mean.

    Columns label, n, r2 (mean over single draws), r2_sd, r2_inf (posterior mean, finite-draw
    variance removed), and spread_error and coverage80 of the label's patients. Labels of fewer
    than MIN_GROUP patients are left out.
    """
    counts = pd.Series(labels).value_counts().sort_index()
    names = [label for label, count in counts.items() if count >= MIN_GROUP]
    if not names:
        return pd.DataFrame()
    members = np.stack([np.asarray(labels == label, np.float32) for label in names])
    each, posterior = _label_scores(draws, real, members)
    honesty = _label_calibration(draws, real, members)
    return pd.DataFrame(
        {
            "label": names,
            "n": members.sum(axis=1).astype(int),
            "r2": each.mean(axis=0),
            "r2_sd": each.std(axis=0, ddof=1),
            "r2_inf": np.asarray(posterior),
            **{name: np.asarray(values) for name, values in honesty.items()},
        }
    )


@jax.jit
def _label_scores(draws, real, members) -> tuple[jax.Array, jax.Array]:
    each = jnp.stack([metrics.r2_by_group(draw, real, members) for draw in draws])
    return each, metrics.r2_by_group(draws, real, members, finite_draws=True)


@jax.jit
def _label_calibration(draws, real, members) -> dict[str, jax.Array]:
    """spread_error and coverage80 of scores/draws.py within each label [G]."""
    variance = jnp.var(draws, axis=0, ddof=1).mean(axis=1)
    error = metrics.posterior_mean_error(draws, real).mean(axis=1)
    share = members / members.sum(axis=1, keepdims=True)
    inside = jnp.mean(metrics.inside_interval(draws, real, 0.8), axis=1)
    return {
        "spread_error": metrics.spread_ratio(share @ variance, share @ error),
        "coverage80": share @ inside,
    }


def judged(
    pairs: Iterable[tuple[str, str]],
    latents,
    rows: np.ndarray,
    unconditional: Sequence[str] = (),
    num_sources: Collection[int] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> list[tuple[str, Condition]]:
    """(method, condition) that `evaluate` scores for these pairs of method and target, in order.

    Raises:
      InputError: as `evaluate` does.
    """
    modalities = tuple(latents.modalities)
    jobs = []
    for method, target in pairs:
        if target not in modalities:
            raise InputError(f"{method}: unknown target {target!r}; known: {', '.join(modalities)}")
        of_target = conditions(
            modalities,
            num_sources=num_sources,
            unconditional=method in unconditional,
            targets=[target],
        )
        jobs += [(method, condition) for condition in of_target]
    rows, present = np.asarray(rows), np.asarray(latents.present, bool)
    counts = {c: len(who_has(c, modalities, present, rows)) for _, c in jobs}
    lacking = [
        f"{condition.target} from {condition.label}: {count} test patients have all of these"
        for condition, count in counts.items()
        if count < 2
    ]
    jobs = [(method, condition) for method, condition in jobs if counts[condition] >= 2]
    if not jobs:  # refused before anything is generated
        raise InputError(
            f"nothing can be judged: {lacking[0]}; enlarge the test split"
            if lacking
            else "nothing can be judged: no method and target to evaluate"
        )
    for line in lacking:
        tell(f"{line}: left out")
    return jobs


def evaluate(
    generators: Mapping[tuple[str, str], Generator],
    latents,
    rows: np.ndarray,
    *,
    draws: int = 10,
    seed: int = 0,
    labels: Sequence[str] | np.ndarray | pd.Series | None = None,
    patients: Sequence[str] | np.ndarray | pd.Series | None = None,
    unconditional: Sequence[str] = (),
    num_sources: Collection[int] = (),
    together: Sequence[str] = (),
    units: Mapping[str, Units] | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
    keep: Callable[[str, Condition, np.ndarray, Generated], None] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Score generators keyed (method, target) on the conditions of their target.

    Args:
      latents: `z` float32 [N, M, D], `present` bool [N, M], `widths` [M], `modalities`. `z` may
        have one column more, of covariates, which every condition shows.
      rows: positions of the patients to test on. A condition uses those that have its target and
        all its sources, shows the generator those sources alone, and scores the target's own width.
      draws: draws a patient; each is one repeat of the condition.
      seed: handed to every generator: conditions share their random numbers, unless they are
        drawn together.
      labels: one a row of `latents.z` (NaN or None where unknown), for the table by label.
      patients: whose the rows of `latents.z` are, by default each of a patient of its own: the unit
        of standard errors.
      unconditional: methods also evaluated with no source at all, as a point of reference.
      num_sources: as `conditions` takes it.
      together: methods asked for all conditions of a target in one call, a row for each condition
        and patient; `seconds` is then the condition's share by rows.
      units: by target, what is drawn is also scored in units of its table: `units_crps` and the
        other scores of units.py, and those of by_kind.py for binary features and counts.
      progress: called with (finished, total, name of the condition about to run).
      keep: called with (method, condition, rows used, generated) after each condition.
      tell: told in a line of each condition that is left out, as fewer than two patients have what
        it needs.

    Raises:
      InputError: an unknown target, or no condition with two test patients.
    """
    modalities = tuple(latents.modalities)
    jobs = judged(generators, latents, rows, unconditional, num_sources, tell)
    rows, present = np.asarray(rows), np.asarray(latents.present, bool)

    def having(condition: Condition) -> np.ndarray:
        return who_has(condition, modalities, present, rows)

    def generate(method: str, wanted: Sequence[Condition]) -> tuple[list[Generated], float]:
        """One call for these conditions of one target; also the seconds that a row took."""
        used = [having(condition) for condition in wanted]
        shown = np.zeros((sum(map(len, used)), len(modalities)), bool)
        ends = np.cumsum([len(rows) for rows in used])
        for condition, rows, end in zip(wanted, used, ends, strict=True):
            columns = [modalities.index(source) for source in condition.sources]
            shown[end - len(rows) : end, columns] = True
        z = shown_latents(latents.z[np.concatenate(used)], shown)
        began = time.perf_counter()
        drawn = generators[method, wanted[0].target](z, shown, draws, seed)
        seconds = (time.perf_counter() - began) / len(z)
        parts = [
            [None] * len(wanted)
            if array is None
            else np.split(np.asarray(array), ends[:-1], axis=1)
            for array in drawn
        ]
        return [Generated(*part) for part in zip(*parts, strict=True)], seconds

    labels = None if labels is None else np.asarray(labels, object)
    table, by_label, by_patient, rank_tables = [], [], [], []
    by_feature, curves = [], []
    ahead: list[Generated] = []  # drawn, not yet scored
    seconds_a_row = 0.0
    for done, (method, condition) in enumerate(jobs):
        progress(done, len(jobs), f"{method}: {condition.target} from {condition.label}")
        target = modalities.index(condition.target)
        used = having(condition)
        if not ahead:
            same = [c for m, c in jobs[done:] if (m, c.target) == (method, condition.target)]
            ahead, seconds_a_row = generate(method, same if method in together else [condition])
        generated, *ahead = ahead
        width = int(latents.widths[target])
        values = np.asarray(generated.draws)[..., :width]
        real = latents.z[used, target, :width]
        key = condition.key(method)
        whose = None if patients is None else np.asarray(patients, object)[used]
        scores = score_draws(values, real, whose)
        scores["disagreement"] = float(np.mean(generated.disagreement))
        scores["seconds"] = seconds_a_row * len(used)
        scored = Generated(values, generated.disagreement)
        patients_table = score_patients(scored, real).assign(row=used, **key)
        if whose is not None:
            patients_table["patient"] = whose
        if units is not None and condition.target in units:
            measured = units[condition.target]
            pair = measured.of(generated, used, seed), measured.truth[used]
            in_units = score_units(*pair, measured.mean, measured.sd, whose)
            scores |= {f"units_{name}": score for name, score in in_units.items()}
            patients_table["units_crps"] = patient_crps(*pair, measured.mean, measured.sd)
            own_kinds = score_kinds(generated, *pair, measured)
            scores |= own_kinds.scores
            by_feature.append(own_kinds.features.assign(**key))
            curves.append(own_kinds.curve.assign(**key))
        table.append(key | scores)
        by_patient.append(patients_table)
        shares = np.asarray(rank_shares(values, real))
        rank_tables.append(pd.DataFrame({"rank": np.arange(len(shares)), "share": shares, **key}))
        if labels is not None:
            by_label.append(score_by_label(values, real, labels[used]).assign(**key))
        if keep is not None:
            keep(method, condition, used, generated)
    progress(len(jobs), len(jobs), "scored")
    stacked = (by_label, by_patient, rank_tables, by_feature, curves)
    return Evaluation(pd.DataFrame(table), *map(_stacked_tables, stacked))


def joined(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Those of several generators as that of all of them."""
    first, *others = zip(*evaluations, strict=True)
    return Evaluation(pd.concat(first, ignore_index=True), *map(_stacked_tables, others))


def _stacked_tables(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One below the other, what identifies a row in front."""
    tables = [table for table in tables if len(table)]
    stacked = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    first = [*KEY, "label", "n", "row", "patient"]
    first = [name for name in first if name in stacked]
    return stacked[[*first, *(c for c in stacked if c not in first)]]


def write_table(table: pd.DataFrame, stem: Path) -> None:
    """Write `stem`.csv and `stem`.json (a list of records; missing values are null), each whole or
    not at all."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    records = table.to_json(orient="records", indent=1, double_precision=10)
    write_text(stem.with_name(stem.name + ".csv"), table.to_csv(index=False))
    write_text(stem.with_name(stem.name + ".json"), records)
