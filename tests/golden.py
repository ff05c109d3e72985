"""Find the golden files: numbers of the published implementation, kept outside the repository.

The folder is named by COHGEN_GOLDEN (default: ../shared/golden beside the repository). Names,
sizes and counts are all taken from the files, so that any folder of the same form will do.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(os.environ.get("COHGEN_GOLDEN") or Path(__file__).parents[2] / "shared" / "golden")


def files(pattern: str) -> list:
    """Paths below the golden folder that match, to parametrise a test with.

    Where there are none, one parameter that skips the test with the reason.
    """
    found = sorted(ROOT.glob(pattern))
    if found:
        return [pytest.param(path, id=path.stem) for path in found]
    reason = f"no golden files {pattern} in {ROOT}; set COHGEN_GOLDEN"
    return [pytest.param(None, marks=pytest.mark.skip(reason=reason), id="absent")]


def folder(name: str) -> Path:
    """A folder of golden files; skips the test where it is absent."""
    path = ROOT / name
    if not path.is_dir():
        pytest.skip(f"no golden folder {name} in {ROOT}; set COHGEN_GOLDEN")
    return path


def load(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file; float64 and int64 stay so."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def config(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return json.loads(str(arrays["config_json"]))


def below(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays named <prefix>/<name>, by <name>."""
    prefix += "/"
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def numbered(arrays: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    """The arrays <name>0, <name>1, ... in order."""
    indices = [int(m[1]) for k in arrays if (m := re.fullmatch(rf"{name}(\d+)", k))]
    return [arrays[f"{name}{i}"] for i in sorted(indices)]


def masks(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """mask0, mask1, ... as one float32 array [N, C]."""
    return np.stack(numbered(arrays, "mask"), axis=1).astype(np.float32)


def models(arrays: dict[str, np.ndarray]) -> list[tuple[dict[str, np.ndarray], dict[str, Any]]]:
    """(parameters, config) of model0, model1, ... of a coherent-sampling file.

    Model i sees condition i alone, so that is what its config says.
    """
    conds = numbered(arrays, "cond")
    return [
        (below(arrays, f"model{i}"), {**config(arrays), "cond_dims": cond.shape[1]})
        for i, cond in enumerate(conds)
    ]
