"""From the raw files to a trained and evaluated run."""

from pathlib import Path

import pandas as pd
import pytest

from data_prep.raw_to_report import commands, main


def test_the_commands_follow_each_other(tmp_path):
    prep, train, evaluate = commands(tmp_path, "debug", 2, ["--offline", "raw"])
    assert prep[-2:] == ["--offline", "raw"]
    assert str(tmp_path / "cohort") in prep
    assert train[train.index("--cohort") + 1] == str(tmp_path / "cohort")
    assert "--resume" not in train
    assert evaluate[evaluate.index("--run") + 1] == train[train.index("--out") + 1]


def test_the_first_failure_ends_it(tmp_path, capfd):
    assert main(["--out", str(tmp_path), "--offline", str(tmp_path / "nowhere")]) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.heavy
def test_raw_files_to_an_evaluated_run(golden, tmp_path):
    slides = next((golden / "raw").glob("slide_features*"))
    arguments = ["--out", tmp_path, "--recipe", "debug", "--draws", 2, "--rare-diagnosis", 25]
    arguments += ["--offline", golden / "raw", "--slides", slides]
    assert main(list(map(str, arguments))) == 0
    scores = pd.read_csv(Path(tmp_path) / "run" / "metrics" / "fidelity.csv")
    assert set(scores["target"]) == {"cna", "rnaseq", "rppa", "wsi"}
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
