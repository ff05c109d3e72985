"""The stacked consensus against closed forms of jointly Gaussian data."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.sampling import Bank, Moments, RecordedNoise, coherent_sample, stacking
from cohgen_jax.sampling.consensus import weigh
from cohgen_jax.sampling.stacking import nearest_pattern, restricted, stacked_weights
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import ddim
from cohgen_jax.training.moments import measure_moments, moment_levels
from tests.sampling.networks import Constant, constant_bank
from tests.sampling.test_coherent import GaussianExpert

SCHEDULE = linear_schedule(1000)
SOLVER = ddim(SCHEDULE, 200)
GAIN = np.array([0.8, 0.5, 0.6])
"""y_k = GAIN_k x_0 + n_k with x_0 ~ N(0, 1) and n ~ N(0, NOISE): the sources share noise."""
NOISE = np.array([[0.5, 0.2, 0.1], [0.2, 0.8, 0.3], [0.1, 0.3, 1.0]])
MANY = 10**6
"""Patients, beyond whom weights are hardly pulled."""
COVARIANCE = np.outer(GAIN, GAIN) + NOISE
MEMBER_GAIN = GAIN / np.diag(COVARIANCE)  # m_k = MEMBER_GAIN_k y_k
MEMBER_VARIANCE = 1 - GAIN * MEMBER_GAIN


def joint(sources):
    """Gains on y and variance of the posterior of x_0 given these sources."""
    gains = np.linalg.solve(COVARIANCE[np.ix_(sources, sources)], GAIN[sources])
    return gains, 1 - GAIN[sources] @ gains


def closed_form_weights(sources, log_snr):
    gains, variance = joint(sources)
    a2 = 1 / (1 + np.exp(-log_snr))[:, None]
    c = gains / MEMBER_GAIN[sources]
    return c * (a2 * MEMBER_VARIANCE[sources] + 1 - a2) / (a2 * variance + 1 - a2)


def closed_form_moments(width=2):
    """E v_i v_j and E v_i v of members that know their posteriors, all features alike."""
    log_snr = SCHEDULE.log_snr[moment_levels(SCHEDULE)]
    basis = np.block(  # covariance of (x_0, eps, y)
        [
            [np.eye(2), np.vstack([GAIN, np.zeros(3)])],
            [np.vstack([GAIN, np.zeros(3)]).T, COVARIANCE],
        ]
    )
    second = []
    for a2 in 1 / (1 + np.exp(-log_snr)):
        a, s = np.sqrt(a2), np.sqrt(1 - a2)
        scale = s / (a2 * MEMBER_VARIANCE + s**2)
        on_x = scale * a * (1 - MEMBER_VARIANCE)
        v_k = np.hstack([np.outer(on_x, [a, s]), -np.diag(scale * MEMBER_GAIN)])
        v = np.vstack([v_k, [-s, a, 0, 0, 0]])
        second.append(v @ basis @ v.T)
    second = np.stack([np.stack(second)] * width, axis=1)
    return Moments(log_snr, second, np.ones(width), np.array(MANY), np.zeros(3))


def for_all_patterns(moments, num_sources=3):
    """What a network predicts from its source does not depend on what else is shown."""
    patterns = itertools.product([False, True], repeat=num_sources)
    return {pattern: moments for pattern in patterns if any(pattern)}


def experts(sources=(0, 1, 2), **kwargs):
    models = [
        (
            GaussianExpert(2, (2,), 1000, MEMBER_VARIANCE[k]),
            {"params": {"gain": jnp.float32(MEMBER_GAIN[k])}},
        )
        for k in sources
    ]
    return Bank.from_models("x", [f"y{k}" for k in sources], models, **kwargs)


def affine(bank, y, present, consensus, **more):
    """The chain without noise is x_0 = slope x_T + offset: its posterior's sd and mean, [N]."""
    num = len(y)
    x_T = np.stack([np.zeros((num, 2)), np.ones((num, 2))]).astype(np.float32)
    noise = RecordedNoise(jnp.asarray(x_T), jnp.zeros((SOLVER.num_steps, *x_T.shape), jnp.float32))
    conds = [np.repeat(y[:, [k]], 2, axis=1) for k in range(y.shape[1])]
    offset, slope = coherent_sample(
        jax.random.key(0),
        bank,
        conds,
        present,
        schedule=SCHEDULE,
        solver=SOLVER,
        num_draws=2,
        consensus=consensus,
        recorded=noise,
        **more,
    ).draws[..., 0]
    return np.asarray(slope - offset), np.asarray(offset)


@pytest.fixture
def unpulled(monkeypatch):
    """Without regularisation, the limit of many patients."""
    monkeypatch.setattr(stacking, "RIDGE", 1e-7)


def test_the_stacked_chain_ends_in_the_joint_posterior_of_whatever_is_present(unpulled):
    patterns = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 1], [0, 0, 1], [1, 1, 1]], bool)
    y = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    sd, mean = affine(
        experts(moments=for_all_patterns(closed_form_moments())), y, patterns, "stacked"
    )
    for n, pattern in enumerate(patterns):
        sources = np.flatnonzero(pattern)
        gains, variance = joint(sources)
        assert sd[n] == pytest.approx(np.sqrt(variance), abs=0.01)
        assert mean[n] == pytest.approx(gains @ y[n, sources], abs=0.01)
    # The published mean of three dependent sources is not that posterior.
    wrong, _ = affine(experts(), y, patterns, "mean")
    assert abs(wrong[0] - sd[0]) > 0.1


def test_weights_are_the_closed_form_at_levels_between_those_measured(unpulled):
    log_snr = np.linspace(-9.0, 5.5, 7)
    sources = [0, 2]
    expected = closed_form_weights(sources, log_snr)[:, :, None]
    weights = stacked_weights(closed_form_moments().of(sources), log_snr)
    assert np.allclose(weights, expected, atol=5e-3)
    bank = experts(moments=for_all_patterns(closed_form_moments()))
    table = np.asarray(weigh("stacked", bank, np.array([[1, 0, 1]], bool), log_snr).table)
    assert np.allclose(table[:, 0, sources], expected, atol=5e-3)
    assert np.all(table[:, 0, 1] == 0)


@pytest.mark.parametrize("pattern", [(True, True, True), (True, False, True)])
def test_measured_moments_are_those_of_the_data(pattern):
    rng = np.random.default_rng(1)
    num = 4000
    x_0 = rng.normal(size=(num, 2)).astype(np.float32)
    noise = np.einsum("kj,nkd->njd", np.linalg.cholesky(NOISE).T, rng.normal(size=(num, 3, 2)))
    y = (GAIN[:, None] * x_0[:, None] + noise).astype(np.float32)
    y[:, ~np.array(pattern)] = np.nan
    conds, worth = [y[:, k] for k in range(3)], np.array([2.0, 1.0])
    measured = measure_moments(experts(), x_0, conds, pattern, worth, SCHEDULE, 0)
    exact, shown = closed_form_moments(), np.flatnonzero(pattern)
    assert np.allclose(measured.log_snr, exact.log_snr)
    assert np.allclose(measured.of(shown).second, exact.of(shown).second, atol=0.06)
    assert np.isfinite(measured.second).all()
    assert measured.patients == num
    assert np.array_equal(measured.worth, worth)
    assert np.array_equal(measured.resting, np.zeros(3))


def test_the_product_of_experts_that_share_their_variance_sharpens_to_its_power():
    """Weights that sum to W end in variance S^W: here W = 3/2."""
    variance = MEMBER_VARIANCE[0]
    module = GaussianExpert(2, (2,), 1000, variance)
    models = [(module, {"params": {"gain": jnp.float32(1.0)}})] * 3
    bank = Bank.from_models("x", ["a", "b", "c"], models)
    sd, mean = affine(bank, np.zeros((1, 3), np.float32), None, "product")
    assert sd[0] ** 2 == pytest.approx(variance**1.5, abs=0.01)
    assert mean[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("ensemble", "atol"), [("mixture", 1e-5), ("average", 2e-3)])
def test_equal_members_of_an_ensemble_change_nothing(ensemble, atol, unpulled):
    """Each member has a weight of its own; taking turns, it has that of the model alone."""
    patterns = [(True, False), (False, True), (True, True)]
    single = experts((0, 1), moments=dict.fromkeys(patterns, closed_form_moments().of([0, 1])))
    models = [
        (group.module, jax.tree.map(lambda v: v[0], group.variables)) for group in single.groups
    ]
    double = Bank.from_models(
        "x",
        ["y0", "y1"],
        [models[0], models[1], models[0]],
        slots=[(0,), (1,), (0,)],
        moments=dict.fromkeys(patterns, closed_form_moments().of([0, 1, 0])),
    )
    y = np.random.default_rng(2).normal(size=(4, 2)).astype(np.float32)
    one = affine(single, y, None, "stacked")
    two = affine(double, y, None, "stacked", ensemble=ensemble)
    assert np.allclose(one, two, atol=atol)


def test_moments_over_different_patients_still_give_a_solution():
    """Moments that no single set of patients could have: an eigenvalue is negative."""
    moments = closed_form_moments()
    impossible = np.array([[1, 0.9, -0.9, 0.5], [0.9, 1, 0.9, 0.5], [-0.9, 0.9, 1, 0.5]])
    second = np.vstack([impossible, [0.5, 0.5, 0.5, 1]])
    assert np.linalg.eigvalsh(second).min() < -0.5
    moments = moments._replace(second=np.broadcast_to(second, moments.second.shape))
    weights = stacked_weights(moments, moments.log_snr)
    assert np.abs(weights).max() < 5


def test_models_that_predict_nothing_get_nothing():
    moments = closed_form_moments()
    silent = moments.second.copy()
    silent[:, :, 1], silent[:, :, :, 1] = 0, 0
    moments = moments._replace(second=silent)
    together = stacked_weights(moments, moments.log_snr)
    assert np.allclose(together[:, 1], 0, atol=1e-8)
    assert np.allclose(stacked_weights(moments.of([1]), moments.log_snr), 0, atol=1e-8)
    others = stacked_weights(moments.of([0, 2]), moments.log_snr)
    assert np.allclose(together[:, [0, 2]], others, atol=4e-3)  # but for the ridge


def regressed(moments, models=2):
    """A bank of constants and a regression that always says N(0.5, 0.3)."""
    bank = constant_bank(models, 2, moments=moments)
    return bank.with_regression(lambda _, present: saying(present, 0.5, 0.3), SCHEDULE.alpha_bar)


def saying(present, mean, variance):
    shape = (len(present), 2)
    return np.full(shape, mean, np.float32), np.full(shape, variance, np.float32)


@pytest.mark.parametrize("predicts", ["v", "eps"])
def test_a_regression_is_measured_as_the_network_that_knows_as_much(predicts):
    """Both know the posterior of x_0 given y_0: their moments are the same numbers."""
    rng = np.random.default_rng(4)
    x_0, y = rng.normal(size=(2, 50, 2)).astype(np.float32)

    def regression(conds, present):
        mean = MEMBER_GAIN[0] * np.where(present, conds[0], 0)
        return mean, np.full_like(mean, MEMBER_VARIANCE[0])

    bank = experts((0,)) if predicts == "eps" else constant_bank(1, 2, predicts="v")
    bank, pattern = bank.with_regression(regression, SCHEDULE.alpha_bar), (True,)
    measured = measure_moments(bank, x_0, [y], pattern, np.ones(2), SCHEDULE, 0)
    network = measure_moments(experts((0,)), x_0, [y], pattern, np.ones(2), SCHEDULE, 0)
    np.testing.assert_array_equal(measured.resting, [0, 1])
    np.testing.assert_allclose(measured.of([1]).second, network.second, atol=1e-4)


def test_nobody_to_learn_from_leaves_all_to_the_regression():
    """A pattern without validation patients: the regression counts 1, every network 0."""
    bank, nobody = regressed(None), np.zeros((0, 2), np.float32)
    measured = measure_moments(
        bank, nobody, [nobody, nobody], (True, False), np.ones(2), SCHEDULE, 0
    )
    assert measured.patients == 0
    weights = stacked_weights(measured, np.linspace(-9.0, 5.5, 4))
    np.testing.assert_allclose(weights[:, :2], 0, atol=1e-9)
    np.testing.assert_allclose(weights[:, 2], 1, atol=1e-9)


@pytest.mark.parametrize("patients", [1, 10, 10**6])
def test_the_fewer_the_patients_the_stronger_the_pull_to_the_regression(patients):
    """Two useful models, of which the last rests at 1: closed form of the shared weights."""
    moments = closed_form_moments().of([0, 1])
    moments = moments._replace(patients=np.array(patients), resting=np.array([0.0, 1.0]))
    weights = stacked_weights(moments, moments.log_snr)
    second = moments.second[:, 0]
    size = np.trace(second[:, :2, :2], axis1=1, axis2=2)[:, None, None] / 2
    ridge = (stacking.RIDGE + stacking.RIDGE_PATIENTS / patients) * size
    right = second[:, :2, 2:] + ridge * np.array([[0.0], [1.0]])
    best = np.linalg.solve(second[:, :2, :2] + ridge * np.eye(2), right)
    pull = (stacking.PULL + stacking.PULL_PATIENTS / patients) * size
    expected = np.linalg.solve(
        second[:, :2, :2] + pull * np.eye(2), second[:, :2, 2:] + pull * best
    )
    np.testing.assert_allclose(weights, np.repeat(expected, 2, axis=2), atol=1e-6)


def test_components_count_in_the_shared_weights_by_what_they_are_worth():
    """A component worth nothing has no say in the weights of the other."""
    moments = closed_form_moments()
    second = moments.second.copy()
    second[:, 1, :, 3] *= -1
    second[:, 1, 3, :] *= -1
    odd = moments._replace(second=second, worth=np.array([1.0, 0.0]))
    own, alone = stacked_weights(odd, odd.log_snr), stacked_weights(moments, odd.log_snr)
    np.testing.assert_allclose(own[..., 0], alone[..., 0], atol=1e-9)
    both = stacked_weights(odd._replace(worth=np.ones(2)), odd.log_snr)
    assert np.abs(both[..., 0] - alone[..., 0]).max() > 0.05


def test_the_nearest_pattern_is_the_largest_within():
    known = dict.fromkeys([(False, False, False), (True, False, False), (True, True, False)])
    assert nearest_pattern(known, (True, True, False)) == (True, True, False)
    assert nearest_pattern(known, (True, True, True)) == (True, True, False)
    assert nearest_pattern(known, (True, False, True)) == (True, False, False)
    assert nearest_pattern(known, (False, True, True)) == (False, False, False)
    del known[False, False, False]
    assert nearest_pattern(known, (False, True, True)) is None


def test_patterns_of_fewer_sources_are_those_that_need_no_other():
    known = {(True, True, False): "ab", (True, False, False): "a", (False, False, True): "c"}
    known[False, False, False] = ""
    assert restricted(known, [1, 0]) == {(True, True): "ab", (False, True): "a", (False, False): ""}
    assert restricted(known, [2]) == {(True,): "c", (False,): ""}


def test_a_pattern_without_moments_is_weighed_as_the_largest_within():
    moments = {p: closed_form_moments() for p in [(True, True, False), (False, False, True)]}
    present = np.array([[1, 1, 1], [1, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]], bool)
    weights = weigh("stacked", experts(moments=moments), present, np.zeros(1))
    table = np.asarray(weights.table)[0, np.asarray(weights.pattern), :, 0]  # [N, K]
    np.testing.assert_array_equal(table[0], table[1])
    assert table[0, 2] == 0
    assert table[2, 2] > 0
    np.testing.assert_array_equal(table[3], [0, 1, 0])  # none within: the mean of its models
    np.testing.assert_allclose(table[4], 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("rule", ["mean", "loss", "product"])
def test_rules_about_sources_do_not_hear_the_regression(rule):
    bank = regressed(None)
    bank = bank.replace(losses=jnp.linspace(0.5, 1.0, bank.num_models))
    present = np.array([[1, 1], [1, 0], [0, 0]], bool)
    own, alone = (
        coherent_sample(
            jax.random.key(0),
            each,
            [np.zeros((3, 2), np.float32)] * 2,
            present,
            schedule=SCHEDULE,
            solver=ddim(SCHEDULE, 5),
            consensus=rule,
        )
        for each in (bank, bank.networks)
    )
    for ours, theirs in zip(own[:-1], alone[:-1], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_regression_is_not_one_of_those_who_may_disagree():
    """One network and a regression that says something else: nobody to disagree with."""
    moments = {p: _even(2) for p in [(True,), (False,)]}
    samples = coherent_sample(
        jax.random.key(0),
        regressed(moments, models=1),
        [np.zeros((4, 2), np.float32)],
        schedule=SCHEDULE,
        solver=ddim(SCHEDULE, 5),
        consensus="stacked",
    )
    np.testing.assert_array_equal(samples.disagreement, np.nan)


def _even(num_models, width=2):
    """Moments by which all models are as good, and none enough."""
    second = np.full((num_models + 1,) * 2, 0.5) + 0.5 * np.eye(num_models + 1)
    second = np.tile(second, (2, width, 1, 1))
    return Moments(
        np.array([-9.0, 6.0]), second, np.ones(width), np.array(MANY), np.zeros(num_models)
    )


def test_members_take_turns_beside_a_regression():
    """Draw r is that of member r mod 2 and the regression, weighed as this pair is."""
    patterns = [(True,), (False,)]
    rng = np.random.default_rng(3)
    root = rng.normal(size=(2, 2, 4, 4))
    moments = Moments(
        np.array([-9.0, 6.0]),
        root @ np.swapaxes(root, -1, -2),
        np.ones(2),
        np.array(50),
        np.array([0.0, 0.0, 1.0]),
    )
    model = [(Constant(2, (2,)), {"params": {"value": jnp.full(2, v)}}) for v in (-0.5, 0.7)]

    def drawn(members, ensemble):
        bank = Bank.from_models(
            "x",
            ["y"],
            [model[m] for m in members],
            slots=[(0,)] * len(members),
            moments=dict.fromkeys(patterns, moments.of([*members, 2])),
        ).with_regression(lambda _, present: saying(present, 0.5, 0.3), SCHEDULE.alpha_bar)
        return coherent_sample(
            jax.random.key(0),
            bank,
            [np.zeros((3, 2), np.float32)],
            np.array([[1], [0], [1]], bool),
            schedule=SCHEDULE,
            solver=ddim(SCHEDULE, 8),
            num_draws=3,
            consensus="stacked",
            ensemble=ensemble,
        ).draws

    mixed = drawn([0, 1], "mixture")
    alone = [drawn([member], "average") for member in (0, 1)]
    for r in range(3):
        np.testing.assert_allclose(mixed[r], alone[r % 2][r], atol=1e-5)
    assert np.abs(mixed[0, 0] - alone[1][0, 0]).max() > 0.01


def test_a_bank_without_moments_is_refused_and_told_what_to_do():
    with pytest.raises(InputError, match=r"train\.py --resume"):
        affine(experts(), np.zeros((1, 3), np.float32), None, "stacked")
