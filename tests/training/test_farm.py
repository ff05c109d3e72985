"""The farm: models do not notice each other, the best are kept, interruption changes nothing."""

import contextlib
import dataclasses
import gc
import logging
import os
import resource
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.networks import NetworkConfig
from cohgen_jax.runs.train import _diverged
from cohgen_jax.solvers import SolverConfig
from cohgen_jax.storage.interrupt import SIGNALS, Interrupted
from cohgen_jax.training import (
    DiffusionConfig,
    TrainConfig,
    loop,
    make_farm,
    multi_specs,
    pair_specs,
    train_farm,
)
from cohgen_jax.training.farm import (
    LEAST_WORTH,
    init_state,
    train_epoch,
    validate,
)
from cohgen_jax.training.spec import ModelSpec
from cohgen_jax.training.validation import METRICS
from tests.sampling.test_specialize import disturbed

CONFIG = TrainConfig(
    network=NetworkConfig(width=16, num_layers=1, time_embedding=8, dropout=0.1),
    batch_size=16,
    num_epochs=4,
    validate_every=2,
    val_draws=2,
    val_solver=SolverConfig(num_steps=5, eta=1.0, grid="uniform"),
)
MODALITIES = ["a", "b", "c"]


def toy_cohort(num=160, seed=0):
    """b is a noisy copy of a; c is noise. Latent widths 4, 4 and 3."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(num, 3, 4)).astype(np.float32)
    z[:, 1] = 0.95 * z[:, 0] + 0.3 * z[:, 1]
    z[:, 2, 3] = 0
    present = rng.random((num, 3)) < 0.9
    present[:40] = True
    z[~present] = 0
    return z, present, [4, 4, 3]


def farm_of(specs, config=CONFIG, seed=0, diffusion=DiffusionConfig()):
    z, present, widths = toy_cohort()
    train, val = np.arange(40, 160), np.arange(40)
    return make_farm(specs, z, present, widths, train, val, config, diffusion, seed)


def trained(farm, data, num_epochs):
    """(state, losses [num_epochs, K]) from the start."""
    state, losses = init_state(data, farm=farm), []
    for _ in range(num_epochs):
        state, loss = train_epoch(state, data, farm=farm)
        losses.append(loss)
    return state, np.array(losses)


def leaves_equal(one, other) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def test_members_of_an_ensemble_differ_in_the_noise_on_their_conditions():
    config = dataclasses.replace(CONFIG, members=3, cond_noise=0.8, member_noise=0.5)
    farm, data = farm_of(multi_specs(MODALITIES, config.members), config)
    assert [spec.name for spec in farm.specs[:3]] == [f"a_from_multi{m}" for m in ("", ".1", ".2")]
    np.testing.assert_allclose(data.hyper.cond_noise, [0.8, 0.4, 0.2] * 3, rtol=1e-6)


@pytest.mark.parametrize("architecture", ["adaln_mlp", "norm_mlp"])
def test_a_model_trains_alone_as_in_company(architecture):
    config = dataclasses.replace(
        CONFIG, network=dataclasses.replace(CONFIG.network, architecture=architecture)
    )
    specs = pair_specs(MODALITIES)
    together, data = farm_of(specs, config)
    state, losses = trained(together, data, 2)
    alone, own_data = farm_of(specs[2:3], config)
    own, own_losses = trained(alone, own_data, 2)
    assert np.allclose(losses[:, 2], own_losses[:, 0], atol=1e-6)
    for a, b in zip(jax.tree.leaves(state.average), jax.tree.leaves(own.average), strict=True):
        assert np.allclose(a[2], b[0], atol=1e-5)


def test_training_learns_what_can_be_learnt():
    config = dataclasses.replace(
        CONFIG, num_epochs=40, validate_every=20, learning_rate=3e-3, cond_noise=0.1
    )
    farm, data = farm_of(pair_specs(MODALITIES), config)
    state, _ = trained(farm, data, 40)
    _, scores = validate(state, data, farm=farm)
    mse = {spec.name: float(score) for spec, score in zip(farm.specs, scores["mse"], strict=True)}
    # b from a can be known to 0.09 of its variance (a draw errs twice that); b from c cannot.
    assert mse["b_from_a"] < 0.8
    assert mse["b_from_c"] > 1.4


def test_padding_is_not_scored():
    _, data = farm_of(pair_specs(MODALITIES))
    worth = np.asarray(data.worth)
    assert np.array_equal(worth.sum(axis=1), [4, 4, 4, 4, 3, 3])
    assert np.array_equal(worth[4], [1, 1, 1, 0])


def test_a_component_is_worth_the_square_of_its_scale_and_never_nothing_within_the_width():
    """A latent that a codec leaves unused is noised as it will be when sampling."""
    z, present, widths = toy_cohort()
    scale = np.array([[1.5, 1, 0.5, 0], [1, 1, 1, 1], [1, 1, 1, 7.0]])  # the last is padding
    farm, data = make_farm(
        pair_specs(MODALITIES),
        z,
        present,
        widths,
        np.arange(40, 160),
        np.arange(40),
        CONFIG,
        DiffusionConfig(),
        0,
        scale=scale,
    )
    np.testing.assert_allclose(data.worth[0], [2.25, 1, 0.25, LEAST_WORTH])
    np.testing.assert_allclose(data.worth[5], [1, 1, 1, 0])
    np.testing.assert_allclose(data.scale[0], [1.5, 1, 0.5, 0])
    np.testing.assert_allclose(data.scale[2], [1, 1, 1, 0])
    assert farm.num_covariates == 0


def wide_cohort(num=120):
    """Latents of true widths 8, 8 and 3 and two covariates, of which the first makes half of c."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(num, 4, 8)).astype(np.float32)
    z[:, 2, 3:], z[:, 3, 2:] = 0, 0
    z[:, 2, 0] = np.sqrt(0.5) * (z[:, 2, 0] + z[:, 3, 0])
    present = np.ones((num, 3), bool)
    present[60:, 1] = rng.random(num - 60) < 0.6
    z[:, :3][~present] = 0
    return z, present, [8, 8, 3, 2]


@pytest.mark.parametrize(
    ("predicts", "kind"),
    [
        ("v", multi_specs),
        ("eps", pair_specs),
        pytest.param("v", pair_specs, marks=pytest.mark.heavy),
        pytest.param("eps", multi_specs, marks=pytest.mark.heavy),
    ],
)
def test_unequal_widths_and_covariates_train_in_one_farm(predicts, kind):
    """Beyond the width of its target a model stays as it began: Adam moves by gradients alone."""
    z, present, widths = wide_cohort()
    scale = np.linspace(1.6, 0.4, 8)[None].repeat(3, axis=0)
    specs = kind(MODALITIES)
    config = dataclasses.replace(CONFIG, weight_decay=0.0)
    diffusion = dataclasses.replace(DiffusionConfig(), predicts=predicts)
    rows = np.arange(30, 120), np.arange(30)
    farm, data = make_farm(specs, z, present, widths, *rows, config, diffusion, 0, scale=scale)
    assert farm.num_covariates == 2
    assert farm.module.cond_dims == (8,) * len(specs[0].sources) + (2,)
    before = init_state(data, farm=farm).variables["params"]
    state, losses = trained(farm, data, 3)
    state, scores = validate(state, data, farm=farm)
    assert np.isfinite(losses).all()
    assert all(np.isfinite(scores[metric]).all() for metric in METRICS)
    assert np.all(state.active)
    after = state.variables["params"]
    for k, spec in enumerate(farm.specs):
        moved = np.asarray(after["Dense_1"]["kernel"][k] != before["Dense_1"]["kernel"][k])
        learnt = np.asarray(after["output"]["kernel"][k] != before["output"]["kernel"][k])
        width = widths[spec.target]
        assert moved[:width].any(axis=1).all()
        assert not moved[width:].any()
        assert learnt[:, :width].any(axis=0).all()
        assert not learnt[:, width:].any()


def test_padding_of_a_target_changes_no_score():
    """Neither what networks say there nor how they would read it: it is 0 at every level."""
    z, present, widths = wide_cohort()
    rows = np.arange(30, 120), np.arange(30)
    specs = [spec for spec in pair_specs(MODALITIES) if spec.target == 2]
    results = []
    for sign in (1, -1):
        farm, data = make_farm(specs, z, present, widths, *rows, CONFIG, DiffusionConfig(), 0)
        state = init_state(data, farm=farm)
        average = jax.tree.map(
            lambda *leaves: jnp.stack(leaves), *(disturbed(farm.module, k) for k in (0, 1))
        )
        inputs, output = average["params"]["Dense_1"], average["params"]["output"]
        inputs["kernel"] = inputs["kernel"].at[:, 3:].set(sign * 2.0)
        output["bias"] = output["bias"].at[:, 3:].set(sign * 5.0)
        results.append(validate(state._replace(average=average), data, farm=farm)[1])
    for metric in METRICS:
        np.testing.assert_array_equal(results[0][metric], results[1][metric])


@pytest.mark.heavy
def test_what_covariates_tell_is_learnt():
    """Half the variance of the first component of c is a covariate that no source knows."""
    z, present, widths = wide_cohort(400)
    rows = np.arange(60, 400), np.arange(60)
    config = dataclasses.replace(CONFIG, num_epochs=40, learning_rate=3e-3, cond_noise=0.1)
    scale = np.array([1, 1e-2, 1e-2, 0, 0, 0, 0, 0])[None].repeat(3, axis=0)  # that alone counts
    mse = []
    for known in (z, z[:, :3]):
        farm, data = make_farm(
            [ModelSpec("c_from_a", 2, (0,))],
            known,
            present,
            widths,
            *rows,
            config,
            DiffusionConfig(),
            0,
            scale=scale,
        )
        state, _ = trained(farm, data, 40)
        mse.append(float(validate(state, data, farm=farm)[1]["mse"][0]))
    assert mse[0] < 0.75 * mse[1]


def test_the_best_weights_of_each_metric_are_kept():
    farm, data = farm_of(multi_specs(MODALITIES))
    state = init_state(data, farm=farm)
    seen = []
    for _ in range(4):
        state, _ = train_epoch(state, data, farm=farm)
        average = jax.tree.map(np.array, state.average)
        state, scores = validate(state, data, farm=farm)
        seen.append((average, jax.tree.map(np.array, scores)))
    for metric in METRICS:
        for k in range(len(farm.specs)):
            best = min(range(4), key=lambda i: seen[i][1][metric][k])
            assert state.best_score[metric][k] == seen[best][1][metric][k]
            assert int(state.best_epoch[metric][k]) == best + 1
            assert leaves_equal(
                jax.tree.map(lambda leaf, k=k: leaf[k], state.best[metric]),
                jax.tree.map(lambda leaf, k=k: leaf[k], seen[best][0]),
            )


def test_a_model_that_stops_improving_stops_and_a_broken_one_keeps_its_weights():
    farm, data = farm_of(pair_specs(MODALITIES), dataclasses.replace(CONFIG, patience=1))
    state = init_state(data, farm=farm)
    never = np.full(len(farm.specs), -np.inf, np.float32)
    state = state._replace(best_score={**state.best_score, "energy": never})
    state, _ = validate(state, data, farm=farm)
    assert not np.any(state.active)
    before = jax.tree.map(np.array, state.variables)
    state, _ = train_epoch(state, data, farm=farm)
    assert leaves_equal(before, state.variables)

    broken, data = farm_of(pair_specs(MODALITIES))
    poisoned = data._replace(z=data.z.at[:, 2].set(np.nan))
    state = init_state(poisoned, farm=broken)
    state, _ = train_epoch(state, poisoned, farm=broken)
    touched = np.array([2 in (spec.target, *spec.sources) for spec in broken.specs])
    assert np.array_equal(np.asarray(state.active), ~touched)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state.variables))


def test_a_model_that_breaks_on_the_way_keeps_its_last_good_weights(tmp_path):
    """From epoch 3 on modality c is NaN: its four models end there, the other two go on."""
    farm, data = farm_of(pair_specs(MODALITIES))
    half, _ = train_farm(farm, data, tmp_path, until=2)
    broken = data._replace(z=data.z.at[:, 2].set(np.nan))
    state, history = train_farm(farm, broken, tmp_path)
    touched = [2 in (spec.target, *spec.sources) for spec in farm.specs]
    last = {row["model"]: row for row in history}
    for k, (spec, was_touched) in enumerate(zip(farm.specs, touched, strict=True)):
        ours, before = (jax.tree.map(lambda leaf, k=k: leaf[k], s.best) for s in (state, half))
        assert leaves_equal(ours, before) == was_touched
        assert np.isnan(last[spec.name]["train_loss"]) == was_touched
        assert last[spec.name]["epoch"] == 4
    notes = _diverged(farm, np.asarray(state.best_epoch["energy"]), pd.DataFrame(history), "single")
    assert len(notes) == 4
    kept = int(state.best_epoch["energy"][1])
    assert notes[0] == (
        f"a_from_c diverged and is kept as it was after epoch {kept}: lower single.learning_rate"
    )


def killed(progress):
    if progress.epoch:
        raise RuntimeError("killed")


def send_sigterm():
    os.kill(os.getpid(), signal.SIGTERM)


def terminated(progress):
    if progress.epoch:
        send_sigterm()


@contextlib.contextmanager
def files_of_at_most(num_bytes):
    """What a full disk does to whoever writes more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Four epochs in one go: (state, history)."""
    farm, data = farm_of(multi_specs(MODALITIES))
    return train_farm(farm, data, tmp_path_factory.mktemp("farm") / "whole")


@pytest.mark.parametrize(
    ("stop", "raised", "saved"), [(killed, RuntimeError, 2), (terminated, Interrupted, 3)]
)
def test_stopping_and_resuming_changes_nothing(stop, raised, saved, whole, tmp_path):
    """Train 4 epochs = train 2, stop, resume, train 2: bitwise."""
    handlers = [signal.getsignal(each) for each in SIGNALS]
    farm, data = farm_of(multi_specs(MODALITIES))
    with pytest.raises(raised):
        train_farm(farm, data, tmp_path, stop)
    assert [signal.getsignal(each) for each in SIGNALS] == handlers
    assert max(int(path.name) for path in tmp_path.iterdir()) == saved
    farm, data = farm_of(multi_specs(MODALITIES))
    resumed = train_farm(farm, data, tmp_path)
    assert leaves_equal(whole[0], resumed[0])
    assert whole[1] == resumed[1]


def test_stopping_before_a_validation_changes_nothing(whole, tmp_path, monkeypatch):
    calls = []

    def train_and_stop(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            send_sigterm()
        return train_epoch(*args, **kwargs)

    farm, data = farm_of(multi_specs(MODALITIES))
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_epoch", train_and_stop)
        with pytest.raises(Interrupted):
            train_farm(farm, data, tmp_path)
    assert max(int(path.name) for path in tmp_path.iterdir()) == 2
    resumed = train_farm(farm, data, tmp_path)
    assert leaves_equal(whole[0], resumed[0])
    assert whole[1] == resumed[1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_loses_nothing(whole, tmp_path):
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # reports each write given up, at exit
    full = contextlib.ExitStack()

    def fill_up(progress):
        if progress.epoch == 2:
            full.enter_context(files_of_at_most(1000))

    farm, data = farm_of(multi_specs(MODALITIES))
    with full, pytest.raises(OSError, match=r"cannot be saved in .* \(File too large\)"):
        train_farm(farm, data, tmp_path, fill_up)
    assert {path.name for path in tmp_path.iterdir()} <= {"1", "2"}  # no half
    resumed = train_farm(farm, data, tmp_path)
    assert leaves_equal(whole[0], resumed[0])
    gc.collect()  # the writes that Orbax gave up complain when they are collected


def test_a_damaged_checkpoint_is_named(tmp_path):
    farm, data = farm_of(multi_specs(MODALITIES))
    train_farm(farm, data, tmp_path / "run")
    for file in (tmp_path / "run" / "4").rglob("*"):
        if file.is_file() and file.stat().st_size > 200:
            file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=r"4 cannot be restored"):
        train_farm(farm, data, tmp_path / "run")


def test_a_model_without_enough_patients_is_named():
    z, present, widths = toy_cohort()
    present[45:, 2] = False
    with pytest.raises(InputError, match=r"c_from_a: only \d+ training patients"):
        make_farm(
            pair_specs(MODALITIES)[4:],
            z,
            present,
            widths,
            np.arange(40, 160),
            np.arange(40),
            CONFIG,
            DiffusionConfig(),
            0,
        )


def test_a_model_without_validation_patients_is_named():
    z, present, widths = toy_cohort()
    present[:40, 0] = False
    with pytest.raises(InputError, match="no validation patient"):
        make_farm(
            pair_specs(MODALITIES),
            z,
            present,
            widths,
            np.arange(40, 160),
            np.arange(40),
            CONFIG,
            DiffusionConfig(),
            0,
        )
