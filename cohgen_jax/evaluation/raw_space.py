"""Generated data in the units of the tables: are genes, proteins and their biology kept?

Whole draws of held-out patients, generated from all their other assays, are compared with what was
measured, feature by feature and relation by relation:

r_mean, r_draw   correlation over patients of a feature's true value with the mean of the draws, and
                 with single draws (averaged over draws); r_within: r_mean about the mean of each
                 cancer type
structure        correlation between two correlation matrices of the features, real and one draw
effects          differences between one cancer type and the others (Cohen's d of each feature)
links            correlation of two measurements of one gene: copy number with RNA (dosage), RNA
                 with protein; one side generated, the other real

Beside the methods stand `reconstruction`, what the codec alone brings back of the patients' own
latents, and `train`, other real patients, as many: what chance leaves of a relation.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.masks import shown_latents
from cohgen_jax.evaluation.tables import streams_of
from cohgen_jax.evaluation.units import in_units
from cohgen_jax.sampling.generator import Generator

if TYPE_CHECKING:
    from cohgen_jax.cohort import Cohort
    from cohgen_jax.runs.run import Run

SYNONYMS = {
    "HER2": "ERBB2",
    "HER3": "ERBB3",
    "ER-alpha": "ESR1",
    "PR": "PGR",
    "c-Kit": "KIT",
    "c-Myc": "MYC",
    "p53": "TP53",
    "E-Cadherin": "CDH1",
    "P-Cadherin": "CDH3",
    "N-Cadherin": "CDH2",
    "Cyclin_B1": "CCNB1",
    "Cyclin_D1": "CCND1",
    "Cyclin_E1": "CCNE1",
    "Bcl-2": "BCL2",
    "Caveolin-1": "CAV1",
    "beta-Catenin": "CTNNB1",
    "B-Raf": "BRAF",
}
"""Protein names of antibody panels -> gene symbols. Features of one name, or of a name and its
synonym, measure the same gene."""
MOST_FEATURES = 300
"""Features, evenly drawn, between which correlations are compared."""
FEWEST_PATIENTS = 20
"""Of a cancer type, and of the others, to speak of a difference between them."""
SHARE_TOP = 0.05
"""Share of the features that counts as those which differ most."""


class RawSpace(NamedTuple):
    scores: pd.DataFrame
    """A row a target and method: medians over features, structure, effects."""
    features: pd.DataFrame
    """A row a target, method and feature."""
    links: pd.DataFrame
    """A row a gene, generated side and method: correlation of two measurements of the gene."""
    dosage: pd.DataFrame
    """The links of two modalities in one row a method."""


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation of columns where both are known: [..., N, F] -> [..., F]."""
    known = ~(np.isnan(a) | np.isnan(b))
    count = np.maximum(known.sum(axis=-2), 1)

    def centred(x):
        x = np.where(known, x, 0.0)
        return np.where(known, x - (x.sum(axis=-2) / count)[..., None, :], 0.0)

    a, b = centred(a), centred(b)
    norm = np.sqrt(np.sum(a**2, axis=-2) * np.sum(b**2, axis=-2))
    return np.where(norm > 0, np.sum(a * b, axis=-2) / np.where(norm > 0, norm, 1), np.nan)


def structure(x: np.ndarray) -> np.ndarray:
    """Correlations between all pairs of features: [N, F] -> [F (F - 1) / 2], unknown cells at
    their feature's mean, constant features uncorrelated."""
    mean, _, _ = _moments(x)
    x = np.where(np.isnan(x), 0.0, x - mean)
    norm = np.linalg.norm(x, axis=0)
    x = x / np.where(norm > 0, norm, 1)
    return (x.T @ x)[np.triu_indices(x.shape[1], 1)]


def effect_sizes(x: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Cohen's d of each feature between patients inside [N] and the others: [N, F] -> [F], NaN
    where one side has no value or nothing varies."""
    (mean, squares, count), (other, other_squares, other_count) = map(
        _moments, (x[inside], x[~inside])
    )
    degrees = count + other_count - 2
    variance = (squares + other_squares) / np.maximum(degrees, 1)
    usable = (count > 0) & (other_count > 0) & (variance > 0)
    return np.where(usable, (mean - other) / np.sqrt(np.where(usable, variance, 1)), np.nan)


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, sum of squared deviations and number of the known cells of each column."""
    known = ~np.isnan(x)
    count = known.sum(axis=0)
    mean = np.where(known, x, 0.0).sum(axis=0) / np.maximum(count, 1)
    return mean, np.sum(np.where(known, x - mean, 0.0) ** 2, axis=0), count


def effects_kept(
    generated: np.ndarray, labels: np.ndarray, real: np.ndarray, real_labels: np.ndarray
) -> dict[str, float]:
    """How well differences between each label and the rest are recovered, mean over labels, of the
    features that vary among real and among generated patients.

    effects_r      correlation over features of the effect sizes
    effects_sign   share of the SHARE_TOP features of largest real effect with the same sign
    effects_auc    area under the ROC curve of finding those by the size of the generated effect
    """
    from sklearn.metrics import roc_auc_score

    effects = []
    for label in np.unique(real_labels):
        sizes = [np.sum(of_set == label) for of_set in (labels, real_labels)]
        rest = [np.sum(of_set != label) for of_set in (labels, real_labels)]
        if min(*sizes, *rest) < FEWEST_PATIENTS:
            continue
        ours, true = (
            effect_sizes(generated, labels == label),
            effect_sizes(real, real_labels == label),
        )
        varies = np.isfinite(ours) & np.isfinite(true)
        ours, true = ours[varies], true[varies]
        if len(true) < 2:
            continue
        top = np.argsort(-np.abs(true))[: max(1, int(SHARE_TOP * len(true)))]
        is_top = np.isin(np.arange(len(true)), top)
        effects.append(
            (
                correlation(ours[:, None], true[:, None])[0],
                np.mean(np.sign(ours[top]) == np.sign(true[top])),
                roc_auc_score(is_top, np.abs(ours)),
            )
        )
    names = ("effects_r", "effects_sign", "effects_auc")
    return dict(
        zip(names, np.mean(effects, axis=0).tolist() if effects else [np.nan] * 3, strict=True)
    )


def shared_genes(
    features: Mapping[str, Sequence[str]], synonyms: Mapping[str, str]
) -> pd.DataFrame:
    """Pairs of features of two modalities that measure one gene: columns gene, a, b (modalities),
    i, j (positions of the features in them). Of several features of a gene the first counts."""
    rows = []
    genes = {m: [synonyms.get(name, name) for name in names] for m, names in features.items()}
    for a, b in itertools.combinations(features, 2):
        here = {gene: i for i, gene in reversed(list(enumerate(genes[a])))}
        there = {gene: j for j, gene in reversed(list(enumerate(genes[b])))}
        rows += [(gene, a, b, here[gene], there[gene]) for gene in here if gene in there]
    return pd.DataFrame(rows, columns=["gene", "a", "b", "i", "j"])


def raw_space_of_run(
    run: Run,
    cohort: Cohort,
    generators: Mapping[tuple[str, str], Generator],
    *,
    num_draws: int = 10,
    synonyms: Mapping[str, str] = SYNONYMS,
    seed: int = 0,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> RawSpace:
    """Compare what the generators make of the test patients that have every modality.

    cohort: the tables that the run was trained on, rows as in `run.samples`.
    generators: by (method, target).
    """
    complete = np.asarray(run.latents.present.all(axis=1))
    rows = run.rows("test")[complete[run.rows("test")]]
    train = run.rows("train")[complete[run.rows("train")]]
    train = np.sort(np.random.default_rng(seed).permutation(train)[: len(rows)])
    if len(rows) < FEWEST_PATIENTS or len(train) < FEWEST_PATIENTS:
        raise InputError(
            f"comparing raw data needs {FEWEST_PATIENTS} test patients with every modality; there "
            f"are {len(rows)}"
        )
    known = run.samples.get("cancer_type", pd.Series("all", run.samples.index)).astype(str)
    labels, train_labels = known.to_numpy()[rows], known.to_numpy()[train]
    features = {m: list(run.codecs[m].features) for m in run.modalities}
    tables = {m: cohort.table(m).reindex(run.samples.index)[features[m]] for m in features}
    real = {m: table.to_numpy(np.float32)[rows] for m, table in tables.items()}
    other = {m: table.to_numpy(np.float32)[train] for m, table in tables.items()}
    genes, streams = shared_genes(features, synonyms), streams_of(run)[rows]
    scores, by_feature, links = [], [], []

    def judge(method: str, target: str, draws: np.ndarray) -> None:
        """draws [R, N, F] in raw units."""
        key, truth = {"target": target, "method": method}, real[target]
        r_mean, r_draw = correlation(draws.mean(axis=0), truth), correlation(draws, truth[None])
        within = correlation(_about_label(draws.mean(axis=0), labels), _about_label(truth, labels))
        each = {"r_mean": r_mean, "r_draw": r_draw.mean(axis=0), "r_within": within}
        by_feature.append(pd.DataFrame({**key, "feature": features[target], **each}))
        middle = {name: float(np.nanmedian(values)) for name, values in each.items()}
        scores.append(key | middle | _as_a_set(draws[0], labels, truth, labels, seed))
        for side, partner, made_at, measured_at in (("a", "b", "i", "j"), ("b", "a", "j", "i")):
            for (a, b), pairs in genes[genes[side] == target].groupby(["a", "b"]):
                measured = real[pairs[partner].iloc[0]][:, pairs[measured_at]]
                r = correlation(draws[..., pairs[made_at]], measured[None]).mean(axis=0)
                links.append(
                    pd.DataFrame(
                        {"a": a, "b": b, "gene": pairs["gene"], "generated": target}
                        | {"method": method, "r": r}
                        | {"r_real": _linked(real, pairs), "r_train": _linked(other, pairs)}
                    )
                )

    targets = dict.fromkeys(target for _, target in generators)
    for target in targets:
        t, codec = run.index(target), run.codecs[target]
        as_a_set = _as_a_set(other[target], train_labels, real[target], labels, seed)
        scores.append({"target": target, "method": "train"} | as_a_set)
        judge("reconstruction", target, codec.decode(run.latents.z[rows, t, : codec.width])[None])
    for done, ((method, target), generate) in enumerate(generators.items()):
        progress(done, len(generators), f"{method}: {target}")
        t, codec = run.index(target), run.codecs[target]
        shown = np.arange(len(run.modalities)) != t
        present = np.tile(shown, (len(rows), 1))
        generated = generate(shown_latents(run.latents.z[rows], shown), present, num_draws, seed)
        judge(method, target, in_units(codec, generated, streams, seed))
    progress(len(generators), len(generators), "compared")
    linked = pd.concat(links, ignore_index=True) if links else pd.DataFrame()
    order = {name: i for i, name in enumerate(targets)}
    ordered = pd.DataFrame(scores).sort_values("target", key=lambda t: t.map(order), kind="stable")
    return RawSpace(
        ordered.reset_index(drop=True),
        pd.concat(by_feature, ignore_index=True),
        linked,
        dosage(linked) if len(linked) else pd.DataFrame(),
    )


def dosage(links: pd.DataFrame) -> pd.DataFrame:
    """Links of two modalities, a row a method and generated side.

    r, r_real: median over genes; agreement: correlation over genes of the link in generated and in
    real data; agreement_train: of the link in other real patients, the same, as many.
    """
    rows = []
    for key, pairs in links.groupby(["a", "b", "generated", "method"], sort=False):
        real = pairs["r_real"].to_numpy()[:, None]
        agreement = {
            name: float(correlation(pairs[column].to_numpy()[:, None], real)[0])
            for name, column in (("agreement", "r"), ("agreement_train", "r_train"))
        }
        medians = pairs[["r", "r_real"]].median().to_dict()
        names = dict(zip(("a", "b", "generated", "method"), key, strict=True))  # pyright: ignore
        rows.append(names | {"genes": len(pairs)} | medians | agreement)
    return pd.DataFrame(rows)


def _as_a_set(
    x: np.ndarray, labels: np.ndarray, real: np.ndarray, real_labels: np.ndarray, seed: int
) -> dict[str, Any]:
    """What can be said of records [N, F] without knowing which patient each is of."""
    width = real.shape[1]
    chosen = np.sort(np.random.default_rng(seed).permutation(width)[:MOST_FEATURES])
    ours, true = structure(x[:, chosen]), structure(real[:, chosen])
    return {
        "sd_ratio": float(np.nanmedian(_sd(x) / _sd(real))),
        "structure": float(correlation(ours[:, None], true[:, None])[0]),
        **effects_kept(x, labels, real, real_labels),
    }


def _sd(x: np.ndarray) -> np.ndarray:
    """Of each column, NaN where nothing is known or varies."""
    _, squares, count = _moments(x)
    return np.sqrt(np.where(squares > 0, squares / np.maximum(count, 1), np.nan))


def _about_label(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """x [N, F] less the mean of each label."""
    frame = pd.DataFrame(x)
    return (frame - frame.groupby(labels).transform("mean")).to_numpy()


def _linked(tables: Mapping[str, np.ndarray], pairs: pd.DataFrame) -> np.ndarray:
    first, second = tables[pairs["a"].iloc[0]], tables[pairs["b"].iloc[0]]
    return correlation(first[:, pairs["i"]], second[:, pairs["j"]])
