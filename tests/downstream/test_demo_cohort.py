"""The simulated cohort: what it plants is found, and nothing once outcomes are dealt out anew."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from cohgen_jax.baselines import fit_baselines
from cohgen_jax.codec import encode_cohort, fit_codecs
from cohgen_jax.cohort import demo_cohort
from cohgen_jax.downstream import draws as drawing
from cohgen_jax.downstream import prioritise, rescue
from cohgen_jax.downstream.classification import Classification, random_forest
from cohgen_jax.downstream.options import Options, Workers
from cohgen_jax.downstream.study import Study
from cohgen_jax.downstream.survival import ForestSize, SurvivalOutcome
from cohgen_jax.runs.config import recipe

pytestmark = pytest.mark.heavy  # test_planted.py holds the analyses to less data

OPTIONS = Options(seeds=1, bootstrap=1000)
WORKERS = Workers()
METHODS = ("ridge", "kernel_ridge")
"""Generators that need no training: what is tested are the analyses."""


@pytest.fixture(scope="module")
def study() -> Study:
    """1500 patients, every second one to test on."""
    cohort = demo_cohort(0, 1500)
    second = cohort.samples["patient_id"].str[-1].astype(int) % 2 == 1
    cohort.samples.loc[second & (cohort.samples["split"] == "train"), "split"] = "test"
    config = dataclasses.replace(recipe("demo").codec, latent_dim=8)
    latents = encode_cohort(cohort, fit_codecs(cohort, config, 0))
    return Study(latents, cohort.samples)


@pytest.fixture(scope="module")
def draws(study):
    split = study.samples["split"].to_numpy()
    rows = (np.flatnonzero(split == side) for side in ("train", "val"))
    generators = fit_baselines(study.latents, *rows, methods=METHODS)
    return drawing.merge([drawing.generate_all(generators, study, m, 5, 0) for m in METHODS])


def stage_of(study, trees=50):
    return Classification.of_study(study, "stage", random_forest(trees))


def survival_of(study, size=ForestSize(15, 6)):
    return SurvivalOutcome.of_study(study, size)


def permuted(study: Study, seed: int) -> Study:
    """Every patient has the outcomes of another one."""
    samples, outcomes = study.samples.copy(), ["stage", "os_event", "os_days"]
    by_patient = samples.drop_duplicates("patient_id").set_index("patient_id")[outcomes]
    order = np.random.default_rng(seed).permutation(len(by_patient))
    dealt = by_patient.iloc[order].set_axis(by_patient.index, axis=0)
    samples[outcomes] = dealt.loc[samples["patient_id"]].to_numpy()
    samples = samples.astype({"os_event": float, "os_days": float})
    return Study(study.latents, samples)


def significant(result) -> dict[str, float]:
    own = result.claims[result.claims["p_holm"] < 0.05]
    return dict(zip(own["contrast"], own["estimate"], strict=True))


@pytest.mark.parametrize("outcome", [stage_of, survival_of])
def test_assays_are_worth_something_and_imputing_rescues_it(study, draws, outcome):
    found = significant(rescue.rescue("r", study, draws, outcome(study), OPTIONS, WORKERS))
    assert found["full - cancer_type"] > 0.04
    assert found["full - ablated"] > 0
    assert found["kernel_ridge - ablated"] > 0
    assert not [claim for claim, estimate in found.items() if estimate < 0]


@pytest.mark.parametrize("outcome", [stage_of, survival_of])
def test_draws_put_patients_in_a_better_order_than_chance(study, draws, outcome):
    result = prioritise.prioritise("p", study, draws, outcome(study), OPTIONS, WORKERS)
    own = result.claims[result.claims["contrast"].str.contains("kernel_ridge - random")]
    assert own["estimate"].mean() > 0
    areas = result.table[result.table["metric"] == result.table["metric"].iloc[0]]
    areas = areas.groupby("order")["area"].mean()
    assert min(areas["oracle"], areas["kernel_ridge"]) > areas["random"]
    # What the real assay changes is what there is to be known; draws come close to it.
    assert areas["oracle"] > areas["kernel_ridge"] - 0.005


@pytest.mark.parametrize("analysis", [rescue.rescue, prioritise.prioritise])
@pytest.mark.parametrize(
    "outcome",
    [lambda s: stage_of(s, 15), lambda s: survival_of(s, ForestSize(8, 5))],
    ids=["stage", "survival"],
)
def test_nothing_is_found_of_permuted_outcomes(study, draws, analysis, outcome):
    """Any claim at all, in at most the 99.9 % quantile of Binomial(20, 5 %)."""
    found = 0
    for seed in range(20):
        own = permuted(study, seed)
        found += bool(significant(analysis("r", own, draws, outcome(own), OPTIONS, WORKERS)))
    assert found <= stats.binom.ppf(0.999, 20, 0.05)
