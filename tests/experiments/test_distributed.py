"""Two processes that speak over loopback train the run that one trains, and stop together."""

import signal
import socket
import time

import jax
import numpy as np
import pandas as pd

from cohgen_jax.storage.checkpoint import load_tree
from tests.experiments.conftest import DEBUG
from tests.experiments.test_resume import events, finish, start

LIGHT = ("--modalities", "cna", "rppa", "--multi.members", 2, "--compute.checkpoint-seconds", 0)


def start_two(name, *args, **how):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = ("--distributed", "--coordinator", f"127.0.0.1:{port}", "--num-processes", 2)
    return [start(name, *args, *group, "--process-id", i, **how) for i in range(2)]


def finish_two(processes):
    said = [process.communicate(timeout=280)[1] for process in processes]
    return [process.returncode for process in processes], said


def test_two_processes_train_what_one_does(cohort_dir, tmp_path):
    args = (*DEBUG, *LIGHT, "--cohort", cohort_dir)
    one, two = tmp_path / "one", tmp_path / "two"
    alone = start("train", *args, "--out", one)
    cut = start_two("train", *args, "--out", two)
    while not events(two, "validated") and cut[0].poll() is None:
        time.sleep(0.02)
    cut[1].send_signal(signal.SIGTERM)
    status, said = finish_two(cut)
    assert status == [143, 143], said
    assert not (two / "models").exists()
    status, said = finish_two(start_two("train", *args, "--out", two, "--resume"))
    assert status == [0, 0], said
    finish(alone)
    assert "6 models of cna, rppa" in said[0]
    assert "models" not in said[1]  # process 0 alone speaks
    for name, what in (("models/single", "models"), ("models/multi", "models")):
        arrays, arrays_2 = (load_tree(run / name, what)[0] for run in (one, two))
        for a, b in zip(jax.tree.leaves(arrays), jax.tree.leaves(arrays_2), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    for kind in ("single", "multi"):
        a, b = (pd.read_csv(r / "metrics" / f"history_{kind}.csv") for r in (one, two))
        pd.testing.assert_frame_equal(a, b, rtol=1e-5)

    status, said = finish_two(start_two("train", *args, "--seed", 1, "--out", two, "--resume"))
    assert status == [2, 2]
    assert "error: " in said[0]
    assert "another configuration (seed: 0 -> 1)" in said[0]
    assert "error: process 0 has stopped: its message says why" in said[1]
