"""The published system's processed files: read, held to each other, compared; the circle closes."""

import shutil

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.codec.config import CodecConfig
from cohgen_jax.codec.identity import identity_codec
from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.fidelity import score_draws
from cohgen_jax.evaluation.published import PublishedConfig, compare_published, run_config
from cohgen_jax.interop.processed import is_processed, load_processed
from cohgen_jax.runs.config import ExperimentConfig
from cohgen_jax.runs.source import load_any_cohort
from data_prep.latents import published_latents
from data_prep.published import write_csv
from tests import golden
from tests.interop.test_published import save_model

DIM = 4
SIZES = {"train": 60, "val": 12, "test": 20}
WIDTHS = {"cna": 9, "rna": 12, "wsi": 5}


@pytest.fixture(scope="module")
def raw():
    """Tables of one factor, rows of a split; a third of the training samples lack wsi."""
    rng, tables = np.random.default_rng(0), {}
    for modality, width in WIDTHS.items():
        loadings = np.random.default_rng(width).normal(size=(3, width))
        tables[modality] = {}
        for side, num in SIZES.items():
            ids = pd.Index([f"P{side}{i:02d}-01" for i in range(num)], name="sample_id")
            factors = np.random.default_rng([num, 7]).normal(size=(num, 3))
            values = factors @ loadings + 0.3 * rng.normal(size=(num, width))
            columns = [f"{modality}{i}" for i in range(width)]
            tables[modality][side] = pd.DataFrame(values, ids, columns)
    tables["wsi"]["train"] = tables["wsi"]["train"].iloc[::3]
    return tables


@pytest.fixture(scope="module")
def written(raw, tmp_path_factory):
    """What data_prep writes of them with --published, in the published folders; and the truth."""
    root = tmp_path_factory.mktemp("processed")

    def write(name, table):
        step, file = name.split("/")
        write_csv(root / step / str(DIM) / f"{file}.csv", table)

    def leading(modality, tables, width):
        return {side: table.iloc[:, :width] for side, table in tables.items()}

    for step in ("05_imputed", "05b_embeddings", "06_masked", "07_normalized"):
        (root / step / str(DIM)).mkdir(parents=True)
    copies = {modality: dict(sides) for modality, sides in raw.items()}
    standard, masks = published_latents(copies, leading, DIM, 0.1, write)
    (root / "downstream_labels").mkdir()
    for side in SIZES:
        ids = standard["cna"][side].index
        types = pd.DataFrame({"sample_id": ids, "cancer_type": ["A", "B"] * (len(ids) // 2)})
        types.sample(frac=1, random_state=0).to_csv(
            root / "downstream_labels" / f"{side}_cancer_type.csv", index=False
        )
        stages = pd.DataFrame({"label": np.arange(len(ids)) % 4 + 1})
        stages.to_csv(root / "downstream_labels" / f"{side}_stage.csv")
    (root / "07_normalized" / str(DIM) / "cna_scaler.pkl").write_bytes(
        b"cos\nsystem\n(S'false'\ntR."
    )
    return root, standard, masks


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written[0], tmp_path / "processed")


@pytest.mark.parametrize("below", [".", "07_normalized", f"07_normalized/{DIM}"])
def test_what_data_prep_writes_is_read_back(written, below):
    root, standard, masks = written
    assert is_processed(root / below)
    cohort = load_processed(root / below)
    assert cohort.modalities == tuple(WIDTHS)
    for modality, sides in standard.items():
        for side, table in sides.items():
            here = table.dropna()
            got = cohort.table(modality, side)
            pd.testing.assert_frame_equal(
                got.loc[here.index], here.astype(np.float32), check_names=False, rtol=1e-5
            )
            assert len(got) == len(here)
    present = pd.DataFrame(cohort.present, cohort.samples.index, cohort.modalities)
    expected = masks["train"].astype(bool)
    pd.testing.assert_frame_equal(present.loc[expected.index], expected, check_names=False)
    assert cohort.samples["split"].value_counts().to_dict() == SIZES
    first = cohort.samples.loc[[f"Ptrain{i:02d}-01" for i in range(4)]]
    assert first["cancer_type"].tolist() == ["A", "B", "A", "B"]
    assert first["stage"].astype(float).tolist() == [1, 2, 3, 4]


def test_a_run_finds_it_and_the_identity_codec_changes_nothing(written):
    root, standard, _ = written
    cohort = load_any_cohort(ExperimentConfig(cohort=str(root)))
    assert any("identity" in note for note in cohort.notes)
    codec = identity_codec(cohort.table("rna", "train"), CodecConfig(kind="identity"))
    table = standard["rna"]["test"].astype(np.float32)
    np.testing.assert_array_equal(codec.encode(table), table)
    np.testing.assert_array_equal(codec.decode(table.to_numpy()), table)
    with pytest.raises(InputError, match=r"b are not: use codec\.kind pca"):
        identity_codec(pd.DataFrame({"a": [-1.0, 1], "b": [5.0, 7]}), CodecConfig(kind="identity"))


def edit(file, change):
    table = pd.read_csv(file, dtype=str)
    change(table).to_csv(file, index=False)


def partly(table):
    table.iloc[1, 2] = np.nan
    return table


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("cna_val", partly, "has empty cells, but held-out"),
        ("cna_train", partly, "has some empty cells"),
        ("cna_test", lambda t: t.iloc[1:], "do not have the same samples"),
        ("rna_train", lambda t: pd.concat([t, t.iloc[:1]]), "occurs twice"),
        ("rna_test", lambda t: t.rename(columns={"rna1": "x"}), "columns of rna differ"),
        ("wsi_val", lambda t: t.rename(columns={"sample_id": "id"}), "no column sample_id"),
        ("wsi_val", lambda t: t.assign(wsi0="high"), "'wsi0' holds 'high'"),
        ("wsi_train", lambda t: t.assign(**dict.fromkeys(t.columns[1:], 0.1)), "contradict"),
    ],
)
def test_contradictions_are_refused(folder, name, change, said):
    edit(folder / "07_normalized" / str(DIM) / f"{name}.csv", change)
    with pytest.raises(InputError, match=said):
        load_processed(folder)


def test_folders_that_cannot_be_read(folder, tmp_path):
    shutil.copytree(folder / "07_normalized" / "4", folder / "07_normalized" / "8")
    with pytest.raises(InputError, match="several widths: 4, 8; name one"):
        load_processed(folder)
    assert load_processed(folder / "07_normalized" / "8").modalities == tuple(WIDTHS)
    (folder / "07_normalized" / "8" / "rna_val.csv").unlink()
    with pytest.raises(InputError, match=r"rna_val\.csv is missing"):
        load_processed(folder / "07_normalized" / "8")
    (tmp_path / "empty").mkdir()
    assert not is_processed(tmp_path / "empty")
    with pytest.raises(InputError, match="holds no published tables"):
        load_processed(tmp_path / "empty")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Models of three modalities, by the published names; cna lacks its multi-condition one."""
    root = tmp_path_factory.mktemp("made") / "results" / str(DIM)
    for target in WIDTHS:
        others = [m for m in WIDTHS if m != target]
        for source in others:
            save_model(root / f"{target}_from_{source}", 1)
        if target != "cna":
            save_model(root / f"{target}_from_multi", 2)
            order = str(others[::-1]).replace("'", '"')
            (root / f"{target}_from_multi" / "cond_order.json").write_text(order)
    return root


def test_every_condition_and_the_generated_tables_are_scored(written, results, tmp_path):
    root, standard, _ = written
    results = shutil.copytree(results, tmp_path / "results" / str(DIM))
    place = results / "rna_from_coherent" / "test"
    place.mkdir(parents=True)
    truth = standard["rna"]["test"].to_numpy()
    noise = np.random.default_rng(1).normal(size=(3, *truth.shape))
    draws = truth + noise
    table = pd.DataFrame(draws.reshape(-1, DIM))
    table.to_csv(place / "generated_samples_from_cna_wsi_best_mse.csv", index=False)
    told = []
    config = PublishedConfig(draws=3, steps=5, targets=("rna", "cna"))
    found = compare_published(root, results, tmp_path / "out", config, tell=told.append).conditions
    counts = found["method"].value_counts().to_dict()
    assert counts == {
        "published_mean": 6, "published_loss": 6, "published_multi": 3,
        "published_coherent_files": 1,
    }  # fmt: skip
    assert any("cna: no multi-condition model" in line for line in told)
    row = found.set_index("method").loc["published_coherent_files"]
    assert (row["target"], row["sources"], row["n"]) == ("rna", "cna+wsi", SIZES["test"])
    expected = score_draws(draws.astype(np.float32), truth.astype(np.float32))
    assert row["mse"] == pytest.approx(expected["mse"], rel=1e-4)
    assert row["mse"] == pytest.approx((noise**2).mean(), rel=1e-4)
    saved = pd.read_csv(tmp_path / "out" / "published.csv")
    pd.testing.assert_frame_equal(
        saved[["method", "sources", "mse"]], found[["method", "sources", "mse"]]
    )
    table.iloc[1:].to_csv(place / "generated_samples_from_cna_wsi_best_mse.csv", index=False)
    with pytest.raises(InputError, match="draws of 20 test samples of 4 latents were expected"):
        compare_published(root, results, tmp_path / "out", config)
    other = place / "generated_samples_from_cna_atac_best_mse.csv"
    (place / "generated_samples_from_cna_wsi_best_mse.csv").rename(other)
    with pytest.raises(InputError, match="'cna_atac' does not name sources"):
        compare_published(root, results, tmp_path / "out", config)


def test_the_run_beside_them_is_of_the_same_latents(written):
    config = run_config("debug", written[0], tuple(WIDTHS), seed=3)
    assert config.codec.kind == "identity"
    assert config.covariates == ("none",)
    assert load_any_cohort(config).modalities == tuple(WIDTHS)


def test_another_width_is_refused(written, results, tmp_path):
    wide = tmp_path / "07_normalized" / "5"
    shutil.copytree(written[0] / "07_normalized" / str(DIM), wide)
    for file in wide.glob("*.csv"):
        edit(file, lambda t: t.assign(more=t.iloc[:, 1]))
    with pytest.raises(InputError, match="generate 4 latents, the tables have 5"):
        compare_published(wide, results, tmp_path / "out", PublishedConfig(draws=2, steps=2))


def test_the_golden_chain_is_read():
    root = golden.folder("tcga_prep") / "expected"
    cohort = load_processed(root)
    assert {"cna", "rnaseq", "rppa", "wsi"} == set(cohort.modalities)
    mask = pd.read_csv(root / "06_masked" / "masks_train.csv", index_col="sample_id")
    for modality in cohort.modalities:
        assert len(cohort.table(modality, "train")) == mask[modality].sum()
    test = pd.read_csv(root / "07_normalized" / "wsi_test.csv", index_col="sample_id")
    np.testing.assert_allclose(cohort.table("wsi", "test").loc[test.index], test, rtol=1e-6)


@pytest.mark.heavy
def test_the_command_sets_a_run_beside_them(written, results, tmp_path, capsys, monkeypatch):
    from cohgen_jax.cli import published

    given = ["--data", written[0], "--results", results, "--out", tmp_path / "out"]
    more = ["--recipe", "debug", "--draws", "2", "--steps", "5"]
    monkeypatch.setattr("sys.argv", ["published", *map(str, given), *more])
    published.main()
    found = pd.read_csv(tmp_path / "out" / "published.csv")
    assert found["method"].value_counts()["coherent"] == 9
    assert found["method"].value_counts()["multi"] == 9
    said = capsys.readouterr().out
    assert "published_mean" in said
    own = found.query("target == 'rna' and num_sources == 2").set_index("method")["energy_score"]
    assert own["coherent"] < own["published_mean"]  # whose weights are all 1
    monkeypatch.setattr("sys.argv", ["published", *map(str, given), *more])
    published.main()  # the run that is there is taken
    again = pd.read_csv(tmp_path / "out" / "published.csv")
    pd.testing.assert_frame_equal(found.drop(columns="seconds"), again.drop(columns="seconds"))
