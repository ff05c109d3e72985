"""Small folders of tables to load, and ways to damage them."""

import numpy as np
import pandas as pd
import pytest

NUM_PATIENTS = 200


def _tables() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(0)
    ids = pd.Index([f"P{i:03d}" for i in range(NUM_PATIENTS)], name="sample_id")
    tables = {}
    for name, width, absent in (("rna", 12, 0), ("cna", 9, 0), ("rppa", 5, 40)):
        kept = np.sort(rng.permutation(NUM_PATIENTS)[absent:])
        values = rng.normal(size=(len(kept), width)).astype(np.float32)
        columns = [f"{name}_{i}" for i in range(width)]
        tables[name] = pd.DataFrame(values, index=ids[kept], columns=columns)
    tables["clinical"] = pd.DataFrame(
        {
            "cancertype": np.repeat(["TCGA-LUAD", "TCGA-BRCA"], NUM_PATIENTS // 2),
            "stage": np.tile(["I", "II", "III", None], NUM_PATIENTS // 4),
            "OS": rng.integers(0, 2, NUM_PATIENTS),
            "OS.time": rng.integers(1, 3000, NUM_PATIENTS),
        },
        index=ids,
    )
    return tables


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    """rna, cna and rppa of 200 patients, a fifth of them without rppa, and clinical facts."""
    return _tables()


@pytest.fixture
def write(tmp_path):
    """Write tables as a folder in one form; returns the folder."""

    def write(tables: dict[str, pd.DataFrame], form: str = "parquet"):
        folder = tmp_path / f"cohort_{form}"
        folder.mkdir(exist_ok=True)
        for name, table in tables.items():
            file = folder / f"{name}.{form}"
            if form == "parquet":
                table.to_parquet(file)
            else:
                table.to_csv(file, sep="\t" if form.startswith("tsv") else ",")
        return folder

    return write
