"""The Gaussian posterior as a denoiser: Bayes' rule at one level, and where its chain ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.networks.posterior import GaussianPosterior
from cohgen_jax.sampling import Moments, RecordedNoise, coherent_sample
from cohgen_jax.schedule import PREDICTIONS, eps_from, linear_schedule
from cohgen_jax.solvers import ddim, gaussian
from tests.sampling.networks import constant_bank

MEAN = np.array([0.5, -1.0, 0.0], np.float32)
VARIANCE = np.array([0.2, 0.7, 1.0], np.float32)


@pytest.mark.parametrize("predicts", PREDICTIONS)
@pytest.mark.parametrize("t", [0, 300, 999])
def test_bayes_rule(predicts, t):
    schedule = linear_schedule()
    a, s = np.sqrt(schedule.alpha_bar[t]), np.sqrt(1 - schedule.alpha_bar[t])
    x_t = np.random.default_rng(t).standard_normal((6, 3)).astype(np.float32)
    # The joint Gaussian of x_0 and x_t, conditioned by hand in float64.
    posterior = MEAN + a * VARIANCE / (a**2 * VARIANCE + s**2) * (x_t - a * MEAN)
    variables = {"levels": {"alpha_bar": jnp.asarray(schedule.alpha_bar, jnp.float32)}}
    condition = np.tile(np.concatenate([MEAN, VARIANCE]), (6, 1))
    out = GaussianPosterior(3, predicts).apply(
        variables, x_t, jnp.full(6, t, jnp.int32), [jnp.asarray(condition)]
    )
    expected, truth = (x_t - a * posterior) / s, posterior
    if predicts == "eps":
        truth = expected
    if predicts == "v":
        truth = a * expected - s * posterior
    np.testing.assert_allclose(out, truth, atol=1e-4)  # of alpha_bar near 1 in float32
    if predicts != "x_0":
        eps = eps_from(predicts, out, x_t, jnp.float32(a), jnp.float32(s))
        np.testing.assert_allclose(eps, expected, atol=1e-4)


def affine(solver, predicts, dim, means, variances, present):
    """Slope [N, D] and offset [N, D] of the chain that a regression drives alone.

    Of a bank of one network, which nobody in validation vouches for: its weight is 0, that of the
    regression 1. Without noise the chain is x_0 = slope x_T + offset, read off x_T = 0 and 1.
    """
    schedule = solver.schedule
    width = len(means[0])
    unknown = Moments(
        np.array([-9.0, 6.0]),
        np.zeros((2, width, 3, 3)),
        np.ones(width),
        np.array(0),
        np.array([0.0, 1.0]),
    )

    def regression(conds, present):
        assert len(conds) == 1
        shown = present[:, 0].astype(int)
        return np.stack(means)[shown], np.stack(variances)[shown]

    bank = constant_bank(
        1, dim, predicts=predicts, width=width, moments={(False,): unknown, (True,): unknown}
    ).with_regression(regression, schedule.alpha_bar)
    num = len(present)
    x_T = np.stack([np.zeros((num, dim)), np.ones((num, dim))]).astype(np.float32)
    noise = RecordedNoise(jnp.asarray(x_T), jnp.zeros((solver.num_steps, *x_T.shape), jnp.float32))
    offset, end = np.asarray(
        coherent_sample(
            jax.random.key(0),
            bank,
            [np.full((num, dim), np.nan, np.float32)],
            present,
            schedule=schedule,
            solver=solver,
            num_draws=2,
            consensus="stacked",
            recorded=noise,
        ).draws
    )
    return end - offset, offset


@pytest.mark.parametrize(
    ("solver", "predicts"),
    [
        (ddim(linear_schedule(), 250), "v"),
        (ddim(linear_schedule(), 250), "eps"),
        (gaussian(linear_schedule(), 1), "v"),
    ],
    ids=["v", "eps", "in one step"],
)
def test_its_chain_ends_in_the_posterior_of_each_pattern_and_on_the_width_alone(solver, predicts):
    """N(m, V) of what a patient has, exactly 0 on the padding."""
    means, variances = (0 * MEAN, MEAN), (0 * VARIANCE + 1, VARIANCE)
    present = np.array([[True], [False], [True]])
    slope, offset = affine(solver, predicts, 5, means, variances, present)
    for n, shown in enumerate(present[:, 0].astype(int)):
        np.testing.assert_allclose(slope[n, :3], np.sqrt(variances[shown]), atol=0.01)
        np.testing.assert_allclose(offset[n, :3], means[shown], atol=0.01)
    np.testing.assert_array_equal(slope[:, 3:], 0)
    np.testing.assert_array_equal(offset[:, 3:], 0)


def test_what_needs_the_variance_is_refused_where_no_regression_tells_it():
    conds = [np.zeros((2, 3), np.float32)]
    with pytest.raises(ValueError, match="mean consensus of this bank hears none"):
        coherent_sample(
            jax.random.key(0), constant_bank(1, 3), conds, solver=gaussian(linear_schedule(), 2)
        )
