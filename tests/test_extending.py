"""docs/extending.md runs as it stands, and what it adds does what it says."""

import re
from pathlib import Path

import numpy as np
import pytest

from cohgen_jax.cohort import SOURCES
from cohgen_jax.solvers import ddim

GUIDE = Path(__file__).parents[1] / "docs" / "extending.md"


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Everything that the guide's code defines."""
    defined = {"__name__": "guide"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("guide"))
        try:
            exec(
                "\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)), defined
            )
        finally:
            SOURCES.pop(".npz", None)
    return defined


def test_the_network_and_the_solver_sample_what_they_know(names):
    """All patients have x_0 = y / 2 exactly, whatever the noise began as."""
    np.testing.assert_allclose(names["draws"], np.full((2, 4, 3), 0.5), atol=1e-4)
    schedule = names["schedule"]
    euler, same = names["euler"](schedule, 7), ddim(schedule, 7)
    x, eps = np.full((1, 3), 0.7, np.float32), np.full((1, 3), -0.2, np.float32)
    for i in range(7):  # DDIM is Euler's method in sigma (Song et al. 2021, eq. 14)
        one, other = (each.step(each.init(x), eps, i, eps).x for each in (euler, same))
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert names["euler"](schedule, 7) == euler


def test_rule_and_metric(names):
    np.testing.assert_array_equal(names["weights"], [[0, 1], [1, 0]])
    np.testing.assert_array_equal(names["consensus"][0, :, 0], [1, 0])
    assert names["agreement"] == pytest.approx(2 / 3)


def test_analysis_and_table(names):
    class Study:
        class latents:
            present, modalities = np.array([[1, 0], [1, 1]]), ("cna", "rna")

    result = names["analysis"].compute(Study, None, None, None)
    assert result.table["patients"].tolist() == [2, 1]
    assert len(names["analysis"].draw(result.table).axes[0].patches) == 2
    cohort = names["cohort"]
    assert cohort.kinds == {"cna": "continuous", "mut": "binary"}
    assert len(cohort.samples) == 60
