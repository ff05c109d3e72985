"""A run that extends another by a modality: what it takes, and that it is as if trained at once."""

import dataclasses

import jax
import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.runs import extend
from cohgen_jax.runs.run import open_run
from cohgen_jax.runs.source import load_any_cohort
from tests.experiments.conftest import DEBUG, demo_tables, run_in_process, write_tables


@pytest.fixture(scope="module")
def extended(run_dir, cohort_dir, tmp_path_factory):
    """(the run of cna and rnaseq on the patients and split of `run_dir`, that run with rppa)."""
    folder = tmp_path_factory.mktemp("extended")
    tables, facts = demo_tables(0, 200)
    facts = facts.assign(split=open_run(run_dir).samples["split"])
    two = {name: tables[name] for name in ("cna", "rnaseq")}
    write_tables(folder / "tables", two, facts)
    args = ("--cohort", folder / "tables", "--out", folder / "two")
    assert run_in_process("train", *DEBUG, *args) == 0
    start = ("--config", folder / "two" / "config.json", "--extends", folder / "two")
    args = ("--cohort", cohort_dir, "--out", folder / "three")
    assert run_in_process("train", *start, *args) == 0
    return folder / "two", folder / "three"


def model(run, name):
    """Parameters of a single-condition model."""
    models = run.models["single"]
    (k,) = [k for k, spec in enumerate(models.specs) if spec.name == name]
    return jax.tree.map(lambda leaf: leaf[k], models.variables["energy"]), models.scores["energy"][
        k
    ]


def test_what_was_trained_is_taken_as_it_is(extended):
    two, three = map(open_run, extended)
    assert three.modalities == ("cna", "rnaseq", "rppa")
    for name in ("cna_from_rnaseq", "rnaseq_from_cna"):
        (old, old_score), (new, new_score) = model(two, name), model(three, name)
        jax.tree.map(np.testing.assert_array_equal, old, new)
        assert old_score == new_score
    for m, name in enumerate(two.modalities):
        width = two.codecs[name].width
        np.testing.assert_array_equal(three.latents.z[:, m, :width], two.latents.z[:, m, :width])
    assert (three.samples["split"] == two.samples["split"]).all()
    assert three.covariates == two.covariates


def test_it_is_the_run_of_all_three(extended, run_dir):
    """The streams of a model are its own: apart from rounding it is what it is among the others."""
    three, at_once = open_run(extended[1]), open_run(run_dir)
    names = {spec.name for spec in at_once.models["single"].specs}
    assert {spec.name for spec in three.models["single"].specs} == names
    for name in names:
        (ours, score), (whole, expected) = model(three, name), model(at_once, name)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3), ours, whole)
        assert score == pytest.approx(expected, rel=1e-3)
    patients = at_once.samples.index[at_once.rows("test")][:10].tolist()
    for target in ("cna", "rppa"):
        drawn, expected = (run.sample(target, patients, num_draws=2) for run in (three, at_once))
        np.testing.assert_allclose(drawn, expected, atol=0.05)


def test_the_report_and_scores_are_those_of_a_run(extended, command):
    few = ("--draws", "2", "--targets", "rppa", "--methods", "coherent")
    assert command("evaluate", "--run", extended[1], *few).status == 0
    history = (extended[1] / "metrics" / "history_single.csv").read_text()
    assert "cna_from_rnaseq" in history
    assert "rppa_from_cna" in history


def test_the_split_is_that_of_the_run(run_dir, tmp_path):
    """Where one more table would have it drawn otherwise."""
    tables, facts = demo_tables(0, 200)
    tables["wsi"] = tables["cna"].iloc[::2].add(1).rename(columns="wsi_{}".format)
    write_tables(tmp_path / "wider", tables, facts)
    run = open_run(run_dir)
    config = dataclasses.replace(run.config, cohort=str(tmp_path / "wider"))
    other = load_any_cohort(config).samples["split"]
    assert (other != run.samples["split"]).any()
    cohort = load_any_cohort(dataclasses.replace(config, extends=str(run_dir)))
    assert (cohort.samples["split"] == run.samples["split"]).all()
    extend.check_extension(run, cohort)
    with pytest.raises(InputError, match="on another side of the split"):
        extend.check_extension(run, load_any_cohort(config))


def test_what_does_not_go_on_from_the_run_is_refused(run_dir, cohort_dir, command, tmp_path):
    def refused(cohort, *args, start=("--config", run_dir / "config.json")):
        out = ("--extends", run_dir, "--cohort", cohort, "--out", tmp_path / "out")
        return command("train", *start, *out, *args).refused()

    tables, facts = demo_tables(0, 200)
    tables["wsi"] = tables["cna"].iloc[::2].add(1).rename(columns="wsi_{}".format)
    write_tables(tmp_path / "wider", tables, facts)
    changed = {**tables, "rnaseq": tables["rnaseq"] * 1.5}
    write_tables(tmp_path / "changed", changed, facts)
    write_tables(tmp_path / "fewer", {m: tables[m] for m in ("cna", "wsi")}, facts)
    assert "no modality that" in refused(cohort_dir)
    assert "is not what" in refused(tmp_path / "changed")
    assert "knows rnaseq, this cohort lacks it" in refused(tmp_path / "fewer")
    assert "another single" in refused(tmp_path / "wider", "--single.learning-rate", "1e-4")
    assert "another codec" in refused(tmp_path / "wider", start=("--recipe", "debug"))
    assert not (tmp_path / "out").exists()
    search = ("--extends", run_dir, "--cohort", cohort_dir, "--out", tmp_path / "out")
    assert "a search trains all models" in command("search", *search).refused()
