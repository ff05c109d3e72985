"""Members of an ensemble predict together, or take turns from draw to draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.sampling import (
    Bank,
    RecordedNoise,
    Rejection,
    SamplerConfig,
    coherent_sample,
    sample_rows,
)
from cohgen_jax.solvers import ddpm
from tests.sampling.test_temperature import SCHEDULE, SOLVER, VARIANCE, GaussianV

MODULE = GaussianV(3, (3,))


def bank_of(gains, sources=("y",), slots=None, losses=None) -> Bank:
    models = [(MODULE, {"params": {"gain": jnp.float32(gain)}}) for gain in gains]
    slots = [(0,)] * len(models) if slots is None else slots
    return Bank.from_models("x", sources, models, predicts="v", slots=slots, losses=losses)


def sample(bank, y, num_draws, **more):
    common = {"schedule": SCHEDULE, "solver": SOLVER, "ensemble": "mixture"} | more
    return coherent_sample(jax.random.key(0), bank, y, num_draws=num_draws, **common)


@pytest.fixture(scope="module")
def y():
    return np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


def test_a_draw_is_that_of_the_member_whose_turn_it_is(y):
    gains = (0.2, 0.5, 0.9)
    mixed = sample(bank_of(gains), [y], 7)
    alone = np.stack([sample(bank_of([gain]), [y], 7).draws for gain in gains])
    expected = alone[np.arange(7) % 3, np.arange(7)]
    np.testing.assert_allclose(mixed.draws, expected, atol=1e-6)
    later = sample(bank_of(gains), [y], 3, first_draw=4)
    np.testing.assert_allclose(later.draws, expected[4:], atol=1e-6)


def test_the_draws_are_the_mixture_of_the_members(y):
    """Mean: that of the members' means; variance: theirs, and that between them."""
    gains, many = np.array([0.2, 0.8]), np.broadcast_to(y[:1], (4000, 3))
    draws = np.asarray(sample(bank_of(gains), [many], 2).draws)
    mean, between = gains.mean() * y[0], gains.var() * y[0] ** 2
    np.testing.assert_allclose(draws.mean(axis=(0, 1)), mean, atol=0.03)
    np.testing.assert_allclose(draws.var(axis=(0, 1)), VARIANCE + between, rtol=0.06)
    together = np.asarray(sample(bank_of(gains), [many], 2, ensemble="average").draws)
    np.testing.assert_allclose(together.mean(axis=(0, 1)), mean, atol=0.03)
    np.testing.assert_allclose(together.var(axis=(0, 1)), VARIANCE, rtol=0.06)


def test_temperature_scales_the_spread_about_the_mean_of_all_members(y):
    bank, mean = bank_of((0.2, 0.8)), 0.5 * y
    hot, warm, cold = (np.asarray(sample(bank, [y], 4, temperature=t).draws) for t in (1, 0.3, 0))
    np.testing.assert_allclose(cold, np.broadcast_to(mean, cold.shape), atol=2e-3)
    np.testing.assert_allclose(warm, mean + 0.3 * (hot - mean), atol=2e-3)
    for rejection in (None, Rejection()):  # a draw of the first member knows the mean of both
        one = np.asarray(sample(bank, [y], 1, temperature=0, rejection=rejection).draws)
        np.testing.assert_array_equal(one[0], cold[0])


def test_members_are_counted_round_where_a_source_has_fewer(y):
    slots = [(0,), (0,), (1,)]
    bank = bank_of((0.2, 0.5, 0.9), ("y", "w"), slots)
    pairs = [bank_of((gain, 0.9), ("y", "w"), [(0,), (1,)]) for gain in (0.2, 0.5)]
    mixed = sample(bank, [y, -y], 4).draws
    for turn, pair in enumerate(pairs):
        expected = sample(pair, [y, -y], 4).draws[turn::2]
        np.testing.assert_allclose(mixed[turn::2], expected, atol=1e-6)


@pytest.mark.parametrize("rejection", [None, Rejection(cos_threshold=0.9, prop_threshold=0.1)])
def test_chunks_and_turns_change_nothing(rejection):
    rng = np.random.default_rng(1)
    z = rng.normal(size=(21, 3, 3)).astype(np.float32)
    present = rng.random((21, 3)) < 0.7
    bank = bank_of((0.2, 0.3, 0.5, 0.9), ("y", "w"), [(0,), (1,), (0,), (1,)])
    solver = ddpm(SCHEDULE, 5)
    config = SamplerConfig(solver=solver, rejection=rejection, ensemble="mixture")
    whole, *parts = (
        sample_rows(bank, ("x", "y", "w"), z, present, 0, 5, config, chains=chains)
        for chains in (1000, 16)
    )
    assert whole.draws.shape == (5, 21, 3)
    for part in parts:
        for one, other in zip(whole[:-2], part[:-2], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("rule", ["mean", "loss", "product"])
def test_members_share_the_weight_of_one(rule, y):
    """Two equal models of one source and one of another weigh what one of each does."""
    one = bank_of((0.2, 0.9), ("y", "w"), [(0,), (1,)], [0.5, 1.2])
    two = bank_of((0.2, 0.2, 0.9), ("y", "w"), [(0,), (0,), (1,)], [0.5, 0.5, 1.2])
    present = np.array([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1], [1, 1]], bool)
    expected, together = (
        sample(bank, [y, -y], 2, present=present, consensus=rule, ensemble="average").draws
        for bank in (one, two)
    )
    np.testing.assert_allclose(together[:, :3], expected[:, :3], atol=1e-5)


def test_recorded_noise_goes_with_its_draw(y):
    rng = np.random.default_rng(2)
    initial = jnp.asarray(rng.normal(size=(3, 6, 3)), jnp.float32)
    steps = jnp.asarray(rng.normal(size=(SOLVER.num_steps, 3, 6, 3)), jnp.float32)
    noise = RecordedNoise(initial, steps)
    mixed = sample(bank_of((0.2, 0.9)), [y], 3, recorded=noise).draws
    for draw, gain in enumerate((0.2, 0.9, 0.2)):
        alone = sample(bank_of([gain]), [y], 3, recorded=noise).draws[draw]
        np.testing.assert_allclose(mixed[draw], alone, atol=1e-6)


def test_recorded_noise_of_another_shape_is_refused(y):
    noise = RecordedNoise(jnp.zeros((2, 6, 3)), jnp.zeros((SOLVER.num_steps, 2, 6, 3)))
    with pytest.raises(InputError, match=r"recorded noise must be \(4, 6, 3\)"):
        sample(bank_of((0.2,)), [y], 4, recorded=noise)


def test_other_ensembles_are_refused(y):
    with pytest.raises(InputError, match="unknown ensemble 'bagging'; known: average, mixture"):
        sample(bank_of((0.2, 0.9)), [y], 2, ensemble="bagging")
