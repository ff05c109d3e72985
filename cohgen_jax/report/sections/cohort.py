"""The patients: who has which assays, on which side of the split, with which labels."""

from __future__ import annotations

import pandas as pd

from cohgen_jax.cohort.understood import Understood
from cohgen_jax.figures.missing import MAX_PATTERNS, presence_patterns, upset
from cohgen_jax.figures.style import BLUE, save
from cohgen_jax.report.files import RunFiles
from cohgen_jax.report.interactive import layout
from cohgen_jax.report.page import Block, Picture, Plot, Table, Text, percent

SPLITS = {"train": "training", "val": "validation", "test": "test"}


def blocks(run: RunFiles) -> list[Block]:
    present, samples = run.present, run.samples
    complete = present.to_numpy(bool).all(axis=1).mean()
    rarest = present.sum().idxmin()
    facts = [
        f"{len(samples)} samples; {percent(complete)} have all {len(run.modalities)} modalities.",
        f"{rarest} is the modality most often missing ({percent(1 - present[rarest].mean())}).",
        *_events(samples),
        # A resumed run repeats them.
        *dict.fromkeys(event["text"] for event in run.events if event["event"] == "note"),
    ]
    caption = (
        "How many samples have exactly the assays marked by dark dots"
        + (f"; the {MAX_PATTERNS} most frequent patterns" if _many(present) else "")
        + "."
    )
    picture = Picture(
        save(upset(present), run.path / "figures" / "missing_patterns"),
        caption,
        f"UpSet plot of {', '.join(run.modalities)}: {facts[0]} {facts[1]}",
    )
    traces = [
        trace
        for label, rows in {"all": slice(None), **_split_rows(samples)}.items()
        for trace in _upset_traces(present.loc[rows], label)
    ]
    axes = layout(height=160 + 190 + 26 * len(run.modalities), x="", y="samples")
    axes["yaxis"] |= {"domain": [0.42, 1]}
    axes["xaxis"] |= {"showticklabels": False, "showgrid": False, "zeroline": False}
    axes["yaxis2"] = {
        "domain": [0, 0.38],
        "autorange": "reversed",
        "showgrid": False,
        "zeroline": False,
        "automargin": True,
        "tickvals": list(range(len(run.modalities))),
        "ticktext": [f"{m} ({present[m].sum()})" for m in run.modalities],
    }
    axes["showlegend"] = False
    return [
        Text(facts),
        Plot(traces, axes, picture),
        Table(counts(run), "Samples by side of the split", open=True),
        *_understood(run),
        *(
            [Table(_by_type(run), "Samples by cancer type and modality")]
            if "cancer_type" in samples
            else []
        ),
    ]


def counts(run: RunFiles) -> pd.DataFrame:
    """Patients and samples of each split: all, with everything, with each modality."""
    rows = []
    for split, label in SPLITS.items():
        chosen = run.rows(split)
        if not len(chosen):
            continue
        has = run.present.to_numpy(bool)[chosen]
        row: dict[str, str | int] = {"split": label}
        if "patient_id" in run.samples:
            row["patients"] = run.samples["patient_id"].iloc[chosen].nunique()
        row |= {"samples": len(chosen), "with all": int(has.all(axis=1).sum())}
        rows.append(row | dict(zip(run.modalities, has.sum(axis=0).tolist(), strict=True)))
    return pd.DataFrame(rows)


def _understood(run: RunFiles) -> list[Block]:
    """What was read from which file, as far as the run says so."""
    about = run.json("understood.json")
    if about is None:
        return []
    what = Understood.from_json(about)
    labels = what.of_labels()
    return [
        Table(what.of_tables(), "Tables as they were read"),
        *([Table(labels, "Labels as they were read")] if len(labels) else []),
    ]


def _events(samples: pd.DataFrame) -> list[str]:
    if not {"os_event", "os_days"} <= set(samples):
        return []
    known = samples[["os_event", "os_days"]].dropna()
    if known.empty:
        return []
    return [
        f"Survival is known of {len(known)} samples, with {int(known['os_event'].sum())} deaths; "
        f"median follow-up {known['os_days'].median():.0f} days."
    ]


def _by_type(run: RunFiles) -> pd.DataFrame:
    table = run.present.astype(int).assign(samples=1)
    table["cancer type"] = run.samples["cancer_type"].fillna("unknown")
    table = pd.DataFrame(table.groupby("cancer type").sum())
    table = table.sort_values("samples", ascending=False)
    return table.reindex(columns=["samples", *run.modalities])


def _split_rows(samples: pd.DataFrame) -> dict[str, pd.Series]:
    sides = {s: samples["split"] == s for s in SPLITS}
    return {SPLITS[s]: rows for s, rows in sides.items() if rows.any()}


def _many(present: pd.DataFrame) -> bool:
    return len(presence_patterns(present)) > MAX_PATTERNS


def _upset_traces(present: pd.DataFrame, split: str) -> list[dict]:
    patterns = presence_patterns(present).head(MAX_PATTERNS)
    names = list(present.columns)
    has = patterns[names].to_numpy(bool)
    said = [" + ".join(n for n, h in zip(names, row, strict=True) if h) or "none" for row in has]
    meta, x = {"split": split}, list(range(len(patterns)))
    bars = {
        "type": "bar",
        "x": x,
        "y": patterns["samples"].tolist(),
        "text": patterns["samples"].tolist(),
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": said,
        "marker": {"color": BLUE},
        "hovertemplate": "%{customdata}: %{y} samples<extra></extra>",
        "meta": meta,
    }
    dots = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [i for i in x for m in range(len(names)) if has[i, m] == used],
            "y": [m for i in x for m in range(len(names)) if has[i, m] == used],
            "yaxis": "y2",
            "marker": {"color": colour, "size": 10},
            "hoverinfo": "skip",
            "meta": meta,
        }
        for used, colour in ((False, "#dddddd"), (True, "#222222"))
    ]
    lines = {
        "type": "scatter",
        "mode": "lines",
        "x": [v for i in x if has[i].any() for v in (i, i, None)],
        "y": [
            v
            for i in x
            if has[i].any()
            for v in (int(has[i].argmax()), len(names) - 1 - int(has[i][::-1].argmax()), None)
        ],
        "yaxis": "y2",
        "line": {"color": "#222222", "width": 2},
        "hoverinfo": "skip",
        "meta": meta,
    }
    return [bars, *dots, lines]
