"""DP-SGD against its definition; what it is worth against closed forms and published figures."""

import dataclasses
import importlib.util
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom, norm

from cohgen_jax.cohort import demo_cohort, save_cohort
from cohgen_jax.errors import InputError
from cohgen_jax.networks.config import NetworkConfig
from cohgen_jax.runs.config import recipe
from cohgen_jax.runs.train import train_run
from cohgen_jax.training.accountant import epsilon, spend, statement
from cohgen_jax.training.config import TrainConfig
from cohgen_jax.training.private import poisson_batch, private_gradients

PRIVATE = TrainConfig(dp_noise_multiplier=1.1, dp_l2_clip=0.5, batch_size=4, num_epochs=2)
ROWS = jnp.arange(5)
DRAWN = jnp.array([True, True, True, True, False])
TRUTH = jnp.array([[3.0, 0.0], [0.0, 0.1], [0.2, 0.0], [0.0, -4.0], [50.0, 50.0]], jnp.float32)


def half_square(params, key, rows):
    """Gradient of example i: params - TRUTH[i]."""
    del key
    return 0.5 * jnp.mean(jnp.sum(jnp.square(params["w"][None] - TRUTH[rows]), axis=1)), {}


def drawn(noise_multiplier, keys):
    config = dataclasses.replace(PRIVATE, dp_noise_multiplier=noise_multiplier)
    params = {"w": jnp.zeros(2, jnp.float32)}
    found = jax.vmap(lambda k: private_gradients(half_square, params, k, ROWS, DRAWN, config))(keys)
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
    _, quiet = drawn(1e-6, jax.random.split(jax.random.key(1), 1))
    np.testing.assert_allclose(quiet[0], expected, atol=1e-5)


@pytest.mark.parametrize("num_rows", [64, 40, 6])
def test_batches_are_poisson_samples(num_rows):
    """Each record with chance q, on its own, once at most; of fewer than a batch, every one."""
    size, num_places, draws = 16, 48, 4000
    rows = jnp.asarray(np.random.default_rng(0).permutation(64), jnp.int32)

    @jax.vmap
    def batches(key):
        found, drawn = poisson_batch(key, rows, jnp.int32(num_rows), jnp.arange(num_places), size)
        return jnp.zeros(64, jnp.int32).at[found].add(drawn.astype(jnp.int32))

    counts = np.asarray(batches(jax.random.split(jax.random.key(0), draws)))[:, np.asarray(rows)]
    q = min(1, size / num_rows)
    assert counts.max() == 1
    assert not counts[:, num_rows:].any()
    taken = counts[:, :num_rows]
    se = np.sqrt(q * (1 - q) / draws)
    assert abs(taken.mean(axis=0) - q).max() <= 4.5 * se
    if q == 1:
        return
    together = np.corrcoef(taken.T)[np.triu_indices(num_rows, 1)]
    assert abs(together).max() < 6 / np.sqrt(draws)
    sizes = np.bincount(taken.sum(axis=1), minlength=num_places + 1) / draws
    expected = binom.pmf(np.arange(num_places + 1), num_rows, q)
    assert abs(sizes - expected).sum() < 0.12


def test_a_batch_that_is_too_large_is_cut_at_random():
    rows, places = jnp.arange(30), jnp.arange(8)
    keys = jax.random.split(jax.random.key(1), 3000)
    found, drawn = jax.vmap(lambda k: poisson_batch(k, rows, jnp.int32(30), places, 25))(keys)
    assert drawn.all()  # about 25 were drawn, and 8 have a place
    share = np.bincount(np.asarray(found).ravel(), minlength=30) / len(keys)
    np.testing.assert_allclose(share, 8 / 30, atol=4.5 * np.sqrt(8 / 30 / len(keys)))


def gaussian_delta(eps: float, mu: float) -> float:
    """Of a Gaussian mechanism of sensitivity mu in units of its noise (Balle & Wang 2018,
    arXiv:1805.06530, theorem 8)."""
    return norm.cdf(mu / 2 - eps / mu) - np.exp(eps + norm.logcdf(-mu / 2 - eps / mu))


@pytest.mark.parametrize(("sigma", "epochs"), [(1.5, 3), (4.0, 24), (0.8, 1)])
def test_of_fewer_records_than_a_batch_it_is_the_gaussian_mechanism(sigma, epochs):
    """Every step releases a sum of sensitivity C: k steps are one of sensitivity sqrt(k) C."""
    config = TrainConfig(dp_noise_multiplier=sigma, batch_size=128, num_epochs=epochs)
    exact = brentq(lambda e: gaussian_delta(e, np.sqrt(epochs * 4) / sigma) - 1e-5, 0, 1e3)
    assert epsilon(spend(config, [64], 4)) == pytest.approx(exact, rel=2e-3)


def test_of_one_step_it_is_the_integral():
    """delta = max over adding and removing of E max(0, 1 - e^(eps - privacy loss))."""
    q, sigma = 0.3, 1.3
    config = TrainConfig(dp_noise_multiplier=sigma, batch_size=60, num_epochs=1)
    x = np.linspace(-25, 25, 400_001)
    without = norm.pdf(x, 0, sigma)
    mixed = (1 - q) * without + q * norm.pdf(x, 1, sigma)

    def delta(eps):
        pairs = (mixed, without), (without, mixed)
        step = x[1] - x[0]
        return max(np.maximum(p - np.exp(eps) * r, 0).sum() * step for p, r in pairs)

    exact = brentq(lambda e: delta(e) - 1e-5, 0.01, 20)
    assert epsilon(spend(config, [200], 1)) == pytest.approx(exact, rel=2e-3)


@pytest.mark.parametrize(("sigma", "epochs", "published"), [(1.3, 15, 1.19), (0.7, 45, 7.10)])
def test_published_epsilons_are_upper_bounds(sigma, epochs, published):
    """The MNIST examples of TensorFlow Privacy: 60,000 records, batches of 256, delta 1e-5, by
    Renyi divergences, which are looser."""
    config = TrainConfig(dp_noise_multiplier=sigma, batch_size=256, num_epochs=epochs)
    found = epsilon(spend(config, [60_000], 235))
    assert 0.7 * published < found < published


def test_models_and_kinds_add_up():
    config = dataclasses.replace(PRIVATE, batch_size=50, dp_noise_multiplier=4.0)
    one, two = spend(config, [500], 10), spend(config, [500, 500], 10)
    twice = spend(dataclasses.replace(config, num_epochs=4), [500], 10)
    assert epsilon(two) == pytest.approx(epsilon(twice))
    told = statement({"single": one, "multi": two})
    assert told["single"]["epsilon"] < told["multi"]["epsilon"] < told["together"]["epsilon"]
    assert epsilon(spend(config, [100], 10)) > told["single"]["epsilon"]  # is in more batches
    less_noise = dataclasses.replace(config, dp_noise_multiplier=3.0)
    assert epsilon(spend(less_noise, [500], 10)) > told["single"]["epsilon"]


def test_what_cannot_be_private_is_refused():
    with pytest.raises(InputError, match="norm_mlp normalises over the batch"):
        TrainConfig(dp_noise_multiplier=1.0, network=NetworkConfig(architecture="norm_mlp"))
    with pytest.raises(InputError, match="dp_noise_multiplier must not be negative"):
        TrainConfig(dp_noise_multiplier=-1.0)
    with pytest.raises(InputError, match="dp_l2_clip must be positive"):
        TrainConfig(dp_noise_multiplier=1.0, dp_l2_clip=0.0)


def test_without_the_accountant_nothing_private_is_trained(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "dp_accounting" else find(name)
    )
    config = recipe("debug")
    private = dataclasses.replace(config.single, dp_noise_multiplier=1.5)
    config = dataclasses.replace(config, single=private, regression=False)
    with pytest.raises(InputError, match=r"dp_accounting: pip install 'cohgen-jax\[privacy\]'"):
        train_run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.heavy
def test_a_private_run_says_what_it_is_worth(tmp_path):
    config, told = recipe("debug"), []
    size = 112  # more than anybody has: every record is in every batch, once
    private = dataclasses.replace(
        config.single, dp_noise_multiplier=1.5, num_epochs=2, batch_size=size
    )
    other = dataclasses.replace(config.multi, num_epochs=1)
    with pytest.raises(InputError, match="add --no-regression"):
        dataclasses.replace(config, single=private)
    demo = demo_cohort(0, 130)
    few = {m: demo.tables[m] for m in ("rppa", "mut")}
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
    assert max(counts) <= train < size
    steps = private.num_epochs * private.least_steps * len(pairs)
    exact = brentq(lambda e: gaussian_delta(e, np.sqrt(steps) / 1.5) - 1e-5, 0, 1e3)
    assert about["single"]["epsilon"] == pytest.approx(exact, rel=2e-3)
    assert f"epsilon single {about['single']['epsilon']:.2f}" in told[-1]
    assert np.isfinite(run.models["single"].scores["timestep"]).all()
