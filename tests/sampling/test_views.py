"""Models that are one network, each shown other conditions of it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.networks import NetworkConfig, build
from cohgen_jax.sampling import Bank, SamplerConfig, sample_rows
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import ddim
from cohgen_jax.training import moments
from tests.sampling.test_specialize import disturbed

SCHEDULE = linear_schedule(40)
SOURCES, WIDTH, COVARIATES = ("b", "c", "d"), 4, 2
MODULE = build(
    NetworkConfig(width=8, num_layers=1, time_embedding=8), WIDTH, (WIDTH,) * 3 + (COVARIATES,)
)
NETWORKS = [disturbed(MODULE, seed) for seed in (0, 7)]
"""Two members of an ensemble."""


def views(networks=NETWORKS, sources=SOURCES, **settings) -> Bank:
    """A model for each network and source."""
    return Bank.from_models(
        "a",
        sources,
        [(MODULE, variables) for variables in networks],
        predicts="v",
        slots=[(s,) for _ in networks for s in range(len(sources))],
        inputs=[sources.index(name) if name in sources else None for name in SOURCES],
        covariates=COVARIATES,
        width=3,
        **settings,
    )


@pytest.fixture(scope="module")
def patients():
    """Latents of a, b, c and d and covariates [9, 5, 4]; which they have, one of them nothing."""
    rng = np.random.default_rng(0)
    present = rng.random((9, 4)) < 0.6
    present[0], present[1, 1:] = True, False
    return rng.normal(size=(9, 5, WIDTH)).astype(np.float32), present


def given(patients):
    """What a bank is given of them: a noised at step 20, its sources and covariates, who has them,
    signal and noise."""
    z, present = patients
    conds = [jnp.asarray(z[:, s]) for s in (1, 2, 3)] + [jnp.asarray(z[:, 4, :COVARIATES])]
    level = jnp.int32(20), jnp.float32(0.8), jnp.float32(0.6)
    return jnp.asarray(z[None, :, 0]), level[0], conds, jnp.asarray(present[:, 1:]), *level[1:]


def sample(bank, patients, **settings):
    z, present = patients
    config = SamplerConfig(solver=ddim(SCHEDULE, 4), **{"consensus": "mean", **settings})
    return sample_rows(bank, ("a", *SOURCES), z, present, 0, 3, config)


def test_a_view_says_what_the_network_says_of_its_source_alone(patients):
    x, t, conds, present, *_ = given(patients)
    eps = views().predict_eps(*given(patients))
    assert eps.shape == (6, 1, 9, WIDTH)
    for k, (variables, s) in enumerate((v, s) for v in NETWORKS for s in range(3)):
        mask = np.zeros((9, 4), np.float32)
        mask[:, s], mask[:, 3] = present[:, s], 1
        v = MODULE.apply(variables, x[0], jnp.full(9, t), conds, jnp.asarray(mask))
        expected = np.asarray(0.8 * v + 0.6 * x[0]) * [1, 1, 1, 0]
        np.testing.assert_allclose(eps[k, 0], expected, atol=1e-5)


@pytest.mark.parametrize("specialized", [True, False])
def test_views_sample_as_the_network_does_of_patients_who_have_one_source(patients, specialized):
    z, _ = patients
    alone = np.eye(4, dtype=bool)[1 + np.arange(len(z)) % 3]
    multi = Bank.from_models(
        "a", SOURCES, [(MODULE, NETWORKS[0])], predicts="v", covariates=COVARIATES, width=3
    )
    expected = sample(multi, (z, alone))
    got = sample(views(NETWORKS[:1]), (z, alone), specialized=specialized)
    np.testing.assert_allclose(got.draws, expected.draws, atol=1e-4)
    assert np.isnan(got.disagreement).all()


def test_parameters_are_there_once():
    leaves = jax.tree.leaves(views().groups[0].variables)
    assert {len(leaf) for leaf in leaves} == {len(NETWORKS)}
    assert views().num_models == 6


def test_members_take_turns(patients):
    """A turn is one network and all its views."""
    mixed = sample(views(), patients, ensemble="mixture").draws
    for turn, network in enumerate(NETWORKS):
        alone = sample(views([network]), patients).draws[turn::2]
        np.testing.assert_allclose(mixed[turn::2], alone, atol=1e-5)


def test_a_bank_of_some_sources_in_another_order(patients):
    """Its networks take the third source too: as one that nobody has."""
    z, present = patients
    without = present.copy()
    without[:, 1] = False
    whole = sample(views(), (z, without)).draws
    some = sample(views(sources=("d", "c")), (z, present)).draws
    np.testing.assert_allclose(some, whole, atol=1e-5)


def test_some_of_the_models(patients):
    """In another order, of one network two views and of the other one."""
    chosen = [4, 2, 0]
    every, some = (bank.predict_eps(*given(patients)) for bank in (views(), views().of(chosen)))
    np.testing.assert_allclose(some, every[np.array(chosen)], atol=1e-5)


def test_moments_are_those_of_the_predictions(patients, monkeypatch):
    """A source alone: of its views; all sources: alike, whatever else a patient has."""
    rng = np.random.default_rng(1)
    x_0, conds = rng.normal(size=(40, WIDTH)) * [1, 1, 1, 0], rng.normal(size=(3, 40, WIDTH))
    known = rng.normal(size=(40, COVARIATES))

    def of(pattern, bank):
        seen = [*np.float32(conds), np.float32(known)]
        return moments.measure_moments(
            bank, np.float32(x_0), seen, pattern, np.ones(3), SCHEDULE, 0
        )

    whole, alone = of((True, True, True), views()), of((False, True, False), views())
    assert whole.second.shape[1:] == (3, 7, 7)
    heard = [1, 4]
    assert not alone.second[..., [0, 2, 3, 5], :].any()
    np.testing.assert_allclose(alone.of(heard).second, whole.of(heard).second, atol=1e-5)
    assert np.linalg.eigvalsh(whole.second).min() > -1e-4
    monkeypatch.setattr(moments, "FEW_PATIENTS", 0)  # many: only models that are heard
    other = of((False, True, False), views())
    np.testing.assert_allclose(other.second, alone.second, atol=1e-5)
    bank = dataclasses.replace(views(), moments={(True, True, True): whole})
    assert np.isfinite(sample(bank, patients, consensus="stacked").draws).all()


def test_slots_that_do_not_fit_the_networks_are_refused():
    with pytest.raises(InputError, match="2 models for target 'a', but sources b, c, d ask for 3"):
        Bank.from_models(
            "a",
            SOURCES,
            [(MODULE, variables) for variables in NETWORKS],
            slots=[(0,), (1,), (2,)],
            inputs=range(3),
        )
