"""Solvers against closed forms: for Gaussian data the exact noise prediction is linear in x_t.

Data N(m, v) per coordinate: x_t ~ N(a m, a^2 v + s^2) and
E[eps | x_t] = s (x_t - a m) / (a^2 v + s^2).
The chain is then affine in x_T, so its end is read off two inputs without Monte Carlo noise.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.schedule import linear_schedule, straight_time
from cohgen_jax.solvers import (
    GRIDS,
    Solver,
    SolverConfig,
    SolverState,
    clipped,
    ddim,
    ddpm,
    dpmpp_2m,
    gaussian,
    levels,
    reverse_process,
    uniform_levels,
)
from tests.conftest import enable_x64

MEAN, VARIANCE = 0.7, 0.3
# alpha_bar_T = e^-20: the usual schedule's e^-10 leaves a bias that hides the order of a solver.
SCHEDULE = linear_schedule(2000, 1e-4, 2e-2)


def affine_end(solver, schedule=SCHEDULE, known=VARIANCE):
    """(slope, offset) of the sample as a function of x_T. known: what a solver that needs the
    variance is told of it."""
    a = jnp.asarray(np.sqrt(schedule.alpha_bar))
    s = jnp.asarray(np.sqrt(1 - schedule.alpha_bar))

    def predict(x, t):
        return s[t] * (x - a[t] * MEAN) / (a[t] ** 2 * VARIANCE + s[t] ** 2), ()

    with enable_x64(True):
        x, _ = reverse_process(
            solver,
            predict,
            jnp.array([0.0, 1.0]),
            lambda i: jnp.zeros(2),
            variance=jnp.full(2, known),
        )
    return float(x[1] - x[0]), float(x[0])


def error(solver, **told) -> float:
    slope, offset = affine_end(solver, **told)
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


@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_one_step_is_enough_where_the_variance_is_known(num_steps):
    assert error(gaussian(SCHEDULE, num_steps)) < 1e-4  # float32 coefficients


def test_the_gaussian_solver_is_of_second_order_about_a_wrong_variance():
    steps = [5, 10, 20, 40]  # beyond, float32 coefficients
    errors = [error(gaussian(SCHEDULE, n), known=2 * VARIANCE) for n in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope + 2) < 0.12  # observed -2.07


def test_its_first_step_about_no_variance_is_ddim():
    x, eps, noise = jnp.array([0.3]), jnp.array([-0.8]), jnp.zeros(1)
    own, other = (make(linear_schedule(), 3, grid="angle") for make in (gaussian, ddim))
    ends = [
        solver.step(start, eps, 0, noise).x
        for solver, start in ((own, own.init(x, jnp.zeros(1))), (other, other.init(x)))
    ]
    np.testing.assert_allclose(*ends, rtol=1e-5)


def test_a_mixture_is_reached_in_fewer_steps_about_its_variance():
    """x_0 = +-0.8 with a spread of 0.6: what no Gaussian says is left to the steps."""
    a = jnp.asarray(np.sqrt(SCHEDULE.alpha_bar))
    s = jnp.asarray(np.sqrt(1 - SCHEDULE.alpha_bar))
    centre, within = 0.8, 0.36

    def predict(x, t):
        total = a[t] ** 2 * within + s[t] ** 2
        sign = jnp.tanh(a[t] * centre * x / total)
        return s[t] * (x - a[t] * centre * sign) / total, ()

    def end(solver):
        x_T = jnp.linspace(-2.5, 2.5, 41)
        variance = jnp.full(41, within + centre**2)
        with enable_x64(True):
            return reverse_process(
                solver, predict, x_T, lambda i: jnp.zeros(41), variance=variance
            )[0]

    truth = end(dpmpp_2m(SCHEDULE, 400, grid="log_snr"))
    of_gaussian, of_dpmpp = (
        float(jnp.sqrt(jnp.mean((end(make(SCHEDULE, 4)) - truth) ** 2)))
        for make in (gaussian, lambda s, n: dpmpp_2m(s, n, grid="log_snr"))
    )
    assert of_gaussian < 0.5 * of_dpmpp


def chain_variance(solver, schedule) -> float:
    """Variance at the end of a stochastic chain on N(0, VARIANCE), by the covariance recursion.

    The chain is linear in (x, memory, noise): each step's gains are read off unit inputs.
    """
    a, s = np.sqrt(schedule.alpha_bar), np.sqrt(1 - schedule.alpha_bar)
    multistep = not isinstance(solver.init(jnp.float32(0)).memory, tuple)

    def advance(i, x, memory, noise):
        t = solver.timesteps[i]
        eps = s[t] * x / (a[t] ** 2 * VARIANCE + s[t] ** 2)
        state = SolverState(jnp.float32(x), jnp.float32(memory) if multistep else ())
        after = solver.step(state, jnp.float32(eps), i, jnp.float32(noise))
        return [float(after.x), float(after.memory) if multistep else 0.0]

    covariance = np.diag([1.0, 0.0])
    for i in range(solver.num_steps):
        gains = np.array([advance(i, 1, 0, 0), advance(i, 0, 1, 0)]).T
        noise = np.array(advance(i, 0, 0, 1))
        covariance = gains @ covariance @ gains.T + np.outer(noise, noise)
    return covariance[0, 0]


@pytest.mark.parametrize(
    "make",
    [
        ddpm,
        lambda s: ddim(s, s.num_steps, eta=1.0),
        lambda s: dpmpp_2m(s, 60, eta=1.0, grid="log_snr"),
        lambda s: dpmpp_2m(s, 60, eta=0.5, grid="log_snr"),
    ],
    ids=["ddpm", "eta_one", "sde", "half_sde"],
)
def test_stochastic_solvers_reach_the_variance(make):
    schedule = linear_schedule()
    assert chain_variance(make(schedule), schedule) == pytest.approx(VARIANCE, rel=0.02)


def test_the_sde_solver_needs_fewer_steps_than_ddpm_for_the_variance():
    schedule = linear_schedule()
    sde, ancestral = (
        abs(chain_variance(solver, schedule) - VARIANCE)
        for solver in (
            dpmpp_2m(schedule, 60, eta=1.0, grid="log_snr"),
            ddpm(schedule, 60, grid="log_snr"),
        )
    )
    assert sde < 0.25 * ancestral


def test_without_noise_the_sde_solver_is_the_deterministic_one():
    schedule = linear_schedule(100)
    ode, sde = dpmpp_2m(schedule, 10), dpmpp_2m(schedule, 10, eta=1e-9)
    assert affine_end(ode, schedule) == pytest.approx(affine_end(sde, schedule), rel=1e-5)


@pytest.mark.parametrize("grid", GRIDS)
def test_solvers_converge_on_every_grid(grid):
    for make, bound in ((ddim, 0.05), (dpmpp_2m, 0.01)):
        errors = [error(make(SCHEDULE, n, grid=grid)) for n in (25, 100)]
        assert errors[1] < 0.5 * errors[0]
        assert errors[1] < bound


def test_clipping_holds_a_bad_first_prediction_and_leaves_good_ones_alone():
    schedule = linear_schedule()
    free = ddim(schedule, 20)
    held = clipped(free, 3.0)
    x = jnp.array([0.5, 0.5], jnp.float32)
    # At t = 999 a noise prediction that is off by 0.3 means |x_0| near 50.
    eps = jnp.array([0.2, 0.4999], jnp.float32)
    zero = jnp.zeros(2, jnp.float32)
    (wild, calm), (kept, same) = (
        np.asarray(solver.step(SolverState(x), eps, 0, zero).x) for solver in (free, held)
    )
    a = np.sqrt(schedule.alpha_bar[free.timesteps[1]])
    s = np.sqrt(1 - schedule.alpha_bar[free.timesteps[1]])
    assert kept == pytest.approx(3 * a + s * (0.5 - 3 * np.sqrt(schedule.alpha_bar[999])), rel=1e-3)
    assert abs(wild - kept) > 0.15
    assert same == calm
    # Where the signal has the upper hand nothing is clipped.
    last = free.num_steps - 1
    large = SolverState(jnp.array([9.0, -9.0], jnp.float32))
    np.testing.assert_allclose(
        held.step(large, eps, last, zero).x, free.step(large, eps, last, zero).x, rtol=1e-6
    )


def test_one_bad_prediction_cannot_blow_up_a_clipped_chain():
    schedule = linear_schedule()

    def predict(x, t):  # right about N(0, 1) data, but biased where all is noise
        a, s = np.sqrt(schedule.alpha_bar), np.sqrt(1 - schedule.alpha_bar)
        bias = jnp.where(t > 900, 0.3, 0.0).astype(jnp.float32)
        return jnp.asarray(s, jnp.float32)[t] * x + bias * jnp.asarray(a < 1)[t], ()

    ends = [
        reverse_process(solver, predict, jnp.zeros(1, jnp.float32), lambda i: jnp.zeros(1))[0]
        for solver in (ddim(schedule, 20), clipped(ddim(schedule, 20), 3.0))
    ]
    assert abs(float(ends[0][0])) > 4 * abs(float(ends[1][0]))


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
    schedule = linear_schedule()
    for grid in GRIDS:
        assert list(levels(schedule, 1000, grid)) == list(range(999, -1, -1))
        for num_steps in (2, 7, 37, 400):
            t = levels(schedule, num_steps, grid)
            assert (len(t), t[0]) == (num_steps, 999)
            assert np.all(np.diff(t) < 0)
            assert t[-1] >= 0
        assert list(levels(schedule, 1, grid)) == [999]
    spacing = np.diff(schedule.log_snr[levels(schedule, 15, "log_snr")])[:-3]
    assert np.ptp(spacing) < 0.1 * spacing.mean()
    # rho = 7 dwells at high noise longer than log SNR, shorter than t.
    middle = [levels(schedule, 15, grid)[7] for grid in ("log_snr", "karras", "uniform")]
    assert middle[0] < middle[1]


def test_ddim_on_the_straight_grid_is_euler_on_straight_paths():
    """z = x_t / (a + s) = (1 - tau) x_0 + tau eps moves by (next tau - tau) (eps - x_0)."""
    schedule = linear_schedule()
    solver = ddim(schedule, 6, grid="straight")
    time = np.append(straight_time(schedule), 0.0)[np.append(solver.timesteps, -1)]
    assert np.diff(time) == pytest.approx(np.full(6, -1 / 6), abs=0.01)
    alpha_bar = schedule.alpha_bar_at(np.append(solver.timesteps, -1))
    a, s = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
    x, eps = np.array([0.3, -1.2]), np.array([0.9, -0.4])
    for i in range(6):
        x_0 = (x - s[i] * eps) / a[i]
        z = x / (a[i] + s[i]) + (time[i + 1] - time[i]) * (eps - x_0)
        ours = solver.step(SolverState(jnp.asarray(x)), jnp.asarray(eps), i, jnp.zeros(2)).x
        assert np.asarray(ours) == pytest.approx((a[i + 1] + s[i + 1]) * z, rel=1e-4, abs=1e-4)


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="between 1 and"):
        uniform_levels(10, 11)
    schedule = linear_schedule()
    for make in (ddim, dpmpp_2m):
        with pytest.raises(ValueError, match="eta"):
            make(schedule, eta=2)
        with pytest.raises(ValueError, match="unknown grid"):
            make(schedule, grid="even")  # pyright: ignore
    with pytest.raises(ValueError, match="gaussian solver is deterministic"):
        SolverConfig(name="gaussian", eta=0.5)
    with pytest.raises(ValueError, match="clip must be positive"):
        clipped(ddim(schedule), 0)


def test_solvers_are_equal_by_what_they_do():
    """Two builds of one configuration are one compiled sampler, another setting is another."""
    schedule = linear_schedule()
    made = [
        SolverConfig(**settings).build(schedule, "v")
        for settings in (
            *({}, {"num_steps": 9}, {"eta": 0.5}, {"grid": "karras"}, {"clip": 3.0}),
            *({"name": "ddim"}, {"name": "ddim", "eta": 0.5}, {"name": "ddpm"}),
            *({"name": "gaussian"}, {"name": "gaussian", "num_steps": 2}),
        )
    ]
    made.append(SolverConfig().build(linear_schedule(500), "v"))
    made.append(SolverConfig().build(linear_schedule(beta_end=1.9e-2), "v"))
    assert len(set(made)) == len(made)
    again = SolverConfig().build(linear_schedule(), "v")
    assert again is not made[0]
    assert again == made[0]
    assert hash(again) == hash(made[0])
    own = Solver(made[0].init, made[0].step, made[0].timesteps, schedule)  # somebody's, unnamed
    assert own == own
    assert own != Solver(made[0].init, made[0].step, made[0].timesteps, schedule)
