"""The table of conditions, figures and report on a small simulated cohort."""

import json
import types

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.fidelity import conditions, evaluate, score_draws, write_table
from cohgen_jax.evaluation.summary import summarise, summary_text
from cohgen_jax.evaluation.units import SCORES, Units, patient_crps, score_units
from cohgen_jax.sampling.generator import Generated
from cohgen_jax.scores import draws as metrics

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def latents():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60, 3, 4)).astype(np.float32)
    z[:, 2, 2:] = 0
    present = np.ones((60, 3), bool)
    present[::7, 1] = False
    return types.SimpleNamespace(z=z, present=present, widths=[4, 4, 2], modalities=NAMES)


def honest(target, latents, seen=None):
    """Truth plus noise; writes garbage in padding columns; remembers what it was shown."""

    def generate(z, present, num_draws, seed):
        if seen is not None:
            seen.append((z.copy(), present.copy()))
        rows = len(z)
        noise = np.random.default_rng(seed).normal(size=(num_draws, rows, 4))
        draws = np.float32(0.5 * noise)
        draws[..., latents.widths[target] :] = 99
        return Generated(draws, np.full((num_draws, rows), 0.25, np.float32))

    return generate


def test_four_modalities_have_28_conditions_a_method():
    every = conditions(["cna", "rna", "rppa", "wsi"])
    assert len(every) == len(set(every)) == 28
    single = [c for c in every if len(c.sources) == 1]
    assert (len(single), len(every) - len(single)) == (12, 16)  # + 28 of multi = 56
    assert all(c.target not in c.sources for c in every)
    assert len(conditions("abc", unconditional=True, targets=["b"])) == 4
    assert [len(conditions(range(m))) for m in (2, 3, 5)] == [2, 9, 75]


def test_of_many_modalities_the_smallest_and_largest_subsets_are_judged_or_those_asked_for():
    assert [len(conditions(range(m))) for m in (6, 7, 10)] == [6 * 31, 7 * (6 + 6 + 1), 10 * 19]
    every = conditions("abcd", num_sources=(1, 3), unconditional=True, targets=["b"])
    assert ["".join(c.sources) for c in every] == ["", "a", "c", "d", "acd"]
    with pytest.raises(InputError, match=r"between 1 and 3, .* got 0, 4"):
        conditions("abcd", num_sources=(0, 1, 4))


@pytest.fixture(scope="module")
def evaluated(latents):
    generators = {
        (m, t): honest(i, latents) for m in ("coherent", "ridge") for i, t in enumerate(NAMES)
    }
    labels = pd.Series(["x"] * 30 + ["y"] * 25 + [None] * 5)
    return evaluate(
        generators, latents, np.arange(60), draws=4, labels=labels, unconditional=["coherent"]
    )


def test_every_condition_has_a_row(evaluated):
    table = evaluated.conditions
    assert len(table) == 3 * 4 + 3 * 3
    assert (table.groupby(["method", "target"])["sources"].nunique() == [4, 4, 4, 3, 3, 3]).all()
    assert set(table.query("num_sources == 0")["method"]) == {"coherent"}
    assert not table.isna().any(axis=None)
    assert (table["disagreement"] == 0.25).all()
    assert (table["draws"] == 4).all()


def test_a_condition_uses_the_patients_that_have_it(evaluated, latents):
    table = evaluated.conditions.set_index(["method", "target", "sources"])["n"]
    assert table["coherent", "a", "c"] == 60
    assert table["coherent", "a", "b"] == latents.present[:, 1].sum() < 60
    assert table["coherent", "b", "a"] == latents.present[:, 1].sum()


def test_generators_see_the_sources_of_the_condition_alone(latents):
    seen, kept, told = [], [], []
    result = evaluate(
        {("m", "b"): honest(1, latents, seen)},
        latents,
        np.arange(10, 50),
        draws=2,
        keep=lambda *what: kept.append(what),
        progress=lambda *what: told.append(what),
    )
    assert list(result.conditions["sources"]) == ["a", "c", "a+c"]
    assert result.by_label.empty
    for (z, present), shown in zip(seen, ([0], [2], [0, 2]), strict=True):
        hidden = [i for i in range(3) if i not in shown]
        assert present[:, shown].all()
        assert not present[:, hidden].any()
        assert (z[:, hidden] == 0).all()
    method, condition, rows, generated = kept[-1]
    assert (method, condition.label, len(rows)) == ("m", "a+c", generated.draws.shape[1])
    assert [done for done, *_ in told] == [0, 1, 2, 3]


def test_standard_errors_are_of_patients(latents):
    """Samples of a patient are copies: their scores count once."""
    generators = {("m", "b"): honest(1, latents), ("ridge", "b"): honest(1, latents)}
    patients = np.repeat(np.arange(20), 3)
    result = evaluate(generators, latents, np.arange(60), draws=3, patients=patients)
    for row in result.conditions.to_dict("records"):
        told = result.by_patient
        own = told[(told["method"] == row["method"]) & (told["sources"] == row["sources"])]
        assert (own["patient"] == patients[own["row"]]).all()
        assert row["patients"] == own["patient"].nunique() < row["n"]
        deviation = own["energy_score"] - own["energy_score"].mean()
        sums = deviation.groupby(own["patient"]).sum()
        expected = np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()) / len(own)
        np.testing.assert_allclose(row["energy_score_se"], expected, rtol=1e-4)


def test_conditions_drawn_together_are_one_call_and_the_same_scores(latents):
    """A generator that looks at nothing but its own row must not notice."""

    def echo(z, present, num_draws, seed):
        seen.append((z.copy(), present.copy()))
        draws = z.sum(axis=1)[None] + np.arange(num_draws, dtype=np.float32)[:, None, None]
        return Generated(draws, np.tile(present.sum(axis=1), (num_draws, 1)))

    tables, calls = [], []
    for together in ((), ("m",)):
        seen: list = []
        generators = {("m", "a"): echo, ("m", "b"): echo}
        result = evaluate(
            generators, latents, np.arange(60), draws=3, unconditional=["m"], together=together
        )
        tables.append(result.conditions.drop(columns="seconds"))
        calls.append(seen)
    pd.testing.assert_frame_equal(*tables)
    assert [len(seen) for seen in calls] == [8, 2]
    for i in (0, 1):
        np.testing.assert_array_equal(
            np.concatenate([shown for _, shown in calls[0][4 * i : 4 * i + 4]]), calls[1][i][1]
        )


@pytest.mark.parametrize("together", [(), ("m",)])
def test_covariates_are_always_shown_and_draws_are_scored_in_units(latents, together):
    """Of b in units 10 + 2 z; of c, which has no units, there are none of these scores."""
    rng = np.random.default_rng(0)
    covariates = rng.normal(size=(60, 1, 4)).astype(np.float32)
    wider = types.SimpleNamespace(**vars(latents) | {"z": np.hstack([latents.z, covariates])})
    truth = np.where(latents.present[:, 1:2], 10 + 2 * latents.z[:, 1], np.nan)
    seen, asked = [], []

    def generate(z, present, num_draws, seed):
        """Draws depend on covariates alone; features are twice the latents."""
        seen.append((z.copy(), present.copy()))
        draws = z[:, 3] + np.arange(num_draws, dtype=np.float32)[:, None, None]
        return Generated(draws, np.zeros(draws.shape[:2]), 2 * draws)

    def of(generated, rows, seed):
        asked.append((rows, seed))
        return 10 + generated.features

    def expected(generated, draws):
        return draws.mean(axis=0)

    units = Units(
        truth,
        np.full(4, 10.0),
        np.full(4, 2.0),
        np.arange(4),
        of,
        tuple("abcd"),
        np.full(4, "continuous"),
        expected,
    )
    generators = {("m", "b"): generate, ("m", "c"): generate}
    result = evaluate(
        generators, wider, np.arange(60), draws=3, seed=7, together=together, units={"b": units}
    )
    for z, present in seen:
        assert present.shape == (len(z), 3)
        assert (z[:, :3][~present] == 0).all()
        assert (z[:, 3] != 0).all()
    c_from_a = seen[1 if together else 3][0]  # of everyone
    np.testing.assert_array_equal(c_from_a[:60, 3], covariates[:, 0])
    own = result.conditions.query("target == 'b'")
    assert {seed for _, seed in asked} == {7}
    rows = asked[0][0]
    draws = 10 + 2 * (covariates[rows, 0] + np.arange(3)[:, None, None])
    expected = score_units(draws, truth[rows], units.mean, units.sd)
    for name in SCORES:
        np.testing.assert_allclose(own[f"units_{name}"], expected[name], rtol=1e-5)
    patients = result.by_patient.query("target == 'b' and sources == 'a+c'")
    each = patient_crps(draws, truth[rows], units.mean, units.sd)
    np.testing.assert_allclose(patients["units_crps"], each, rtol=1e-5)
    rest = result.conditions.query("target == 'c'")
    assert rest[[f"units_{name}" for name in SCORES]].isna().all(axis=None)


def test_scores_are_those_of_the_metrics_without_padding(evaluated, latents):
    row = evaluated.conditions.query("method == 'ridge' and target == 'c' and sources == 'a'").iloc[
        0
    ]
    noise = np.float32(0.5 * np.random.default_rng(0).normal(size=(4, 60, 4)))[..., :2]
    real = latents.z[:, 2, :2]
    np.testing.assert_allclose(row["r2"], metrics.r2(noise, real).mean(), rtol=1e-5)
    np.testing.assert_allclose(row["r2_sd"], np.std(metrics.r2(noise, real), ddof=1), rtol=1e-4)
    np.testing.assert_allclose(
        row["energy_score"], metrics.energy_score(noise, real).mean(), rtol=1e-5
    )
    np.testing.assert_allclose(row["r2_inf"], metrics.r2_inf(noise, real), rtol=1e-4)


def test_labels_are_scored_apart(evaluated):
    table = evaluated.by_label
    assert set(table["label"]) == {"x", "y"}  # patients without a label are left out
    one = table.query("method == 'ridge' and target == 'a' and sources == 'c'")
    assert list(one["n"]) == [30, 25]
    assert (one["r2"] < 0).all()
    assert (one["r2"] < one["r2_inf"]).all()


def test_small_sets_have_no_manifold():
    rng = np.random.default_rng(0)
    scores = score_draws(rng.normal(size=(3, 8, 2)), rng.normal(size=(8, 2)))
    assert "precision" not in scores
    assert scores["n"] == 8


def test_bad_requests_are_explained(latents):
    rng = np.random.default_rng(0)
    draws, real = rng.normal(size=(2, 8, 2)), rng.normal(size=(8, 2))
    with pytest.raises(InputError, match="2 draws"):
        score_draws(draws[:1], real)
    draws[1, 3, 0] = np.nan
    with pytest.raises(InputError, match=r"first: row 3"):
        score_draws(draws, real)
    with pytest.raises(InputError, match="known: a, b, c"):
        evaluate({("m", "d"): honest(0, latents)}, latents, np.arange(9))
    with pytest.raises(InputError, match="nothing can be judged: a from b: 0 test patients"):
        evaluate({("m", "a"): honest(0, latents)}, latents, np.arange(1))


def test_conditions_that_too_few_patients_have_are_left_out_and_told(latents):
    told = []
    rows = np.array([0, 1, 7, 14])  # only the second has b
    generators = {("m", t): honest(i, latents) for i, t in enumerate(NAMES)}
    result = evaluate(generators, latents, rows, draws=2, tell=told.append)
    found = list(zip(result.conditions["target"], result.conditions["sources"], strict=True))
    assert found == [("a", "c"), ("c", "a")]
    assert told[0] == "a from b: 1 test patients have all of these: left out"
    assert len(told) == 9 - 2


def test_tables_are_written_as_csv_and_json(evaluated, tmp_path):
    table = evaluated.conditions.assign(disagreement=np.nan)
    write_table(table, tmp_path / "metrics" / "fidelity.v1")
    back = pd.read_csv(tmp_path / "metrics" / "fidelity.v1.csv", keep_default_na=False)
    assert list(back["sources"]) == list(table["sources"])
    records = json.loads((tmp_path / "metrics" / "fidelity.v1.json").read_text())
    assert records[0]["disagreement"] is None
    np.testing.assert_allclose([r["r2"] for r in records], table["r2"], rtol=1e-8)


def test_summary_marks_the_best_method(evaluated):
    table = evaluated.conditions.copy()
    table.loc[table["method"] == "ridge", ["r2_inf", "energy_score"]] = [0.9, 9.0]
    summary = summarise(table)
    assert len(summary) == 6
    assert (summary["method"][summary["best_r2"]] == "ridge").all()
    assert (summary["method"][summary["best_energy"]] == "coherent").all()
    text = summary_text(table).splitlines()
    assert text[0].split() == ["target", "coherent", "ridge"]
    assert "0.900*/ 9.00" in text[1]
