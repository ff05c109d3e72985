"""One self-contained HTML page: sections of text, tables, pictures and interactive plots.

The page loads nothing: style, script, plotly.js and pictures are inside. An interactive plot has a
picture of the same numbers beside it, shown in print, without JavaScript, without plotly, and in
browsers that cannot unpack it (of before 2023).
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import importlib.resources
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

MAX_ROWS = 150
"""Longer tables are cut in the page; their files are complete."""

MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph, or several points of a list."""

    lines: Sequence[str]
    kind = "text"

    @classmethod
    def of(cls, *lines: str) -> Text:
        return cls(lines)


@dataclasses.dataclass(frozen=True)
class Heading:
    text: str
    kind = "heading"


@dataclasses.dataclass(frozen=True)
class Picture:
    """An SVG or PNG file with its caption; `alt` says in words what it shows."""

    path: Path
    caption: str
    alt: str
    print_only: bool = False
    kind = "picture"

    @property
    def uri(self) -> str:
        return data_uri(self.path)


@dataclasses.dataclass(frozen=True)
class Plot:
    """An interactive plot and the picture that stands for it in print.

    A trace may carry `meta`: {key: value}. For each key the page has a selector with the values in
    the order of their first appearance, and shows the traces that fit all selectors; a trace
    without a key fits each of its values. `layouts` changes the layout for a value:
    {(key, value): changes}.
    """

    traces: Sequence[dict[str, Any]]
    layout: Mapping[str, Any]
    picture: Picture
    layouts: Mapping[tuple[str, str], Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    kind = "plot"

    @property
    def choices(self) -> dict[str, list[str]]:
        by_key: dict[str, list[str]] = {}
        for trace in self.traces:
            for key, value in trace.get("meta", {}).items():
                values = by_key.setdefault(key, [])
                if value not in values:
                    values.append(value)
        return {key: values for key, values in by_key.items() if len(values) > 1}

    @property
    def json(self) -> str:
        """For a script element: `<` is written so that no text can end it."""
        layouts = [[key, value, change] for (key, value), change in self.layouts.items()]
        spec = {"traces": list(self.traces), "layout": dict(self.layout), "layouts": layouts}
        return json.dumps(_finite(spec), separators=(",", ":")).replace("<", "\\u003c")


@dataclasses.dataclass(frozen=True)
class Table:
    table: pd.DataFrame
    title: str
    open: bool = False
    file: str = ""
    """Where the whole table is, in the run directory."""
    kind = "table"

    @property
    def rows(self) -> int:
        return len(self.table)

    @property
    def html(self) -> str:
        table = self.table.head(MAX_ROWS)
        if not isinstance(table.index, pd.RangeIndex):
            table = table.reset_index()
        return table.to_html(
            index=False, border=0, na_rep="", float_format=lambda x: f"{x:.4g}", justify="unset"
        )


@dataclasses.dataclass(frozen=True)
class Cell:
    big: str
    small: Sequence[str] = ()
    best: bool = False
    shade: float = 0.0
    """Background, from none (0) to strong (1)."""

    @property
    def style(self) -> str:
        """White to Okabe-Ito sky blue, light enough for black text."""
        return f"background: rgba(86, 180, 233, {min(max(self.shade, 0), 1):.2f})"


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table to be read at a glance: a large number a cell, small ones below."""

    corner: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[Cell | None]]]
    """(name, note below it, cells)"""
    caption: str
    kind = "grid"


@dataclasses.dataclass(frozen=True)
class Facts:
    """Names and what they are."""

    values: Mapping[str, str]
    kind = "facts"


Block = Text | Heading | Picture | Plot | Table | Grid | Facts


@dataclasses.dataclass(frozen=True)
class Section:
    anchor: str
    title: str
    blocks: Sequence[Block]


def render(
    title: str,
    sections: Sequence[Section],
    *,
    written: str,
    absent: Sequence[tuple[str, str]] = (),
    glossary: Mapping[str, str] | None = None,
) -> str:
    """The page. absent: (what the run has not, the command that makes it)."""
    import jinja2

    here = importlib.resources.files("cohgen_jax.report")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(here.joinpath("page.html.j2").read_text())
    has_plots = any(isinstance(block, Plot) for s in sections for block in s.blocks)
    return template.render(
        title=title,
        sections=sections,
        written=written,
        absent=absent,
        glossary=glossary or {},
        max_rows=MAX_ROWS,
        style=here.joinpath("page.css").read_text(),
        script=here.joinpath("page.js").read_text(),
        plotly=packed(plotly_js()) if has_plots else "",
    )


def plotly_js() -> str:
    """plotly.js of the installed package; empty without it, and pictures stand for the plots."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        return ""
    return get_plotlyjs()


def packed(script: str) -> str:
    """gzip in base64: a third of the size. page.js unpacks it where the browser can."""
    return base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode() if script else ""


def percent(share: Any) -> str:
    return f"{100 * share:.0f} %"


def data_uri(path: Path) -> str:
    """The file inside the page; an image of its own, so that ids of two SVGs never collide."""
    if path.suffix not in MEDIA_TYPES:
        raise ValueError(f"{path}: a report embeds {' and '.join(MEDIA_TYPES)} files only")
    encoded = base64.b64encode(path.read_bytes()).decode()
    return f"data:{MEDIA_TYPES[path.suffix]};base64,{encoded}"


def _finite(value: Any) -> Any:
    """JSON has no NaN; four significant digits are more than a plot can show."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if number == int(number) else float(f"{number:.4g}")
