"""Planted effects are found, and none is found where outcomes are dealt out at random."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from cohgen_jax.downstream import (
    ANALYSES,
    cascades,
    completion,
    prioritise,
    reconstruction,
    rescue,
    sets,
    synthetic,
)
from cohgen_jax.downstream.classification import Classification
from cohgen_jax.downstream.draws import generate_all
from cohgen_jax.downstream.options import Options, Workers
from cohgen_jax.downstream.study import NotPossible
from cohgen_jax.downstream.survival import ForestSize, SurvivalOutcome
from cohgen_jax.sampling.generator import Generated
from tests.downstream.conftest import noise_generator, planted_draws, planted_study

OPTIONS = Options(seeds=1, trees=20, bootstrap=1000)
WORKERS = Workers()


def linear_classifier(seed: int):
    """Missing values become means: a model that costs milliseconds."""
    return make_pipeline(SimpleImputer(), LinearDiscriminantAnalysis())


def stage_of(study) -> Classification:
    return Classification.of_study(study, "stage", linear_classifier)


@pytest.fixture(scope="module")
def study():
    return planted_study(num=700, holes=0.4)


@pytest.fixture(scope="module")
def draws(study):
    return planted_draws(study)


def significant(result) -> dict[str, float]:
    """Contrast -> estimate, of the claims that hold after Holm's adjustment."""
    own = result.claims[result.claims["p_holm"] < 0.05]
    return dict(zip(own["contrast"], own["estimate"], strict=True))


def test_rescue_finds_that_draws_carry_the_stage(study, draws):
    found = significant(rescue.rescue("r", study, draws, stage_of(study), OPTIONS, WORKERS))
    assert found["full - ablated"] > 0.05
    assert found["full - cancer_type"] > 0.2
    assert found["multi - ablated"] > 0
    assert found["multi - nearest"] > 0.05  # draws that know nothing of the patient
    assert "multi - retrained" not in found  # the exact posterior has no more than its sources


def test_survival_is_rescued_too(study, draws):
    outcome = SurvivalOutcome.of_study(study, ForestSize(15, 6))
    result = rescue.rescue("r", study, draws, outcome, OPTIONS, WORKERS)
    found = significant(result)
    assert found["full - cancer_type"] > 0.15
    assert found["multi - nearest"] > 0.01
    full = result.table.query("method == 'full' and seed == -1").iloc[0]
    assert 0.68 < full["c_index"] < 0.85  # truth 0.78
    assert full["ci_low"] < full["c_index"] < full["ci_high"]


def test_prioritisation_beats_random_order_only_with_draws_that_know(study, draws):
    options = dataclasses.replace(OPTIONS, bootstrap=400)
    outcome = stage_of(study)
    result = prioritise.prioritise("p", study, draws, outcome, options, WORKERS)
    areas = result.table.query("metric == 'balanced_accuracy'").groupby("order")["area"].mean()
    assert areas["oracle"] > areas["multi"] > areas["random"] + 0.004
    assert (
        (result.claims["estimate"] > 0)
        .loc[result.claims["contrast"].str.contains("multi - ra")]
        .all()
    )


def test_area_of_random_order_is_its_expectation(study, draws):
    """Closed forms against 200 random orders, for classes and for survival."""
    one = np.ones((1, len(study.test)))
    for outcome in (stage_of(study), SurvivalOutcome.of_study(study, ForestSize(5, 5))):
        found = prioritise.orders_of_seed(study, draws, outcome, 0)["a"]
        rng = np.random.default_rng(0)
        areas = []
        for _ in range(200):
            mixed = prioritise.mixtures(found.before, found.real, rng.random(len(study.test)))
            areas.append(prioritise.area(outcome.score(mixed, study.test, one))[0])
        expected = outcome.random_area(found.before, found.real, study.test, one)[0]
        assert abs(np.mean(areas) - expected) < 4 * np.std(areas) / np.sqrt(200) + 1e-4


def small_survival(study) -> SurvivalOutcome:
    return SurvivalOutcome.of_study(study, ForestSize(4, 4))


@pytest.mark.parametrize(
    ("analysis", "outcome", "repeats"),
    [
        (rescue.rescue, stage_of, 20),
        pytest.param(rescue.rescue, small_survival, 8, marks=pytest.mark.heavy),
        pytest.param(prioritise.prioritise, stage_of, 20, marks=pytest.mark.heavy),
        pytest.param(prioritise.prioritise, small_survival, 8, marks=pytest.mark.heavy),
    ],
)
def test_nothing_is_found_where_outcomes_are_permuted(analysis, outcome, repeats):
    """Family-wise: any claim at all, in at most the 99.9 % quantile of Binomial(repeats, 5 %)."""
    found = 0
    for repeat in range(repeats):
        study = planted_study(repeat + 100, 240, permuted=True)
        draws = planted_draws(study, 3)
        result = analysis("r", study, draws, outcome(study), OPTIONS, WORKERS)
        found += bool(significant(result))
    assert found <= stats.binom.ppf(0.999, repeats, 0.05)


def test_completed_training_sets_use_every_patient(study, draws):
    outcome = stage_of(study)
    result = completion.completion(study, draws, [outcome], OPTIONS, WORKERS)
    sizes = result.table.drop_duplicates("training").set_index("training")["n_train"]
    assert sizes["complete"] == study.latents.present[study.train].all(axis=1).sum()
    assert sizes["multi"] == sizes["incomplete"] == len(study.train)
    features, rows = completion.training_sets(study, draws, outcome, 1)["multi"]
    lacking = study.train[~study.latents.present[study.train, 2]]
    np.testing.assert_allclose(
        features[np.isin(rows, lacking), 6:9], draws.holes["multi"]["c"][1], rtol=1e-6
    )


def test_survival_needs_deaths_among_complete_patients_and_completion_does_without(study, draws):
    samples = study.samples.copy()
    complete = study.train[study.latents.present[study.train].all(axis=1)]
    samples.iloc[complete, samples.columns.get_loc("os_event")] = 0.0
    alive = dataclasses.replace(study, samples=samples)
    outcome = SurvivalOutcome.of_study(alive)
    with pytest.raises(NotPossible, match="0 deaths among the training patients who have every"):
        rescue.rescue("r", alive, draws, outcome, OPTIONS, WORKERS)
    analysis = next(one for one in ANALYSES if one.name == "completion")
    result = analysis.compute(alive, draws, OPTIONS, WORKERS)
    assert set(result.table["outcome"]) == {"stage"}
    assert any("0 deaths" in note for note in result.notes)


def test_baselines_alone_are_shown_and_the_mean_alone_is_refused(study, draws):
    nearest = dataclasses.replace(draws, cascades={"nearest": draws.cascades["nearest"]})
    for analysis in (cascades, reconstruction):
        compute = getattr(analysis, analysis.__name__.split(".")[-1])
        result = compute(study, nearest, OPTIONS, WORKERS)
        assert set(result.table["method"]) == {"nearest"}
        assert any(axes.lines for axes in analysis.figure(result.table).axes)
        mean = dataclasses.replace(draws, cascades={"mean": draws.cascades["nearest"]})
        with pytest.raises(NotPossible, match="name more --methods"):
            compute(study, mean, OPTIONS, WORKERS)


def test_generated_data_without_patient_are_no_substitute(study, draws):
    result = synthetic.synthetic(study, draws, OPTIONS, WORKERS)
    own = result.table.query("task == 'stage' and group == 'all'")
    scores = own[own["metric"] == "balanced_accuracy"].groupby("data")["value"].mean()
    assert scores["real"] > scores["multi"] > scores["nearest"] + 0.03
    assert scores["nearest"] == pytest.approx(0.25, abs=0.05)
    shares = own[(own["data"] == "truth") & own["metric"].str.startswith("share")]["value"]
    assert shares.sum() == pytest.approx(1)


def test_what_the_models_were_told_is_not_a_result(study, draws):
    """Neither of an analysis of several outcomes, nor of one alone."""
    told = dataclasses.replace(study, covariates=("cancer_type",))
    result = synthetic.synthetic(told, draws, OPTIONS, WORKERS)
    assert set(result.table["task"]) == {"stage"}
    assert set(result.table["group"]) == {"all", "x", "y"}  # stages within a type stay
    assert not result.claims["contrast"].str.contains("cancer_type").any()
    assert result.notes[0].startswith("cancer_type: left out, since every model was told it")
    told = dataclasses.replace(study, covariates=("stage", "os_event"))
    assert set(synthetic.synthetic(told, draws, OPTIONS, WORKERS).table["task"]) == {"cancer_type"}
    for outcome in (
        lambda: Classification.of_study(told, "stage", OPTIONS.classifier),
        lambda: SurvivalOutcome.of_study(told),
    ):
        with pytest.raises(NotPossible, match="every model was told it"):
            outcome()


def test_cascades_keep_together_what_belongs_together():
    """a and b are the same, c says nothing of them: apart they are two patients."""
    study = planted_study(num=400)
    study.latents.z[:, 1] = study.latents.z[:, 0]

    def twin(target: int, other: int):
        def generate(z, present, num_draws, seed):
            noise = noise_generator(target)(z, present, num_draws, seed).draws
            draws = np.where(present[None, :, other, None], z[None, :, other], noise)
            return Generated(draws, np.full(draws.shape[:2], np.nan, np.float32))

        return generate

    generators = {
        ("multi", "a"): twin(0, 1),
        ("multi", "b"): twin(1, 0),
        ("multi", "c"): noise_generator(2),
    }
    draws = generate_all(generators, study, "multi", 100, 0)  # few would decide by luck
    result = cascades.cascades(study, draws, OPTIONS, WORKERS)
    assert significant(result)["multi: cascade - apart"] < -0.01
    assert "multi: sorted - reverse" not in significant(result)
    own = result.table.set_index(["pair", "order"])["energy_score"]
    assert own["a + b", "apart"] > own["a + b", "sorted"] + 0.02


def test_reconstruction_ranks_the_generators(study, draws):
    result = reconstruction.reconstruction(study, draws, OPTIONS, WORKERS)
    found = significant(result)
    assert all(found[f"{target}: multi - nearest"] < -0.1 for target in "abc")
    own = result.table.query("label == 'all' and method == 'multi' and target == 'a'")
    by_sources = own.set_index("sources")["r2_inf"]
    # Var(u | k views) = 1 / (1 + 4 k); the target adds 1/4 that nobody can know.
    pairs = result.table.query("label == 'all'").groupby("target")["sources"].agg(set)
    assert pairs["c"] == {"a+b", "a", "b"}  # all others, and all but one
    assert by_sources["b+c"] == pytest.approx(1 - (1 / 9 + 0.25) / 1.25, abs=0.05)
    assert by_sources["b"] == pytest.approx(1 - (1 / 5 + 0.25) / 1.25, abs=0.05)


def test_sets_are_judged_beside_their_null(study, draws):
    table = sets.sets(study, draws, OPTIONS, WORKERS).table
    above = table[table["metric"] == "energy_global, null above"].set_index(["target", "set"])
    assert above.loc[("a", "multi"), "value"] > 0.05  # exact draws: as far apart as real halves
