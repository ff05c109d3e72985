"""Imports of the package point down the layers that ARCHITECTURE.md draws."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEAVES = {"axes", "errors", "seeds", "evenly"}
"""Modules that everything may use."""


def layers() -> dict[str, int]:
    """Package -> its height, from the drawing; packages of one line stand side by side."""
    drawing = (ROOT / "ARCHITECTURE.md").read_text().split("```")[1]
    lines = drawing.split("cohgen_jax/\n")[1].splitlines()
    names = [
        [
            word
            for word in line[:29].split()
            if (ROOT / "cohgen_jax" / word).exists() or word == "schedule"
        ]
        for line in lines
    ]
    return {name: -height for height, line in enumerate(names) for name in line}


def imports(file: Path) -> set[str]:
    """The packages of the project that a file imports, at its head or inside a function."""
    modules = [
        node.module
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    ]
    inside = {m.split(".")[1] for m in modules if m.startswith("cohgen_jax.")}
    return inside | {m.split(".")[0] for m in modules} & {"data_prep", "experiments", "benchmarks"}


def test_every_package_has_its_place():
    here = {p.parent.name for p in (ROOT / "cohgen_jax").glob("*/__init__.py")}
    assert here | {"schedule"} == set(layers())


def test_imports_point_down():
    height = layers()
    upward = [
        f"{file.relative_to(ROOT)} -> {target}"
        for package in height
        for file in (ROOT / "cohgen_jax" / package).rglob("*.py")
        for target in imports(file) - LEAVES
        if height.get(target, 1) > height[package]
    ]
    assert upward == []
