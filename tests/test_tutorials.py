"""The tutorials are in the site as they were run, assert what they claim, and run."""

import json
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import jax
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
SHORTEST = "consensus_rule"
NUMBER = re.compile(r"-?\d+\.\d+")


def cells(path: Path) -> list[dict]:
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]


def code(cell: dict) -> str:
    return "".join(cell["source"])


def printed(cell: dict) -> str:
    """What a cell wrote to its streams, and its value as text."""
    found = []
    for output in cell["outputs"]:
        found.append("".join(output.get("text", output.get("data", {}).get("text/plain", ""))))
    return "".join(found)


def test_every_tutorial_is_in_the_site():
    listed = re.findall(r"tutorials/(\w+\.ipynb)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == [path.name for path in NOTEBOOKS]
    assert SHORTEST in [path.stem for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_shown_is_of_one_whole_run(path):
    own = cells(path)
    assert [cell["execution_count"] for cell in own] == list(range(1, len(own) + 1))
    outputs = [output for cell in own for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result"}
    assert all(output.get("name") != "stderr" for output in outputs)  # warnings, bars
    assert not re.search(r"/(home|root|tmp|work|Users|var)/|Traceback", json.dumps(outputs))
    assert path.stat().st_size < 100_000
    assert sum(code(cell).count("assert") for cell in own) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_hold(path):
    text = path.read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text):
        assert (path.parent / target).exists(), target


def test_the_shortest_prints_what_it_shows(tmp_path, monkeypatch):
    """Its assertions hold, and its numbers are those of the page."""
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "tutorial"}
    for cell in cells(ROOT / "docs" / "tutorials" / f"{SHORTEST}.ipynb"):
        told = StringIO()
        with redirect_stdout(told), jax.numpy_rank_promotion("allow"):  # it is a reader's code
            exec(compile(code(cell), SHORTEST, "exec"), names)
        shown, now = printed(cell), told.getvalue()
        assert NUMBER.sub("#", now) == NUMBER.sub("#", shown)
        pairs = (np.array(NUMBER.findall(text), float) for text in (now, shown))
        np.testing.assert_allclose(*pairs, atol=0.02)


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")  # of Jupyter, to its own developers
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_nothing(path):
    """As `make tutorials` does; what it claims it asserts."""
    pytest.importorskip("nbclient")
    from benchmarks.tutorials import run_notebook

    run_notebook(path)
