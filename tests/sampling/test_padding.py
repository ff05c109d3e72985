"""A target narrower than the models: nothing beyond its width, nothing else within."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.networks import NetworkConfig, build
from cohgen_jax.sampling import Bank, Moments, RecordedNoise, Rejection, coherent_sample
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import ddim, ddpm, dpmpp_2m
from tests.sampling.test_specialize import disturbed

SCHEDULE = linear_schedule(200)
D, WIDTH = 8, 3
CONFIG = NetworkConfig(architecture="adaln_mlp", width=16, num_layers=2)
PATTERNS = [(True, True), (True, False), (False, True), (False, False)]


def moments_of(num_models, width):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(2, width, num_models + 1, num_models + 1))
    return Moments(
        np.array([-9.0, 6.0]),
        root @ np.swapaxes(root, -1, -2),
        rng.random(width),
        np.array(30),
        np.append(np.zeros(num_models - 1), 1),
    )


def regression(conds, present):
    """On the width alone, from what the first source is seen as."""
    assert len(conds) == 2
    mean = np.where(present[:, :1], conds[0][:, :WIDTH], 0.1)
    return mean.astype(np.float32), np.full_like(mean, 0.4, np.float32)


def trimmed(variables):
    """The network on the first WIDTH components of x alone."""
    params = {**variables["params"]}
    params["Dense_1"] = {**params["Dense_1"], "kernel": params["Dense_1"]["kernel"][:WIDTH]}
    params["output"] = jax.tree.map(lambda leaf: leaf[..., :WIDTH], params["output"])
    return {"params": params}


def banks(predicts):
    """(of models that are wider than the target, of the same models trimmed to it)."""
    wide, narrow = build(CONFIG, D, (D,)), build(CONFIG, WIDTH, (D,))
    variables = [disturbed(wide, k) for k in range(2)]
    common = {
        "predicts": predicts,
        "losses": [0.5, 0.8],
        "natural": [np.linspace(2, 0, D), np.linspace(1, 0.5, D)],
        "moments": dict.fromkeys(PATTERNS, moments_of(3, WIDTH)),
    }
    return tuple(
        Bank.from_models("x", ["a", "b"], models, **common, **own).with_regression(
            regression, SCHEDULE.alpha_bar
        )
        for models, own in (
            ([(wide, v) for v in variables], {"width": WIDTH}),
            ([(narrow, trimmed(v)) for v in variables], {}),
        )
    )


def conditions(num=6):
    present = np.array([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1], [1, 1]], bool)[:num]
    return np.random.default_rng(1).normal(size=(2, num, D)).astype(np.float32), present


@pytest.mark.parametrize("rule", ["mean", "stacked"])
@pytest.mark.parametrize("predicts", ["v", "eps"])
@pytest.mark.parametrize(
    "solver", [ddim(SCHEDULE, 6), ddpm(SCHEDULE, 6), dpmpp_2m(SCHEDULE, 6, eta=1.0)]
)
def test_draws_are_those_of_the_trimmed_bank_and_exactly_zero_beyond(solver, predicts, rule):
    """On the same noise, of which there is some beyond the width, too."""
    rng, (conds, present) = np.random.default_rng(2), conditions()
    shapes = (2, 6, D), (solver.num_steps, 2, 6, D)
    noise = RecordedNoise(*(jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes))
    wide, narrow = (
        coherent_sample(
            jax.random.key(0),
            bank,
            conds,
            present,
            schedule=SCHEDULE,
            solver=solver,
            num_draws=2,
            consensus=rule,
            keep_trajectory=True,
            recorded=RecordedNoise(*(leaf[..., : bank.x_dim] for leaf in noise)),
        )
        for bank in banks(predicts)
    )
    np.testing.assert_array_equal(wide.draws[..., WIDTH:], 0)
    np.testing.assert_allclose(wide.draws[..., :WIDTH], narrow.draws, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(wide.disagreement, narrow.disagreement, atol=1e-5)
    np.testing.assert_allclose(wide.trajectory, narrow.trajectory, atol=1e-4)
    assert np.abs(wide.draws[..., :WIDTH]).min() > 0


@pytest.mark.parametrize("more", [{}, {"temperature": 0.5}])
def test_noise_of_our_own_stays_within_the_width(more):
    conds, present = conditions()
    rule = Rejection(cos_threshold=0.9, prop_threshold=0.1, max_retries=2)
    samples = coherent_sample(
        jax.random.key(0),
        banks("v")[0],
        conds,
        present,
        schedule=SCHEDULE,
        solver=ddpm(SCHEDULE, 6),
        num_draws=2,
        rejection=rule,
        **more,
    )
    assert np.asarray(samples.retries).max() > 0
    np.testing.assert_array_equal(samples.draws[..., WIDTH:], 0)
    assert np.all(np.ptp(np.asarray(samples.draws)[..., :WIDTH], axis=0) > 0)


def test_sources_are_seen_in_their_natural_scale():
    """A bank that multiplies is one that is given the products."""
    conds, present = conditions()
    bank, _ = banks("v")
    natural = [np.asarray(own) for own in bank.natural]
    multiplied = [cond * own for cond, own in zip(conds, natural, strict=True)]
    ours, theirs = (
        coherent_sample(
            jax.random.key(0),
            each,
            given,
            present,
            schedule=SCHEDULE,
            solver=ddim(SCHEDULE, 6),
            consensus="stacked",
        ).draws
        for each, given in ((bank, conds), (bank.replace(natural=None), multiplied))
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
