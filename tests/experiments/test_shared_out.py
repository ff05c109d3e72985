"""Imputation and evaluation by several processes, and what is left of one goes on: the results are
those of one process that nobody disturbed."""

import shutil
import time
from pathlib import Path

import pandas as pd
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.of_run import EvaluationConfig, evaluate_run
from cohgen_jax.runs import complete
from cohgen_jax.runs.impute import PARTS, impute_tables
from cohgen_jax.runs.run import open_run
from cohgen_jax.storage.staged import PART
from tests.experiments.conftest import by_two, run_in_process
from tests.experiments.test_distributed import finish_two, start_two
from tests.experiments.test_killed import completed, results
from tests.experiments.test_resume import kill

HASTY = "from cohgen_jax.storage import parts; parts.BEAT, parts.PATIENCE = 0.2, 3.0"
"""Before a command: seconds until a process counts as lost."""
FEW = ("--draws", 2, "--methods", "multi", "ridge", "climatology", "--targets", "rppa")


@pytest.fixture
def whole(run_dir, new_dir, tmp_path):
    out = tmp_path / "whole"
    impute_tables(open_run(run_dir), new_dir, out, num_draws=2)
    return completed(out)


def wait_for(there, *processes) -> None:
    while not there() and all(process.poll() is None for process in processes):
        time.sleep(0.01)


def test_two_processes_complete_what_one_does_though_one_is_killed(
    whole, run_dir, new_dir, tmp_path
):
    out = tmp_path / "out"
    args = ("impute", "--run", run_dir, "--input", new_dir, "--out", out, "--draws", 2)
    two = start_two(*args, before=HASTY)
    wait_for((out / PARTS / "process-1").exists, *two)
    kill(two[1])
    said = two[0].communicate(timeout=280)[1]
    assert two[0].returncode == 2, said
    line = "error: process 1 of 2 is silent for 3 s, left: rnaseq-0. What is done is kept in "
    assert f"{line}{out / PARTS}: run the same command again with --resume\n" in said
    assert sorted(path.name for path in (out / PARTS).iterdir() if path.is_dir()) == [
        "cna-0",
        "rppa-0",
    ]
    status, said = finish_two(start_two(*args, "--resume"))
    assert status == [0, 0], said
    assert "draws for" in said[0]
    assert said[1] == ""  # process 0 alone speaks
    assert completed(out) == whole
    assert [path.name for path in out.iterdir() if path.name[0] == "."] == []


def test_two_that_share_an_evaluation_write_what_one_does(run_dir, tmp_path):
    """With everything that is put together of conditions: honesty, disagreement, nulls."""
    one, two = (Path(shutil.copytree(run_dir, tmp_path / name)) for name in ("one", "two"))
    methods = ("coherent", "coherent_mean", "multi", "ridge", "climatology")
    config = EvaluationConfig(draws=2, methods=methods, targets=("rppa",))
    alone = evaluate_run(open_run(one), config)
    run = open_run(two)
    shared = by_two(two / PART / "parts", lambda share: evaluate_run(run, config, share=share))
    assert results(two) == results(one)
    pd.testing.assert_frame_equal(shared.by_patient, alone.by_patient)


@pytest.mark.heavy
def test_two_processes_evaluate_what_one_does(run_dir, tmp_path):
    one, two = (Path(shutil.copytree(run_dir, tmp_path / name)) for name in ("one", "two"))
    assert run_in_process("evaluate", "--run", one, *FEW) == 0
    status, said = finish_two(start_two("evaluate", "--run", two, *FEW))
    assert status == [0, 0], said
    assert said[1] == ""
    assert results(two) == results(one)
    assert not (two / PART).exists()
    assert (two / "report.html").exists()


def test_an_imputation_cut_short_goes_on_block_by_block(run_dir, new_dir, tmp_path, monkeypatch):
    """In one process; what is done is not done again."""
    run, out, draw, calls = open_run(run_dir), tmp_path / "out", complete.Codec.draw_standardised, 0

    def counted(self, z, streams, seed):
        nonlocal calls
        calls += 1
        if calls == full_at:
            raise OSError("No space left on device")
        return draw(self, z, streams, seed)

    monkeypatch.setattr(complete.Codec, "draw_standardised", counted)
    monkeypatch.setattr(complete, "BLOCK_BYTES", 24 * 4 * 3)  # one or two patients
    full_at = 0
    impute_tables(run, new_dir, tmp_path / "whole", num_draws=2)
    num_blocks, calls, full_at = calls, 0, 4
    with pytest.raises(OSError, match="No space left"):
        impute_tables(run, new_dir, out, num_draws=2, resume=True)
    with pytest.raises(InputError, match="--resume goes on with them"):
        impute_tables(run, new_dir, out, num_draws=2)
    with pytest.raises(InputError, match=r"another job \(num_draws: 2 -> 3\)"):
        impute_tables(run, new_dir, out, num_draws=3, resume=True)
    assert calls == 4 < num_blocks
    impute_tables(run, new_dir, out, num_draws=2, resume=True)
    assert calls == num_blocks + 1
    assert completed(out) == completed(tmp_path / "whole")
