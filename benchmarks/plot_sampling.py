"""Plots and tables of solver_study.json and sampling.json for the README.

python -m benchmarks.plot_sampling
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks import readme

HERE = Path(__file__).resolve().parent
FAMILIES = (
    "ddpm",
    "ddim",
    "dpmpp_2m_uniform",
    "dpmpp_2m_log_snr",
    "dpmpp_2m_half_log_snr",
    "dpmpp_2m_sde_uniform",
)


def solver_curves() -> None:
    """Excess of the energy score over 1000 steps, in its standard errors, against steps."""
    every = json.loads((HERE / "solver_study.json").read_text())
    studies = {k: s for k, s in every.items() if s["table"][0]["solver"].startswith("ddpm")}
    figure, axes = plt.subplots(1, len(studies), figsize=(5 * len(studies), 3.6), squeeze=False)
    for axis, (name, study) in zip(axes[0], studies.items(), strict=True):
        table = study["table"]
        reference = {r["target"]: r for r in table if r["solver"] == table[0]["solver"]}
        for family in FAMILIES:
            points: dict[int, list[float]] = {}
            for row in table:
                match = re.fullmatch(rf"{family}-(\d+)", row["solver"])
                if match and int(match[1]) < 1000:
                    full = reference[row["target"]]
                    excess = row["energy_score"] - full["energy_score"]
                    points.setdefault(int(match[1]), []).append(excess / full["energy_score_se"])
            steps = sorted(points)
            axis.plot(steps, [np.mean(points[n]) for n in steps], marker="o", label=family)
        axis.axhspan(-1, 1, color="0.92")
        axis.set(xscale="log", xlabel="steps", title=name, ylim=(-2, 6))
        axis.set_ylabel("energy score above 1000 steps\n(standard errors, mean over targets)")
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(HERE / "solver_study.png", dpi=110)


def sweep_curves() -> None:
    """Samples a second against samples, models, width and steps."""
    sweeps = json.loads((HERE / "sampling.json").read_text())["sweeps"]["results"]
    figure, axes = plt.subplots(1, len(sweeps), figsize=(3.2 * len(sweeps), 2.8))
    for axis, (name, rows) in zip(axes, sweeps.items(), strict=True):
        axis.plot([r[name] for r in rows], [r["samples_per_s"] for r in rows], marker="o")
        axis.set(xscale="log", yscale="log", xlabel=name)
    axes[0].set_ylabel("samples a second")
    figure.tight_layout()
    figure.savefig(HERE / "sampling.png", dpi=110)


if __name__ == "__main__":
    solver_curves()
    sweep_curves()
    readme.refresh()
