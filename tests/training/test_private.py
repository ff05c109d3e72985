"""DP-SGD against its definition, the accountant against integrals and published figures."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from cohgen_jax.cohort import demo_cohort, save_cohort
from cohgen_jax.errors import InputError
from cohgen_jax.networks.config import NetworkConfig
from cohgen_jax.runs.config import recipe
from cohgen_jax.runs.train import train_run
from cohgen_jax.training.accountant import ORDERS, epsilon, rdp_of_step, spend, statement
from cohgen_jax.training.config import TrainConfig
from cohgen_jax.training.private import private_gradients

PRIVATE = TrainConfig(dp_noise_multiplier=1.1, dp_l2_clip=0.5, batch_size=50, num_epochs=2)
ROWS = jnp.arange(4)
TRUTH = jnp.array([[3.0, 0.0], [0.0, 0.1], [0.2, 0.0], [0.0, -4.0]], jnp.float32)


def half_square(params, key, rows):
    """Gradient of example i: params - TRUTH[i]."""
    del key
    return 0.5 * jnp.mean(jnp.sum(jnp.square(params["w"][None] - TRUTH[rows]), axis=1)), {}


def drawn(noise_multiplier, keys):
    config = dataclasses.replace(PRIVATE, dp_noise_multiplier=noise_multiplier)
    params = {"w": jnp.zeros(2, jnp.float32)}
    found = jax.vmap(lambda k: private_gradients(half_square, params, k, ROWS, config))(keys)
    (loss, updates), gradient = found
    assert updates == {}
    return np.asarray(loss), np.asarray(gradient["w"])


def test_each_example_is_clipped_then_noised():
    """Examples of norm 3, 0.1, 0.2, 4 become 0.5, 0.1, 0.2, 0.5; noise of sd 2 * 0.5 / 4."""
    keys = jax.random.split(jax.random.key(0), 4000)
    loss, gradient = drawn(2.0, keys)
    np.testing.assert_allclose(loss, np.mean([4.5, 0.005, 0.02, 8]), rtol=1e-5)
    expected = np.array([-(0.5 + 0.2), -0.1 + 0.5]) / 4
    np.testing.assert_allclose(gradient.mean(axis=0), expected, atol=0.02)
    np.testing.assert_allclose(np.cov(gradient.T), 0.25**2 * np.eye(2), atol=0.005)
    _, quiet = drawn(1e-6, keys[:1])
    np.testing.assert_allclose(quiet[0], expected, atol=1e-5)


def test_renyi_divergence_is_the_integral():
    for rate, sigma in ((0.1, 1.2), (0.02, 0.8)):
        found = dict(zip(ORDERS.tolist(), rdp_of_step(rate, sigma), strict=True))
        for order in (2, 5, 16):

            def density(x, order=order, rate=rate, sigma=sigma):
                base = norm.logpdf(x, 0, sigma)
                other = np.log(rate) + norm.logpdf(x, 1, sigma)
                mixed = np.logaddexp(np.log1p(-rate) + base, other)
                return np.exp(order * mixed + (1 - order) * base)

            integral, _ = quad(density, -30, 60, limit=500, points=[0, 1, order])
            assert found[order] == pytest.approx(np.log(integral) / (order - 1), rel=1e-6)


def test_without_sampling_it_is_the_gaussian_mechanism():
    np.testing.assert_allclose(rdp_of_step(1.0, 2.0), ORDERS / 8, rtol=1e-12)


@pytest.mark.parametrize(
    ("sigma", "epochs", "published"), [(1.3, 15, 1.19), (1.1, 60, 3.01), (0.7, 45, 7.10)]
)
def test_published_epsilons(sigma, epochs, published):
    """The MNIST examples of TensorFlow Privacy: 60,000 records, batches of 256, delta 1e-5; by
    the older conversion R + log(1 / delta) / (a - 1), which ours never exceeds."""
    steps = int(np.ceil(epochs * 60_000 / 256))
    rdp = steps * rdp_of_step(256 / 60_000, sigma)
    older = np.min(rdp - np.log(1e-5) / (ORDERS - 1))
    assert older == pytest.approx(published, abs=0.03)
    assert epsilon(rdp, 1e-5) < older


def test_models_and_kinds_add_up():
    one, two = spend(PRIVATE, [500], 10), spend(PRIVATE, [500, 500], 10)
    np.testing.assert_allclose(two.sampled, 2 * one.sampled)
    told = statement({"single": one, "multi": two})
    assert told["single"]["epsilon"] < told["multi"]["epsilon"] < told["together"]["epsilon"]
    # 2 epochs of 10 batches of 50: each of 500 records is in one of them, each of 400 in up to two
    np.testing.assert_allclose(one.shuffled, 2 * rdp_of_step(1.0, 1.1))
    np.testing.assert_allclose(spend(PRIVATE, [400], 10).shuffled, 4 * rdp_of_step(1.0, 1.1))
    assert told["single"]["epsilon"] < told["single"]["epsilon_shuffled"]
    less_noise = dataclasses.replace(PRIVATE, dp_noise_multiplier=0.6)
    more = statement({"single": spend(less_noise, [500], 10)})
    assert more["single"]["epsilon"] > told["single"]["epsilon"]


def test_what_cannot_be_private_is_refused():
    with pytest.raises(InputError, match="norm_mlp normalises over the batch"):
        TrainConfig(dp_noise_multiplier=1.0, network=NetworkConfig(architecture="norm_mlp"))
    with pytest.raises(InputError, match="dp_noise_multiplier must not be negative"):
        TrainConfig(dp_noise_multiplier=-1.0)
    with pytest.raises(InputError, match="dp_l2_clip must be positive"):
        TrainConfig(dp_noise_multiplier=1.0, dp_l2_clip=0.0)


def test_fewer_records_than_a_batch_are_refused(tmp_path):
    """A record that is twice in a batch changes the sum by 2 C, not by C."""
    config = recipe("debug")
    private = dataclasses.replace(config.single, dp_noise_multiplier=1.5, batch_size=512)
    config = dataclasses.replace(config, single=private, regression=False)
    with pytest.raises(InputError, match=r"model .*: its ... training patients are fewer than a"):
        train_run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_private_run_says_what_it_is_worth(tmp_path):
    config, told = recipe("debug"), []
    private = dataclasses.replace(config.single, dp_noise_multiplier=1.5, num_epochs=2)
    other = dataclasses.replace(config.multi, num_epochs=1)
    with pytest.raises(InputError, match="add --no-regression"):
        dataclasses.replace(config, single=private)
    demo = demo_cohort()
    few = {m: demo.tables[m] for m in ("rppa", "wsi", "mut")}
    save_cohort(dataclasses.replace(demo, modalities=tuple(few), tables=few), tmp_path / "cohort")
    config = dataclasses.replace(
        config, cohort=str(tmp_path / "cohort"), single=private, multi=other, regression=False
    )
    run = train_run(config, tmp_path / "run", tell=told.append)
    about = json.loads((run.path / "metrics" / "privacy_training.json").read_text())
    assert set(about) == {"delta", "single", "together", "meaning"}
    assert about["together"] == about["single"]  # multi is not private and not counted
    present, train = run.latents.present[run.rows("train")], len(run.rows("train"))
    pairs = list(itertools.permutations(range(present.shape[1]), 2))
    counts = [int((present[:, t] & present[:, s]).sum()) for t, s in pairs]
    worth = statement({"single": spend(private, counts, train // private.batch_size)})
    assert about["single"]["epsilon"] == pytest.approx(worth["single"]["epsilon"])
    assert f"epsilon single {worth['single']['epsilon']:.2f}" in told[-1]
    assert np.isfinite(run.models["single"].scores["timestep"]).all()
