"""Solvers against closed forms: for Gaussian data the exact noise prediction is linear in x_t.

Data N(m, v) per coordinate: x_t ~ N(a m, a^2 v + s^2) and
E[eps | x_t] = s (x_t - a m) / (a^2 v + s^2).
The chain is then affine in x_T, so its end is read off two inputs without Monte Carlo noise.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import SolverState, ddim, ddpm, dpmpp_2m, reverse_process, uniform_levels

MEAN, VARIANCE = 0.7, 0.3
# alpha_bar_T = e^-20: the usual schedule's e^-10 leaves a bias that hides the order of a solver.
SCHEDULE = linear_schedule(2000, 1e-4, 2e-2)


def affine_end(solver, schedule=SCHEDULE):
    """(slope, offset) of the sample as a function of x_T."""
    a = jnp.asarray(np.sqrt(schedule.alpha_bar))
    s = jnp.asarray(np.sqrt(1 - schedule.alpha_bar))

    def predict(x, t):
        return s[t] * (x - a[t] * MEAN) / (a[t] ** 2 * VARIANCE + s[t] ** 2), ()

    with jax.enable_x64(True):
        x, _ = reverse_process(solver, predict, jnp.array([0.0, 1.0]), lambda i: jnp.zeros(2))
    return float(x[1] - x[0]), float(x[0])


def error(solver) -> float:
    slope, offset = affine_end(solver)
    return abs(slope - np.sqrt(VARIANCE)) + abs(offset - MEAN)


@pytest.mark.parametrize(
    ("make", "steps", "order"),
    # Beyond 200 steps the second-order error sinks into the float32 rounding of the coefficients.
    [(ddim, [50, 100, 200, 400], 1), (dpmpp_2m, [50, 100, 200], 2)],
)
def test_deterministic_solvers_converge_at_their_order(make, steps, order):
    errors = [error(make(SCHEDULE, n)) for n in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope + order) < 0.12  # observed -0.97 and -2.09


def test_the_second_order_solver_is_better_at_equal_cost():
    assert error(dpmpp_2m(SCHEDULE, 50)) < 0.1 * error(ddim(SCHEDULE, 50))


@pytest.mark.parametrize(
    "make", [lambda s: ddpm(s), lambda s: ddim(s, s.num_steps, eta=1.0)], ids=["ddpm", "eta_one"]
)
def test_stochastic_solvers_reach_the_variance(make):
    """The variance of a linear chain, by its recursion: read the gains off unit inputs."""
    schedule = linear_schedule()
    solver = make(schedule)
    a, s = np.sqrt(schedule.alpha_bar), np.sqrt(1 - schedule.alpha_bar)

    def advance(i, x, noise):
        t = solver.timesteps[i]
        eps = s[t] * x / (a[t] ** 2 * VARIANCE + s[t] ** 2)
        state = SolverState(jnp.float32(x))
        return float(solver.step(state, jnp.float32(eps), i, jnp.float32(noise)).x)

    variance = 1.0
    for i in range(solver.num_steps):
        variance = advance(i, 1.0, 0.0) ** 2 * variance + advance(i, 0.0, 1.0) ** 2
    assert variance == pytest.approx(VARIANCE, rel=0.02)


def test_ddim_with_one_step_a_level_is_ddpm_in_the_mean():
    """Without noise, eta = 1 and the ancestral step are the same update."""
    schedule = linear_schedule(100)
    x, eps = jnp.float32(0.3), jnp.float32(-0.8)
    one, other = ddpm(schedule), ddim(schedule, 100, eta=1.0)
    for i in (0, 50, 99):
        steps = [solver.step(SolverState(x), eps, i, jnp.float32(0)).x for solver in (one, other)]
        assert steps[0] == pytest.approx(float(steps[1]), rel=1e-5)


def test_the_published_last_step_divides_by_one():
    schedule = linear_schedule(20)
    ours, published = ddpm(schedule), ddpm(schedule, published_last_step=True)
    x, eps, zero = jnp.float32(0.5), jnp.float32(0.1), jnp.float32(0)
    last = [s.step(SolverState(x), eps, 19, zero).x for s in (ours, published)]
    assert float(last[1] / last[0]) == pytest.approx(np.sqrt(1 - schedule.beta[0]), rel=1e-6)
    first = [s.step(SolverState(x), eps, 0, zero).x for s in (ours, published)]
    assert first[0] == first[1]


def test_grids():
    assert list(uniform_levels(1000, 1000)) == list(range(999, -1, -1))
    assert list(uniform_levels(10, 2)) == [9, 4]
    assert np.all(np.diff(uniform_levels(1000, 37)) < 0)
    with pytest.raises(ValueError, match="between 1 and"):
        uniform_levels(10, 11)
    with pytest.raises(ValueError, match="eta"):
        ddim(linear_schedule(), eta=2)
