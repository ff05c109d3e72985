"""The Python of README and docs/python.md, run as it stands but for sizes and places, on tables
whose truth is planted; and what else `CohortModel` promises."""

import copy
import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from cohgen_jax import CohortModel, open_run
from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.tables import cohort_of
from tests.experiments.conftest import run_in_process

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "python.md")
WIDTHS = {"cna": 7, "rnaseq": 5, "rppa": 3}
NOISE = 0.3


def planted(first: int, num_patients: int) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """(tables, the expectation of rnaseq given the two others): everything is linear in three
    factors, so that the expectation is a regression with known coefficients. rnaseq in thousands;
    the last fifth of the patients lacks rppa, and some cells of cna are unknown."""
    world, rng = np.random.default_rng(0), np.random.default_rng(first + 1)
    factors = rng.normal(size=(num_patients, 3))
    loadings = {name: world.normal(size=(3, width)) for name, width in WIDTHS.items()}
    ids = pd.Index([f"P{first + i:04d}" for i in range(num_patients)])
    tables = {
        name: pd.DataFrame(
            factors @ loadings[name] + NOISE * rng.normal(size=(num_patients, width)),
            index=ids,
            columns=[f"{name}{i}" for i in range(width)],
        )
        for name, width in WIDTHS.items()
    }
    seen = np.concatenate([loadings["cna"], loadings["rppa"]], axis=1)
    shared = np.linalg.solve(seen.T @ seen + NOISE**2 * np.eye(seen.shape[1]), seen.T)
    others = np.concatenate([tables["cna"], tables["rppa"]], axis=1)
    expected = pd.DataFrame(others @ shared @ loadings["rnaseq"], ids, tables["rnaseq"].columns)
    tables["rnaseq"], expected = 5000 + 1000 * tables["rnaseq"], 5000 + 1000 * expected
    tables["rppa"] = tables["rppa"].iloc[: -(num_patients // 5)]
    tables["cna"] = tables["cna"].mask(rng.random((num_patients, WIDTHS["cna"])) < 0.02)
    return tables, expected


@pytest.fixture(scope="module")
def cohort():
    return planted(0, 100)[0]


@pytest.fixture(scope="module")
def new():
    return planted(1000, 40)


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def names(cohort, new, told, tmp_path_factory):
    """Everything that the code of the pages defines."""
    text = "\n".join(page.read_text() for page in PAGES)
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    place = tmp_path_factory.mktemp("runs") / "mine"
    for written, meant in (
        ("CohortModel()", 'CohortModel("debug", tell=told.append)'),
        ('"runs/mine"', f'"{place}"'),
    ):
        assert written in code
        code = code.replace(written, meant)
    samples = pd.DataFrame({"sex": np.resize(["f", "m"], 100)}, index=cohort["cna"].index)
    given = {**cohort, "samples": samples, "told": told}
    given |= {f"new_{name}": new[0][name] for name in ("cna", "rppa")}
    exec(code, given)
    return given


def test_what_is_generated_is_what_was_planted(names, new):
    tables, expected = new
    both = tables["rppa"].index
    truth, made = tables["rnaseq"].loc[both], names["expression"].loc[both]
    assert made.columns.tolist() == truth.columns.tolist()
    spread = truth.to_numpy().std(axis=0)
    best = ((expected.loc[both] - truth) ** 2).mean(axis=None) / (spread**2).mean()
    error = ((made - truth) ** 2).mean(axis=None) / (spread**2).mean()
    assert best < 0.15
    assert error < 3 * best
    # Who lacks rppa is generated from cna alone, and all are as unsure as they are wrong.
    assert names["expression"].index.tolist() == tables["cna"].index.tolist()
    wrong = ((names["expression"] - tables["rnaseq"]) ** 2).mean(axis=None) ** 0.5
    unsure = (names["sd"] ** 2).mean(axis=None) ** 0.5
    assert 0.5 < unsure / wrong < 2


def test_held_out_patients_are_scored_beside_the_baselines(names, cohort):
    scores = names["scores"]
    methods = {"coherent", "multi", "climatology", "nearest", "ridge", "kernel_ridge"}
    assert set(scores.index) == {(target, method) for target in WIDTHS for method in methods}
    for target in WIDTHS:
        of = scores.loc[target]
        assert (of.loc[["coherent", "multi"], "r2"] > 0.5).all()
        assert (of.loc[["coherent", "multi"], "crps"] < 0.7 * of.loc["climatology", "crps"]).all()
        assert abs(of.loc["climatology", "r2"]) < 0.3
    # By its definition, of draws made by the public API.
    draws = names["model"].sample("rnaseq", "test").drop(columns="draw")
    truth = cohort["rnaseq"].loc[draws.index.unique()]
    train = cohort["rnaseq"].loc[names["run"].samples.query("split == 'train'").index]
    centre = draws.groupby(level=0).mean()
    left = draws.groupby(level=0).var() / 10
    wrong, all_of_it = (centre - truth) ** 2 - left, (truth - train.mean()) ** 2
    by_hand = 1 - (wrong / train.var()).sum().sum() / (all_of_it / train.var()).sum().sum()
    assert scores.loc[("rnaseq", "coherent"), "r2"] == pytest.approx(by_hand, abs=0.05)
    assert scores.loc[("rnaseq", "coherent"), "patients"] == len(truth)


def test_latents_and_draws_of_the_saved_run(names):
    run, draws = names["run"], names["draws"]
    test = run.samples.index[run.rows("test")]
    assert draws.index.tolist() == np.repeat(test, 10).tolist()
    pd.testing.assert_frame_equal(draws, names["model"].sample("rnaseq", num_draws=10))
    assert names["latents"].shape == (10, len(test), run.latents.z.shape[2])
    assert np.isfinite(names["latents"]).all()
    assert any("The split was drawn by patient" in line for line in names["told"])


def test_what_is_saved_needs_nothing_else(names, new, tmp_path):
    """Moved elsewhere, it is loaded, evaluated by the command, and gives what the model gave."""
    moved = tmp_path / "elsewhere"
    names["model"].save(moved)
    again = CohortModel.load(moved, seed=0)
    tables = {name: new[0][name] for name in ("cna", "rppa")}
    made = again.impute(tables, num_draws=10)["rnaseq_mean"]
    pd.testing.assert_frame_equal(made, names["expression"])
    assert again.config.cohort == str(moved / "cohort")
    pd.testing.assert_frame_equal(
        cohort_of(open_run(moved)).tables["rnaseq"], cohort_of(names["run"]).tables["rnaseq"]
    )
    asked = ("--methods", "climatology", "--targets", "rppa", "--draws", "2")
    assert run_in_process("evaluate", "--run", moved, *asked) == 0
    assert "units_crps" in pd.read_csv(moved / "metrics" / "fidelity.csv")
    assert not (Path(names["model"].run_.path) / "metrics" / "fidelity.csv").exists()
    out = ("--recipe", "debug", "--cohort", moved / "cohort", "--out", moved, "--overwrite")
    assert run_in_process("train", *out) == 2
    with pytest.raises(InputError, match="holds something already"):
        again.save(moved)


def test_it_is_an_estimator(names, cohort):
    model = names["model"]
    assert model.modalities_ == ("cna", "rnaseq", "rppa")
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        fresh.sample("rnaseq")
    with pytest.raises(InputError, match=r"kept with save\(path\)"):
        pickle.dumps(model)
    folder = Path(model.run_.path)
    with pytest.raises(InputError, match="two modalities or more"):
        model.fit({"cna": cohort["cna"]})
    assert folder.is_dir()  # and the model is what it was
    other = CohortModel("debug").set_params(num_draws=3)
    assert copy.copy(other).num_draws == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, t: model.fit([t]), "expected DataFrames by modality or a MuData, got list"),
        (lambda model, t: model.fit({**t, "samples": t["cna"]}, t["cna"]), "given twice"),
        (lambda model, t: model.fit(t, t["cna"].rename("Q{}".format)), "none of the samples"),
        (lambda model, t: CohortModel("debugg").fit(t), "unknown recipe 'debugg'"),
        (lambda model, t: model.score("tset"), "is in 'tset'; it has test, train, val"),
        (lambda model, t: model.score(methods=["rigde"]), "unknown method .*rigde.*; known: cohe"),
        (lambda model, t: model.score(num_draws=1), "num_draws must be at least 2, got 1"),
        (lambda model, t: model.sample("rna"), "unknown modality 'rna'"),
        (lambda model, t: model.sample("cna", num_draws=0), "must be at least 1, got 0"),
        (lambda model, t: model.impute(t, method="mean"), "known: coherent, multi"),
    ],
)
def test_what_cannot_be_meant_is_refused(names, cohort, call, message):
    with pytest.raises(InputError, match=message):
        call(names["model"], cohort)


def test_every_public_name_can_be_imported():
    import cohgen_jax

    for name in cohgen_jax.__all__:
        assert getattr(cohgen_jax, name) is not None
