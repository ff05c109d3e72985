"""What models are validated by is what they generate: `validation_scores` against the sampler."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.sampling import Bank, RecordedNoise, coherent_sample
from cohgen_jax.scores.draws import cosine_distance, energy_score
from cohgen_jax.solvers import SolverConfig
from cohgen_jax.training import DiffusionConfig, make_farm, multi_specs, pair_specs, shared_specs
from cohgen_jax.training.farm import covariates_of
from cohgen_jax.training.validation import ValidationData, validation_scores
from tests.sampling.test_specialize import disturbed
from tests.training.test_farm import CONFIG, MODALITIES, toy_cohort

pytestmark = pytest.mark.usefixtures("strict_dtypes")

NUM_DRAWS, NUM_COVARIATES = 3, 2
SCALE = np.array([[2.0, 1.0, 0.5, 0.2], [1.5, 1.0, 0.8, 0.6], [1.0, 0.7, 0.3, 0.0]])


@pytest.fixture(
    scope="module", params=[pytest.param(pair_specs, marks=pytest.mark.heavy), multi_specs]
)
def validated(request):
    """A farm of untrained, disturbed models that know covariates, and their scores."""
    z, present, widths = toy_cohort(80)
    known = np.random.default_rng(1).normal(size=(80, 1, 4)).astype(np.float32)
    known[..., NUM_COVARIATES:] = 0
    config = dataclasses.replace(
        CONFIG, val_solver=SolverConfig(name="dpmpp_2m", num_steps=6, eta=1.0), val_draws=NUM_DRAWS
    )
    farm, data = make_farm(
        request.param(MODALITIES),
        np.concatenate([z, known], axis=1),
        present,
        [*widths, NUM_COVARIATES],
        np.arange(20, 80),
        np.arange(20),
        config,
        DiffusionConfig(),
        0,
        scale=SCALE,
    )
    keys = jax.random.split(jax.random.key(3), len(farm.specs))
    models = [disturbed(farm.module, k) for k in range(len(farm.specs))]
    scores = validation_scores(
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *models),
        data.val,
        data.target,
        data.sources,
        data.worth,
        keys,
        scale=data.scale,
        covariates=covariates_of(data.val.z, farm),
        module=farm.module,
        schedule=farm.schedule,
        predicts=farm.predicts,
        solver=farm.val_solver,
        num_draws=NUM_DRAWS,
    )
    return farm, data, models, keys, scores


def test_the_draws_that_are_scored_are_the_samplers(validated):
    farm, data, models, keys, scores = validated
    val = data.val
    for k, spec in enumerate(farm.specs):
        width = 4 if spec.target < 2 else 3
        bank = Bank.from_models(
            "t",
            [f"s{s}" for s in spec.sources],
            [(farm.module, models[k])],
            predicts=farm.predicts,
            slots=[range(len(spec.sources))],
            width=width,
            natural=[SCALE[s] for s in spec.sources],
            covariates=NUM_COVARIATES,
        )
        # The noise that validation draws, as a chain's.
        chain_key, _ = jax.random.split(jax.random.fold_in(keys[k], 2))
        shape = (NUM_DRAWS, len(val.z), 4)
        steps = [
            jax.random.normal(jax.random.fold_in(chain_key, i + 1), shape)
            for i in range(farm.val_solver.num_steps)
        ]
        noise = RecordedNoise(jax.random.normal(chain_key, shape), jnp.stack(steps))
        used = np.asarray(val.weight[k]) > 0
        samples = coherent_sample(
            jax.random.key(0),
            bank,
            [*(val.z[:, s] for s in spec.sources), val.z[:, -1, :NUM_COVARIATES]],
            np.asarray(val.mask[k]) > 0,
            solver=farm.val_solver,
            num_draws=NUM_DRAWS,
            recorded=noise,
            specialized=False,  # validation evaluates pure noise for every draw, too
        )
        # In natural scale, of unit mean square over the target's components.
        scale = SCALE[spec.target, :width] / np.sqrt(np.mean(SCALE[spec.target, :width] ** 2))
        draws = np.asarray(samples.draws)[:, used, :width] * scale
        real = np.asarray(val.z)[used, spec.target, :width] * scale
        assert used.sum() > 10
        cosine = cosine_distance(draws[:, :, None], real[:, None])
        expected = {
            "mse": np.mean((draws - real) ** 2),
            "energy": np.mean(energy_score(draws, real)),
            "cosine": cosine.mean(),
        }
        for metric, value in expected.items():
            np.testing.assert_allclose(scores[metric][k], value, rtol=2e-4, err_msg=spec.name)


def test_views_are_validated_by_a_source_each_patient_has():
    """Every present source of somebody, one at a time; the others do not count."""
    present = np.random.default_rng(0).random((90, 3)) < 0.5
    specs = shared_specs(MODALITIES)
    val = ValidationData.make(specs, np.zeros((90, 3, 4)), present, 0, "one")
    for spec, mask, weight in zip(specs, val.mask, val.weight, strict=True):
        here = present[:, list(spec.sources)]
        np.testing.assert_array_equal(np.asarray(mask).sum(axis=1), here.any(axis=1))
        assert not np.asarray(mask)[~here].any()
        assert (np.asarray(mask).sum(axis=0) > 15).all()
        np.testing.assert_array_equal(weight > 0, present[:, spec.target] & here.any(axis=1))
