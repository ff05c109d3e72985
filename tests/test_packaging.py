"""What is installed: the wheel has what it must and nothing else, extras name each other, and tests
pass in an environment made of the wheel."""

import itertools
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PIN = re.compile(r"([A-Za-z0-9_.-]+)==(\S+)")
NOT_FOR_USERS = {"all", "cuda", "workflow", "docs", "benchmarks", "test"}


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9_.-]+", requirement)
    assert found, requirement
    return found[0].lower().replace("_", "-")


def pins(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text().splitlines()
    return {name_of(m[1]): m[2] for line in lines if (m := PIN.fullmatch(line.strip()))}


def required() -> dict[str, str]:
    """Package -> least version, of the package itself and of every extra that `all` has, or that
    the tests need."""
    extras = PROJECT["optional-dependencies"]
    lists = [PROJECT["dependencies"], *(extras[e] for e in extras if e not in NOT_FOR_USERS)]
    found = {}
    for requirement in itertools.chain(*lists, extras["test"]):
        least = re.search(r">=([\w.]+)", requirement)
        assert least, requirement
        found[name_of(requirement)] = least[1]
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the wheel and the source archive, built of what git would commit."""
    pytest.importorskip("setuptools", minversion="77")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a checkout of git")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    for what in ("sdist", "wheel"):
        build = f"from setuptools import build_meta; build_meta.build_{what}({str(out)!r})"
        subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, check=True)
    return out


def test_the_wheel_has_what_it_must_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    here = {
        path.relative_to(ROOT).as_posix()
        for package in ("cohgen_jax", "data_prep")
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".css", ".js", ".j2") or path.name == "py.typed"
    }
    assert {
        "cohgen_jax/py.typed",
        "cohgen_jax/explore/page.js",
        "cohgen_jax/report/page.css",
    } <= here
    inside = {name for name in names if ".dist-info/" not in name}
    assert inside == here  # no tests, no experiments, no benchmarks
    about = {name.split(".dist-info/")[1] for name in names if ".dist-info/" in name}
    assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= about
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        packed = {name.split("/", 1)[-1] for name in opened.getnames()}
    assert here | {"pyproject.toml", "README.md", "LICENSE"} <= packed


def test_all_is_every_extra_that_a_user_may_want():
    extras = PROJECT["optional-dependencies"]
    (every,) = extras["all"]
    found = re.fullmatch(r"cohgen-jax\[([\w,]+)\]", every)
    assert found
    assert set(found[1].split(",")) == extras.keys() - NOT_FOR_USERS


def test_pinned_versions_are_at_least_the_least_and_the_oldest_are_the_least():
    version = pytest.importorskip("packaging.version").Version
    newest, oldest = pins("constraints.txt"), pins("constraints-oldest.txt")
    for name, least in required().items():
        assert version(newest[name]) >= version(least), name
        assert version(oldest[name]) >= version(least), name
        # Nothing older is promised than what the oldest set has.
        same = version(oldest[name]).release[:2] == (*version(least).release, 0)[:2]
        assert same, (name, oldest[name], least)
    assert all(version(oldest[n]) <= version(newest[n]) for n in required())


@pytest.mark.heavy
def test_tests_pass_from_the_wheel(built, tmp_path):
    """In an environment that has the wheel, with the packages of this one; the checkout gives the
    tests alone."""
    (wheel,) = built.glob("*.whl")
    place = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", str(place)], check=True)
    python = place / "bin" / "python"
    (packages,) = place.glob("lib/python*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "parent.pth").write_text("\n".join(here))  # behind what is installed here
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--force-reinstall", str(wheel)], check=True)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    for name in ("pyproject.toml", "README.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    told = subprocess.run(
        [str(python), "-c", "import cohgen_jax; print(cohgen_jax.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(told.stdout.strip()).is_relative_to(place)
    chosen = ["test_schedule.py", "networks", "solvers", "codec/test_marginal.py",
              "experiments/test_in_memory.py"]  # fmt: skip
    done = subprocess.run(
        [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider",
         *(f"tests/{name}" for name in chosen)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    command = subprocess.run(
        [str(python.with_name("cohgen")), "--help"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "explore" in command.stdout
