"""What the data preparation tests share: where the reference files are, and a prepared cohort."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _outside(variable: str, default: str) -> Path:
    path = Path(os.environ.get(variable, default))
    return path if path.is_absolute() else ROOT / path


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder `tcga_prep` of the golden files."""
    folder = _outside("COHGEN_GOLDEN", "../shared/golden") / "tcga_prep"
    if not (folder / "raw").is_dir():
        pytest.skip(f"no golden files (set COHGEN_GOLDEN to the folder that has {folder.name}/)")
    return folder


@pytest.fixture(scope="session")
def slides_folder() -> Path:
    """Real and awkward slides."""
    folder = _outside("COHGEN_DATA", "../shared/data") / "slides"
    if not folder.is_dir():
        pytest.skip("no test slides (set COHGEN_DATA to the folder that has slides/)")
    return folder
