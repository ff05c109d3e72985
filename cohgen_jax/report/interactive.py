"""Parts of plotly figures as plain dictionaries, in the look of the other figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cohgen_jax.figures.style import method_colour, method_label, method_marker

SYMBOLS = {
    "o": "circle", "v": "triangle-down", "^": "triangle-up", "s": "square", "P": "cross",
    "X": "x", "D": "diamond", "d": "diamond-tall", "*": "star", "h": "hexagon", "p": "pentagon",
    ">": "triangle-right", "<": "triangle-left", "x": "x-thin-open", "+": "cross-thin-open",
    "_": "line-ew-open", ".": "circle", "1": "y-down-open", "2": "y-up-open", "H": "hexagon2",
    "8": "octagon",
}  # fmt: skip
"""matplotlib's marker -> plotly's symbol."""
_AXIS = {
    "gridcolor": "#dddddd",
    "zerolinecolor": "#888888",
    "linecolor": "#444444",
    "automargin": True,
}


def layout(
    *, height: int, x: str, y: str, xaxis: Mapping[str, Any] = {}, yaxis: Mapping[str, Any] = {}
) -> dict[str, Any]:
    """x, y: titles of the axes."""
    return {
        "height": height,
        "margin": {"l": 60, "r": 20, "t": 100, "b": 50},
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1b1b1f"},
        "plot_bgcolor": "#ffffff",
        "paper_bgcolor": "#ffffff",
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "uirevision": "kept",  # what is hidden in the legend stays hidden when a selector changes
        "xaxis": {**_AXIS, "title": {"text": x}, **xaxis},
        "yaxis": {**_AXIS, "title": {"text": y}, **yaxis},
    }


def uid(*names: str) -> str:
    """Tells plotly which traces are the same before and after a selector; a CSS class."""
    return re.sub(r"\W", "_", "-".join(("trace", *names)))


def dots(
    method: str, others: Sequence[str], x: Iterable, y: Iterable, **changes: Any
) -> dict[str, Any]:
    """A scatter trace of one method; `changes` are added to the trace."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": method_label(method),
        "uid": uid(method),
        "legendgroup": method,
        "x": list(x),
        "y": list(y),
        "marker": {
            "color": method_colour(method, others),
            "symbol": SYMBOLS[method_marker(method)],
            "size": 9,
        },
        **changes,
    }
