"""A file that is written while it is read is refused by its name."""

import os

import pytest

from cohgen_jax.cohort import load_cohort, read
from cohgen_jax.cohort.unchanged import unchanged
from cohgen_jax.errors import InputError


@pytest.mark.parametrize("file", ["rna.csv", "clinical.csv"])
def test_a_table_that_grows_while_it_is_read(file, tables, write, monkeypatch):
    folder = write(tables, "csv")
    original, grown = read.read_sheet, []

    def slow(path):
        sheet = original(path)
        if path.name == file and not grown:
            with path.open("a") as more:
                more.write("P999" + ",1" * (sheet.frame.shape[1] - 1) + "\n")
            grown.append(file)
        return sheet

    monkeypatch.setattr(read, "read_sheet", slow)
    with pytest.raises(InputError, match=rf"^{file} changed while it was read"):
        load_cohort(folder)
    monkeypatch.undo()
    assert load_cohort(folder).modalities == ("cna", "rna", "rppa")


def test_whatever_else_happens_in_the_folder(tables, write, monkeypatch):
    folder = write(tables, "csv")
    original = read.read_sheet

    def busy(path):
        (folder / "log.txt").write_text(f"reading {path}")
        os.utime(folder)
        return original(path)

    monkeypatch.setattr(read, "read_sheet", busy)
    assert load_cohort(folder).modalities == ("cna", "rna", "rppa")


def test_parts_that_come_and_go_are_seen(tmp_path):
    folder = tmp_path / "rna.parquet"
    folder.mkdir()
    part = folder / "part-0.parquet"
    part.write_bytes(b"one")
    with pytest.raises(InputError, match=r"part-1\.parquet changed"), unchanged([folder]):
        (folder / "part-1.parquet").write_bytes(b"two")
    with pytest.raises(InputError, match=r"part-0\.parquet changed"), unchanged([folder]):
        part.unlink()
    part = folder / "part-1.parquet"
    later = part.stat().st_mtime_ns + 1
    with pytest.raises(InputError, match="changed while"), unchanged([folder]):
        os.utime(part, ns=(later, later))  # other contents of the same length
    with unchanged([folder]):
        assert part.read_bytes() == b"two"
