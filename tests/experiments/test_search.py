"""experiments/search.py: the better go on, train.py takes the best."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.runs.config import ExperimentConfig, recipe
from cohgen_jax.runs.search import SearchConfig, rung_epochs, search_recipe
from cohgen_jax.storage.rundir import from_dict
from cohgen_jax.training import TrainConfig
from tests.experiments.conftest import demo_tables, write_tables

SEARCH = SearchConfig(space="numbers", configs=4, models=("cna_from_multi",), eta=2, first_rung=2)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    tables, facts = demo_tables(0, 200)
    two = {name: tables[name] for name in ("cna", "rppa")}
    folder = write_tables(tmp_path_factory.mktemp("search") / "cohort", two, facts)
    base = recipe("debug")
    return dataclasses.replace(
        base, cohort=str(folder), codec=dataclasses.replace(base.codec, latent_dim=4)
    )


@pytest.fixture(scope="module")
def searched(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("searched") / "out"
    return out, search_recipe(config, SEARCH, out)


def test_rungs_lie_on_validations_and_end_with_the_recipe():
    base = TrainConfig(num_epochs=100, validate_every=10)
    assert rung_epochs(base, SearchConfig()) == [20, 60, 100]
    assert rung_epochs(base, SearchConfig(eta=2, first_rung=10)) == [10, 20, 40, 80, 100]
    assert rung_epochs(base, SearchConfig(eta=1)) == [100]


def test_the_better_half_goes_on(searched):
    out, table = searched
    assert table["epochs"].tolist() == [4, 4, 2, 2]
    events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    first, last = (event["best"] for event in events if event["event"] == "rung")
    assert set(table["config"][:2]) == set(first)
    assert table["config"][0] == last[0]
    assert table["score"][0] <= table["score"][1]
    assert (out / "figures" / "search.png").stat().st_size > 10_000
    assert not (out / "checkpoints").exists()
    assert np.array_equal(pd.read_csv(out / "search.csv")["config"], table["config"])


@pytest.mark.heavy
def test_an_interrupted_search_ends_the_same(config, searched, tmp_path):
    class Stop(Exception):
        pass

    def stop(name, progress):
        if name.startswith("epoch 4") and progress.rows:
            raise Stop

    with pytest.raises(Stop):
        search_recipe(config, SEARCH, tmp_path / "out", report=stop)
    table = search_recipe(config, SEARCH, tmp_path / "out", resume=True)
    pd.testing.assert_frame_equal(table, searched[1])
    again = search_recipe(config, SEARCH, tmp_path / "out", resume=True)  # nothing left to do
    assert again["config"].tolist() == table["config"].tolist()


@pytest.mark.heavy
def test_the_winner_trained_alone_reaches_its_score(config, searched, command, tmp_path):
    """best.json is the configuration that won; as a run of its own it gets the same score."""
    out, table = searched
    best = from_dict(ExperimentConfig, json.loads((out / "best.json").read_text()))
    assert best.multi.learning_rate == table["learning_rate"][0]
    assert best.single == config.single
    args = ("--config", out / "best.json", "--out", tmp_path / "run")
    said = command("train", *args, "--recipe", "debug").refused()
    assert "--config is a whole configuration: leave out --recipe" in said
    assert command("train", *args).status == 0
    history = pd.read_csv(tmp_path / "run" / "metrics" / "history_multi.csv")
    score = history.loc[history["model"] == "cna_from_multi", "val_energy"].min()
    assert score == pytest.approx(table["score_cna_from_multi"][0], abs=1e-5)


def test_a_model_that_is_not_there_is_refused_before_anything_is_fitted(config, tmp_path, command):
    args = ("--cohort", config.cohort, "--out", tmp_path / "out", "--recipe", "debug")
    outcome = command("search", *args, "--search.models", "cna_from_moon")
    assert (
        "unknown model 'cna_from_moon'; known: cna_from_multi, rppa_from_multi" in outcome.refused()
    )
    assert not (tmp_path / "out").exists()
