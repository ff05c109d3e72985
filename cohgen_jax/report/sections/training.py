"""The models: how they learnt, and when they were best."""

from __future__ import annotations

import pandas as pd

from cohgen_jax.figures.curves import loss_curves
from cohgen_jax.figures.style import method_colour, modality_colour, save
from cohgen_jax.report.files import RunFiles
from cohgen_jax.report.interactive import layout
from cohgen_jax.report.page import Block, Heading, Picture, Plot, Table, Text
from cohgen_jax.runs.families import FAMILIES

SHOWN = {
    "val_energy": "validation energy score",
    "val_mse": "validation MSE of samples",
    "val_cosine": "validation cosine distance",
    "val_timestep": "validation noise error",
    "train_loss": "training loss",
}


def blocks(run: RunFiles) -> list[Block]:
    parts: list[Block] = []
    for family in FAMILIES:
        history = run.table(f"history_{family}")
        about = run.json(f"models/{family}/about.json")
        if history is None or about is None:
            continue
        names = run.modalities
        models = [
            (name, names[target], names[sources[0]] if len(sources) == 1 else "multi")
            for name, target, sources in about["specs"]
        ]
        alone = [model for model in models if "." not in model[0]]  # one stands for its ensemble
        still = Picture(
            save(loss_curves(history, alone), run.path / "figures" / f"loss_{family}"),
            f"The {family}-condition models while they were trained; dots mark the weights kept. "
            "Training losses fall whatever happens; what counts is the validation score.",
            f"Training loss and validation energy score over epochs, {family}-condition models.",
        )
        axes = layout(height=420, x="epoch", y="")
        changes = {
            ("score", label): {"yaxis": {"title": {"text": label}}} for label in SHOWN.values()
        }
        title = f"{family.capitalize()}-condition models"
        parts += [
            Heading(title),
            Plot(_curves(history, models, names), axes, still, changes),
            Table(_kept(run.config, family, about, models), title),
        ]
    return [*_search(run), *parts]


def _search(run: RunFiles) -> list[Block]:
    """What a search for a recipe tried, where the directory is one of experiments/search.py."""
    table = run.csv("search.csv")
    if table is None:
        return []
    best = table.iloc[0]
    parts: list[Block] = [
        Heading("Search for a recipe"),
        Text.of(
            f"{len(table)} configurations; the best has a mean validation score of "
            f"{best['score']:.4g} after {int(best['epochs'])} epochs (lower is better)."
        ),
    ]
    picture = run.figure("search")
    if picture is not None:
        caption = "A line for each configuration through its settings; the best are dark."
        parts.append(Picture(picture, caption, caption))
    return [*parts, Table(table, "Configurations, best first", file="search.csv")]


def _curves(
    history: pd.DataFrame, models: list[tuple[str, str, str]], names: tuple[str, ...]
) -> list[dict]:
    traces = []
    by_model = dict(list(history.groupby("model")))
    for target in names:
        for score, label in SHOWN.items():
            for model, generates, source in models:
                if generates != target or score not in history or model not in by_model:
                    continue
                rows = by_model[model].sort_values("epoch")
                colour = (
                    method_colour("multi")
                    if source == "multi"
                    else modality_colour(names.index(source))
                )
                traces.append(
                    {
                        "type": "scatter",
                        "mode": "lines",
                        "name": model.replace("_", " "),
                        "x": rows["epoch"].tolist(),
                        "y": rows[score].tolist(),
                        "line": {"color": colour, "width": 2},
                        "meta": {"target": target, "score": label},
                        "hovertemplate": "epoch %{x}: %{y:.4g}",
                    }
                )
    return traces


def _kept(config: dict, family: str, about: dict, models: list) -> pd.DataFrame:
    """Best epoch and validation scores of the weights in use."""
    keep = config.get(family, {}).get("keep", "energy")
    table = pd.DataFrame({"model": [model for model, *_ in models]})
    table["epoch kept"] = about.get("epochs", {}).get(keep)
    for metric, values in about["scores"].items():
        table[f"best {metric}"] = values
    return table
