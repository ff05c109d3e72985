"""The documentation is true as far as it can be run: code blocks, commands, names of files, links,
messages.

Python is run as it stands: of docs/ here and in tests/test_extending.py, of README and
docs/python.md in tests/test_front_door.py, of data_prep/README.md in tests/data_prep/test_tfds.py.
Of commands the words and options are read by the program itself, which stops there; what they do,
tests of the commands and the tutorials see.
"""

import argparse
import importlib
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import tyro

from cohgen_jax.cli import COMMANDS, PREPARE

ROOT = Path(__file__).parents[2]
RUN_ELSEWHERE = {"extending"}
"""tests/test_extending.py"""
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "data_prep" / "README.md"]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory, run_dir, exported, cohort_dir, new_tables):
    """A folder with what the pages name: my_tables, new_patients, runs/mine, models/mine."""
    place = tmp_path_factory.mktemp("docs")
    shutil.copytree(cohort_dir, place / "my_tables")
    shutil.copytree(run_dir, place / "runs" / "mine")
    shutil.copytree(exported, place / "models" / "mine")
    (place / "new_patients").mkdir()
    for name, table in new_tables.items():
        table.to_parquet(place / "new_patients" / f"{name}.parquet")
    (place / "searches" / "mine").mkdir(parents=True)
    shutil.copy(run_dir / "config.json", place / "searches" / "mine" / "best.json")
    return place


@pytest.mark.filterwarnings("ignore")  # of mudata, to its own developers
@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if blocks(p, "python") and p.stem not in RUN_ELSEWHERE],
    ids=lambda p: p.stem,
)
def test_code_runs_as_it_stands(page, place, monkeypatch):
    if page.stem == "mudata":
        pytest.importorskip("mudata")
    monkeypatch.chdir(place)
    names: dict = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)
    for value in names.values():
        if isinstance(value, pd.DataFrame):
            assert len(value)


class Parsed(Exception):
    """The command line was read; nothing is to be done."""


@pytest.fixture
def read_only(monkeypatch, place):
    """Commands stop where their arguments are read."""

    def wrap(reader):
        def read(*args, **kwargs):
            reader(*args, **kwargs)
            raise Parsed

        return read

    monkeypatch.setattr(tyro, "cli", wrap(tyro.cli))
    monkeypatch.setattr(
        argparse.ArgumentParser, "parse_args", wrap(argparse.ArgumentParser.parse_args)
    )
    monkeypatch.chdir(place)
    return monkeypatch


def commands(page: Path) -> list[list[str]]:
    """Words of the lines that run a command of ours, backslashes joined."""
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    starts = r"^\s*(?:srun )?(python experiments/\w+\.py|python -m data_prep\.\w+|cohgen)( .*)$"
    found = []
    for match in re.finditer(starts, text, re.MULTILINE):
        line = (match[1] + match[2]).rstrip("&").replace(" ...", " --out elided")
        found.append(shlex.split(line, comments=True))
    remote = re.findall(r'&& (python experiments/\w+\.py .*)"$', text, re.MULTILINE)
    return [*found, *map(shlex.split, remote)]


LINES = sorted({(page.name, tuple(words)) for page in TEXTS for words in commands(page)})


def module_of(words: tuple[str, ...]):
    """(module with main, arguments)."""
    if words[0] == "cohgen":
        if words[1] == "prepare":
            return PREPARE[words[2]], words[3:]
        assert words[1] in COMMANDS, words
        return f"cohgen_jax.cli.{words[1]}", words[2:]
    if words[1] == "-m":
        return words[2], words[3:]
    name = Path(words[1]).stem
    assert name in COMMANDS, words
    return f"cohgen_jax.cli.{name}", words[2:]


OTHERS = {"pip", "make", "source", "srun", "gcloud", "ssh", "for", "done;"}
"""First words of lines that are no commands of ours."""


@pytest.mark.parametrize(
    "page", [*TEXTS, ROOT / "CONTRIBUTING.md"], ids=lambda p: f"{p.parent.name}-{p.stem}"
)
def test_nothing_in_a_block_is_left_unread(page):
    """A block is Python, a listing of files, or lines of a shell: ours, or what is checked here."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    every = re.findall(r"```(\w*)\n(.*?)```", page.read_text(), re.DOTALL)
    read = [words[:3] for words in commands(page)]
    assert {language for language, _ in every} <= {"", "bash", "python"}
    for block in (text for language, text in every if language != "python"):
        top, *listed = block.splitlines()
        if top.endswith("/") and all(line.startswith("  ") for line in listed):
            continue
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            words = shlex.split(line, comments=True)
            if not words:
                continue
            assert words[:3] in read or words[0] in OTHERS, line
            if words[0] == "make":
                assert words[1] in targets, line
            if words[0] == "pip":
                named = re.findall(r"\[([\w,]+)\]", line)[0].split(",")
                assert set(named) <= set(project["optional-dependencies"]), line


def test_there_are_commands_to_read():
    assert len(LINES) > 30


@pytest.mark.parametrize(("page", "words"), LINES, ids=lambda v: v if isinstance(v, str) else None)
def test_commands_and_their_options_exist(page, words, read_only, capsys):
    name, arguments = module_of(words)
    arguments = ["0" if word.startswith("$") else word for word in arguments]
    module = importlib.import_module(name)
    read_only.setattr("sys.argv", [name, *arguments])
    if name == "data_prep.mudata_io":
        kind = arguments[0]
        assert kind in ("to-cohort", "from-cohort", "write-back"), words
        return
    try:
        module.main()
    except Parsed:
        return
    except SystemExit as stop:
        pytest.fail(f"{page}: {shlex.join(words)}: {capsys.readouterr().err[-800:]} ({stop.code})")


@pytest.mark.parametrize(
    "page",
    [p for p in TEXTS if p.stem not in RUN_ELSEWHERE],  # which names files to be written
    ids=lambda p: f"{p.parent.name}-{p.stem}",
)
def test_files_that_are_named_exist(page):
    roots = [ROOT, ROOT / "cohgen_jax", ROOT / "experiments", ROOT / "data_prep", ROOT / "tests"]
    for name in set(re.findall(r"`([\w/]+\.py)(?: --[^`]*)?`", page.read_text())):
        assert any((root / name).exists() for root in roots), name


def test_symbols_lead_to_code():
    rows = re.findall(
        r"\| `([\w/]+\.py)` \| `(\w+)` \|", (ROOT / "docs" / "diffusion.md").read_text()
    )
    assert len(rows) > 12
    for file, name in rows:
        assert re.search(rf"^(def|class) {name}\b", (ROOT / file).read_text(), re.MULTILINE), name


def test_messages_that_are_explained_can_occur():
    """Their words stand in the code, in one string or two that are joined."""
    files = [path for top in ("cohgen_jax", "data_prep") for path in (ROOT / top).rglob("*.py")]
    source = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in files))
    table = (ROOT / "docs" / "troubleshooting.md").read_text()
    messages = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert len(messages) > 12
    assert [message for message in messages if message not in source] == []


def test_links_between_the_pages_of_the_repository_hold():
    for page in TEXTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_is_in_the_site():
    text = (ROOT / "mkdocs.yml").read_text()
    listed = set(re.findall(r": (\w+\.md)$", text, re.MULTILINE))
    assert listed == {page.name for page in PAGES}


@pytest.mark.heavy
def test_the_site_builds_without_warnings(tmp_path):
    config = pytest.importorskip("mkdocs.config")
    build = importlib.import_module("mkdocs.commands.build")
    loaded = config.load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(tmp_path / "s"))
    build.build(loaded)
    assert "open_run" in (tmp_path / "s" / "reference.html").read_text()
