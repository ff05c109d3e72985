"""What the configuration settles by itself."""

import numpy as np
import pytest

from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import SolverConfig, ddpm, dpmpp_2m

SCHEDULE = linear_schedule(100)


def one_step(solver, noise):
    state = solver.init(np.ones((1, 1, 4), np.float32))
    return np.asarray(solver.step(state, np.full((1, 1, 4), 0.3, np.float32), 0, noise).x)


@pytest.mark.parametrize(
    ("predicts", "expected"),
    [
        ("v", dpmpp_2m(SCHEDULE, 8, eta=0.0, grid="log_snr")),
        ("x_0", dpmpp_2m(SCHEDULE, 8, eta=0.0, grid="log_snr")),
        ("eps", dpmpp_2m(SCHEDULE, 10, eta=1.0, grid="uniform")),
    ],
)
def test_the_default_solver_follows_the_prediction(predicts, expected):
    """Fresh noise and two steps more for epsilon-networks."""
    solver = SolverConfig().build(SCHEDULE, predicts)
    np.testing.assert_array_equal(solver.timesteps, expected.timesteps)
    noise = np.full((1, 1, 4), 2.0, np.float32)
    np.testing.assert_array_equal(one_step(solver, noise), one_step(expected, noise))
    moved = np.any(one_step(solver, noise) != one_step(solver, -noise))
    assert moved == (predicts == "eps")


def test_what_is_given_is_kept():
    solver = SolverConfig(name="ddpm", num_steps=7).build(SCHEDULE, "v")
    np.testing.assert_array_equal(solver.timesteps, ddpm(SCHEDULE, 7).timesteps)
    given = SolverConfig(num_steps=6, eta=1.0, grid="karras").build(SCHEDULE, "v")
    expected = dpmpp_2m(SCHEDULE, 6, eta=1.0, grid="karras")
    np.testing.assert_array_equal(given.timesteps, expected.timesteps)
