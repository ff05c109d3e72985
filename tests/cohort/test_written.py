"""How numbers are written, and what is there but cannot be read."""

import bz2

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import load_cohort
from cohgen_jax.cohort.folder import table_files
from cohgen_jax.cohort.tables import numeric, read_sheet, read_table
from cohgen_jax.cohort.understood import Doubt
from cohgen_jax.errors import InputError


def read(tmp_path, text: str, name: str = "t.csv") -> pd.DataFrame:
    (tmp_path / name).write_text(text)
    return numeric(read_table(tmp_path / name), name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id;a;b\ns1;0,5;1,25\ns2;2;-3,0\n", [[0.5, 1.25], [2, -3]]),
        ("id;a;b\ns1;1.234,5;7,25\ns2;2;3\n", [[1234.5, 7.25], [2, 3]]),
        ('id,a,b\ns1,"1,234",7\ns2,12,"5,678"\n', [[1234, 7], [12, 5678]]),
        ('id,a,b\ns1,"1,234,567",7\ns2,"2,000",3000\n', [[1234567, 7], [2000, 3000]]),
        ('id,a,b\ns1,"1,234.5",7\ns2,2,3000\n', [[1234.5, 7], [2, 3000]]),
        ("id;a;b\ns1;1.234.567;7\ns2;2;1.000\n", [[1234567, 7], [2, 1000]]),
        ("id\ta\tb\ns1\t1.234\t7\ns2\t2.5\t3000\n", [[1.234, 7], [2.5, 3000]]),
        ("id,a,b\ns1,1e-3,+7\ns2,-.5,3.\n", [[0.001, 7], [-0.5, 3]]),
        ("id;a;b\ns1;1,5e-3;7\ns2;2;3\n", [[0.0015, 7], [2, 3]]),
    ],
)
def test_numbers_as_they_are_written(tmp_path, text, expected):
    np.testing.assert_allclose(read(tmp_path, text), np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id;a;b\ns1;1,234;5,678\ns2;9,012;3,456\n", "thousands or decimals"),
        ("id;a;b\ns1;1,5;2\ns2;1.5;2,5\n", "stand together"),
        ("id\ta\nx\t7\n" + "".join(f"s{i}\t{i + 1}.{100 + i}\n" for i in range(60)), "1.100"),
    ],
)
def test_numbers_that_may_be_two_things_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=rf"t\.csv: .*{message}"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,a,b\ns1,1,2\ns2,1\n", "1 lines do not have the 3 fields.*line 3 with 2"),
        ("id,a,b\ns1,1,2\n\ns2,1,2,3\n", "1 lines do not have the 3 fields.*line 4 with 4"),
        ("a,b,\ns1,1,2\ns2,3,4\n", "columns 3 to 3 hold values and have no name"),
        ("id,a,b\ns1,0,5,1\ns2,3,4\n", "lines do not have the 3 fields"),
        ("s1,0.5,1\ns2,3,4.5\ns3,1,2\n", r"first line \(s1, 0.5, 1\) looks like values"),
        ("s1,15,7\ns2,3,4\ns3,1,2\n", r"first line \(s1, 15, 7\) looks like values"),
        ("who,1.5,0.7\ns2,3,4\ns3,1,2\n", r"first line \(who, 1.5, 0.7\) looks like values"),
    ],
)
def test_lines_that_do_not_fit_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        'a b\n"s 1" 1 2\ns2 3 NA\n',  # write.table of R
        "#a tool\n#id\ta\tb\ns 1\t1\t2\ns2\t3\t\n",  # the header is a comment
        "# one\n# two\nid|a|b\ns 1|1|2\ns2|3|\n",
        "Table S1,,\n,,\nid,a,b\ns 1,1,2\ns2,3,\n",  # as Excel writes titles
        "id,a,b,,\ns 1,1,2,,\ns2,3,,,\n",
        'id,a,b\n"s 1","1","2"\n"s2","3",""\n',
        "id,a,b\rs 1,1,2\rs2,3,\r",  # lines of old Macs
    ],
)
def test_forms_of_text(tmp_path, text):
    table = read(tmp_path, text, "t.txt")
    assert list(table.index) == ["s 1", "s2"]
    assert list(table.columns) == ["a", "b"]
    np.testing.assert_array_equal(table, np.array([[1, 2], [3, np.nan]], np.float32))


def test_clinical_comments_of_cbioportal_are_no_header(tmp_path):
    text = "#Patient\tStatus\n#STRING\tNUMBER\n#1\t1\nPATIENT_ID\tOS_MONTHS\nP1\t3\nP2\t4\n"
    (tmp_path / "t.txt").write_text(text)
    assert list(read_sheet(tmp_path / "t.txt").frame.columns) == ["PATIENT_ID", "OS_MONTHS"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_encodings(tmp_path, encoding):
    (tmp_path / "t.tsv").write_text("id\tTGFβ\ns1\t1\ns2\t2\n", encoding=encoding)
    assert list(read_table(tmp_path / "t.tsv").columns) == ["TGFβ"]


@pytest.mark.parametrize("quote", ["", '"'])
def test_lines_of_any_length(tmp_path, quote):
    """Tens of thousands of features: under another separator, a line is one field."""
    names = [f"{quote}feature {i}{quote}" for i in range(20_000)]
    text = f"id,{','.join(names)}\ns1,{','.join(['0.25'] * 20_000)}\n"
    table = read(tmp_path, text * 1)
    assert table.shape == (1, 20_000)
    assert table.columns[-1] == "feature 19999"


def test_another_encoding_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("id,größe\ns1,1\n", encoding="latin-1")
    with pytest.raises(InputError, match=r"t\.csv cannot be read: .* UTF-8 \(byte 0xf6\)"):
        read_table(tmp_path / "t.csv")


def test_archives_of_several_files_and_sheets_are_refused(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "t.csv.zip", "w") as archive:
        archive.writestr("a.csv", "id,a\ns,1\n")
        archive.writestr("b.csv", "id,a\ns,1\n")
    with pytest.raises(InputError, match=r"holds 2 files \(a\.csv, b\.csv\)"):
        read_table(tmp_path / "t.csv.zip")
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        for sheet in ("levels", "legend"):
            pd.DataFrame({"id": ["s"], "a": [1]}).to_excel(book, sheet_name=sheet, index=False)
    with pytest.raises(InputError, match=r"2 sheets with cells \(levels, legend\)"):
        read_table(tmp_path / "t.xlsx")


def test_parts_of_other_tables_are_refused(tmp_path):
    parts = tmp_path / "t.parquet"
    parts.mkdir()
    for k, columns in enumerate((["a", "b"], ["a", "c"])):
        frame = pd.DataFrame(np.ones((2, 2)), index=[f"s{k}", f"t{k}"], columns=columns)
        frame.to_parquet(parts / f"part.{k}.parquet")
    with pytest.raises(InputError, match=r"part\.0\.parquet and part\.1\.parquet have .*b, c"):
        read_table(parts)


def test_every_file_of_a_folder_is_accounted_for(tables, write):
    folder = write(tables, "csv")
    (folder / "rna.csv").unlink()
    (folder / "parts").mkdir()
    tables["rna"].iloc[:90].to_parquet(folder / "parts" / "part-0.parquet")
    tables["rna"].iloc[90:].to_parquet(folder / "parts" / "part-1.parquet")
    tables["cna"].add(1).add_prefix("x").to_feather(folder / "more.arrow")
    (folder / "mirna.rds").write_bytes(b"RDX3")
    (folder / "model.pkl").write_bytes(b"\x80\x04")
    (folder / "log.txt").write_text("began at 9\nended at 10\n")
    (folder / "gone.tsv").symlink_to("nowhere")
    (folder / ".DS_Store").write_bytes(b"\0")
    packed = folder / "empty.csv.bz2"
    packed.write_bytes(bz2.compress(b"not a table at all\n"))
    files, notes = table_files(folder)
    assert set(files) == {"rppa", "cna", "parts", "more", "clinical", "empty"}
    told = " ".join(notes)
    for name in ("mirna.rds", "model.pkl", "log.txt", "gone.tsv"):
        assert name in told
    assert ".DS_Store" not in told
    assert "mirna.rds (R's own format" in next(n for n in notes if isinstance(n, Doubt))
    with pytest.raises(InputError, match=r"empty\.csv\.bz2 is empty"):
        load_cohort(folder)
    packed.unlink()
    with pytest.raises(InputError, match="more holds 9 of the 9 features of cna once more"):
        load_cohort(folder)
    (folder / "more.arrow").unlink()
    cohort = load_cohort(folder)
    assert cohort.modalities == ("cna", "parts", "rppa")
    np.testing.assert_array_equal(cohort.tables["parts"], tables["rna"])


def test_a_second_copy_of_the_facts_is_not_chosen_between(tables, write):
    folder = write(tables, "csv")
    (folder / "clinical (1).csv").write_bytes((folder / "clinical.csv").read_bytes())
    assert "clinical (1).csv was left out: it is a copy" in " ".join(load_cohort(folder).notes)
    with (folder / "clinical (1).csv").open("a") as more:
        more.write("P999,TCGA-LUAD,I,0,5\n")
    with pytest.raises(InputError, match=r"clinical \(1\)\.csv is called as a copy of clin"):
        load_cohort(folder)


def test_names_that_differ_in_case_are_one_table(tables, write):
    folder = write(tables, "csv")
    tables["rna"].to_csv(folder / "RNA.tsv", sep="\t")
    with pytest.raises(InputError, match=r"RNA\.tsv and rna\.csv are both"):
        load_cohort(folder)
