"""Small steps against what they are by definition."""

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.errors import InputError
from data_prep.barcodes import is_sample_barcode, patients, sample_types, without_vial
from data_prep.blocks import Block, assemble, count_per_feature, merged_features
from data_prep.clinical import (
    informative,
    lymph_nodes,
    merge_clinical,
    merge_survival,
    metastasis,
    reduce_clinical,
    stage_number,
    tumour_extent,
)
from data_prep.ids import check_overlap, omics_summary, sample_ids
from data_prep.latents import align, impute, pca_embedding, standardise
from data_prep.omics import kept_features, log_copy_ratio, log_cpm, median_centred
from data_prep.split import held_out_sizes, leaking_patients, split_patients, split_samples

RNG = np.random.default_rng(0)


def _sample(i: int, kind: str = "01A") -> str:
    return f"TCGA-AA-{i:04d}-{kind}"


def test_barcodes():
    ids = ["TCGA-A1-0C80-01A", "TCGA-A1-0C80-11", "TCGA-A1-0C80-06Z"]
    assert without_vial(ids) == ["TCGA-A1-0C80-01", "TCGA-A1-0C80-11", "TCGA-A1-0C80-06"]
    assert set(patients(ids)) == {"TCGA-A1-0C80"}
    assert sample_types(ids).tolist() == ["01", "11", "06"]
    assert all(map(is_sample_barcode, ids))
    assert not is_sample_barcode("sample_1")


def test_counts_per_million():
    counts = RNG.integers(0, 500, (5, 20)).astype(float)
    ours = log_cpm(np.log2(counts + 1))
    np.testing.assert_allclose(
        2**ours - 1, counts / counts.sum(axis=1, keepdims=True) * 1e6, atol=1e-5
    )
    # Doubling the depth of a sample changes nothing.
    np.testing.assert_allclose(log_cpm(np.log2(2 * counts + 1)), ours, atol=1e-9)
    assert np.isnan(log_cpm(np.zeros((1, 3)))).all()


def test_copy_ratio():
    copies = np.array([[0.0, 1.0, 2.0, 3.0, 64.0, 0.1]])
    np.testing.assert_allclose(
        log_copy_ratio(copies), [[np.nan, -1, 0, np.log2(1.5), 2, -2]], equal_nan=True
    )


def test_rppa_is_median_centred():
    levels = RNG.normal(size=(4, 9))
    levels[0, :3] = np.nan
    centred = median_centred(levels.copy())
    np.testing.assert_allclose(np.nanmedian(centred, axis=1), 0, atol=1e-12)
    shifted = median_centred(levels + 5.0)
    np.testing.assert_allclose(shifted, centred, atol=1e-12, equal_nan=True)
    assert np.isnan(median_centred(np.full((1, 3), np.nan))).all()


def _block(samples, features) -> Block:
    values = RNG.normal(size=(len(samples), len(features))).astype(np.float32)
    return Block(values, list(samples), list(features))


def test_assemble_is_an_outer_join():
    one, two = _block("ab", "xyz"), _block("cd", "zwx")
    frames = [pd.DataFrame(b.values, index=b.samples, columns=b.features) for b in (one, two)]
    wanted = pd.concat(frames)
    ours = assemble([one, two])
    assert list(ours.columns) == list(wanted.columns) == merged_features([one, two])
    np.testing.assert_array_equal(ours.to_numpy(), wanted.to_numpy())
    part = assemble([one, two], ["d", "a"], ["w", "z"])
    np.testing.assert_array_equal(part.to_numpy(), wanted.loc[["d", "a"], ["w", "z"]].to_numpy())


def test_a_sample_of_two_projects_comes_from_the_first():
    one, two = _block("ab", "xy"), _block("bc", "xy")
    np.testing.assert_array_equal(assemble([one, two]).loc["b"], one.values[1])


def test_gene_set_counts_all_projects():
    low, high = np.float32(0.5), np.float32(3.0)
    one = Block(np.full((8, 2), low), [f"a{i}" for i in range(8)], ["never", "g"])
    two = Block(np.full((2, 1), high), ["b0", "b1"], ["g"])
    assert count_per_feature([one, two], ["never", "g"], lambda v: v > 1).tolist() == [0, 2]
    assert kept_features("rnaseq", [one, two]) == ["g"]  # in 2 of 10 samples: 20 %
    more = Block(np.full((1, 1), low), ["c"], ["g"])
    assert kept_features("rnaseq", [one, two, more]) == []
    assert kept_features("cna", [one, two]) == ["never", "g"]


def test_staging_codes():
    def codes(function, *values):
        return function(pd.Series(values, dtype=object)).tolist()

    nan = pytest.approx(np.nan, nan_ok=True)
    stages = ("Stage 0", "Stage IS", "Stage IB", "Stage IIA", "Stage IIIC", "Stage IV", "Stage X")
    assert codes(stage_number, *stages) == [1, 1, 1, 2, 3, 4, nan]
    assert codes(stage_number, None, "Stage IVB", "I/II NOS") == [nan, 4, 1]
    assert codes(tumour_extent, "Tis", "T0", "T1b1", "T2a2", "T3c", "T4d", "TX") == [
        *(1, 1, 1, 2, 3, 3, nan),
    ]
    assert codes(lymph_nodes, "N0 (i-)", "N1mi", "N2c", "N3b", "NX") == [0, 1, 2, 2, nan]
    found = metastasis(pd.Series(["M0", "cM0 (i+)", "M1b", "MX"], dtype=object))
    assert found.tolist()[:3] == ["M0", "M0", "M1"]
    assert pd.isna(found[3])


def test_uninformative_columns_go():
    table = pd.DataFrame(
        {
            "half": ["a", "b", None, None],
            "sparse": [1.0, None, None, None],
            "constant": ["x"] * 4,
            "constant_where_known": ["x", "x", None, "x"],
        }
    )
    assert list(informative(table)) == ["half"]


def test_merge_drops_per_project_and_again():
    """A column constant in one project only survives if the merge has half of it."""
    one = pd.DataFrame({"sample": [_sample(i) for i in range(4)], "g": list("abab")})
    two = pd.DataFrame({"sample": [_sample(i) for i in range(10, 16)], "g": ["a"] * 6})
    assert list(merge_clinical({"BRCA": one, "OV": two})) == ["project"]
    assert list(merge_clinical({"BRCA": one, "OV": two.iloc[:4]})) == ["g", "project"]


def test_gender_is_inferred_and_rare_diagnoses_fold():
    merged = pd.DataFrame(
        {
            "gender.demographic": [None, "female", None, None],
            "primary_diagnosis.diagnoses": ["common", "common", "rare", "Not Reported"],
        },
        index=pd.Index([_sample(i) for i in range(4)], name="sample_id"),
    ).astype(object)
    kinds = dict(zip(merged.index, ["OV", "BRCA", "PRAD", "BRCA"], strict=True))
    reduced = reduce_clinical(merged, kinds, rare_diagnosis=2)
    assert reduced["gender"].fillna("").tolist() == ["female", "female", "male", ""]
    assert reduced["diagnosis"].fillna("").tolist() == ["common", "common", "Other", ""]
    # Two samples of one patient are one patient.
    counted = reduce_clinical(merged, kinds, rare_diagnosis=2, count_as=["p", "p", "q", "r"])
    assert counted["diagnosis"].fillna("").tolist() == ["Other", "Other", "Other", ""]


def test_survival_rows():
    table = pd.DataFrame({"sample": [_sample(0), _sample(0), _sample(1)], "OS": [1, 0, None]})
    merged = merge_survival({"BRCA": table.assign(**{"OS.time": [10, 20, None]})})
    assert merged.index.tolist() == [_sample(0)]
    assert merged.loc[_sample(0)].tolist() == [1, 10]
    assert merge_survival({}).empty


def test_summary_and_ids():
    samples = {
        "cna": [_sample(0), _sample(0, "01B"), _sample(1), _sample(2)],
        "rnaseq": [_sample(0, "01B"), _sample(0), _sample(1)],
        "rppa": [],
        "clinical": [_sample(0), _sample(3)],
    }
    project = {_sample(i, k): "BRCA" for i in range(4) for k in ("01A", "01B")}
    summary, removed = omics_summary(samples, project)
    assert summary["sample_id"].tolist() == [_sample(0), _sample(0, "01B"), _sample(1)]
    assert removed["sample_id"].tolist() == [_sample(2), _sample(3)]
    ids = sample_ids(summary, ["TCGA-AA-0001-01"])
    assert ids["original_id"].tolist() == [_sample(0), _sample(1)]
    assert ids["wsi"].tolist() == [0, 1]


def test_ids_that_match_nothing():
    samples = {"cna": [_sample(0)], "rnaseq": [_sample(0, "01B")], "rppa": ["TCGA-ZZ-9999-01A"]}
    with pytest.raises(InputError, match=r"no rppa sample .*TCGA-ZZ-9999-01"):
        check_overlap(samples)
    check_overlap({**samples, "rppa": [_sample(0)]})
    with pytest.raises(InputError, match="needs two modalities"):
        check_overlap({"cna": [_sample(0)], "rnaseq": []})


@pytest.mark.parametrize(
    ("total", "complete", "wanted"),
    [(100, 60, (5, 15)), (19, 19, (0, 2)), (100, 20, (5, 15)), (100, 10, (2, 8)), (100, 0, (0, 0))],
)
def test_held_out_sizes(total, complete, wanted):
    assert held_out_sizes(total, complete, 0.05, 0.15) == wanted


def _ids(n: int, twins: int, complete: float = 0.6) -> pd.DataFrame:
    """n patients; the first `twins` have a second, incomplete sample (a normal)."""
    plain = [f"TCGA-AA-{i:04d}-01" for i in range(n)] + [
        f"TCGA-AA-{i:04d}-11" for i in range(twins)
    ]
    full = (RNG.random(len(plain)) < complete).astype(int)
    full[n:] = 0
    table = pd.DataFrame({"sample_id": plain, "original_id": [f"{p}A" for p in plain]})
    table["cancertype"] = "BRCA"
    for flag in ("genomics", "transcriptomics", "proteomics", "clinical", "wsi"):
        table[flag] = full
    return table.sort_values("sample_id", ignore_index=True)


def test_split_by_patient_never_leaks_where_the_published_one_does():
    ids = _ids(200, 150)
    assert leaking_patients(split_samples(ids))
    ours = split_patients(ids)
    assert not leaking_patients(ours)
    held = ours[ours["split"].isin(["val", "test"])]
    assert held["wsi"].all()
    assert held["split"].value_counts().to_dict() == {"test": 30, "val": 10}
    aside = ours[ours["split"] == "aside"]
    assert set(patients(aside["sample_id"])) <= set(patients(held["sample_id"]))


def test_split_repeats_with_the_seed_only():
    ids = _ids(100, 0)
    pd.testing.assert_frame_equal(split_patients(ids), split_patients(ids))
    assert (split_patients(ids)["split"] != split_patients(ids, seed=1)["split"]).any()


def _splits(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {"train": table.iloc[:30], "val": table.iloc[30:35], "test": table.iloc[35:]}


def _table(columns: int = 6) -> pd.DataFrame:
    index = pd.Index([f"s{i:02d}" for i in range(40)], name="sample_id")
    return pd.DataFrame(RNG.normal(size=(40, columns)), index=index).rename(columns=str)


def test_imputation_is_fitted_on_train():
    table = _table()
    table.iloc[0, 0] = table.iloc[32, 0] = np.nan
    table.iloc[:3, 1] = np.nan  # 3 of 30: 10 %
    filled = impute("cna", _splits(table))
    assert "1" not in filled["train"]
    median = table["0"].iloc[:30].median()
    assert filled["train"]["0"].iloc[0] == filled["val"]["0"].iloc[2] == median
    other = table.copy()
    other.iloc[35:] += 100.0
    pd.testing.assert_frame_equal(
        impute("rppa", _splits(other))["train"], impute("rppa", _splits(table))["train"]
    )


def test_nearest_neighbours_fill_from_like_samples():
    table = _table(3)
    table["0"] = table["1"] = np.repeat([0.0, 10.0], 20)
    table["2"] = np.repeat([1.0, 7.0], 20)
    table.iloc[36, 2] = np.nan
    assert impute("rppa", _splits(table))["test"]["2"].iloc[1] == 7.0


def test_every_feature_missing_is_an_error():
    with pytest.raises(InputError, match="rppa: every feature is missing"):
        impute("rppa", _splits(_table() * np.nan))


def test_latents_align_and_standardise():
    one, two = _splits(_table()), _splits(_table(4))
    two["train"] = two["train"].iloc[5:]
    aligned, masks = align({"cna": one, "wsi": two})
    assert masks["train"]["wsi"].sum() == 25
    assert aligned["wsi"]["train"].iloc[:5].isna().all(axis=None)
    standard = standardise(aligned["wsi"])
    np.testing.assert_allclose(standard["train"].mean(), 0, atol=1e-12)
    np.testing.assert_allclose(standard["train"].std(ddof=0), 1)
    two["val"] = two["val"].iloc[1:]
    with pytest.raises(InputError, match="val: 1 samples have no wsi"):
        align({"cna": one, "wsi": two})


def test_pca_of_train_decides():
    tables = _splits(_table())
    latent = pca_embedding("wsi", tables, 3)
    moved = {**tables, "test": tables["test"] + 5}
    pd.testing.assert_frame_equal(pca_embedding("wsi", moved, 3)["train"], latent["train"])
    variance = latent["train"].var().to_numpy()
    assert (np.diff(variance) <= 0).all()
    with pytest.raises(InputError, match="PCA to 7 needs"):
        pca_embedding("wsi", tables, 7)
