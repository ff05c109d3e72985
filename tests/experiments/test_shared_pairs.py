"""`--pairs shared`: a network a target, shown one source at a time; from training to export.

Unequal widths (a table of three features), a binary table, a pair that few patients have.
"""

import shutil

import jax
import numpy as np
import pandas as pd
import pytest

from cohgen_jax.estimator import CohortModel
from cohgen_jax.runs.run import open_run
from cohgen_jax.training.moments import noise_errors
from tests.experiments.conftest import DEBUG, run_in_process
from tests.experiments.test_patterns import SHORT, assays, fidelity, finished

pytestmark = pytest.mark.heavy

SHARED = ("--pairs", "shared", "--single.members", 2, "--val-fraction", 0.2)


@pytest.fixture(scope="module")
def tables():
    """Of 160 patients, all have lipids beside rna or mut, and 14 rna and mut."""
    tables = assays(160)
    tables["rna"], tables["mut"] = tables["rna"].iloc[:87], tables["mut"].iloc[73:]
    return tables


@pytest.fixture(scope="module")
def done(tables, tmp_path_factory):
    return finished(tmp_path_factory.mktemp("shared") / "tables", tables, None, *SHARED)


@pytest.fixture(scope="module")
def run(done):
    return open_run(done[0])


def test_networks_grow_with_the_modalities_and_models_with_the_pairs(run):
    names = [spec.name for spec in run.models["single"].specs]
    assert names == [
        f"{target}_from_single{member}"
        for target in ("rna", "lipids", "mut")
        for member in ("", ".1")
    ]
    bank = run.bank("coherent", "lipids")
    assert bank.sources == ("rna", "mut")
    networks, regression = bank.groups
    assert networks.views == 2
    assert {len(leaf) for leaf in jax.tree.leaves(networks.variables)} == {2}
    known = (2,) * bool(run.covariates.width)
    assert bank.slots[:-1] == ((0, *known), (1, *known)) * 2
    assert regression.members == (4,)


def test_a_source_that_few_patients_have_beside_the_target_has_no_model(run):
    """Its network has hardly seen it: rna and mut are left to the regression."""
    for target in ("rna", "mut"):
        bank = run.bank("coherent", target)
        assert {bank.sources[slot[0]] for slot in bank.networks.slots} == {"lipids"}
    bank = run.coherent_bank("mut", ["rna"])
    assert bank.sources == run.coherent_bank("mut").sources


def test_losses_are_those_of_a_source_alone(run):
    bank = run.bank("coherent", "lipids")
    losses, schedule = np.asarray(bank.losses), run.config.diffusion.build()
    for s, pattern in enumerate([(True, False), (False, True)]):
        alone = noise_errors(bank.moments[pattern], schedule)
        assert (alone > 0).all()
        np.testing.assert_allclose(losses[[s, 2 + s]], alone[[s, 2 + s]], rtol=1e-6)


def test_a_bank_of_one_source_draws_as_the_whole_bank_does_of_patients_who_have_it(run):
    bank, only = run.bank("coherent", "lipids"), run.coherent_bank("lipids", ["rna"])
    assert only.sources == ("rna",)
    assert only.num_models == 3
    pattern = (True, False)
    heard = [0, 2, 4]
    np.testing.assert_array_equal(
        only.moments[(True,)].second, bank.moments[pattern].of(heard).second
    )


def test_every_method_is_judged_and_whoever_lacks_something_completed(done, run):
    table = fidelity(done[0])
    scored = table[table["sources"] != "none"]
    assert set(scored["method"]) == {"coherent", "multi", "climatology", "ridge"}
    assert scored[["r2_inf", "energy_score", "units_crps"]].notna().all(axis=None)
    for name in ("rna", "mut"):
        mean = pd.read_parquet(done[1] / f"{name}_mean.parquet")
        assert len(mean) == 160
        assert mean.notna().all(axis=None)
        lacking = run.samples.index[~run.latents.present[:, run.index(name)]]
        assert (pd.read_parquet(done[1] / f"{name}_sd.parquet").loc[lacking].sum(axis=1) > 0).all()


def test_the_page_of_a_run_shows_its_networks(done):
    page = (done[0] / "report.html").read_text()
    assert "lipids from single" in page


def test_an_interrupted_run_ends_the_same(done, run, tmp_path):
    cut = shutil.copytree(done[0], tmp_path / "cut")
    for part in ("models/single", "consensus", "calibration"):
        shutil.rmtree(cut / part)
    folder = done[0].parent
    named = ("--cohort", folder, "--modalities", "rna", "lipids", "mut")
    assert run_in_process("train", *named, *DEBUG, *SHORT, *SHARED, "--out", cut, "--resume") == 0
    again = open_run(cut)
    for one, other in zip(
        jax.tree.leaves((run.models["single"].variables, run.moments)),
        jax.tree.leaves((again.models["single"].variables, again.moments)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_it_is_handed_on(done, run, tables, tmp_path):
    out = tmp_path / "model"
    assert run_in_process("export", "--run", done[0], "--out", out) == 0
    model = open_run(out)
    assert model.bank("coherent", "lipids").slots == run.bank("coherent", "lipids").slots
    new = {name: table.head(100).tail(30) for name, table in tables.items() if len(table) > 90}
    completed = CohortModel.load(out).impute(new, num_draws=2)
    assert np.isfinite(completed["rna_mean"]).all(axis=None)
