"""The stacked consensus against closed forms of jointly Gaussian data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.sampling import Bank, Moments, RecordedNoise, coherent_sample, stacking
from cohgen_jax.sampling.stacking import stacked_weights
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import ddim
from cohgen_jax.training.moments import measure_moments, moment_levels
from tests.sampling.test_coherent import GaussianExpert

SCHEDULE = linear_schedule(1000)
SOLVER = ddim(SCHEDULE, 200)
GAIN = np.array([0.8, 0.5, 0.6])
"""y_k = GAIN_k x_0 + n_k with x_0 ~ N(0, 1) and n ~ N(0, NOISE): the sources share noise."""
NOISE = np.array([[0.5, 0.2, 0.1], [0.2, 0.8, 0.3], [0.1, 0.3, 1.0]])
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
    return Moments(log_snr, second, np.full((4, 4), 100))


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
    sd, mean = affine(experts(moments=closed_form_moments()), y, patterns, "stacked")
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
    heard = np.array([[1, 0, 1]], bool)
    weights = stacked_weights(closed_form_moments(), heard, log_snr)
    expected = closed_form_weights(sources, log_snr)
    assert np.allclose(weights[:, 0, sources], expected[:, :, None], atol=5e-3)
    assert np.all(weights[:, 0, 1] == 0)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_measured_moments_are_those_of_the_data(missing):
    rng = np.random.default_rng(1)
    num = 4000
    x_0 = rng.normal(size=(num, 2)).astype(np.float32)
    noise = np.einsum("kj,nkd->njd", np.linalg.cholesky(NOISE).T, rng.normal(size=(num, 3, 2)))
    y = (GAIN[:, None] * x_0[:, None] + noise).astype(np.float32)
    present = rng.random((num, 3)) >= missing
    y[~present] = np.nan
    conds = [y[:, k] for k in range(3)]
    measured = measure_moments(experts(), x_0, conds, present, 2, SCHEDULE, 0)
    exact = closed_form_moments()
    assert np.allclose(measured.log_snr, exact.log_snr)
    assert np.allclose(measured.second, exact.second, atol=0.06)
    assert np.array_equal(measured.patients[:-1, -1], present.sum(axis=0))
    assert measured.patients[0, 1] == (present[:, 0] & present[:, 1]).sum()


def test_the_product_of_experts_that_share_their_variance_sharpens_to_its_power():
    """Weights that sum to W end in variance S^W: here W = 3/2."""
    variance = MEMBER_VARIANCE[0]
    module = GaussianExpert(2, (2,), 1000, variance)
    models = [(module, {"params": {"gain": jnp.float32(1.0)}})] * 3
    bank = Bank.from_models("x", ["a", "b", "c"], models)
    sd, mean = affine(bank, np.zeros((1, 3), np.float32), None, "product")
    assert sd[0] ** 2 == pytest.approx(variance**1.5, abs=0.01)
    assert mean[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("ensemble", ["mixture", "average"])
def test_equal_members_of_an_ensemble_change_nothing(ensemble):
    moments = closed_form_moments().of([0, 1])
    single = experts((0, 1), moments=moments)
    models = [
        (group.module, jax.tree.map(lambda v: v[0], group.variables)) for group in single.groups
    ]
    double = Bank.from_models(
        "x",
        ["y0", "y1"],
        [models[0], models[1], models[0]],
        slots=[(0,), (1,), (0,)],
        moments=moments,
    )
    y = np.random.default_rng(2).normal(size=(4, 2)).astype(np.float32)
    one = affine(single, y, None, "stacked")
    two = affine(double, y, None, "stacked", ensemble=ensemble)
    assert np.allclose(one, two, atol=1e-5)


def test_moments_over_different_patients_still_give_a_solution():
    """Moments that no single set of patients could have: an eigenvalue is negative."""
    moments = closed_form_moments()
    impossible = np.array([[1, 0.9, -0.9, 0.5], [0.9, 1, 0.9, 0.5], [-0.9, 0.9, 1, 0.5]])
    second = np.vstack([impossible, [0.5, 0.5, 0.5, 1]])
    assert np.linalg.eigvalsh(second).min() < -0.5
    moments = moments._replace(second=np.broadcast_to(second, moments.second.shape))
    weights = stacked_weights(moments, np.ones((1, 3), bool), moments.log_snr)
    assert np.abs(weights).max() < 5


def test_models_that_predict_nothing_get_nothing():
    moments = closed_form_moments()
    silent = moments.second.copy()
    silent[:, :, 1], silent[:, :, :, 1] = 0, 0
    heard = np.array([[1, 1, 1], [0, 1, 0], [1, 0, 1]], bool)
    weights = stacked_weights(moments._replace(second=silent), heard, moments.log_snr)
    assert np.allclose(weights[:, :, 1], 0, atol=1e-8)
    assert np.allclose(weights[:, 0], weights[:, 2], atol=2e-3)  # but for the ridge


def test_a_bank_without_moments_is_refused_and_told_what_to_do():
    with pytest.raises(InputError, match=r"train\.py --resume"):
        affine(experts(), np.zeros((1, 3), np.float32), None, "stacked")
