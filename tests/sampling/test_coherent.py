"""Coherent sampling: closed forms, agreement with the published code, independence of batching."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.interop import denoiser_from_torch
from cohgen_jax.networks import NetworkConfig, build
from cohgen_jax.sampling import Bank, RecordedNoise, Rejection, coherent_sample
from cohgen_jax.sampling.coherent import _sample
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import ddim, ddpm
from tests import golden

SCHEDULE = linear_schedule(50)
SOLVER = ddim(SCHEDULE, 10)
DIM = 5


class GaussianExpert(nn.Module):
    """The exact noise prediction for x_0 | cond ~ N(gain cond, variance)."""

    x_dim: int
    cond_dims: tuple[int, ...]
    schedule_steps: int
    variance: float

    @nn.compact
    def __call__(self, x_t, t, conds, mask=None, *, train=False):
        schedule = linear_schedule(self.schedule_steps)
        gain = self.param("gain", nn.initializers.ones, (), jnp.float32)
        a = jnp.asarray(np.sqrt(schedule.alpha_bar), jnp.float32)[t][:, None]
        s = jnp.asarray(np.sqrt(1 - schedule.alpha_bar), jnp.float32)[t][:, None]
        mean = gain * conds[0] * mask[:, :1]
        return s * (x_t - a * mean) / (a**2 * self.variance + s**2)


def random_bank(num_models=3, dim=DIM, architecture="norm_mlp", losses=None):
    module = build(NetworkConfig(architecture=architecture, width=16), dim, (dim,))
    conds = [jnp.zeros((1, dim), jnp.float32)]
    variables = [
        module.init(jax.random.key(k), conds[0], jnp.zeros(1, jnp.int32), conds)
        for k in range(num_models)
    ]
    names = [f"source_{k}" for k in range(num_models)]
    return Bank.from_models("target", names, [(module, v) for v in variables], losses=losses)


def conditions(num_sources=3, num_samples=6, dim=DIM):
    return jax.random.normal(jax.random.key(9), (num_sources, num_samples, dim), jnp.float32)


def sample(bank, conds, present=None, key=7, solver=SOLVER, **kwargs):
    key = jax.random.key(key)
    return coherent_sample(key, bank, conds, present, schedule=SCHEDULE, solver=solver, **kwargs)


def test_gaussian_experts_reach_the_weighted_mean_and_the_shared_variance():
    """Posteriors N(m_k, S) that share S: the chain ends in N(sum_k w_k m_k, S)."""
    schedule, variance = linear_schedule(1000), 0.25
    module = GaussianExpert(2, (2,), 1000, variance)
    gains = [0.2, 1.0, -0.6]
    models = [(module, {"params": {"gain": jnp.float32(g)}}) for g in gains]
    losses = [0.5, 0.7, 1.0]
    bank = Bank.from_models("x", ["a", "b", "c"], models, losses=losses)
    conds = jnp.asarray([[[1.0, -2.0]], [[0.5, 1.0]], [[2.0, 0.3]]], jnp.float32)
    result = coherent_sample(
        jax.random.key(0),
        bank,
        conds,
        schedule=schedule,
        solver=ddim(schedule, 200),
        num_draws=4000,
        consensus="loss",
    )
    weights = np.exp(1 / np.array(losses))
    weights /= weights.sum()
    expected = sum(w * g * np.asarray(c[0]) for w, g, c in zip(weights, gains, conds, strict=True))
    draws = np.asarray(result.draws[:, 0])
    assert np.allclose(draws.mean(axis=0), expected, atol=0.03)
    assert np.allclose(draws.var(axis=0), variance, atol=0.02)


def test_one_compiled_program_serves_banks_that_differ_in_names_only():
    conds = conditions(2)
    before = _sample._cache_size()
    for target in ("cna", "rna", "rppa"):
        bank = random_bank(2).replace(target=target, sources=("x", f"not_{target}"))
        sample(bank, conds)
    assert _sample._cache_size() == before + 1


def test_the_same_solver_built_again_compiles_nothing():
    bank, conds = random_bank(), conditions()
    first = sample(bank, conds, solver=ddim(SCHEDULE, 7))
    before = _sample._cache_size()
    again = sample(bank, conds, solver=ddim(linear_schedule(50), 7))
    assert _sample._cache_size() == before
    np.testing.assert_array_equal(first.draws, again.draws)


def test_a_solver_of_another_schedule_is_refused():
    with pytest.raises(InputError, match="made for another noise schedule"):
        sample(random_bank(), conditions(), solver=ddim(linear_schedule(500), 7))


def test_a_sample_is_the_same_in_any_company():
    bank, conds = random_bank(), conditions()
    whole = sample(bank, conds, num_draws=3)
    part = sample(bank, conds[:, 2:5], num_draws=2, sample_ids=jnp.arange(2, 5))
    assert np.allclose(whole.draws[:2, 2:5], part.draws, atol=1e-5)
    assert np.allclose(whole.disagreement[:2, 2:5], part.disagreement, atol=1e-5)


def test_mixed_missing_patterns_in_one_call_equal_one_call_each():
    bank, conds = random_bank(losses=[0.5, 0.9, 1.2]), conditions()
    present = jnp.array([[1, 1, 1], [1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
    mixed = sample(bank, conds, present, consensus="loss")
    for n, pattern in enumerate(np.asarray(present)):
        ks = np.flatnonzero(pattern)
        if len(ks) == 0:
            continue
        models = [
            (bank.groups[0].module, jax.tree.map(lambda v, k=k: v[k], bank.groups[0].variables))
            for k in ks
        ]
        small = Bank.from_models("target", [f"s{k}" for k in ks], models, losses=bank.losses[ks])
        alone = sample(small, conds[ks, n : n + 1], consensus="loss", sample_ids=jnp.array([n]))
        assert np.allclose(mixed.draws[:, n], alone.draws[:, 0], atol=1e-5)
        assert np.allclose(
            mixed.disagreement[:, n], alone.disagreement[:, 0], atol=1e-5, equal_nan=True
        )


def test_absent_sources_are_not_looked_at():
    bank, conds = random_bank(), conditions()
    present = jnp.array([[1, 0, 1]] * 6, bool)
    poisoned = conds.at[1].set(jnp.nan)
    assert np.array_equal(sample(bank, conds, present).draws, sample(bank, poisoned, present).draws)


def test_vmapped_models_equal_a_loop_over_models():
    bank, conds = random_bank(), conditions()
    x = jax.random.normal(jax.random.key(1), (2, 6, DIM), jnp.float32)
    present = jnp.ones((6, 3), bool)
    eps = bank.predict_eps(x, jnp.int32(7), conds, present, jnp.float32(0.8), jnp.float32(0.6))
    group = bank.groups[0]
    for k in range(3):
        variables = jax.tree.map(lambda leaf, k=k: leaf[k], group.variables)
        for r in range(2):
            out = group.module.apply(
                variables, x[r], jnp.full(6, 7), [conds[k]], jnp.ones((6, 1), jnp.float32)
            )
            assert np.allclose(eps[k, r], out, atol=1e-5)


def test_rejection_redraws_until_the_models_agree_and_keeps_the_best_otherwise():
    bank, conds = random_bank(), conditions(num_samples=40)
    free = sample(bank, conds, num_draws=2, keep_trajectory=True)
    threshold = float(np.quantile(free.trajectory, 0.8))
    rule = Rejection(cos_threshold=threshold, prop_threshold=0.1, max_retries=4)
    kept = sample(bank, conds, num_draws=2, rejection=rule, keep_trajectory=True)
    share = np.mean(np.asarray(kept.trajectory) > threshold, axis=-1)
    first = np.mean(np.asarray(free.trajectory) > threshold, axis=-1)
    assert np.allclose(share, kept.share)
    assert np.array_equal(np.asarray(kept.accepted), share <= 0.1)
    assert np.all(share <= first)
    retries = np.asarray(kept.retries)
    passed_at_once = first <= 0.1
    assert np.all(retries[passed_at_once] == 0)
    assert np.array_equal(kept.draws[passed_at_once], free.draws[passed_at_once])
    assert np.all(retries[~passed_at_once] >= 1)
    assert np.all(retries[~np.asarray(kept.accepted)] == 4)
    assert 0 < np.mean(~passed_at_once) < 1
    assert np.any(np.asarray(kept.accepted) & ~passed_at_once)


def test_rejection_does_not_depend_on_company():
    bank, conds = random_bank(), conditions(num_samples=40)
    rule = Rejection(cos_threshold=0.9, prop_threshold=0.2, max_retries=3)
    whole = sample(bank, conds, rejection=rule)
    part = sample(bank, conds[:, 10:20], rejection=rule, sample_ids=jnp.arange(10, 20))
    assert np.array_equal(whole.retries[:, 10:20], part.retries)
    assert np.allclose(whole.draws[:, 10:20], part.draws, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conds": conditions(2)}, "2 conditions for the 3 sources"),
        ({"present": jnp.ones((6, 2), bool)}, "present must be"),
        ({"num_draws": 0}, "num_draws"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change, message):
    arguments = {"conds": conditions(), "present": None, **change}
    with pytest.raises(InputError, match=message):
        sample(random_bank(), **arguments)


def test_a_target_cannot_be_its_own_source():
    module = build(NetworkConfig(width=8), DIM, (DIM,))
    with pytest.raises(InputError, match="cannot also be a source"):
        Bank.from_models("rna", ["cna", "rna"], [(module, {}), (module, {})])


def recorded(arrays):
    """Golden noise as R = 1 draw; nothing is drawn at t = 0, where the solver multiplies by 0."""
    steps = arrays["step_noise"]
    steps = np.concatenate([steps, np.zeros_like(steps[:1])])
    return RecordedNoise(jnp.asarray(arrays["initial_noise"])[None], jnp.asarray(steps)[:, None])


@pytest.mark.parametrize("path", golden.files("core/coherent_*.npz"))
def test_coherent_sampling_agrees_with_the_published_code(path):
    arrays = golden.load(path)
    schedule = linear_schedule(golden.config(arrays)["num_timesteps"])
    models = [denoiser_from_torch(params, config) for params, config in golden.models(arrays)]
    weighted = "losses" in arrays
    bank = Bank.from_models(
        "target",
        [f"source_{k}" for k in range(len(models))],
        models,
        losses=arrays["losses"] if weighted else None,
    )
    result = coherent_sample(
        jax.random.key(0),
        bank,
        golden.numbered(arrays, "cond"),
        schedule=schedule,
        solver=ddpm(schedule, published_last_step=True),
        consensus="loss" if weighted else "mean",
        keep_trajectory=True,
        recorded=recorded(arrays),
    )
    assert result.trajectory is not None
    assert np.allclose(result.draws[0], arrays["samples"], atol=1e-4, rtol=1e-4)
    # The published code calls it 1 where one model speaks.
    disagreement = result.trajectory[0] if len(models) > 1 else np.ones_like(result.trajectory[0])
    assert np.isnan(result.trajectory[0]).all() == (len(models) == 1)
    assert np.allclose(disagreement, arrays["cosine_distance"], atol=1e-4)


@pytest.mark.parametrize("path", golden.files("core/ancestral_multi_*.npz"))
def test_masked_multi_condition_sampling_agrees_with_the_published_code(path):
    arrays = golden.load(path)
    config = golden.config(arrays)
    schedule = linear_schedule(config["num_timesteps"])
    conds = golden.numbered(arrays, "cond")
    model = denoiser_from_torch(golden.below(arrays, "param"), config)
    bank = Bank.from_models("target", [f"source_{i}" for i in range(len(conds))], [model])
    result = coherent_sample(
        jax.random.key(0),
        bank,
        conds,
        jnp.asarray(golden.masks(arrays)),
        schedule=schedule,
        solver=ddpm(schedule),
        recorded=recorded(arrays),
    )
    assert np.allclose(result.draws[0], arrays["samples"], atol=1e-4, rtol=1e-4)
