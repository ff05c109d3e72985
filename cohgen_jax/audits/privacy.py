"""Privacy of a run: does it, or what it generates, give away who was in the training set?

Members      training patients that have every modality
Others       held-out (test) patients that do, as many of each cancer type as members: whoever is in
             the training set was decided by a draw between them
Query        the generated target of every candidate from all its own sources
Release      generated targets of the validation patients, as one might publish

Attacks, by the name they have in the tables:

release          distance to the closest released record, in latents
release_units    the same of what is released: whole draws in units of the table, and the measured
                 table of the candidate, both standardised feature by feature
query            distance to the closest draw generated from the candidate's own sources, in latents
query_units      the same in units
loss             denoising loss
loss_calibrated  denoising loss, relative to that with other patients' sources
supervised       all of these, by an adversary who knows nine in ten memberships

The audit attacks one target at a time and all together. Every table stands on its own; `STATEMENT`
says what they can and cannot show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.audits.attribute_inference import (
    Known,
    compared,
    explained,
    label_inference,
)
from cohgen_jax.audits.membership import denoising_losses, rates, supervised_scores
from cohgen_jax.baselines import fit_baselines
from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.masks import shown_latents
from cohgen_jax.evaluation.tables import Features, features_of_run, streams_of
from cohgen_jax.evaluation.units import in_units
from cohgen_jax.sampling.generator import Generated, Generator
from cohgen_jax.scores.pairwise import distances
from cohgen_jax.solvers import uniform_levels

if TYPE_CHECKING:
    from cohgen_jax.codec import Codec
    from cohgen_jax.cohort import Cohort
    from cohgen_jax.runs.run import Run

TARGET_AUC = 0.55
"""The most that an attack should reach on a default recipe."""
FEWEST = 20
"""Members, and others, without whom no rate is worth reporting."""
NUM_LEVELS = 10
NUM_NOISES = 16
MOST_FEATURES = 2000
"""Features of a wide table by which records in units are compared, evenly spaced."""
STATEMENT = (
    "What this shows: how well known attacks tell training patients from held-out patients of the "
    "same cohort, for this run, with this many patients. An AUC of 0.5 is guessing; the supervised "
    "attack grants the adversary more than a real one would have. "
    "What it does not show: that no attack can succeed (only training with differential privacy "
    "bounds that, by its epsilon); anything about a patient unlike all others, whom an average "
    "over patients hides; or that a generated record is anonymous: it is made to resemble its "
    "patient, member or not, and whoever holds the patient's other assays learns what they tell."
)
LATENTS_ONLY = (
    "Latents are attacked, not files: the tables of the cohort could not be read, and codecs, "
    "which are fitted on training patients too, are seen only through the latents."
)


class Candidates(NamedTuple):
    """Rows of the run, as many members as others and alike in cancer type, in the same order."""

    members: np.ndarray
    others: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        return np.concatenate([self.members, self.others])


class Privacy(NamedTuple):
    distances: pd.DataFrame
    """A row a method and target: how near generated records are to training records."""
    membership: pd.DataFrame
    """A row a method, target (or `all`) and attack."""
    attributes: pd.DataFrame
    """A row a method and attribute: what it gives away about members and about others."""


def candidates(
    complete: np.ndarray, split: np.ndarray, labels: np.ndarray, most: int, seed: int
) -> Candidates:
    """Draw at most `most` members and as many others, of each label the same number.

    complete: bool [N]; split: `train` and `test` among its values [N]; labels: [N].
    """
    rng = np.random.default_rng(seed)
    members, others = [], []
    for label in pd.unique(labels):
        here = complete & (labels == label)
        train = rng.permutation(np.flatnonzero(here & (split == "train")))
        test = rng.permutation(np.flatnonzero(here & (split == "test")))
        size = min(len(train), len(test))
        members.append(train[:size])
        others.append(test[:size])
    chosen = np.stack([np.concatenate(members), np.concatenate(others)])
    if chosen.shape[1] < FEWEST:
        raise InputError(
            f"a privacy audit needs {FEWEST} training and {FEWEST} test patients of the same "
            f"cancer types with every modality; there are {chosen.shape[1]}"
        )
    if chosen.shape[1] > most:
        chosen = chosen[:, np.sort(rng.permutation(chosen.shape[1])[:most])]
    return Candidates(*chosen)


def privacy_of_run(
    run: Run,
    generators: dict[tuple[str, str], Generator],
    *,
    num_draws: int = 10,
    patients: int = 1000,
    attributes: Sequence[str] = ("stage", "gender"),
    cohort: Cohort | None = None,
    seed: int = 0,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> Privacy:
    """Audit the models of a run, and what they generate, by attacking them.

    Args:
      generators: by (method, target), of `coherent` and `multi`. Nearest patients, whose draws are
        training records, are attacked beside them: what the audit finds when all is given away.
      num_draws: generated of each candidate; patients: most members, and most others.
      attributes: columns of the samples to infer, where they exist.
      cohort: the tables that the run was trained on; without them only latents are attacked.
    """
    targets = list(dict.fromkeys(target for _, target in generators))
    tables = Features({}, {}, {}) if cohort is None else features_of_run(run, cohort, targets)
    generators = generators | fit_baselines(
        run.latents,
        run.rows("train"),
        run.rows("val"),
        methods=["nearest"],
        targets=targets,
        **tables._asdict(),
    )
    streams = streams_of(run)
    complete = np.asarray(run.latents.present.all(axis=1))
    labels = run.samples.get("cancer_type", pd.Series("all", run.samples.index)).astype(str)
    split = run.samples["split"].to_numpy()
    chosen = candidates(complete, split, labels.to_numpy(), patients, seed)
    release = np.flatnonzero(complete & (split == "val"))
    if not len(release):
        raise InputError(
            "a privacy audit attacks the release of generated validation patients; none of them "
            "has every modality: train with a larger --val-fraction, or on modalities they have"
        )
    everyone = np.concatenate([chosen.rows, release])
    is_member = np.arange(len(chosen.rows)) < len(chosen.members)
    near, attacks, inferred = [], [], []
    scores: dict[str, dict[str, list[np.ndarray]]] = {}
    for done, ((method, target), generate) in enumerate(generators.items()):
        progress(done, len(generators), f"{method}: {target}")
        t = run.index(target)
        width = int(run.latents.widths[t])
        shown = run.latents.present[everyone].copy()
        shown[:, t] = False
        z = shown_latents(run.latents.z[everyone], shown)
        generated = generate(z, shown, num_draws, seed)
        draws = generated.draws[..., :width]
        query, released = draws[:, : len(chosen.rows)], draws[:, len(chosen.rows) :]
        real = run.latents.z[chosen.rows, t, :width]
        key = {"method": method, "target": target}
        near.append(key | record_distances(query[0, ~is_member], real[~is_member], real[is_member]))
        attacked = by_distance(real, query, released)
        if target in tables.features:
            codec = run.codecs[target]
            few = np.linspace(0, len(codec.features) - 1, MOST_FEATURES).round().astype(int)
            few = np.unique(few)
            records = released_as(codec, generated, streams[everyone], seed, few)
            of_candidates, of_release = np.split(records, [len(chosen.rows)], axis=1)
            in_files = by_distance(
                tables.features[target][chosen.rows][:, few], of_candidates, of_release
            )
            attacked |= {f"{name}_units": score for name, score in in_files.items()}
        features = list(attacked.values())
        if method != "nearest":
            losses, of_others = model_losses(run, method, target, chosen.rows, labels, seed)
            scale = losses.std(axis=1, keepdims=True)
            attacked["loss"] = -np.mean(losses / scale, axis=0)
            attacked["loss_calibrated"] = -np.mean((losses - of_others) / scale, axis=0)
            features += [*np.log(losses), *np.log(of_others)]
        attacked["supervised"] = supervised_scores(np.stack(features, axis=1), is_member, seed)
        for attack, score in attacked.items():
            attacks.append(key | _attacked(attack, score, is_member, seed))
            scores.setdefault(method, {}).setdefault(attack, []).append(score / score.std())
        inferred += [
            key | row for row in inferences(run, target, chosen, release, draws, attributes, seed)
        ]
    for method, by_attack in scores.items():
        for attack, each in by_attack.items():
            if len(each) == 1:
                continue
            together = np.sum(each, axis=0)
            key = {"method": method, "target": "all"}
            attacks.append(key | _attacked(attack, together, is_member, seed))
    progress(len(generators), len(generators), "attacked")
    return Privacy(*map(pd.DataFrame, (near, attacks, inferred)))


def by_distance(real: np.ndarray, query: np.ndarray, released: np.ndarray) -> dict[str, np.ndarray]:
    """The attacks `release` and `query` on candidates' records [N, D], scores [N] each.

    query [R, N, D], drawn from their own sources; released [R, n, D].
    """
    records = released.reshape(-1, released.shape[-1])
    return {
        "release": -distances(real, records).min(axis=1),
        "query": -np.linalg.norm(query - real, axis=-1).min(axis=0),
    }


def released_as(
    codec: Codec, generated: Generated, streams: np.ndarray, seed: int, columns: np.ndarray
) -> np.ndarray:
    """float32 [R, n, K]: draws as an adversary has them, tables in units standardised again."""
    names = list(codec.features)

    def standardised(x: np.ndarray) -> np.ndarray:
        table = pd.DataFrame(codec.units(x).reshape(-1, x.shape[-1]), columns=names)
        return codec.standardised(table)[:, columns].reshape(*x.shape[:2], -1)

    return in_units(codec, generated, streams, seed, standardised)


def _attacked(attack: str, score: np.ndarray, is_member: np.ndarray, seed: int) -> dict[str, Any]:
    measured = rates(score[is_member], score[~is_member], seed)
    return {"attack": attack, "members": int(is_member.sum()), **measured._asdict()}


def model_losses(
    run: Run, method: str, target: str, rows: np.ndarray, labels: pd.Series, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Denoising losses [L, N] of the rows' targets: given their own sources (and covariates), and
    given those of two other candidates (the next ones when all are lined up by label)."""
    bank = run.bank(method, target)
    t, schedule = run.index(target), run.config.diffusion.build()
    columns = [run.index(source) for source in bank.sources]
    order = np.argsort(labels.to_numpy()[rows], kind="stable")
    levels = uniform_levels(schedule.num_steps, min(NUM_LEVELS, schedule.num_steps))

    def known(rows: np.ndarray) -> list[np.ndarray]:
        return [run.latents.z[rows, -1, : bank.covariates]] if bank.covariates else []

    def losses(sources_of: np.ndarray) -> np.ndarray:
        return denoising_losses(
            bank,
            run.latents.z[rows, t],
            [run.latents.z[sources_of, c] for c in columns] + known(sources_of),
            int(run.latents.widths[t]),
            schedule,
            levels=levels,
            num_noises=NUM_NOISES,
            seed=seed,
        )

    def shifted(by: int) -> np.ndarray:
        rolled = np.empty_like(rows)
        rolled[order] = rows[np.roll(order, by)]
        return rolled

    return losses(rows), (losses(shifted(1)) + losses(shifted(-1))) / 2


def record_distances(
    generated: np.ndarray, held_out: np.ndarray, train: np.ndarray
) -> dict[str, float]:
    """How near generated records are to training records, beside how near unseen real ones are.

    generated [N, D] from the sources of N held-out patients, held_out [N, D] their real records;
    train [N, D], as many training patients of the same cancer types, in the same order.

    dcr, dcr_real               median distance to the closest training record (DCR)
    share_below                 share of generated records nearer to one than the nearest 5 % of
                                real ones are: 0.05 if generated records are like unseen real ones
    closer_to_train             share nearer to a training than to a held-out record (without the
                                patient's own): 0.5 if the training set is nothing special; `_se`
    nndr, nndr_real             median ratio of the nearest and second nearest training distances
    """
    to_train, between = distances(generated, train), distances(held_out, train)
    to_others, aside = distances(generated, held_out), np.eye(len(held_out), dtype=bool)
    first, second = np.partition(to_train, 1, axis=1)[:, :2].T
    real_first, real_second = np.partition(between, 1, axis=1)[:, :2].T
    # Each loses one record, so that both sets are of the same size and mix.
    nearest_train = np.where(aside, np.inf, to_train).min(axis=1)
    nearest_other = np.where(aside, np.inf, to_others).min(axis=1)
    closer = float(np.mean(nearest_train < nearest_other))
    return {
        "records": len(generated),
        "dcr": float(np.median(first)),
        "dcr_real": float(np.median(real_first)),
        "share_below": float(np.mean(first < np.quantile(real_first, 0.05))),
        "closer_to_train": closer,
        "closer_to_train_se": float(np.sqrt(closer * (1 - closer) / len(generated))),
        "nndr": float(np.median(first / np.maximum(second, 1e-12))),
        "nndr_real": float(np.median(real_first / np.maximum(real_second, 1e-12))),
    }


def inferences(
    run: Run,
    target: str,
    chosen: Candidates,
    release: np.ndarray,
    draws: np.ndarray,
    attributes: Sequence[str],
    seed: int,
) -> list[dict[str, Any]]:
    """What the model gives away of the target's own value, and of each attribute.

    draws: [R, N, D] of members, others and the validation patients, in this order. The adversary
    knows everything about the validation patients, and without the model has nothing else.
    """
    from sklearn.linear_model import RidgeCV

    t = run.index(target)
    groups = (chosen.members, chosen.others, release)
    ends = np.cumsum([len(rows) for rows in groups])[:-1]
    of_members, of_others, of_release = np.split(draws, ends, axis=1)
    width = draws.shape[2]
    real = [run.latents.z[rows, t, :width] for rows in groups]
    sources = [np.delete(run.latents.z[rows], t, axis=1).reshape(len(rows), -1) for rows in groups]
    linear = RidgeCV(alphas=10.0 ** np.arange(6)).fit(sources[2], real[2]).predict(sources[1])
    value = compared(
        explained(of_members, real[0]),
        explained(of_others, real[1]),
        explained(np.stack([linear, linear]), real[1]),
        seed,
    )
    inferred = [{"attribute": target, "score": "R2", **value}]
    for name in attributes:
        if name not in run.samples:
            continue
        labels = run.samples[name].astype(object).where(run.samples[name].notna(), None).to_numpy()
        members, others, public = (
            Known(sources[g], values.mean(axis=0), labels[groups[g]])
            for g, values in enumerate((of_members, of_others, of_release))
        )
        label = label_inference(public, members, others, seed)
        if label is not None:
            inferred.append({"attribute": name, **label})
    return inferred
