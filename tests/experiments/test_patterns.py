"""Commands on cohorts as they are: nobody has everything, a rare assay.

Unequal widths (a table of three features), a binary table, few patients.
"""

import json

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.runs.run import open_run
from tests.experiments.conftest import DEBUG, run_in_process

METHODS = ("coherent", "multi", "climatology", "ridge")
SHORT = ("--single.num-epochs", 1, "--multi.num-epochs", 1)


def assays(num: int) -> dict[str, pd.DataFrame]:
    """rna of 20 features, lipids of 3 and mut of 6, 0 or 1, all of two shared factors."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(num, 2))
    ids = pd.Index([f"S{i:03d}" for i in range(num)], name="sample_id")
    tables = {}
    for name, width in (("rna", 20), ("lipids", 3), ("mut", 6)):
        x = factors @ rng.normal(size=(2, width)) + 0.4 * rng.normal(size=(num, width))
        x = (x > 0.3).astype(float) if name == "mut" else x
        tables[name] = pd.DataFrame(x, index=ids).add_prefix(f"{name}_")
    return tables


def finished(folder, tables, facts=None, *options):
    """A run of these tables on which every command has finished, and what impute wrote."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv")
    if facts is not None:
        facts.to_csv(folder / "samples.csv")
    run, out = folder / "run", folder / "completed"
    named = ("--modalities", *tables) if facts is None else ()
    train = ("--cohort", folder, "--out", run, *DEBUG, *SHORT, *named, *options)
    assert run_in_process("train", *train) == 0
    judged = ("--run", run, "--draws", 3, "--methods", *METHODS, "--no-report")
    assert run_in_process("evaluate", *judged) == 0
    assert (
        run_in_process("impute", "--run", run, "--input", folder, "--out", out, "--draws", 2) == 0
    )
    return run, out


def fidelity(run) -> pd.DataFrame:
    return pd.read_csv(run / "metrics" / "fidelity.csv")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Of 120 patients, 80 have lipids beside rna or mut; rna and mut are never measured together
    but in 20 patients, of whom 10 have no lipids."""
    tables = assays(120)
    ids = tables["rna"].index
    tables["rna"], tables["mut"] = tables["rna"].iloc[:65], tables["mut"].iloc[62:]
    tables["lipids"] = tables["lipids"].drop(ids[62:65])
    return finished(tmp_path_factory.mktemp("pairs") / "tables", tables)


def test_nobody_has_everything(pairs):
    run = open_run(pairs[0])
    assert not run.latents.present.all(axis=1).any()
    trained = {spec.name for spec in run.models["single"].specs}
    assert trained == {"rna_from_lipids", "lipids_from_rna", "mut_from_lipids", "lipids_from_mut"}
    log = (pairs[0] / "log.jsonl").read_text().splitlines()
    notes = [json.loads(line).get("text", "") for line in log]
    (told,) = [note for note in notes if "Pairs without a model" in note]
    assert "rna from mut" in told
    table = fidelity(pairs[0])
    judged = {(t, s) for t, s in zip(table["target"], table["sources"], strict=True) if s != "none"}
    assert judged == {
        ("rna", "lipids"), ("mut", "lipids"), ("lipids", "rna"), ("lipids", "mut"),
    }  # fmt: skip
    assert (
        table.loc[table["sources"] != "none", ["r2_inf", "energy_score", "units_crps"]]
        .notna()
        .all(axis=None)
    )
    assert run_in_process("report", "--run", pairs[0], "--no-umap") == 0
    page = (pairs[0] / "report.html").read_text()
    assert "from the most sources that 10 tested patients have" in page


def test_whoever_lacks_something_is_completed(pairs):
    """Also from a source that has no model with the target: by the regression alone."""
    run, out = open_run(pairs[0]), pairs[1]
    for m, name in enumerate(run.modalities):
        table = pd.read_parquet(out / f"{name}_mean.parquet")
        assert len(table) == 120
        assert table.notna().all(axis=None)
        lacking = run.samples.index[~run.latents.present[:, m]]
        assert (pd.read_parquet(out / f"{name}_sd.parquet").loc[lacking].sum(axis=1) > 0).all()
    bank = run.coherent_bank("mut", ["rna"])
    assert bank.sources == run.coherent_bank("mut").sources
    draws = run.sample("mut", [run.samples.index[0]], num_draws=2)
    assert set(np.unique(draws.drop(columns="draw"))) <= {0.0, 1.0}


@pytest.mark.heavy
def test_forty_patients_with_a_rare_assay(tmp_path):
    """mut of 16, in a column `split` of train and test alone, in other words."""
    tables = assays(40)
    tables["mut"] = tables["mut"].iloc[::2].iloc[:20]
    split = np.where(np.arange(40) % 7 == 6, "Held-out", "Training")
    facts = pd.DataFrame({"split": split}, index=tables["rna"].index)
    run, out = finished(tmp_path / "tables", tables, facts)
    opened = open_run(run)
    assert set(opened.samples["split"][split == "Held-out"]) == {"test"}
    assert (opened.samples["split"] == "val").sum() >= 2
    table = fidelity(run)
    assert set(table["target"]) == {"lipids", "mut", "rna"}
    assert np.isfinite(table["units_crps"]).all()
    mean = pd.read_parquet(out / "mut_mean.parquet")
    assert mean.shape == (40, 6)
    assert ((mean >= 0) & (mean <= 1)).all(axis=None)
