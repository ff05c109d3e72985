"""Training an autoencoder: the same result wherever the table lies and however often it is cut."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest

from cohgen_jax.codec import CodecConfig, autoencoder, fit_codec
from cohgen_jax.codec.autoencoder import choose_place
from cohgen_jax.storage.interrupt import Interrupted
from tests.training.test_farm import leaves_equal, send_sigterm

CONFIG = CodecConfig(
    kind="autoencoder", latent_dim=3, num_layers=1, max_epochs=6, batch_size=16, place="device"
)


@pytest.fixture(scope="module")
def tables():
    """(train, val): 70 and 30 samples of 3 factors in 20 features, some cells missing."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(100, 3)) @ rng.normal(size=(3, 20)) + 0.1 * rng.normal(size=(100, 20))
    values[rng.random(values.shape) < 0.03] = np.nan
    table = pd.DataFrame(values.astype(np.float32), columns=[f"g{i}" for i in range(20)])
    return table[:70], table[70:]


@pytest.fixture(scope="module")
def whole(tables):
    return fit_codec(*tables, CONFIG, seed=0).reducer


@pytest.mark.parametrize("place", ["host", "disk"])
def test_a_streamed_table_gives_bitwise_the_same(place, tables, whole, tmp_path):
    config = dataclasses.replace(CONFIG, place=place)
    streamed = fit_codec(*tables, config, seed=0, scratch=tmp_path).reducer
    assert whole.train_loss == streamed.train_loss
    assert whole.val_loss == streamed.val_loss
    assert leaves_equal(whole.variables, streamed.variables)
    assert not list(tmp_path.glob("table-*"))


def kill_in_epoch_4(line):
    if line.startswith("epoch 4,"):
        raise RuntimeError("killed")


def terminate_in_epoch_4(line):
    if line.startswith("epoch 4,"):
        send_sigterm()


@pytest.mark.parametrize(
    ("stop", "raised", "first"),
    [(kill_in_epoch_4, RuntimeError, 4), (terminate_in_epoch_4, Interrupted, 5)],
)
def test_stopping_and_resuming_changes_nothing(stop, raised, first, tables, whole, tmp_path):
    with pytest.raises(raised):
        fit_codec(*tables, CONFIG, 0, stop, scratch=tmp_path)
    lines = []
    resumed = fit_codec(*tables, CONFIG, 0, lines.append, scratch=tmp_path).reducer
    assert lines[0].startswith(f"epoch {first},")
    assert whole.train_loss == resumed.train_loss
    assert leaves_equal(whole.variables, resumed.variables)


def test_a_batch_is_read_ahead_and_no_more_than_two():
    """Two batches are on their way when the first is handed over, three when it is worked on."""
    asked = []

    def orders():
        for i in range(6):
            asked.append(i)
            yield np.array([i])

    batches = autoencoder._streamed(np.arange(6.0).reshape(6, 1))(orders())
    for i in range(6):
        assert float(next(batches)[0, 0]) == i
        assert len(asked) == min(6, i + 1 + autoencoder.AHEAD)


class Accelerator:
    platform = "gpu"

    def __init__(self, gigabytes):
        self.limit = gigabytes << 30

    def memory_stats(self):
        return {"bytes_limit": self.limit}


@pytest.mark.parametrize(
    ("device", "host", "place"), [(24, 64, "device"), (4, 64, "host"), (4, 4, "disk")]
)
def test_the_place_goes_by_the_memory(device, host, place, monkeypatch):
    """60,000 features of 10,000 samples are 2.2 GiB; the training state here is 0.4."""
    monkeypatch.setattr(jax, "local_devices", lambda: [Accelerator(device)])
    monkeypatch.setattr(
        autoencoder.os, "sysconf", lambda name: 4096 if "SIZE" in name else (host << 30) // 4096
    )
    config = CodecConfig(kind="autoencoder", shrink=3.0)
    assert choose_place(10_000, 60_000, 32, config) == place
    asked = dataclasses.replace(config, place="host")
    assert choose_place(10_000, 60_000, 32, asked) == "host"


def test_the_place_on_a_cpu_counts_the_copy(monkeypatch):
    monkeypatch.setattr(autoencoder.os, "sysconf", lambda name: 4096 if "SIZE" in name else 1 << 20)
    config = CodecConfig(kind="autoencoder", shrink=3.0)
    places = [choose_place(n, 60_000, 32, config) for n in (1000, 5000, 10_000)]
    assert places == ["device", "host", "disk"]  # 0.2, 1.1, 2.2 GiB in 4
