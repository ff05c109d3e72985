"""At the first level of a chain, where nothing of x_0 is left, one evaluation serves all draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.networks import NetworkConfig, build
from cohgen_jax.networks.posterior import GaussianPosterior
from cohgen_jax.sampling import Bank, Rejection, coherent_sample
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import ddim, dpmpp_2m

DIM, DRAWS, SAMPLES = 3, 7, 5
VARIANCE = 0.36


def drawn(levels, predicts, make=ddim, steps=20, **kwargs):
    """Of the exact posteriors N(y, VARIANCE)."""
    schedule = linear_schedule(levels)
    known = {"levels": {"alpha_bar": jnp.asarray(schedule.alpha_bar, jnp.float32)}}
    model = GaussianPosterior(DIM, predicts), known
    bank = Bank.from_models("x", ["y"], [model], predicts=predicts)
    y = jax.random.normal(jax.random.key(1), (SAMPLES, DIM), jnp.float32)
    told = jnp.concatenate([y, jnp.full_like(y, VARIANCE)], axis=1)
    key, solver = jax.random.key(0), make(schedule, steps)
    return coherent_sample(key, bank, [told], solver=solver, num_draws=DRAWS, **kwargs)


@pytest.mark.parametrize("make", [ddim, dpmpp_2m])
def test_shared_evaluations_lead_where_those_of_each_draw_do(make):
    shared, each = (drawn(1000, "v", make, specialized=of).draws for of in (True, False))
    np.testing.assert_allclose(shared, each, atol=1e-4)  # of deviations of .6
    assert np.abs(np.asarray(shared - each)).max() > 0
    np.testing.assert_allclose(each, drawn(1000, "eps", make).draws, atol=1e-4)


def test_where_a_schedule_leaves_something_of_x_0_nothing_is_shared():
    """alpha_bar is .9 at the end of 20 levels: what a network says there depends on the draw."""
    shared, each = (drawn(20, predicts, steps=10).draws for predicts in ("v", "eps"))
    np.testing.assert_allclose(shared, each, atol=1e-5)


def test_all_that_is_told_of_the_steps_is_as_without():
    rejection = Rejection(cos_threshold=0.5, prop_threshold=0.5, max_retries=2)
    found = drawn(1000, "v", keep_trajectory=True, rejection=rejection)
    assert found.trajectory.shape == (DRAWS, SAMPLES, 20)
    one = drawn(1000, "v", steps=1, keep_trajectory=True)
    assert one.trajectory.shape == (DRAWS, SAMPLES, 1)
    assert np.isfinite(one.draws).all()


def test_one_step_of_all_draws_costs_one_evaluation_a_sample():
    config = NetworkConfig(architecture="adaln_mlp", width=64)
    module, cond = build(config, DIM, (DIM,)), jnp.zeros((SAMPLES, DIM), jnp.float32)
    variables = module.init(jax.random.key(0), cond, jnp.zeros(SAMPLES, jnp.int32), [cond])

    def work(predicts):
        bank = Bank.from_models("x", ["y"], [(module, variables)], predicts=predicts)
        solver = ddim(linear_schedule(1000), 1)

        def run(cond):
            key = jax.random.key(0)
            return coherent_sample(key, bank, [cond], solver=solver, num_draws=100).draws

        return jax.jit(run).lower(cond).compile().cost_analysis()["flops"]

    assert work("v") < 0.1 * work("eps")
