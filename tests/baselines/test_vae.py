"""The multimodal VAE on a cohort of known posteriors, incomplete in training."""

import logging

import numpy as np
import pytest

from cohgen_jax.baselines import OPTIONAL, fit_baselines, optional
from cohgen_jax.errors import InputError
from cohgen_jax.scores import draws as metrics
from tests.baselines.test_baselines import linear_cohort, show

reason = OPTIONAL["multimodal_vae"]()
needs_multivae = pytest.mark.skipif(reason is not None, reason=f"no multivae: {reason}")


@pytest.fixture(scope="module")
def cohort():
    return linear_cohort()


@pytest.fixture(scope="module")
def generators(cohort):
    latents, train, val, _ = cohort
    return fit_baselines(latents, train, val, methods=["multimodal_vae"])


@needs_multivae
@pytest.mark.filterwarnings("default")  # of multivae and what it imports
def test_it_predicts_and_knows_how_well(cohort, generators, capfd, caplog, tmp_path, monkeypatch):
    """b is a turned by 45 degrees and noise of known size: R2 cannot exceed `ideal`."""
    monkeypatch.chdir(tmp_path)
    latents, _, _, test = cohort
    with caplog.at_level(logging.DEBUG):
        generate = generators["multimodal_vae", "b"]
        draws = generate(*show(latents, test, "a"), 20, 0).draws
    real = latents.z[test, 1]
    ideal = 1 - 0.25 / np.var(real)
    assert 0.6 * ideal < metrics.r2_inf(draws, real) < ideal + 0.05
    assert 0.85 < metrics.spread_error(draws, real) < 1.2
    assert 0.74 < metrics.interval_coverage(draws, real) < 0.86
    both = generate(*show(latents, test, "a", "c"), 20, 0).draws
    assert metrics.r2_inf(both, real) > 0.6 * ideal  # a product of experts: no better than one
    out, err = capfd.readouterr()
    assert out + err == ""
    assert caplog.records == []
    assert list(tmp_path.iterdir()) == []


@needs_multivae
@pytest.mark.filterwarnings("default")
def test_draws_do_not_depend_on_company_or_on_padding(cohort, generators):
    latents, _, _, test = cohort
    generate = generators["multimodal_vae", "c"]
    z, shown = show(latents, test[:6], "a", "b")
    shown[0] = False  # nothing at all: a draw of the prior
    shown[1, 0] = False
    draws = generate(np.where(shown[..., None], z, 0), shown, 4, 1).draws
    garbage = np.where(shown[..., None], z, 99.0).astype(np.float32)
    few = generate(garbage[:3], shown[:3], 4, 1).draws
    np.testing.assert_allclose(few, draws[:, :3], atol=1e-5)
    assert np.isfinite(draws).all()
    assert (draws[..., 2:] == 0).all()  # c is of width 2
    assert not np.allclose(draws[:, 0], draws[:, 1])


def test_without_multivae_it_says_what_is_not_there(cohort, monkeypatch):
    latents, train, val, test = cohort

    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(optional.importlib, "import_module", absent)
    generate = fit_baselines(latents, train, val, methods=["multimodal_vae"])["multimodal_vae", "b"]
    with pytest.raises(InputError, match="optional extra `benchmarks`"):
        generate(*show(latents, test, "a"), 2, 0)
