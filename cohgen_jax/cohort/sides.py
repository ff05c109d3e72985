"""Which side of the split each sample is on: as the facts give it, as it was, or drawn.

Given    by a column `split`; of val and test, what it does not name is drawn from its train
Earlier  those of a run that is extended, for the patients whom it knows; the others are drawn, as
         if they were a cohort of their own
Drawn    from the patients with every modality (`patient_split`) where these are enough: at least
         twice as many as are asked for, and nothing needed is lacking; else from all patients with
         two modalities or more, each modality in proportion (`balanced_split`)
Needed   each modality in `min_train` patients of train, and in LEAST_HELD of val, that have another
         one to generate it from; two modalities that LEAST_HELD patients of test share
"""

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.cohort.cohort import SPLITS
from cohgen_jax.cohort.given import given_split
from cohgen_jax.cohort.split import LEAST_HELD, balanced_split, patient_split
from cohgen_jax.errors import InputError

LEAST_BATCH = 4
"""Training patients of a modality below which a smaller batch is not advised."""


class _Who(NamedTuple):
    """The N samples, as far as a split of them goes."""

    patients: np.ndarray  # [N] patient ids
    strata: np.ndarray  # [N] cancer types, or "all"
    present: pd.DataFrame  # bool [N, M], by name of the modality
    min_train: int

    def count(self, rows: np.ndarray) -> int:
        """Patients of the samples of a mask [N]."""
        return len(set(self.patients[rows]))

    def beside(self, modality: str, rows: np.ndarray) -> int:
        """Those of them that have the modality and another one in the same sample."""
        several = (self.present.sum(axis=1) >= 2).to_numpy()
        return self.count(rows & several & self.present[modality].to_numpy())


def choose_sides(
    samples: pd.DataFrame,
    present: pd.DataFrame,
    source: str,
    notes: list[str],
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    min_train: int,
    earlier: pd.Series | None = None,
) -> np.ndarray:
    """Split of each sample [N], with enough on each side to train, validate and test.

    Args:
        samples: the facts [N], with patient_id and maybe split and cancer_type.
        present: bool [N, M], which sample has which modality, by name.
        source: name of the file of the facts, for messages.
        notes: told how the split came about and what test cannot judge.
        val_fraction, test_fraction, seed: of what is drawn.
        min_train: fewest train patients that a modality may have.
        earlier: side by patient id, under the name of where it is from, for facts without `split`.

    Raises:
        InputError: naming side, modality, counts and the mend.
    """
    labelled = "cancer_type" in samples.columns
    strata = samples["cancer_type"].to_numpy() if labelled else np.full(len(samples), "all")
    who = _Who(samples["patient_id"].to_numpy(), strata, present, min_train)
    given = None
    fractions = {"val": val_fraction, "test": test_fraction}
    if "split" in samples.columns:
        given = given_split(samples, source, notes)
        fractions = {s: f for s, f in fractions.items() if not (given == s).any()}
    start = np.full(len(samples), "train", dtype=object) if given is None else given
    if given is None and earlier is not None:
        split = _beside(who, earlier, fractions, seed, notes)
    elif not fractions:
        split = start
        notes.append(f"The split is the one given in {source}.")
    else:
        split, enough = _draw(who, start, fractions, seed)
        shares = " and ".join(f"{fraction:.0%} to {side}" for side, fraction in fractions.items())
        if enough:
            by = "each cancer type" if labelled else "the cohort, which has no cancer_type"
            whom = f"of {by}, {shares} from the patients with every modality"
        else:
            every = who.count(present.all(axis=1).to_numpy())
            alike = ", pair of modalities and cancer type" if labelled else " and pair of them"
            whom = (
                f"of the patients with two modalities or more, {shares}, each modality{alike} in "
                f"proportion, as those with every modality ({every}) alone would leave too few "
                "somewhere"
            )
        counts = ", ".join(f"{who.count(split == s)} {s}" for s in SPLITS)
        drawn = f"drawn by patient (seed {seed}): {whom}; {counts} patients."
        if given is None:
            notes.append(f"The split was {drawn}")
        else:
            notes.append(
                f"The split is the one given in {source}, but for {' and '.join(fractions)}, which "
                f"it does not name: from its train patients, {drawn}"
            )
    lack = _lack(who, split, "" if given is None else source, fractions)
    if lack:
        raise InputError(lack)
    for modality in present.columns:
        tested = who.beside(modality, split == "test")
        if tested < LEAST_HELD:
            notes.append(
                f"{modality} cannot be judged in test, where {tested} patients have it beside "
                "another modality."
            )
    return split


def _draw(
    who: _Who, start: np.ndarray, fractions: dict[str, float], seed: int
) -> tuple[np.ndarray, bool]:
    """The split [N], and whether the patients with every modality were enough to draw from."""
    pool = start == "train"
    present = who.present.to_numpy()
    asked = {f"{side}_fraction": fractions.get(side, 0.0) for side in SPLITS[1:]}
    whole = pool & present.all(axis=1)
    split = patient_split(who.patients, who.strata, whole, **asked, seed=seed)
    split = np.where(pool, split, start)
    num_whole = len(set(who.patients[whole]) - set(who.patients[~whole]))
    share = sum(fractions.values())
    fits = not _lack(who, split, "", fractions)
    if fits and share * len(set(who.patients)) <= max(0.5, share) * num_whole:
        return split, True
    wider = balanced_split(who.patients, who.strata, present, pool, **asked, seed=seed)
    wider = np.where(pool, wider, start)
    if fits and _lack(who, wider, "", fractions):
        return split, True
    return wider, False


def _beside(
    who: _Who, earlier: pd.Series, fractions: dict[str, float], seed: int, notes: list[str]
) -> np.ndarray:
    """The split [N] in which the patients of an earlier one keep their side."""
    split = pd.Series(who.patients).map(earlier).to_numpy(dtype=object)
    notes.append(f"The split is that of {earlier.name}.")
    new = pd.isna(split)
    if new.any():
        split[new] = balanced_split(
            who.patients[new],
            who.strata[new],
            who.present.to_numpy()[new],
            np.full(new.sum(), True),
            val_fraction=fractions["val"],
            test_fraction=fractions["test"],
            seed=seed,
        )
        counts = ", ".join(f"{who.count(new & (split == s))} {s}" for s in SPLITS)
        notes.append(
            f"{who.count(new)} patients are not in {earlier.name}; drawn beside its split (seed "
            f"{seed}): {counts} patients."
        )
    return split


def _lack(who: _Who, split: np.ndarray, source: str, drawn: dict[str, float]) -> str:
    """What a split lacks and how to mend it; empty if nothing.

    source: of the column `split`, empty without one; drawn: the sides that it does not give.
    """
    column = f"the column 'split' of {source}" if source else "a column 'split' in samples"

    def mend(side: str, modality: str) -> str:
        raised = f"raise {side}_fraction, " if side in drawn else ""
        names = "give" if not source else f"give {side} more patients in"
        return f"{raised}leave out {modality}, or {names} {column}"

    everybody = np.full(len(split), True)
    for modality in who.present.columns:
        trained = who.beside(modality, split == "train")
        if trained < who.min_train:
            return _too_few(who, split, modality, trained, source, drawn)
    for modality in who.present.columns:
        judged = who.beside(modality, split == "val")
        if judged < LEAST_HELD:
            return (
                f"val has {judged} patients with {modality} beside another modality to generate it "
                f"from, fewer than {LEAST_HELD} ({who.beside(modality, everybody)} patients have): "
                + mend("val", modality)
            )
    tested = split == "test"
    shared = {
        pair: who.count(tested & who.present[list(pair)].all(axis=1).to_numpy())
        for pair in itertools.combinations(who.present.columns, 2)
    }
    if max(shared.values()) < LEAST_HELD:
        return (
            f"test has no two modalities that {LEAST_HELD} of its patients share "
            f"({who.count(tested)} patients in test): " + mend("test", "a modality that few have")
        )
    return ""


def _too_few(
    who: _Who, split: np.ndarray, modality: str, trained: int, source: str, drawn: dict[str, float]
) -> str:
    """That a modality has too few training patients: how many, where the others are, what helps."""
    of = {side: who.beside(modality, split == side) for side in SPLITS[1:]}
    measured = who.count(who.present[modality].to_numpy())
    alone = measured - trained - sum(of.values())
    places = [f"{count} in {side}" for side, count in of.items() if count]
    if alone > 0:
        places.append(f"{alone} without another modality")
    others = " ".join(m for m in who.present.columns if m != modality)
    mends = [f"leave it out (--modalities {others})"] if len(who.present.columns) > 2 else []
    if drawn:
        mends.append(f"add patients (about {_enough(who.min_train, drawn)} with it are enough)")
        if any(of[side] > LEAST_HELD for side in drawn):
            mends.append("hold out fewer (val_fraction, test_fraction)")
    else:
        mends.append(f"name more of its patients train in the column 'split' of {source}")
    if trained >= LEAST_BATCH and of["val"] >= LEAST_HELD:
        mends.append(
            f"train in batches of {trained} (--single.batch-size {trained} "
            f"--multi.batch-size {trained}; in Python min_train={trained})"
        )
    return (
        f"{modality} is present for {trained} patients in train, fewer than {who.min_train}, "
        f"beside another modality ({measured} patients have it"
        + "".join(f", {place}" for place in places)
        + f"): {', '.join(mends[:-1])}{', or ' if mends[1:] else ''}{mends[-1]}"
    )


def _enough(min_train: int, drawn: dict[str, float]) -> int:
    """Patients with a modality that leave `min_train` of them in train."""
    total = min_train
    while total - sum(max(LEAST_HELD, share * total) for share in drawn.values()) < min_train:
        total += 1
    return total + 1  # as the draw is within about one of what is wanted
