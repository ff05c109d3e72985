"""Which way round tables lie and which column has their ids: decided, refused, or as asked."""

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import load_cohort, read_tables
from cohgen_jax.cohort.idlike import look
from cohgen_jax.cohort.understood import Doubt
from cohgen_jax.errors import InputError

GENES = ["TP53", "EGFR", "KRAS", "Myc", "PTEN", "ZFAND1", "ACOT8", "NAT2", "GATA3"]


@pytest.fixture
def save(tmp_path):
    def save(**frames: pd.DataFrame):
        for name, frame in frames.items():
            frame.to_csv(tmp_path / f"{name}.csv")
        return tmp_path

    return save


def table(ids, columns, seed=0, label="") -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(size=(len(ids), len(columns))).round(3)
    return pd.DataFrame(values, index=pd.Index(ids, name=label), columns=list(columns))


def codes(count: int) -> list[str]:
    """Ids that look like nothing in particular."""
    return [f"{'XYZQW'[i % 5]}{i * 37 % 1000}-{'ABK'[i % 3]}" for i in range(count)]


@pytest.mark.parametrize(
    ("names", "of", "sure"),
    [
        (["ENSG00000141510.12", "ENSG00000146648"], "features", True),
        (["ENSMUSG00000059552", "ENSMUSG00000020122"], "features", True),
        (GENES, "features", True),
        ([g.lower() for g in GENES], "features", True),
        (["cg00000029", "cg00000108"], "features", True),
        (["hsa-miR-21-5p", "hsa-let-7a"], "features", True),
        (["1007_s_at", "117_at"], "features", True),
        (["TCGA-A1-A0SB-01A", "TCGA-A1-A0SD-01A"], "samples", True),
        (["tcga.a1.a0sb.01", "tcga.a1.a0sd.01"], "samples", True),
        (["GSM1234567", "GSM1234568"], "samples", True),
        (["ACGTTGCAACGTTGCA-1", "TTGCAACGTTGCAACG-1"], "samples", True),
        (["gene_1", "gene_2"], "features", False),
        (["Patient 12", "Patient 7b"], "samples", False),
        (codes(20), "", False),
        (["1", "2", "3"], "", False),
    ],
)
def test_what_names_look_like(names, of, sure):
    found = look(names)
    assert (found.of, found.sure) == (of, sure)


@pytest.mark.parametrize("header", ["", "Gene", "Hugo_Symbol", "feature"])
def test_a_folder_of_genes_by_patients_is_turned(save, header):
    """The genes are the same in both tables, as the patients are."""
    ids = codes(60)
    rna, cna = table(ids, GENES, 1), table(ids, GENES, 2)
    folder = save(**{n: t.T.rename_axis(header) for n, t in (("rna", rna), ("cna", cna))})
    cohort = load_cohort(folder)
    pd.testing.assert_frame_equal(
        cohort.tables["rna"], rna.sort_index()[cohort.tables["rna"].columns].astype(np.float32),
        check_names=False,
    )  # fmt: skip
    assert any("rna.csv was transposed: its columns are samples" in n for n in cohort.notes)


def test_patients_by_genes_stay_and_nothing_is_said(save):
    cohort = load_cohort(save(rna=table(codes(60), GENES, 1), cna=table(codes(60), GENES, 2)))
    assert list(cohort.tables["rna"].columns) == GENES
    assert not any("transpos" in note for note in cohort.notes)


def test_names_that_hint_at_either_are_refused_and_an_option_settles_it(save):
    """Both axes are shared; only the columns look like patients, and only a little."""
    columns = [f"s{i}" for i in range(50)]
    folder = save(one=table(codes(60), columns, 1), two=table(codes(60), columns, 2))
    with pytest.raises(
        InputError, match=r"(?s)--transpose one takes the columns.*--transpose none"
    ):
        load_cohort(folder)
    assert load_cohort(folder, transpose=["none"]).tables["one"].shape == (60, 50)
    assert load_cohort(folder, transpose=["all"]).tables["one"].shape == (50, 60)
    assert load_cohort(folder, transpose=["one", "two"]).tables["two"].shape == (50, 60)


def test_numbers_of_patients_under_no_name_are_rows(save):
    """As pandas writes an index of whole numbers; both tables have the same genes."""
    ids, genes = [1000 + 7 * i % 61 for i in range(60)], [f"u{c}" for c in codes(9)]
    cohort = load_cohort(save(rna=table(ids, genes, 1), cna=table(ids, genes, 2)))
    assert list(cohort.tables["rna"].columns) == genes
    assert not any(isinstance(note, Doubt) for note in cohort.notes)


def test_where_nothing_tells_it_is_said_what_was_taken_for_samples(save):
    genes = [f"u{c}" for c in codes(9)]
    cohort = load_cohort(save(rna=table(codes(60), genes, 1), cna=table(codes(60), genes, 2)))
    assert list(cohort.tables["rna"].columns) == genes
    assert any("rows (as X0-A) are taken for samples" in note for note in cohort.notes)


def test_two_tables_that_lie_differently(save):
    """With the same names on both axes neither can be told to be the wrong one."""
    ids, names = codes(60), [f"{c}.{c}" for c in codes(60)]
    one, two = table(ids, names, 1), table(ids, names, 2)
    folder = save(one=one, two=two.T)
    with pytest.raises(InputError, match=r"--transpose one; if they do in one, --transpose two"):
        load_cohort(folder)
    cohort = load_cohort(folder, transpose=["two"])
    np.testing.assert_allclose(
        cohort.tables["two"], two.loc[cohort.tables["two"].index, names], rtol=1e-6
    )


def test_one_of_three_tables_is_turned(save):
    ids = codes(60)
    tables = {n: table(ids, [f"{n}.{i}" for i in range(5)], k) for k, n in enumerate("abc")}
    cohort = load_cohort(save(**{**tables, "b": tables["b"].T}))
    assert cohort.tables["b"].shape == (60, 5)
    assert "b.csv was transposed" in " ".join(cohort.notes)


def test_columns_about_genes_are_left_out(save):
    """As cBioPortal writes them: two names of each gene in front."""
    ids = [f"TCGA-02-{i:04d}-01" for i in range(60)]
    frames = {}
    for k, name in enumerate(("rna", "cna")):
        frame = table(ids, GENES, k).T.rename_axis("Hugo_Symbol")
        frame.insert(0, "Entrez_Gene_Id", range(100, 109))
        frame.insert(1, "Cytoband", "17p13.1")
        frames[name] = frame
    cohort = load_cohort(save(**frames))
    assert cohort.tables["cna"].shape == (60, 9)
    assert any("left out: Entrez_Gene_Id, Cytoband" in note for note in cohort.notes)


def test_a_table_about_genes_is_no_table_across(save):
    ids = codes(60)
    about = pd.DataFrame({"start": range(9), "end": range(9, 18)}, index=GENES)
    cohort = load_cohort(save(rna=table(ids, GENES, 1), cna=table(ids, GENES, 2), where=about))
    assert cohort.modalities == ("cna", "rna")
    assert any("where.csv was not read as a modality" in note for note in cohort.notes)


def test_genes_are_never_patients(save):
    """Rows are genes in both, but no two tables share a column."""
    first, second = codes(60), [c + "2" for c in codes(60)]
    folder = save(rna=table(first, GENES * 1, 1).T, cna=table(second, GENES, 2).T)
    with pytest.raises(InputError, match=r"rows look like features \(as TP53\)"):
        load_cohort(folder)


def test_duplicate_genes_are_named_as_features(save):
    ids = [f"TCGA-02-{i:04d}-01" for i in range(60)]
    rna = table(ids, GENES, 1).T.rename_axis("gene")
    folder = save(
        rna=pd.concat([rna, rna.iloc[:1]]), cna=table(ids, GENES, 2).T.rename_axis("gene")
    )
    with pytest.raises(InputError, match=r"rna\.csv: 1 features occur more than once: TP53"):
        load_cohort(folder)


# ---- which column has the ids -----------------------------------------------------------------


def numbered(frame: pd.DataFrame, header: str, label: str, start: int = 0) -> pd.DataFrame:
    frame = frame.rename_axis(header).reset_index()
    frame.index = pd.RangeIndex(start, start + len(frame), name=label)
    return frame


@pytest.mark.parametrize("label", ["", "index", "X"])
@pytest.mark.parametrize("header", ["barcode", "Sample ID", "who"])
def test_a_saved_row_number_joins_no_strangers(save, header, label):
    ids = codes(60)
    rna, cna = table(ids, GENES, 1), table(ids, "abcde", 2).iloc[::-1]
    cohort = load_cohort(
        save(rna=numbered(rna, header, label), cna=numbered(cna.iloc[:50], header, label, 1))
    )
    for name, truth in (("rna", rna), ("cna", cna)):
        found = cohort.tables[name]
        np.testing.assert_allclose(found, truth.loc[found.index, found.columns], rtol=1e-5)
    assert len(cohort.tables["cna"]) == 50
    assert any(f"ids are those of column '{header}'" in note for note in cohort.notes)


def test_row_numbers_in_front_of_the_facts(save):
    ids = codes(60)
    facts = pd.DataFrame({"case": ids[::-1], "cancer_type": ["A"] * 30 + ["B"] * 30})
    cohort = load_cohort(save(rna=table(ids, GENES), cna=table(ids, "abcde", 2), samples=facts))
    assert cohort.samples.loc[ids[0], "cancer_type"] == "B"
    assert cohort.samples.loc[ids[-1], "cancer_type"] == "A"


def test_two_columns_of_ids_are_refused_until_one_is_named(save):
    ids, other = codes(60), [f"L{i * 7 % 61}q" for i in range(60)]
    frames = {}
    for k, (name, columns) in enumerate((("rna", GENES), ("cna", "abcde"))):
        frame = table(ids, columns, k).rename_axis("tube").reset_index()
        frame.insert(1, "lab", other)
        frames[name] = frame
    folder = save(**frames)
    with pytest.raises(InputError, match=r"column 'tube', column 'lab'.*--id-column NAME"):
        load_cohort(folder)
    with pytest.raises(InputError, match="no table has a column 'name'"):
        load_cohort(folder, id_column="name")


def test_ids_that_are_only_row_numbers_are_doubted(save):
    rows = range(60)
    cohort = load_cohort(save(rna=table(rows, GENES), cna=table(rows, "abcde", 2)))
    doubts = [note for note in cohort.notes if isinstance(note, Doubt)]
    assert len(doubts) == 2
    assert "tables are joined row by row" in doubts[0]
    named = save(rna=table(rows, GENES, 0, "patient"), cna=table(rows, "abcde", 2, "patient"))
    assert not any(isinstance(note, Doubt) for note in load_cohort(named).notes)


def test_numbers_of_patients_keep_their_zeros(save):
    ids = [f"{i:03d}" for i in range(1, 61)]
    folder = save(rna=table(ids, GENES, 0, "patient"), cna=table(ids, "abcde", 2, "patient"))
    assert load_cohort(folder).samples.index[0] == "001"


def test_a_numbered_parquet_keeps_its_column_of_ids(tmp_path):
    """Rows of a larger frame: their numbers are no ids."""
    ids = codes(60)
    for k, (name, columns) in enumerate((("rna", GENES), ("cna", "abcde"))):
        frame = table(ids, columns, k, "sample_id").reset_index()
        frame[frame.index % 7 != k].to_parquet(tmp_path / f"{name}.parquet")
    cohort = load_cohort(tmp_path)
    assert set(cohort.samples.index) == set(ids)


def test_new_tables_are_read_by_the_features_that_are_known(save):
    """One table of one patient, across: nothing but its features tells."""
    folder = save(rna=table(["new"], ["f1", "f2", "f3"]).T)
    raw = read_tables(folder, modalities=["rna"], features={"rna": ["f1", "f2", "f3", "f4"]})
    assert list(raw.tables["rna"].index) == ["new"]
    assert list(raw.tables["rna"].columns) == ["f1", "f2", "f3"]
