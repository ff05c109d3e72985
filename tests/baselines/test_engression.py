"""Engression on a cohort of known posteriors."""

import numpy as np
import pytest

from cohgen_jax.baselines import OPTIONAL, energy_network, fit_baselines, optional
from cohgen_jax.errors import InputError
from cohgen_jax.scores import draws as metrics
from tests.baselines.test_baselines import linear_cohort, show

reason = OPTIONAL["engression"]()
needs_engression = pytest.mark.skipif(reason is not None, reason=f"no engression: {reason}")


@needs_engression
@pytest.mark.filterwarnings("default")  # of torch
@pytest.mark.heavy
def test_it_predicts_and_knows_how_well(capfd, monkeypatch):
    """b is a turned by 45 degrees and noise of known size: R2 cannot exceed `ideal`."""
    import torch

    monkeypatch.setattr(energy_network, "STEPS", 300)
    latents, train, val, test = linear_cohort()
    generate = fit_baselines(latents, train, val, methods=["engression"])["engression", "b"]
    before = torch.get_rng_state()
    z, shown = show(latents, test, "a")
    draws = generate(z, shown, 10, 0).draws
    assert torch.equal(before, torch.get_rng_state())
    real = latents.z[test, 1]
    ideal = 1 - 0.25 / np.var(real)
    assert 0.8 * ideal < metrics.r2_inf(draws, real) < ideal + 0.05
    assert 0.8 < metrics.spread_error(draws, real) < 1.2
    few = generate(z[:3], shown[:3], 10, 0).draws
    np.testing.assert_allclose(few, draws[:, :3], atol=1e-5)
    assert capfd.readouterr().out == ""


@needs_engression
@pytest.mark.filterwarnings("default")
def test_small_cohorts_can_be_fitted(monkeypatch):
    monkeypatch.setattr(energy_network, "STEPS", 5)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 30)).astype(np.float32), rng.normal(size=(12, 50))
    y = y.astype(np.float32)
    draws = energy_network.engression(x, y)(x[:2], rng.random((3, 2)))
    assert draws.shape == (3, 2, 50)
    assert np.isfinite(draws).all()
    assert np.abs(draws[0] - draws[1]).min() > 0


def test_without_engression_it_says_what_is_not_there(monkeypatch):
    latents, train, val, test = linear_cohort()

    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(optional.importlib, "import_module", absent)
    generate = fit_baselines(latents, train, val, methods=["engression"])["engression", "b"]
    with pytest.raises(InputError, match="optional extra `benchmarks`"):
        generate(*show(latents, test, "a"), 2, 0)
