"""At the first level of a chain, where nothing of x_0 is left, one evaluation serves all draws."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.networks import NetworkConfig, build
from cohgen_jax.sampling import Bank, Rejection, coherent_sample
from cohgen_jax.schedule import linear_schedule, target_of
from cohgen_jax.solvers import ddim, dpmpp_2m

DIM, DRAWS, SAMPLES = 3, 7, 5
VARIANCE = 0.36


class Posterior(nn.Module):
    """The exact prediction for x_0 | y ~ N(y, VARIANCE), of v or eps."""

    x_dim: int
    cond_dims: tuple[int, ...]
    levels: int
    predicts: str

    @nn.compact
    def __call__(self, x_t, t, conds, mask=None, *, train=False):
        alpha_bar = jnp.asarray(linear_schedule(self.levels).alpha_bar, jnp.float32)[t][:, None]
        a, s = jnp.sqrt(alpha_bar), jnp.sqrt(1 - alpha_bar)
        mean = self.param("gain", nn.initializers.ones, (), jnp.float32) * conds[0]
        eps = s * (x_t - a * mean) / (a**2 * VARIANCE + s**2)
        return target_of(self.predicts, (x_t - s * eps) / a, eps, a, s)


def drawn(levels, predicts, make=ddim, steps=20, **kwargs):
    model = (Posterior(DIM, (DIM,), levels, predicts), {"params": {"gain": jnp.float32(1)}})
    bank = Bank.from_models("x", ["y"], [model], predicts=predicts)
    y = jax.random.normal(jax.random.key(1), (SAMPLES, DIM), jnp.float32)
    solver = make(linear_schedule(levels), steps)
    return coherent_sample(jax.random.key(0), bank, [y], solver=solver, num_draws=DRAWS, **kwargs)


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
