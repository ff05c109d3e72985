"""A whole results folder of the published trainer becomes banks of models."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from cohgen_jax.errors import InputError
from cohgen_jax.interop import load_published_results
from cohgen_jax.interop.convert import torch_name
from cohgen_jax.interop.published import MULTI
from cohgen_jax.networks import NetworkConfig, build, init
from tests import golden
from tests.interop import torch_file

FORWARD = golden.files("torch_run/forward_*_from_*.npz")


def golden_run():
    return load_published_results(golden.folder("torch_run/results"))


@pytest.mark.parametrize("path", FORWARD)
def test_outputs_of_published_checkpoints(path):
    target, source = path.stem.removeprefix("forward_").split("_from_")
    arrays = golden.load(path)
    model = golden_run().model(target, source, "mse")
    assert model.loss == float(arrays["best_loss"])
    assert len(model.sources) == len(golden.numbered(arrays, "cond"))
    out = jax.jit(model.module.apply)(
        model.variables, arrays["x"], arrays["t"].astype(np.int32), golden.numbered(arrays, "cond")
    )
    np.testing.assert_allclose(out, arrays["out"], rtol=0, atol=1e-5)


def test_every_checkpoint_of_the_run_is_readable():
    run = golden_run()
    assert len(run.folders) == len(FORWARD)
    for target, source in run.folders:
        metrics = run.metrics(target, source)
        assert set(metrics) == {"mse", "cosine", "timestep"}
        for metric in metrics:
            model = run.model(target, source, metric)
            history = run.folders[target, source] / "train" / f"best_by_{metric}_losses.json"
            name = {"timestep": "val_mse_timestep"}.get(metric, f"val_{metric}")
            assert model.loss == min(json.loads(history.read_text())[name])
            assert model.schedule.num_steps > 1


def test_banks_of_the_run_predict_what_their_models_predict():
    """Models searched one by one differ in form; the bank runs them in the order of its sources."""
    run = golden_run()
    for target in run.targets:
        bank = run.bank(target)
        assert bank.sources == run.sources(target)
        files = [
            golden.load(golden.folder("torch_run") / f"forward_{target}_from_{source}.npz")
            for source in bank.sources
        ]
        np.testing.assert_allclose(bank.losses, [f["best_loss"] for f in files], rtol=1e-6)
        predict = _predictor(bank, [f["cond0"] for f in files])
        for k, arrays in enumerate(files):
            _check_member(predict, arrays, k)
        if (target, MULTI) in run.folders:
            arrays = golden.load(golden.folder("torch_run") / f"forward_{target}_from_multi.npz")
            multi = run.multi(target)
            assert multi.num_models == 1
            _check_member(_predictor(multi, golden.numbered(arrays, "cond")), arrays, 0)


def _predictor(bank, conds):
    present = np.ones((len(conds[0]), len(bank.sources)), bool)

    @jax.jit
    def predict(x, t):
        return bank.predict_eps(x[None], t, conds, present, jnp.float32(0.6), jnp.float32(0.8))

    return predict


def _check_member(predict, arrays, k):
    """Model k gives the recorded output for the samples at the first sample's noise level."""
    t = arrays["t"][0]
    recorded = arrays["t"] == t
    eps = predict(arrays["x"], np.int32(t))[k, 0]
    np.testing.assert_allclose(eps[recorded], arrays["out"][recorded], rtol=0, atol=1e-5)


# --- a synthetic folder, for what does not need published numbers -------------------------------

DIM = 4
SIZES = {
    "initial_size": 8,
    "bottleneck_size": 2,
    "n_layers": 2,
    "time_embedding_dimension": 6,
    "cond_embedding_dim": 3,
}


def save_model(folder, sources, architecture="norm_mlp", metric="mse", **changes):
    """Write <folder>/train/best_by_<metric>.pth with parameters of the right shapes."""
    config = NetworkConfig(
        architecture=architecture,
        width=8,
        bottleneck=2,
        num_layers=2,
        time_embedding=6,
        cond_embedding=3,
    )
    module = build(config, DIM, (DIM,) * sources)
    template = flatten_dict(jax.eval_shape(lambda: init(module, jax.random.key(0))))
    arrays = {torch_name(path): np.ones(v.shape[::-1], v.dtype) for path, v in template.items()}
    arrays["diffusion.betas"] = np.linspace(1e-4, 2e-2, 10, dtype=np.float32)
    checkpoint = {
        f"best_model_{metric}": torch_file.state_dict(arrays),
        "config": SIZES | {"architecture": architecture},
        "best_loss": 0.5 * sources,
    } | changes
    (folder / "train").mkdir(parents=True, exist_ok=True)
    return torch_file.save(folder / "train" / f"best_by_{metric}.pth", checkpoint)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "results" / str(DIM)
    save_model(root / "rna_from_cna", 1)
    save_model(root / "rna_from_wsi", 1, architecture="norm_mlp_v2")
    save_model(root / "rna_from_multi", 2, architecture="norm_mlp_v2")
    (root / "rna_from_multi" / "cond_order.json").write_text('["wsi", "cna"]')
    save_model(root / "cna_from_rna", 1, metric="cosine")
    return root


@pytest.fixture
def results(made_once, tmp_path):
    return shutil.copytree(made_once, tmp_path / "results" / made_once.name)


def test_what_a_folder_holds(results):
    run = load_published_results(results)
    assert run.targets == ("cna", "rna")
    assert run.sources("rna") == ("cna", "wsi")
    assert run.metrics("cna", "rna") == ("cosine",)
    bank = run.bank("rna")
    assert (bank.target, bank.sources, bank.num_models) == ("rna", ("cna", "wsi"), 2)
    assert run.bank("rna", sources=["wsi"]).sources == ("wsi",)
    model = run.model("rna", MULTI)
    assert model.sources == ("wsi", "cna")
    assert model.module.cond_dims == (DIM, DIM)
    assert model.loss == 1.0
    assert model.schedule.num_steps == 10
    assert run.multi("rna").sources == ("wsi", "cna")


def test_the_folder_above_will_do_when_it_holds_one_width(results):
    assert load_published_results(results.parent).targets == ("cna", "rna")
    shutil.copytree(results, results.parent / "32")
    with pytest.raises(InputError, match="several latent widths: 32, 4"):
        load_published_results(results.parent)


def test_unknown_names_are_answered_with_the_known_ones(results):
    run = load_published_results(results)
    with pytest.raises(InputError, match="'rppa'; known: cna, rna"):
        run.bank("rppa")
    with pytest.raises(InputError, match="from 'rppa'; known: cna, multi, wsi"):
        run.bank("rna", sources=["rppa"])
    with pytest.raises(InputError, match="kept by 'mse'; known: cosine"):
        run.bank("cna")
    with pytest.raises(InputError, match="from 'multi'; known: rna"):
        run.multi("cna")


def test_folders_without_models(tmp_path):
    with pytest.raises(FileNotFoundError, match="no results folder"):
        load_published_results(tmp_path / "absent")
    (tmp_path / "rna_from_cna").mkdir()
    with pytest.raises(InputError, match="holds no <target>_from_<source>"):
        load_published_results(tmp_path)


def test_order_of_conditions(results):
    path = results / "rna_from_multi" / "cond_order.json"
    run = load_published_results(results)
    for text, said in (
        ('["wsi"]', "has shape"),
        ('{"wsi": 0}', "must list the names"),
        ("[1, 2]", "must list the names"),
        ('["wsi", ', "not JSON"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            run.multi("rna")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"cond_order\.json is missing"):
        run.multi("rna")


def test_checkpoints_of_others(results):
    folder = results / "rna_from_cna"
    run = load_published_results(results)
    for changes, said in (
        ({"config": None}, "no usable 'config'; it has best_model_mse"),
        ({"best_model_mse": [1]}, "no usable 'best_model_mse'"),
        ({"best_loss": "low"}, "no usable 'best_loss'"),
        ({"config": SIZES | {"architecture": "vae"}}, r"best_by_mse\.pth: unknown .* 'vae'"),
    ):
        save_model(folder, 1, **changes)
        with pytest.raises(InputError, match=said):
            run.bank("rna")
    path = folder / "train" / "best_by_mse.pth"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="truncated"):
        run.bank("rna")
