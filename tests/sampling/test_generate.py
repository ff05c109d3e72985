"""Streaming patients through the sampler: chunks, ids, and the generators that evaluation uses."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.sampling import (
    Bank,
    Moments,
    Rejection,
    Sampler,
    SamplerConfig,
    coherent_sample,
    generate,
)
from cohgen_jax.sampling.generate import bank_generator, sample_rows
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import ddpm

SCHEDULE = linear_schedule(50)
SOLVER = ddpm(SCHEDULE, 5)
MODALITIES = ("a", "b", "c")
D = 3
REJECTION = Rejection(cos_threshold=0.5, prop_threshold=0.3)


class Linear(nn.Module):
    """eps = 0.3 x + weight * (shown conditions), for any number of conditions."""

    x_dim: int
    cond_dims: tuple[int, ...]

    @nn.compact
    def __call__(self, x, t, conds, mask=None, *, train=False):
        weight = self.param("weight", nn.initializers.ones, ())
        if mask is None:
            mask = jnp.ones((x.shape[0], len(conds)), x.dtype)
        shown = sum(mask[:, c, None] * cond for c, cond in enumerate(conds))
        return 0.3 * x + weight * shown


def bank_of(target, sources, predicts="eps") -> Bank:
    models = [
        (Linear(D, (D,)), {"params": {"weight": jnp.float32(0.1 * MODALITIES.index(s) + 0.2)}})
        for s in sources
    ]
    return Bank.from_models(target, sources, models, predicts=predicts)


def patients(num, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(num, 3, D)).astype(np.float32)
    present = rng.random((num, 3)) < 0.7
    present[:, 1] |= ~present.any(axis=1)
    return z, present


def sample(
    z,
    present,
    seed=0,
    num_draws=2,
    target="a",
    predicts="eps",
    *,
    chains=None,
    on_chunk=lambda rows: None,
    sample_ids=None,
    **settings,
):
    bank = bank_of(target, [m for m in MODALITIES if m != target], predicts)
    config = SamplerConfig(solver=SOLVER, **settings)
    more = {"chains": chains, "on_chunk": on_chunk, "sample_ids": sample_ids}
    return sample_rows(bank, MODALITIES, z, present, seed, num_draws, config, **more)


@pytest.mark.parametrize("rejection", [None, REJECTION])
def test_chunks_change_nothing(rejection):
    z, present = patients(70)
    whole = sample(z, present, rejection=rejection, keep_trajectory=True)
    assert whole.draws.shape == (2, 70, D)
    assert whole.trajectory.shape == (2, 70, 5)
    seen = []
    more = {"rejection": rejection, "keep_trajectory": True, "on_chunk": seen.append}
    for chains, rows in ((64, [24, 23, 23]), (8, [8] * 7 + [7] * 2)):  # the latter draw by draw
        parts = sample(z, present, chains=chains, **more)
        assert seen == rows
        seen.clear()
        for one, other in zip(whole[:-1], parts[:-1], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("rejection", [None, pytest.param(REJECTION, marks=pytest.mark.heavy)])
def test_chunks_change_nothing_where_a_regression_speaks(rejection):
    """Patterns of a chunk are weighed as those of all, and patients regressed all at once."""
    z, present = patients(40)
    rng = np.random.default_rng(1)
    root = rng.normal(size=(2, D, 4, 4))
    second = root @ np.swapaxes(root, -1, -2)
    moments = {
        pattern: Moments(np.array([-9.0, 6.0]), second * size, np.ones(D), np.array(9), np.ones(3))
        for size, pattern in enumerate([(False, False), (True, False), (True, True)], start=1)
    }

    asked = []

    def regression(conds, present):
        asked.append(len(present))
        mean = sum(np.where(present[:, [c]], own, 0.5) for c, own in enumerate(conds))
        return mean.astype(np.float32), np.full_like(mean, 0.3, np.float32)

    bank = bank_of("a", ["b", "c"]).replace(moments=moments)
    bank = bank.with_regression(regression, SCHEDULE.alpha_bar)
    config = SamplerConfig(solver=SOLVER, consensus="stacked", rejection=rejection)
    parts = [
        sample_rows(bank, MODALITIES, z, present, 0, 3, config, chains=chains)
        for chains in (1000, 64, 8)
    ]
    assert asked == [40, 40, 40]
    whole = Sampler(bank, config)(jax.random.key(0), [z[:, 1], z[:, 2]], present[:, 1:], 3)
    assert (np.asarray(whole.retries).max() > 0) == (rejection is not None)
    for part in parts:
        for one, other in zip(whole[:-2], part[:-2], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_posterior_mean_is_one_for_all_draws_and_chunks():
    """It is what temperature 0 draws, however many patients and draws a call has."""
    z, present = patients(70)
    cold = sample(z, present, predicts="v", temperature=0.0).draws
    for chains in (1000, 64, 8):  # the last draw by draw
        mean = sample(z, present, predicts="v", temperature=0.5, chains=chains).mean
        assert mean.shape == (1, 70, D)
        np.testing.assert_allclose(mean[0], cold[0], atol=1e-5)
    assert sample(z, present).mean is None  # nothing was scaled about it


@pytest.mark.parametrize(("num", "num_draws", "chains"), [(1, 1, 1), (7, 3, 100), (67, 5, 9)])
def test_odd_numbers_are_one_call_of_the_sampler(num, num_draws, chains):
    z, present = patients(num)
    streamed = sample(z, present, num_draws=num_draws, chains=chains)
    at_once = coherent_sample(
        jax.random.key(0),
        bank_of("a", ["b", "c"]),
        [z[:, 1], z[:, 2]],
        present[:, 1:],
        schedule=SCHEDULE,
        solver=SOLVER,
        num_draws=num_draws,
    )
    assert streamed.draws.shape == (num_draws, num, D)
    np.testing.assert_allclose(streamed.draws, at_once.draws, atol=1e-5)
    np.testing.assert_allclose(streamed.disagreement, at_once.disagreement, atol=1e-5)


def test_a_patient_keeps_its_noise_under_its_id():
    z, present = patients(6)
    ids = np.array([7, 2**32 - 1, 0, 5, 11, 12], np.uint32)
    base = sample(z, present, sample_ids=ids)
    order = np.array([3, 1, 5, 0])
    some = sample(z[order], present[order], sample_ids=ids[order])
    np.testing.assert_allclose(some.draws, base.draws[:, order], atol=1e-5)
    np.testing.assert_allclose(
        sample(z, present).draws, sample(z, present, sample_ids=np.arange(6)).draws
    )


def test_patients_draws_targets_and_seeds_have_noise_of_their_own():
    z, present = patients(1)
    z, present = np.repeat(z, 4, axis=0), np.repeat(present, 4, axis=0)
    draws = np.concatenate([sample(z, present, seed=seed).draws for seed in (0, 1)])
    flat = draws.reshape(-1, D)
    distance = np.abs(flat[:, None] - flat[None]).max(axis=2)
    assert distance[~np.eye(len(flat), dtype=bool)].min() > 1e-3


def test_absent_modalities_are_not_looked_at():
    z, present = patients(12)
    hidden = np.where(present[:, :, None], z, np.nan)
    np.testing.assert_array_equal(sample(z, present).draws, sample(hidden, present).draws)


def test_nobody_is_an_error():
    z, present = patients(3)
    with pytest.raises(InputError, match="no patients to generate a for"):
        sample(z[:0], present[:0])


def test_a_generator_asks_for_the_models_that_somebody_needs():
    asked = []

    def bank_for(sources):
        asked.append(sources)
        return bank_of("b", sources or ("a", "c"))

    run = bank_generator(bank_for, MODALITIES, "b", SamplerConfig(solver=SOLVER))
    z, present = patients(9)
    present[:] = [True, True, False]
    only_a = run(z, present, 3, 0)
    present[4] = [False, True, True]
    both = run(z, present, 3, 0)
    present[:] = False
    unconditional = run(z, present, 3, 0)
    assert asked == [("a",), ("a", "c"), ()]
    assert only_a.draws.shape == both.draws.shape == (3, 9, D)
    assert only_a.disagreement.shape == (3, 9)
    # A model that nobody needed changes nobody's sample.
    others = np.arange(9) != 4
    np.testing.assert_allclose(only_a.draws[:, others], both.draws[:, others], atol=1e-5)
    assert np.abs(unconditional.draws - both.draws).max() > 1e-3


@pytest.mark.parametrize(
    ("num", "size"), [(1, 1), (2, 32), (33, 64), (64, 64), (65, 128), (4097, 4608)]
)
def test_few_sizes_are_compiled(num, size):
    assert generate.patients_at_once(num) == size
