"""Run.sample and Run.impute: what the commands write, without files."""

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import read_tables
from cohgen_jax.errors import InputError
from cohgen_jax.runs.impute import impute_tables
from cohgen_jax.runs.run import open_run
from tests.experiments.conftest import MODALITIES


@pytest.fixture(scope="module")
def run(run_dir):
    return open_run(run_dir)


@pytest.fixture(scope="module")
def run_tables(cohort_dir):
    return read_tables(cohort_dir).tables


@pytest.mark.parametrize("method", ["coherent", "multi"])
def test_frames_in_are_completed_as_files_are(run, new_dir, new_tables, tmp_path, method):
    more = {"num_draws": 10, "method": method, "seed": 3}
    impute_tables(run, new_dir, tmp_path / "out", **more)
    completed = run.impute(new_tables, **more)
    files = {file.stem: file for file in (tmp_path / "out").glob("*.parquet")}
    assert files.keys() == completed.keys() - {"disagreement"}
    for name, file in files.items():
        written = pd.read_parquet(file)
        pd.testing.assert_frame_equal(completed[name], written, check_column_type=False)
    written = pd.read_csv(tmp_path / "out" / "disagreement.csv", index_col=0)
    pd.testing.assert_frame_equal(completed["disagreement"], written, rtol=1e-5)


def test_patients_of_the_run_are_sampled_from_what_else_they_have(run, run_tables):
    ids = run.samples.index[run.rows("test")][:5].tolist()
    frames = {name: table.loc[table.index.isin(ids)] for name, table in run_tables.items()}
    frames["samples"] = run.samples.loc[ids]
    for target in MODALITIES:
        draws = run.sample(target, ids, num_draws=4)
        assert draws.index.tolist() == np.repeat(ids, 4).tolist()
        again = run.impute(frames, num_draws=4, regenerate=True, targets=[target])[target]
        np.testing.assert_allclose(draws.loc[ids], again.loc[ids], rtol=1e-3, atol=1e-3)
    side = run.sample("rppa", "test", num_draws=4)
    pd.testing.assert_frame_equal(side.loc[ids], run.sample("rppa", ids, num_draws=4), atol=1e-4)


def test_tables_of_new_patients_are_cleaned_as_those_of_training(run, run_tables):
    """Ids in another case, a row of means, a code for nothing, an assay filled with zeros."""
    name, other = MODALITIES[:2]
    both = run_tables[name].index.intersection(run_tables[other].index)[:12]
    plain = {m: run_tables[m].loc[both].copy() for m in (name, other)}
    spoilt = {m: t.copy() for m, t in plain.items()}
    plain[other] = plain[other].drop(index=both[:3])
    plain[name].iloc[4, 2] = np.nan
    spoilt[other].iloc[:3] = 0.0
    spoilt[name].iloc[4, 2] = -9999.0
    spoilt[name] = pd.concat([spoilt[name], plain[name].mean().to_frame("Average").T])
    spoilt[other].index = spoilt[other].index.str.lower()
    told: list[str] = []
    found = run.impute(spoilt, num_draws=2, tell=told.append)
    wanted = run.impute(plain, num_draws=2)
    assert found.keys() == wanted.keys()
    for key, table in wanted.items():
        pd.testing.assert_frame_equal(found[key], table)
    for words in (
        "1 rows sum up",
        "1 cells hold -9999",
        "letter case",
        "3 samples is exactly zero",
    ):
        assert sum(words in line for line in told) == 1, words


def test_targets_and_seeds_share_no_noise(run):
    """Their noise was that of seed + position once: that of the next target under another seed."""
    first, second = MODALITIES[:2]
    ids = run.samples.index[run.rows("test")].tolist()
    one, other = run.sample(first, ids, seed=1), run.sample(second, ids, seed=0)

    def noise(draws):
        values = draws.drop(columns="draw")
        return (values - values.groupby(level=0).transform("mean")).iloc[:, 0]

    assert abs(np.corrcoef(noise(one), noise(other))[0, 1]) < 0.3
    assert not np.allclose(noise(one), noise(run.sample(first, ids, seed=0)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run.sample("rna"), "unknown modality 'rna'"),
        (lambda run: run.sample("rppa", "tset"), "no patient of this run is in 'tset'"),
        (lambda run: run.sample("rppa", ["nobody"]), "'nobody' is not of this run"),
        (lambda run: run.sample("rppa", num_draws=0), "at least 1"),
        (lambda run: run.sample("rppa", method="mean"), "known: coherent, multi"),
        (lambda run: run.impute({"mirna": pd.DataFrame({"a": [1.0]})}), "has no table of"),
        (lambda run: run.impute({"cna": [1.0]}), "cna: expected a pandas DataFrame"),
    ],
)
def test_what_cannot_be_meant_is_refused(run, call, message):
    with pytest.raises(InputError, match=message):
        call(run)


@pytest.mark.filterwarnings("ignore")  # of mudata, to its own developers
def test_a_mudata_comes_back_with_its_layers(run, new_tables):
    mudata, anndata = pytest.importorskip("mudata"), pytest.importorskip("anndata")
    given = mudata.MuData(
        {
            name: anndata.AnnData(
                table.to_numpy(np.float32),
                pd.DataFrame(index=table.index.astype(object)),
                pd.DataFrame(index=table.columns.astype(object)),
            )
            for name, table in new_tables.items()
        }
    )
    made = run.impute(given, num_draws=10)
    frames = run.impute(new_tables, num_draws=10)
    assert set(given.mod) == set(MODALITIES)  # as it was
    assert set(made.mod) == {*MODALITIES, *(f"{m}_generated" for m in MODALITIES)}
    for name in MODALITIES:
        part = made[f"{name}_generated"]
        np.testing.assert_array_equal(part.X, frames[f"{name}_mean"].loc[part.obs_names])
        for layer in ("sd", "low", "high"):
            expected = frames[f"{name}_{layer}"].loc[part.obs_names]
            np.testing.assert_array_equal(part.layers[layer], expected)
        lacking = ~part.obs_names.isin(new_tables[name].index)
        np.testing.assert_array_equal(part.obs["generated"], lacking)
        assert part.uns["kind"] in run.codecs[name].kinds
    pd.testing.assert_frame_equal(made.uns["disagreement"], frames["disagreement"])
    with pytest.raises(InputError, match="got list"):
        run.impute([new_tables])


def test_a_sample_that_occurs_twice_is_refused(run, new_tables):
    twice = pd.concat([new_tables["cna"], new_tables["cna"].iloc[:1]])
    with pytest.raises(InputError, match=r"cna: sample 'N.*' occurs more than once"):
        run.impute({"cna": twice})
