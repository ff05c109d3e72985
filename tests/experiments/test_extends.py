"""A run that extends another by a modality: what it takes, and that it is as if trained at once."""

import dataclasses
import shutil

import jax
import numpy as np
import pandas as pd
import pytest

from cohgen_jax.codec import CodecConfig
from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.tables import cohort_of
from cohgen_jax.runs import extend
from cohgen_jax.runs.run import open_run
from cohgen_jax.runs.source import load_any_cohort
from cohgen_jax.runs.train import train_run
from tests.experiments.conftest import DEBUG, demo_tables, run_in_process, write_tables
from tests.experiments.test_resume import assert_same_run

RESULTS = ("models/single", "regression", "consensus", "calibration")


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
    assert run_in_process("train", *extending(folder / "two", cohort_dir, folder / "three")) == 0
    return folder / "two", folder / "three"


def extending(run, cohort, out):
    """Arguments of train."""
    start = ("--config", run / "config.json", "--extends", run)
    return (*start, "--cohort", cohort, "--out", out)


@pytest.fixture(scope="module")
def wider():
    """(tables, facts) of the patients of `run_dir`, half of whom have wsi too."""
    tables, facts = demo_tables(0, 200)
    rng = np.random.default_rng(0)
    half = tables["cna"].iloc[::2].fillna(0.0)
    values = half.to_numpy() @ rng.normal(size=(half.shape[1], 12))
    values += rng.normal(size=values.shape)
    tables["wsi"] = pd.DataFrame(values, half.index).add_prefix("wsi_")
    return tables, facts


def model(run, name):
    """(parameters, validation score) of a single-condition model."""
    models = run.models["single"]
    (k,) = [k for k, spec in enumerate(models.specs) if spec.name == name]
    weights = jax.tree.map(lambda leaf: leaf[k], models.variables["energy"])
    return weights, models.scores["energy"][k]


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
    old, new = (pd.read_csv(run / "metrics" / "history_single.csv") for run in extended)
    pd.testing.assert_frame_equal(new.head(len(old)), old)
    trained = set(new.iloc[len(old) :]["model"])
    assert trained == {"cna_from_rppa", "rnaseq_from_rppa", "rppa_from_cna", "rppa_from_rnaseq"}


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


@pytest.fixture
def alone(extended, tmp_path):
    """The run, when the one that it extends is gone."""
    alone = shutil.copytree(extended[1], tmp_path / "alone")
    config = (alone / "config.json").read_text()
    (alone / "config.json").write_text(config.replace(str(extended[0]), "gone"))
    return alone


def test_its_tables_are_found_without_the_run_that_it_extends(alone):
    run = open_run(alone)
    assert run.config.extends == "gone"
    assert cohort_of(run).modalities == run.modalities


@pytest.mark.heavy
def test_it_is_a_run_like_any(alone, new_dir, command, tmp_path):
    """Judged in units of its tables, used on new patients, handed on."""
    few = ("--draws", "2", "--targets", "rppa", "--methods", "coherent")
    assert command("evaluate", "--run", alone, *few).status == 0
    assert pd.read_csv(alone / "metrics" / "fidelity.csv")["units_crps"].notna().any()
    done = ("--input", new_dir, "--out", tmp_path / "completed", "--draws", 2)
    assert command("impute", "--run", alone, *done).status == 0
    assert command("export", "--run", alone, "--out", tmp_path / "model").status == 0
    assert open_run(tmp_path / "model").config.extends is None


@pytest.mark.heavy
def test_an_interrupted_one_ends_the_same(extended, cohort_dir, tmp_path):
    two, three = extended
    cut = shutil.copytree(three, tmp_path / "cut")
    for part in RESULTS:
        shutil.rmtree(cut / part)
    assert run_in_process("train", *extending(two, cohort_dir, cut), "--resume") == 0
    assert_same_run(three, cut)


def test_the_split_is_that_of_the_run(run_dir, wider, tmp_path):
    """Where one more table would have it drawn otherwise; patients whom it does not know are drawn
    beside it."""
    tables, facts = wider
    run = open_run(run_dir)
    config = dataclasses.replace(run.config, cohort=str(tmp_path / "wider"))
    write_tables(tmp_path / "wider", tables, facts)
    other = load_any_cohort(config)
    assert (other.samples["split"] != run.samples["split"]).any()
    with pytest.raises(InputError, match="on another side of the split"):
        extend.check_extension(run, other, config)
    config = dataclasses.replace(config, extends=str(run_dir))
    cohort = load_any_cohort(config)
    assert (cohort.samples["split"] == run.samples["split"]).all()
    told = extend.check_extension(run, cohort, config)
    assert told[0].startswith("Split, covariates, codecs and single-condition models of cna, rnas")
    assert len(told) == 1
    wide = dataclasses.replace(config, codec=dataclasses.replace(config.codec, latent_dim=64))
    room = run.latents.z.shape[2]
    assert f"wsi: {room} latents at most" in extend.check_extension(run, cohort, wide)[1]

    more, _ = demo_tables(7, 60)
    more = {name: table.rename("new-{}".format) for name, table in more.items()}
    rows = more["cna"].iloc[:, :12].set_axis(tables["wsi"].columns, axis=1)
    tables = {name: pd.concat([tables[name], more.get(name, rows)]) for name in tables}
    kept = tables["cna"].iloc[1:]
    tables["cna"] = kept.assign(GENE999=np.random.default_rng(1).normal(size=len(kept)))
    write_tables(tmp_path / "more", tables)  # without facts: known by their sample ids
    cohort = load_any_cohort(dataclasses.replace(config, cohort=str(tmp_path / "more")))
    split = cohort.samples["split"]
    assert (split.loc[run.samples.index] == run.samples["split"]).all()
    new = split[split.index.str.startswith("new-")]
    assert new.value_counts().loc["train"] > 30
    assert {"val", "test"} < set(new)
    assert any("patients are not in" in note for note in cohort.notes)
    told = extend.check_extension(run, cohort, config)
    assert any("cna: GENE999 are not in" in note for note in told)
    assert any("cna: 1 samples of" in note for note in told)


def test_what_does_not_go_on_from_the_run_is_refused(run_dir, cohort_dir, wider, command, tmp_path):
    def refused(cohort, run=run_dir, out=tmp_path / "out", overwrite=False, **changes):
        own = dataclasses.replace(config, cohort=str(cohort), extends=str(run))
        with pytest.raises(InputError) as error:
            train_run(dataclasses.replace(own, **changes), out, overwrite=overwrite)
        return str(error.value)

    config, (tables, facts) = open_run(run_dir).config, wider
    good = write_tables(tmp_path / "wider", tables, facts)
    changed = {**tables, "rnaseq": tables["rnaseq"].copy()}
    changed["rnaseq"].iloc[3] += 1
    write_tables(tmp_path / "changed", changed, facts)
    write_tables(tmp_path / "narrow", {**tables, "cna": tables["cna"].iloc[:, 1:]}, facts)
    write_tables(tmp_path / "fewer", {m: tables[m] for m in ("cna", "wsi")}, facts)
    assert "no modality that" in refused(cohort_dir)
    first = tables["rnaseq"].index[3]
    assert f"rnaseq of 1 samples, first '{first}', is not what" in refused(tmp_path / "changed")
    assert f"cna has no {tables['cna'].columns[0]}, on which" in refused(tmp_path / "narrow")
    assert "has rnaseq, rppa, and this cohort has not" in refused(tmp_path / "fewer")
    slower = dataclasses.replace(config.single, learning_rate=1e-4)
    assert "another single" in refused(good, single=slower)
    assert "another codec" in refused(good, codec=CodecConfig())
    assert "use another --out" in refused(good, out=run_dir, overwrite=True)
    assert "is not a run directory" in refused(good, run=good)
    private = dataclasses.replace(config.single, dp_noise_multiplier=1.0)
    assert "differential privacy" in refused(good, single=private, regression=False)
    run = shutil.copytree(run_dir, tmp_path / "run")
    shared = (run / "config.json").read_text().replace('"separate"', '"shared"')
    (run / "config.json").write_text(shared)
    assert "(--pairs shared)" in refused(good, run)
    shutil.rmtree(run / "models" / "multi")
    assert "is not finished" in refused(good, run)
    (run / "model.json").touch()
    assert "is a shared model, without patients" in refused(good, run)
    assert not (tmp_path / "out").exists()

    asked = ("--config", run_dir / "config.json", "--extends", run_dir, "--cohort", cohort_dir)
    out = ("--out", tmp_path / "out")
    assert "a search trains all models" in command("search", *asked[2:], *out).refused()
    assert "no modality that" in command("train", *asked, *out).refused()
    assert "no modality that" in command("check", *asked).refused()
