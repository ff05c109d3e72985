"""Tables of new patients are read by the features that the run knows."""

import numpy as np
import pandas as pd

from cohgen_jax.runs.impute import impute_tables
from cohgen_jax.runs.run import open_run
from tests.experiments.conftest import write_tables


def test_tables_that_lie_across_are_completed_as_those_that_do_not(run_dir, new_tables, tmp_path):
    run = open_run(run_dir)
    down = write_tables(tmp_path / "down", new_tables)
    turned = {m: t.T.rename_axis("") for m, t in new_tables.items()}
    across = write_tables(tmp_path / "across", turned)
    told: list[str] = []
    impute_tables(run, down, tmp_path / "one", num_draws=2)
    impute_tables(run, across, tmp_path / "two", num_draws=2, tell=told.append)
    assert any("rppa.tsv was transposed" in line for line in told)
    files = sorted((tmp_path / "one").glob("*_mean.parquet"))
    assert files
    for file in files:
        one, two = pd.read_parquet(file), pd.read_parquet(tmp_path / "two" / file.name)
        assert list(one.index) == list(two.index)
        np.testing.assert_allclose(one, two[one.columns], rtol=1e-4, atol=1e-5)
