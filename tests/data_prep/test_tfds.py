"""tensorflow-datasets without TensorFlow: pack, read, resume, load as a cohort."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")
grain = pytest.importorskip("grain")

import tensorflow_datasets as tfds  # noqa: E402

from cohgen_jax.cohort import demo_cohort, load_cohort, save_cohort  # noqa: E402
from cohgen_jax.errors import InputError  # noqa: E402
from cohgen_jax.interop.tfds_cohort import grain_batches, load_tfds_cohort  # noqa: E402
from data_prep.tcga_multimodal import build, latent_cohort, make_builder  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cohort():
    return demo_cohort(seed=0, num_patients=160)


@pytest.fixture(scope="module")
def data_dir(cohort, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tfds")
    build(make_builder(cohort, folder))
    return folder


def _same(ours, wanted) -> None:
    assert ours.modalities == wanted.modalities
    pd.testing.assert_frame_equal(
        ours.samples[sorted(ours.samples)],
        wanted.samples.sort_index()[sorted(wanted.samples)],
        check_dtype=False,
    )
    for m in wanted.modalities:
        pd.testing.assert_frame_equal(
            ours.tables[m], wanted.tables[m].sort_index(), check_dtype=False
        )
        assert ours.tables[m].to_numpy().dtype == np.float32


@pytest.mark.parametrize(
    "form", ["tfds:{}", "tfds:{}/tcga_multimodal/raw/1.0.0", "tfds:tcga_multimodal/raw@{}"]
)
def test_the_cohort_comes_back(cohort, data_dir, form):
    back = load_tfds_cohort(form.format(data_dir))
    _same(back, cohort)
    assert {origin.file for origin in back.origins.values()} == {"tcga_multimodal/raw/1.0.0"}


def test_data_source_by_name(cohort, data_dir):
    source = tfds.data_source("tcga_multimodal/raw", split="train", data_dir=str(data_dir))
    rows = cohort.rows("train")
    assert len(source) == len(rows)
    record, sample = source[3], cohort.samples.index[rows[3]]
    assert record["sample_id"].decode() == sample
    np.testing.assert_array_equal(record["present"], cohort.present[rows[3]])
    for k, m in enumerate(cohort.modalities):
        if record["present"][k]:
            np.testing.assert_array_equal(record[m], cohort.tables[m].loc[sample])
        else:
            assert np.isnan(record[m]).all()


def test_the_page_runs_as_it_stands(cohort, data_dir, tmp_path, monkeypatch):
    """The Python of data_prep/README.md, where data/tfds is the data set."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/tfds").symlink_to(data_dir)
    page, names = (ROOT / "data_prep" / "README.md").read_text(), {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "data_prep/README.md", "exec"), names)
    _same(names["cohort"], cohort)
    first = next(names["iterator"])
    names["iterator"].set_state(names["state"])
    np.testing.assert_array_equal(next(names["iterator"])["cna"], first["cna"])


def test_the_dataset_documents_itself(cohort, data_dir):
    info = tfds.builder_from_directory(data_dir / "tcga_multimodal" / "raw" / "1.0.0").info
    assert info.metadata["modalities"] == list(cohort.modalities)
    assert info.metadata["feature_names"]["cna"] == list(cohort.tables["cna"].columns)
    assert info.metadata["units"] == cohort.units
    assert {name: s.num_examples for name, s in info.splits.items()} == {
        split: len(cohort.rows(split)) for split in ("train", "val", "test")
    }
    assert "missing assays" in info.description


@pytest.mark.heavy
def test_latents_are_another_configuration(cohort, data_dir):
    build(make_builder(cohort, data_dir, "latent", latent_dim=8))
    loaded = load_tfds_cohort(f"tfds:tcga_multimodal/latent@{data_dir}")
    _same(loaded, latent_cohort(cohort, 8))
    train = loaded.table("rnaseq", "train")
    assert train.shape[1] == 8
    np.testing.assert_allclose(train.mean(), 0, atol=1e-4)
    np.testing.assert_allclose(train.std(ddof=0), 1, atol=1e-3)


def test_a_changed_cohort_replaces_the_old_dataset(tmp_path):
    for seed in (1, 2):
        other = demo_cohort(seed=seed, num_patients=160)
        build(make_builder(other, tmp_path))
        _same(load_tfds_cohort(f"tfds:{tmp_path}"), other)
    record = tmp_path / "tcga_multimodal" / "raw" / "1.0.0" / "dataset_info.json"
    before = record.stat().st_mtime_ns
    build(make_builder(other, tmp_path))
    assert record.stat().st_mtime_ns == before


def _take(iterator, count: int) -> list[dict]:
    return [next(iterator) for _ in range(count)]


def _equal(one: list[dict], two: list[dict]) -> bool:
    return all(
        np.array_equal(a[k], b[k], equal_nan=a[k].dtype != bool)
        for a, b in zip(one, two, strict=True)
        for k in a
    )


def test_batches_resume_exactly(data_dir):
    source = tfds.data_source("tcga_multimodal/raw", split="train", data_dir=str(data_dir))
    iterator = iter(grain_batches(source, 16, seed=7))
    _take(iterator, 5)
    state = iterator.get_state()
    wanted = _take(iterator, 20)  # over the end of the epoch
    again = iter(grain_batches(source, 16, seed=7))
    again.set_state(state)
    assert _equal(_take(again, 20), wanted)
    other = iter(grain_batches(source, 16, seed=8))
    assert not _equal(_take(other, 20), wanted)


def test_an_epoch_is_every_record_once(data_dir, cohort):
    source = tfds.data_source("tcga_multimodal/raw", split="train", data_dir=str(data_dir))
    batches = list(grain_batches(source, 16, seed=0, num_epochs=1, drop=False))
    got = np.concatenate([b["os_days"] for b in batches])
    wanted = cohort.samples["os_days"].to_numpy()[cohort.rows("train")]
    np.testing.assert_array_equal(np.sort(got), np.sort(wanted))
    assert not np.array_equal(got, wanted)
    assert batches[0]["cna"].shape == (16, cohort.tables["cna"].shape[1])


def test_batch_sizes_that_cannot_be(data_dir):
    source = tfds.data_source("tcga_multimodal/raw", split="val", data_dir=str(data_dir))
    with pytest.raises(InputError, match="batch_size is 1000"):
        grain_batches(source, 1000, seed=0)


def test_datasets_that_are_not_there(tmp_path, cohort):
    with pytest.raises(InputError, match="no dataset 'nothing/raw'"):
        load_tfds_cohort(f"tfds:nothing/raw@{tmp_path}")
    with pytest.raises(InputError, match="holds 0 datasets"):
        load_tfds_cohort(f"tfds:{tmp_path}")
    with pytest.raises(InputError, match="unknown configuration 'pixels'"):
        make_builder(cohort, tmp_path, "pixels")


@pytest.mark.heavy
def test_all_of_it_where_importing_tensorflow_fails(cohort, tmp_path):
    """A tensorflow package that raises on import, in front of any other."""
    save_cohort(cohort, tmp_path / "cohort")
    shadow = tmp_path / "path" / "tensorflow"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ImportError('tensorflow is blocked')\n")
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        import pytest
        with pytest.raises(ImportError, match="blocked"):
            import tensorflow
        import tensorflow_datasets as tfds
        from data_prep import tcga_multimodal
        from cohgen_jax.interop.tfds_cohort import grain_batches, load_tfds_cohort
        sys.argv = ["x", "--cohort", sys.argv[1], "--data-dir", sys.argv[2]]
        assert tcga_multimodal.main() == 0
        source = tfds.data_source("tcga_multimodal/raw", split="train", data_dir=sys.argv[4])
        batch = next(iter(grain_batches(source, 8, seed=0)))
        print(batch["rnaseq"].shape, len(load_tfds_cohort(f"tfds:{sys.argv[4]}").samples))
        assert "tensorflow" not in sys.modules
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "cohort"), str(tmp_path / "tfds")],
        env={
            "PYTHONPATH": f"{shadow.parent}:{ROOT}",
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    width = load_cohort(tmp_path / "cohort").tables["rnaseq"].shape[1]
    assert f"(8, {width}) {len(cohort.samples)}" in done.stdout
