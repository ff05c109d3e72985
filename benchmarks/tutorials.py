"""Run the tutorials from nothing, in fresh folders, and keep what they print.

    python -m benchmarks.tutorials                 all of docs/tutorials
    python -m benchmarks.tutorials sampler mudata  these

A tutorial asserts what it claims, so that one that runs through is right; the first that does not
ends the command with its error and is left as it was. Nothing else is written.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = ROOT / "docs" / "tutorials"
MOST_SECONDS = 180
"""For a tutorial, on two cores."""


def notebooks() -> list[str]:
    """Names of all tutorials."""
    return sorted(path.stem for path in TUTORIALS.glob("*.ipynb"))


def run_notebook(path: Path, most_seconds: float = MOST_SECONDS) -> nbformat.NotebookNode:
    """The notebook with its outputs, run in an empty folder of its own.

    Raises:
      nbclient.exceptions.CellExecutionError: a cell failed.
      nbclient.exceptions.CellTimeoutError: a cell took longer than the whole may.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="tutorial-") as folder:
        NotebookClient(
            notebook,
            timeout=most_seconds,
            kernel_name="python3",
            record_timing=False,  # outputs change only where results do
            resources={"metadata": {"path": folder}},
            extra_arguments=["--log-level=ERROR"],
        ).execute(env=_environment())
    _joined(notebook)
    return notebook


def _environment() -> dict[str, str]:
    """This checkout's package and commands come first; no bars, no colours."""
    found = os.environ
    return {
        **found,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), found.get("PYTHONPATH", "")])),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), found.get("PATH", "")]),
        "TQDM_DISABLE": "1",
        "NO_COLOR": "1",
    }


def _joined(notebook: nbformat.NotebookNode) -> None:
    """Pieces of one stream, as they happened to come, become one output; versions are left out."""
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        joined = []
        for output in cell.get("outputs", []):
            same = joined and output.output_type == joined[-1].output_type == "stream"
            if same and output.name == joined[-1].name:
                joined[-1].text += output.text
            else:
                joined.append(output)
        if "outputs" in cell:
            cell.outputs = joined


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the tutorials and keep what they print.")
    parser.add_argument("names", nargs="*", help="which; all by default")
    names, known = parser.parse_args().names, notebooks()
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no tutorial {unknown[0]!r}; there are {', '.join(known)}")
    for name in names or known:
        path, started = TUTORIALS / f"{name}.ipynb", time.perf_counter()
        notebook = run_notebook(path)
        seconds = time.perf_counter() - started
        if seconds > MOST_SECONDS:
            sys.exit(f"{name} took {seconds:.0f} s; a tutorial has {MOST_SECONDS}")
        nbformat.write(notebook, path)
        print(f"{name}: {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
