"""One look for all figures: colours that survive colour blindness and grey print, SVG and PNG."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Okabe and Ito 2008, https://jfly.uni-koeln.de/color/
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE, BLACK = "#0072B2", "#D55E00", "#CC79A7", "#000000"
GREY = "#8C8C8C"

# Paul Tol's muted scheme, https://personal.sron.nl/~pault/, where eight colours are not enough
INDIGO, TEAL, WINE, OLIVE = "#332288", "#44AA99", "#882255", "#999933"
ROSE, FOREST = "#CC6677", "#117733"
BROWN, SILVER, SLATE = "#8C510A", "#B0B0B0", "#5A5A5A"


class Look(NamedTuple):
    """How a method is drawn and named in every figure."""

    colour: str
    marker: str  # matplotlib's; methods of one figure that are alike in colour differ in marker
    label: str


METHODS = {
    "coherent": Look(BLUE, "o", "Coherent Denoising"),
    "coherent_mean": Look(SKY, "v", "Coherent, plain mean"),
    "coherent_loss": Look(INDIGO, "^", "Coherent, loss-weighted"),
    "multi": Look(VERMILLION, "s", "Multi-condition"),
    "single": Look(TEAL, "P", "Single-condition"),
    "coherent_product": Look(PURPLE, "X", "Coherent, product"),
    "ridge": Look(ORANGE, "D", "Ridge"),
    "kernel_ridge": Look(BLACK, "d", "Kernel ridge"),
    "nearest": Look(GREEN, "*", "Nearest patients"),
    "logistic": Look(INDIGO, "1", "Logistic regression"),
    "gaussian": Look(OLIVE, "h", "Gaussian"),
    "multimodal_vae": Look(WINE, "p", "Multimodal VAE"),
    "engression": Look(FOREST, "H", "Engression"),
    "climatology": Look(SILVER, "8", "Climatology"),
    "knn": Look(FOREST, ">", "KNN imputation"),
    "mean": Look(BROWN, "<", "Mean imputation"),
    "ablated": Look(ROSE, "x", "Missing (ablated)"),
    "full": Look(SLATE, "H", "Full data"),
    "retrained": Look(OLIVE, "+", "Retrained without"),
    "cancer_type": Look(SILVER, "_", "Cancer type only"),
    "random": Look(GREY, ".", "Random order"),
    "unconditional": Look(SILVER, "1", "Unconditional"),
    "train": Look(SILVER, "2", "Training patients"),
    "real": Look(GREY, "o", "Real"),
}
_SPARE = (PURPLE, YELLOW, TEAL, WINE, BROWN, OLIVE)
_MODALITY_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, BLACK, GREY)


def method_colour(method: str, others: Sequence[str] = ()) -> str:
    """The same colour for a method in every figure; a method of the user's takes a spare one."""
    if method in METHODS:
        return METHODS[method].colour
    unknown = [name for name in others if name not in METHODS]
    return _SPARE[unknown.index(method) % len(_SPARE) if method in unknown else 0]


def method_marker(method: str) -> str:
    return METHODS[method].marker if method in METHODS else "o"


def method_label(method: str) -> str:
    return METHODS[method].label if method in METHODS else method.replace("_", " ")


def group_look(index: int) -> tuple[str, str]:
    """Colour and plotly symbol of the index-th of many groups (cancer types)."""
    colours = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK, WINE, OLIVE, TEAL)
    symbols = ("circle", "triangle-up", "square", "diamond", "x")
    return colours[index % len(colours)], symbols[index // len(colours) % len(symbols)]


def modality_colour(index: int) -> str:
    return _MODALITY_COLOURS[index % len(_MODALITY_COLOURS)]


@contextmanager
def house_style() -> Iterator[None]:
    """Settings for drawing; wrap the making of a figure in it."""
    settings: Any = {
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.7,
        "axes.axisbelow": True,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "grid.color": "#DDDDDD",
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "svg.hashsalt": "cohgen_jax",  # the same figure is the same file
        "svg.fonttype": "path",
    }
    with matplotlib.rc_context(settings):
        yield


def panels(rows: int, columns: int, *, width: float, height: float, **options):
    """A figure of `rows` x `columns` panels, each `width` x `height` inches -> figure, axes."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def top_legend(figure: Figure, *axes: Axes, labels: Sequence[str] | None = None) -> None:
    """One legend above all panels, each label once, in the order of `labels` (or of drawing)."""
    handles = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    names = list(handles) if labels is None else [name for name in labels if name in handles]
    figure.legend(
        [handles[name] for name in names],
        names,
        loc="outside upper center",
        ncols=max(int(figure.get_figwidth() / 1.6), 1),
        columnspacing=1.5,
    )


def save(figure: Figure, stem: Path) -> Path:
    """Write `stem`.svg and `stem`.png (200 dpi); returns the path of the SVG."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    svg = stem.with_name(stem.name + ".svg")
    with house_style():
        figure.set_dpi(120)  # of rasterised clouds
        FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})  # savefig would draw twice
        figure.set_layout_engine("none")  # both files have the layout of the first
        figure.set_dpi(200)
        FigureCanvasAgg(figure).print_png(stem.with_name(stem.name + ".png"))
    return svg
