"""The page itself: a template, the report's style with a little more, and one script."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cohgen_jax.explore.explorer import Explorer
from cohgen_jax.explore.upload import FACTS
from cohgen_jax.figures.style import BLACK, BLUE, VERMILLION, group_look
from cohgen_jax.report.interactive import layout

COLOURS = {"generated": BLUE, "measured": BLACK, "as_if": VERMILLION, "usual": "#dfe3ea"}
MOST_GROUPS = 50
"""Cancer types with a look of their own on the maps."""


def page_html(explorer: Explorer, patients: Sequence[Mapping[str, str]]) -> str:
    """The page before anybody is looked at; names are escaped."""
    import jinja2

    run = explorer.run
    name = Path(run.path).resolve().name
    about = {
        "modalities": list(run.modalities),
        "patients": list(patients),
        "draws": explorer.how.num_draws,
        "colours": COLOURS,
        "groups": [group_look(i) for i in range(MOST_GROUPS)],
        "layout": layout(height=480, x="", y=""),
    }
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_file("page.html.j2")).render(
        title=name,
        modalities=run.modalities,
        tables=(*run.modalities, FACTS),
        num_patients=len(patients),
        draws=explorer.how.num_draws,
        note=explorer.note,
        about=_in_script(about),
    )


def page_style() -> str:
    report = importlib.resources.files("cohgen_jax.report").joinpath("page.css").read_text()
    return report + _file("page.css")


def page_js() -> str:
    return _file("page.js")


def _in_script(value: Any) -> str:
    """JSON for a script element: `<` is written so that no text can end it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _file(name: str) -> str:
    return importlib.resources.files("cohgen_jax.explore").joinpath(name).read_text()
