"""How much more is known of a missing table the more patients train: a curve for the docs.

    python -m benchmarks.small_cohorts --data tables/ --splits 1 \
        --cohorts tcga-60 tcga-120 tcga-250 tcga-500 tcga-1000 tcga-2400
    python -m benchmarks.how_many_patients

Reads small_cohorts.json; writes docs/how_many_patients.svg and .png, and the table of
docs/how_many_patients.md. Skill is 1 - CRPS / CRPS of the training average.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.ticker import NullFormatter, PercentFormatter

from benchmarks.readme import small_cohort_row
from cohgen_jax.figures.style import house_style, method_label, modality_colour, panels, save

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "how_many_patients.md"
COHORT, LINES = "tcga", {"regression": "-", "ridge": ":"}


def rows() -> dict[str, list[dict[str, Any]]]:
    """Target -> its row at each number of patients, rising."""
    kept = json.loads((HERE / "small_cohorts.json").read_text())
    sizes = sorted((name for name in kept if name.startswith(f"{COHORT}-")), key=_size)
    targets = next(iter(kept[sizes[0]].values()))
    return {t: [small_cohort_row(kept[name], t) for name in sizes] for t in targets}


def _size(name: str) -> int:
    return int(name.rpartition("-")[2])


def skill(row: dict[str, Any], method: str) -> float:
    return 1 - row[method] / row["climatology"]


def draw(curves: dict[str, list[dict[str, Any]]]) -> None:
    with house_style():
        figure, ((axis,),) = panels(1, 1, width=5.2, height=3.4)
        for k, (target, points) in enumerate(curves.items()):
            trained = [row["trained"] for row in points]
            for method, line in LINES.items():
                label = "kernel regression" if method == "regression" else method_label(method)
                axis.plot(
                    trained,
                    [skill(row, method) for row in points],
                    line,
                    color=modality_colour(k),
                    marker="o" if method == "regression" else None,
                    label=f"{target}, {label}",
                )
        axis.axhline(0, color="#8C8C8C", linewidth=0.7)
        axis.set(xscale="log", xlabel="patients to train", ylabel="CRPS below training average")
        axis.set_xticks(trained, labels=[f"{n:,}" for n in trained])
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.legend(fontsize=7)
        save(figure, PAGE.with_suffix(""))


def table(curves: dict[str, list[dict[str, Any]]]) -> str:
    """CRPS below the training average, and how far that is from ridge's in standard errors."""
    lines = ["| patients to train | " + " | ".join(curves) + " |", "|---" * (len(curves) + 1) + "|"]
    for points in zip(*curves.values(), strict=True):
        cells = [
            f"{skill(row, 'regression'):.1%} ({-row['less ridge'] / row['error ridge']:+.1f})"
            for row in points
        ]
        lines.append(f"| {points[0]['trained']:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    curves = rows()
    draw(curves)
    text = PAGE.read_text()
    start, end = "<!-- curve -->", "<!-- /curve -->"
    before, rest = text.split(start)
    PAGE.write_text(f"{before}{start}\n{table(curves)}\n{end}{rest.split(end)[1]}")


if __name__ == "__main__":
    main()
