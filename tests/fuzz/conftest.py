"""Whole files of every kind that is read from disk."""

import shutil

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import demo_cohort, load_cohort, save_cohort
from tests.experiments.conftest import cohort_dir, run_dir  # noqa: F401
from tests.interop import torch_file

PATIENTS = 40


def _tables() -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """rna and adt of 40 patients, of three and a dozen features; facts."""
    cohort = demo_cohort(3, PATIENTS)
    names = {"rna": ("rnaseq", 12), "adt": ("rppa", 3)}
    tables = {m: cohort.tables[old].iloc[:, :width] for m, (old, width) in names.items()}
    return tables, cohort.samples.drop(columns="split")


def _write(folder, form: str) -> None:
    tables, facts = _tables()
    write = {
        "csv": lambda t, f: t.to_csv(f),
        "tsv": lambda t, f: t.to_csv(f, sep="\t"),
        "csv.gz": lambda t, f: t.to_csv(f),
        "parquet": lambda t, f: t.to_parquet(f),
    }
    write[form](tables["rna"], folder / f"rna.{form}")
    tables["adt"].to_csv(folder / "adt.csv")
    if form in ("csv", "parquet"):
        write[form](facts, folder / f"samples.{form}")


def _annotated(folder, form: str) -> None:
    import mudata
    import scipy.sparse

    from cohgen_jax.interop.annotated import quiet
    from cohgen_jax.interop.completed import plain_anndata
    from data_prep.mudata_io import _storable

    tables, facts = _tables()
    with quiet():
        shared = tables["rna"].index
        rna = plain_anndata(tables["rna"], _storable(facts.loc[shared]))
        rna.X = scipy.sparse.csr_matrix(rna.X)
        rna.layers["double"] = 2 * rna.X
        rna.obsm["X_part"] = np.random.default_rng(0).normal(size=(len(shared), 4))
        rna.uns["cohort"] = {"kinds": {"rna": "continuous"}, "notes": np.array(["one"], object)}
        if form == "h5ad":
            rna.write_h5ad(folder / "rna.h5ad")
        else:
            whole = mudata.MuData({"rna": rna, "adt": plain_anndata(tables["adt"])})
            whole.write_h5mu(folder / "x.h5mu")


def _slides(folder) -> None:
    import h5py

    rng = np.random.default_rng(0)
    for i in range(3):
        with h5py.File(folder / f"S{i}.h5", "w") as file:
            file["features"] = rng.normal(size=(20, 8)).astype(np.float32)
            file.create_dataset("coords", data=rng.integers(0, 99, (20, 2)), compression="gzip")


def _slide_table(folder, form: str) -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    table = pd.DataFrame(vectors, [f"S{i}" for i in range(6)]).rename(columns="f{}".format)
    table = table.rename_axis("slide_id").reset_index()
    if form == "csv":
        table.to_csv(folder / "slides.csv", index=False)
    else:
        table.to_parquet(folder / "slides.parquet")


def _torch(folder) -> None:
    rng = np.random.default_rng(0)
    weights = {f"layer.{i}.weight": rng.normal(size=(8, 8)).astype(np.float32) for i in range(4)}
    config = {"dims": [8, 8], "name": "model", "rate": 0.5, "order": ("rna", "adt")}
    torch_file.save(folder / "m.pth", {"state": torch_file.state_dict(weights), "config": config})


def _generated(folder) -> None:
    tables, _ = _tables()
    mean = tables["adt"]
    for name in ("mean", "sd", "low", "high"):
        mean.to_parquet(folder / f"adt_{name}.parquet")
    mean.assign(draw=0).to_parquet(folder / "adt.parquet")


@pytest.fixture(scope="session")
def examples(tmp_path_factory, run_dir):  # noqa: F811
    """The folder that holds whole examples, each named as its kind (`reading.KINDS`)."""
    root = tmp_path_factory.mktemp("whole")

    def made(kind: str, make, *arguments) -> None:
        (root / kind).mkdir()
        make(root / kind, *arguments)

    for form in ("csv", "tsv", "csv.gz", "parquet"):
        made(form, _write, form)
    for form in ("csv", "parquet"):
        shutil.copytree(root / form, root / f"samples.{form}")
        made(f"slides.{form}", _slide_table, form)
    for form in ("h5ad", "h5mu"):
        made(form, _annotated, form)
    save_cohort(load_cohort(root / "csv", min_train=5), root / "cohort")
    made("trident", _slides)
    made("pth", _torch)
    made("generated", _generated)
    shutil.copytree(run_dir, root / "run")
    made("config", lambda folder: shutil.copy(run_dir / "config.json", folder))
    return root
