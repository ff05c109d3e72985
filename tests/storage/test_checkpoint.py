"""Trees of arrays on disk: what is not whole is refused, what is replaced leaves nothing behind."""

import gc
import json

import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.storage import checkpoint
from cohgen_jax.storage.checkpoint import is_whole, load_tree, save_tree

TREE = {
    "a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "count": np.int32(3)},
    "b": {"mask": np.array([True, False])},
}


@pytest.fixture
def saved(tmp_path):
    save_tree(tmp_path / "tree", "models", TREE, {"names": ["x"], "losses": [0.1, 1e-30]})
    return tmp_path / "tree"


def test_what_is_saved_is_loaded(saved):
    arrays, about = load_tree(saved, "models")
    assert is_whole(saved)
    assert about["names"] == ["x"]
    assert about["losses"] == [0.1, 1e-30]
    for outer, inner in TREE.items():
        for name, array in inner.items():
            read = arrays[outer][name]
            assert read.dtype == array.dtype
            np.testing.assert_array_equal(read, array)


def test_saving_replaces(saved):
    (saved / "arrays.orbax-checkpoint-tmp").mkdir()  # of a process that was killed
    save_tree(saved, "codecs", {"only": np.ones(2, np.float32)}, {})
    arrays, _ = load_tree(saved, "codecs")
    assert list(arrays) == ["only"]
    assert sorted(p.name for p in saved.iterdir()) == ["about.json", "arrays"]


def test_saving_that_is_cut_short_leaves_nothing_that_counts(saved, monkeypatch):
    monkeypatch.setattr(checkpoint, "write_json", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_tree(saved, "models", TREE, {})
    assert not is_whole(saved)
    with pytest.raises(InputError, match=r"about\.json is missing or not ours"):
        load_tree(saved, "models")


def test_another_kind_or_version_or_place_is_refused(saved, tmp_path):
    with pytest.raises(InputError, match="does not hold whole codecs: it holds models"):
        load_tree(saved, "codecs")
    with pytest.raises(FileNotFoundError, match="no models"):
        load_tree(tmp_path / "nowhere", "models")
    about = json.loads((saved / "about.json").read_text())
    (saved / "about.json").write_text(json.dumps(about | {"schema_version": 0}))
    with pytest.raises(InputError, match="schema version 0, this program reads"):
        load_tree(saved, "models")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_truncated_file_is_noticed(saved):
    """A tree is refused, or its numbers are right, whichever of its files is cut."""
    whole = {file: file.read_bytes() for file in saved.rglob("*") if file.is_file()}
    assert len(whole) > 2
    noticed = 0
    for file, content in whole.items():
        file.write_bytes(content[: len(content) // 2])
        try:
            arrays, _ = load_tree(saved, "models")
        except InputError:
            noticed += 1
        else:  # a file that restoring does not need
            np.testing.assert_array_equal(arrays["a"]["kernel"], TREE["a"]["kernel"])
        file.write_bytes(content)
    assert noticed >= 2
    gc.collect()  # the reads that Orbax gave up complain when they are collected


def test_altered_numbers_are_noticed(saved):
    about = json.loads((saved / "about.json").read_text())
    about["arrays"]["a"]["kernel"]["crc32"] += 1
    (saved / "about.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"arrays/ is not what about\.json recorded"):
        load_tree(saved, "models")


def test_json_is_written_whole_or_not_at_all(tmp_path):
    file = tmp_path / "x.json"
    checkpoint.write_json(file, {"a": 1})
    with pytest.raises(TypeError):
        checkpoint.write_json(file, {"a": object()})
    assert json.loads(file.read_text()) == {"a": 1}
