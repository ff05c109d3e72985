"""Tables of every kind through the commands: what comes out is what each could hold, and planted
mutations are found."""

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import demo_cohort, demo_truth
from cohgen_jax.cohort.kinds import allowed, kind_of
from cohgen_jax.runs import streamed
from cohgen_jax.runs.impute import impute_tables
from cohgen_jax.runs.run import open_run
from cohgen_jax.storage.rundir import notes
from tests.experiments.conftest import DEBUG, run_in_process, write_tables

N, NEW = 120, 12
KINDS = {
    "rna": "continuous",
    "mirna": "counts",
    "mut": "binary",
    "methylation": "fraction",
    "gistic": "ordinal",
}


def commanded(name, *args):
    assert run_in_process(name, *args) == 0


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N + NEW, 3))

    def seen(width, scale=1.0):
        return scale * (z @ rng.normal(size=(3, width)) + rng.normal(size=(N + NEW, width)))

    values = {
        "rna": seen(12),
        "mirna": rng.poisson(np.exp(seen(9, 0.7))),
        "mut": (seen(8) > 1.2).astype(float),
        "methylation": (1 / (1 + np.exp(-seen(7)))).round(4),
        "gistic": np.clip(np.rint(seen(3)), -2, 2),
    }
    values["rna"][:, -1] = seen(1)[:, 0] > 0  # a 0/1 column among numbers
    values["mut"][rng.random(values["mut"].shape) < 0.5] = np.nan
    ids = pd.Index([f"P{i:03d}" for i in range(N + NEW)], name="sample_id")
    frames = {}
    for name, own in values.items():
        frame = pd.DataFrame(np.asarray(own, np.float32), ids).rename(columns=f"{name}{{}}".format)
        frames[name] = frame[frame.notna().any(axis=1)]
    return frames


@pytest.fixture(scope="module")
def completed(tables, tmp_path_factory):
    """Run directory, and the completed tables of patients of whom rna or mut and little else is
    known, some cells of which are not."""
    folder = tmp_path_factory.mktemp("kinds")
    train = {name: table.iloc[:-NEW] for name, table in tables.items()}
    write_tables(folder / "in", train)
    commanded("train", *DEBUG, "--cohort", folder / "in", "--out", folder / "run")
    new = {"rna": tables["rna"].iloc[-NEW:].copy(), "mut": tables["mut"].iloc[-6:]}
    new["rna"].iloc[2, :3] = np.nan
    write_tables(folder / "new", new)
    args = ("--run", folder / "run", "--input", folder / "new", "--out", folder / "out")
    commanded("impute", *args, "--draws", 10)
    asked = ("--draws", 3, "--targets", "mut", "mirna", "--num-sources", 4)
    methods = ("--methods", "multi", "climatology", "logistic")
    commanded("evaluate", "--run", folder / "run", *asked, *methods)
    return folder


def test_what_kinds_there_are_is_told(completed):
    told = " ".join(notes(completed / "run"))
    assert "continuous: rna; counts: mirna; binary: mut; fraction: methylation; ordinal:" in told
    assert "rna: 1 features are of another kind: rna11 (binary)" in told


@pytest.mark.parametrize("modality", KINDS)
def test_nothing_comes_out_that_a_table_could_not_hold(completed, modality, tables):
    kind = KINDS[modality]
    parts = {
        part: pd.read_parquet(completed / "out" / f"{modality}{part}.parquet")
        for part in ("", "_mean", "_low", "_high")
    }
    draws = parts[""].drop(columns="draw")
    for values in (draws, parts["_low"], parts["_high"]):
        assert allowed(values.to_numpy(), kind).all()
        assert not values.isna().any(axis=None)
    assert (parts["_low"] <= parts["_high"]).all(axis=None)
    mean = parts["_mean"].to_numpy()
    bounds = {"counts": (0, np.inf), "binary": (0, 1), "fraction": (0, 1), "ordinal": (-2, 2)}
    low, high = bounds.get(kind, (-np.inf, np.inf))
    assert (mean >= low).all()
    assert (mean <= high).all()
    if modality == "mut":
        assert ((mean > 0) & (mean < 1)).mean() > 0.5  # probabilities
        ends = (parts["_low"] == (mean > 0.9)) & (parts["_high"] == (mean > 0.1))
        assert ends.all(axis=None)
    if modality == "rna":
        assert set(np.unique(draws["rna11"])) <= {0.0, 1.0}
        assert kind_of(draws["rna0"].to_numpy()) == "continuous"


def test_unknown_cells_of_measured_tables_are_drawn(completed, tables):
    """Known cells are theirs in every draw; the others differ from draw to draw."""
    draws = pd.read_parquet(completed / "out" / "rna.parquet")
    patient = tables["rna"].index[-NEW + 2]
    assert set(draws.index) == {patient}  # the only one with holes
    assert len(draws) == 10
    assert (draws.iloc[:, 1:4].std() > 0).all()
    known = draws.iloc[:, 4:]
    np.testing.assert_array_equal(known, np.tile(tables["rna"].loc[patient].iloc[3:], (10, 1)))
    mean = pd.read_parquet(completed / "out" / "mut_mean.parquet")
    measured = tables["mut"].iloc[-6:]
    there = measured.notna().to_numpy()
    kept = mean.loc[measured.index].to_numpy()
    np.testing.assert_array_equal(kept[there], measured.to_numpy()[there])


def test_events_and_counts_have_their_own_scores(completed):
    metrics = completed / "run" / "metrics"
    table = pd.read_csv(metrics / "fidelity.csv").query("num_sources == 4").set_index("method")
    mut, mirna = (table[table["target"] == name] for name in ("mut", "mirna"))
    assert mut["binary_brier"].notna().all()
    assert {"logistic", "climatology", "multi"} <= set(mut.index)
    assert mut.loc["climatology", "binary_auc"] == pytest.approx(0.5)
    assert mirna["counts_crps_log"].notna().all()
    assert "logistic" not in mirna.index
    features = pd.read_csv(metrics / "binary_features.csv")
    assert "mut0" in set(features["feature"])
    assert (pd.read_csv(metrics / "binary_calibration.csv")["cells"] > 0).all()
    report = (completed / "run" / "report.html").read_text()
    assert "Mutations and counts" in report
    assert "Logistic regression" in report


@pytest.mark.heavy
def test_planted_drivers_are_found_and_passengers_are_not(tmp_path):
    """From expression alone, on held-out patients of the demo cohort."""
    demo, truth = demo_cohort(), demo_truth()
    tables = {"rnaseq": demo.tables["rnaseq"].iloc[:, :80], "mut": demo.tables["mut"]}
    write_tables(tmp_path / "in", tables, demo.samples)
    commanded("train", *DEBUG, "--cohort", tmp_path / "in", "--out", tmp_path / "run")
    args = ("--run", tmp_path / "run", "--targets", "mut", "--methods", "coherent")
    commanded("evaluate", *args, "--no-report")
    table = pd.read_csv(tmp_path / "run" / "metrics" / "binary_features.csv")
    table = table[table["num_sources"] == 1].set_index("feature")
    driver = table.index.isin(truth.drivers)
    assert table["auc"][driver].mean() > 0.7
    assert abs(table["auc"][~driver].mean() - 0.5) < 0.08
    assert (table["predicted"] - table["observed"]).abs().mean() < 0.08


def test_a_page_shows_values_of_each_kind(completed, tables):
    """Those that were written for the same patient; usual is what training patients have."""
    pytest.importorskip("starlette", reason="it needs the optional extra `explore`")
    from cohgen_jax.explore import open_explorer
    from cohgen_jax.explore.upload import one_of, read_upload
    from cohgen_jax.explore.view import view

    explorer = open_explorer(completed / "run", num_draws=10)
    given = {name: (completed / "new" / f"{name}.parquet") for name in ("rna", "mut")}
    texts = {name: pd.read_parquet(file).to_csv() for name, file in given.items()}
    patient = tables["mut"].index[-1]
    answer = view(explorer, one_of(read_upload(explorer.run, texts).patients, patient))
    shown = {m["name"]: m for m in answer["modalities"]}
    for name in ("mirna", "methylation", "gistic"):
        for part in ("mean", "low", "high"):
            written = pd.read_parquet(completed / "out" / f"{name}_{part}.parquet").loc[patient]
            np.testing.assert_allclose(shown[name][part], written, rtol=2e-3, atol=2e-3)
        assert shown[name]["kinds"] == [KINDS[name]] * len(written)
    mut, train = shown["mut"], explorer.run.samples.index[explorer.run.rows("train")]
    assert all(0 <= p <= 1 for p in mut["mean"])
    assert len({*mut["mean"]} - {0.0, 1.0}) > 3  # probabilities
    frequency = tables["mut"].reindex(train)[mut["features"]].mean()
    np.testing.assert_allclose(mut["usual"], frequency, atol=0.02)
    known = [v for v in mut["measured"] if v is not None]
    assert set(known) <= {0.0, 1.0}
    assert len(known) == tables["mut"].loc[patient, mut["features"]].notna().sum()


@pytest.mark.heavy
def test_tables_of_every_kind_that_are_streamed_are_completed_alike(
    tables, completed, tmp_path, monkeypatch
):
    """By parts of five patients, every kind among what they have."""
    new = {name: table.iloc[-k:].iloc[::-1] for k, (name, table) in enumerate(tables.items(), 6)}
    for name, table in new.items():
        (tmp_path / "new").mkdir(exist_ok=True)
        table.to_parquet(tmp_path / "new" / f"{name}.parquet")
    run = open_run(completed / "run")
    impute_tables(run, tmp_path / "new", tmp_path / "whole", num_draws=10)
    monkeypatch.setattr(streamed, "MANY", 1)
    monkeypatch.setattr(streamed, "AT_ONCE", 5)
    monkeypatch.setattr(streamed, "LEAST", 1)
    impute_tables(run, tmp_path / "new", tmp_path / "parts", num_draws=10)
    files = sorted(file.name for file in (tmp_path / "whole").glob("*.parquet"))
    assert files == sorted(file.name for file in (tmp_path / "parts").glob("*.parquet"))
    for name in files:
        whole, parts = (pd.read_parquet(tmp_path / way / name) for way in ("whole", "parts"))
        pd.testing.assert_frame_equal(parts, whole, rtol=1e-4, atol=1e-4)
