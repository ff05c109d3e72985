"""Covariates: one more condition, which everybody has and nobody hides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.networks import NetworkConfig, build
from cohgen_jax.sampling import Bank, SamplerConfig, coherent_sample, sample_rows
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import ddim, ddpm
from tests.sampling.test_specialize import disturbed

SCHEDULE = linear_schedule(100)
D, KNOWN = 4, 2
MODALITIES = ("x", "a", "b")


def bank_of(kind, **more):
    """Models that know two covariates: one of each source, or one of both."""
    config = NetworkConfig(architecture="adaln_mlp", width=16, num_layers=1)
    num_sources, count = {"single": (1, 2), "multi": (2, 1)}[kind]
    module = build(config, D, (D,) * num_sources + (KNOWN,))
    models = [(module, disturbed(module, k)) for k in range(count)]
    common = {"predicts": "v", "natural": [np.full(D, 2.0)] * 2, "covariates": KNOWN}
    return Bank.from_models("x", ["a", "b"], models, **common, **more)


def patients(num=5, seed=0):
    """z [N, M + 1, D] with covariates in the first columns of the last row, and who has what."""
    z = np.random.default_rng(seed).normal(size=(num, 4, D)).astype(np.float32)
    z[:, -1, KNOWN:] = 0
    present = np.array([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1]], bool)[:num]
    return z, present


def sample(bank, z, present, **more):
    conds = [z[:, 1], z[:, 2], z[:, 3, :KNOWN]]
    common = {"schedule": SCHEDULE, "solver": ddim(SCHEDULE, 6)} | more
    return np.asarray(coherent_sample(jax.random.key(0), bank, conds, present, **common).draws)


def test_they_come_last_in_the_slots_of_every_model():
    assert bank_of("single").slots == ((0, 2), (1, 2))
    assert bank_of("multi").slots == ((0, 1, 2),)
    with_regression = bank_of("single").with_regression(lambda *_: None, SCHEDULE.alpha_bar)
    assert with_regression.slots == ((0, 2), (1, 2), (3,))


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_other_covariates_are_other_draws_whatever_a_patient_lacks(kind):
    """Also of who has no source, and never by the values of absent ones."""
    bank, (z, present) = bank_of(kind), patients()
    base = sample(bank, z, present)
    other = z.copy()
    other[:, -1, :KNOWN] += 1.0
    moved = sample(bank, other, present)
    assert np.abs(moved - base).max(axis=(0, 2)).min() > 1e-3  # every patient
    hidden = z.copy()
    hidden[:, 1:3][~present] = np.nan
    np.testing.assert_array_equal(sample(bank, hidden, present), base)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_predictions_are_those_of_networks_told_that_covariates_are_there(kind):
    bank, (z, present) = bank_of(kind), patients()
    conds = bank.conditions([z[:, 1], z[:, 2], z[:, 3, :KNOWN]], present)
    x = jax.random.normal(jax.random.key(1), (1, 5, D), jnp.float32)
    a, s = (np.float32(f(SCHEDULE.alpha_bar[60])) for f in (np.sqrt, lambda b: np.sqrt(1 - b)))
    eps = bank.predict_eps(x, jnp.int32(60), conds, jnp.asarray(present), a, s)
    group, shown = bank.groups[0], present.astype(np.float32)
    for k, slot in enumerate(bank.slots):
        sources = slot[:-1]
        mask = np.concatenate([shown[:, sources], np.ones((5, 1), np.float32)], axis=1)
        given = [2 * np.where(present[:, [c]], z[:, 1 + c], 0) for c in sources]
        out = group.module.apply(
            jax.tree.map(lambda leaf, k=k: leaf[k], group.variables),
            x[0],
            jnp.full(5, 60, jnp.int32),
            [*given, z[:, 3, :KNOWN]],
            mask,
        )
        np.testing.assert_allclose(eps[k, 0], s * x[0] + a * out, atol=1e-5)


def test_covariates_alone_are_no_voice():
    """A network without a source of a patient's is not heard, whatever it knows of it."""
    bank, (_, present) = bank_of("single"), patients()
    np.testing.assert_array_equal(bank.available(present), present)
    np.testing.assert_array_equal(bank_of("multi").available(present)[:, 0], present.any(axis=1))


def test_a_regression_is_told_what_the_networks_see():
    """Sources in natural scale, 0 where absent, then the covariates as they are."""
    heard = []

    def regression(conds, present):
        heard.append((conds, present))
        return np.zeros((len(present), D), np.float32), np.ones((len(present), D), np.float32)

    (z, present) = patients()
    bank = bank_of("single").with_regression(regression, SCHEDULE.alpha_bar)
    seen = bank.conditions([z[:, 1], z[:, 2], z[:, 3, :KNOWN]], present)
    (conds, shown) = heard[0]
    np.testing.assert_array_equal(shown, present)
    for c in range(2):
        np.testing.assert_array_equal(conds[c], np.where(present[:, [c]], 2 * z[:, 1 + c], 0))
    np.testing.assert_array_equal(conds[2], z[:, 3, :KNOWN])
    assert seen[3].shape == (5, 2 * D)


@pytest.mark.parametrize("chains", [1, 4, 1000])
def test_streaming_takes_them_from_the_last_column(chains):
    bank, (z, present) = bank_of("single"), patients()
    shown = np.concatenate([np.zeros((5, 1), bool), present], axis=1)
    solver = ddpm(SCHEDULE, 5)
    streamed = sample_rows(
        bank, MODALITIES, z, shown, 0, 3, SamplerConfig(solver=solver), chains=chains
    ).draws
    at_once = sample(bank, z, present, solver=solver, num_draws=3)
    np.testing.assert_allclose(streamed, at_once, atol=1e-5)


def test_covariates_that_are_not_given_are_missed():
    bank, (z, present) = bank_of("single"), patients()
    with pytest.raises(InputError, match=r"2 conditions for the 2 sources a, b and covariates"):
        coherent_sample(
            jax.random.key(0),
            bank,
            [z[:, 1], z[:, 2]],
            present,
            schedule=SCHEDULE,
            solver=ddim(SCHEDULE, 2),
        )
    shown = np.concatenate([np.zeros((5, 1), bool), present], axis=1)
    with pytest.raises(InputError, match="covariates"):
        sample_rows(
            bank, MODALITIES, z[:, :3], shown, 0, 1, SamplerConfig(solver=ddim(SCHEDULE, 2))
        )
