"""Tables that say how far generated data can be trusted, from an evaluation and its draws.

metrics/reliability.csv                 promised and observed coverage of central intervals
metrics/rank_histogram.csv              ranks of the truth among its draws
metrics/uncertainty.csv                 does spread or disagreement predict the error?
metrics/risk_coverage.csv               error against the share of patients kept
metrics/by_patient.parquet              scores of every patient in every condition
metrics/consensus_against_members.csv   each consensus, paired with its best member
metrics/consensus_verdicts.csv          the same, counted
metrics/against_baselines.csv           each model, paired with each baseline
metrics/temperature.csv                 scores between draws and the posterior mean
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from cohgen_jax.evaluation.fidelity import KEY, Evaluation, write_table
from cohgen_jax.evaluation.fullest import of_fullest
from cohgen_jax.evaluation.paired import against_baselines, against_members, count_verdicts
from cohgen_jax.evaluation.uncertainty import uncertainty_tables
from cohgen_jax.scores import draws as metrics
from cohgen_jax.scores.calibration import coverages, exact_levels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLES = (
    *("reliability", "rank_histogram", "uncertainty", "risk_coverage"),
    *("consensus_against_members", "consensus_verdicts", "against_baselines", "temperature"),
)
"""File names; those without rows are not written."""
TEMPERATURES = (0.0, 0.25, 0.5, 0.75, 1.0)


class Honesty(NamedTuple):
    tables: dict[str, pd.DataFrame]
    """File name -> table."""

    def figures(self, chosen: Mapping[str, str]) -> Iterator[tuple[str, Figure, str]]:
        """(name, figure, caption) of one condition a target. chosen: target -> sources."""
        from cohgen_jax.figures import calibration as figures

        made = (
            (
                "reliability",
                figures.reliability_curves,
                "Coverage that central intervals promise and keep, from all sources.",
            ),
            (
                "rank_histogram",
                figures.rank_histograms,
                "Rank of the true value among its draws, from all sources: level when honest.",
            ),
            (
                "risk_coverage",
                figures.risk_coverage_curves,
                "Error when only the patients of least spread (lines) or disagreement (dashes) "
                "are kept, from all sources.",
            ),
            (
                "temperature",
                figures.temperature_curves,
                "The published score, R2 of single draws, between the posterior mean "
                "(temperature 0) and calibrated draws (1).",
            ),
        )
        for name, draw, caption in made:
            table = self.tables.get(name)
            if table is not None and len(table):
                fullest = of_fullest(table, chosen)
                if len(fullest):
                    yield name, draw(fullest), caption


def temperature_rows(draws: np.ndarray, mean: np.ndarray, real: np.ndarray) -> pd.DataFrame:
    """Scores of m + temperature (draw - m) at `TEMPERATURES`. draws [R, N, D]; mean, real [N, D].

    r2 is that of single draws, which falls as R2_inf - temperature^2 s^2 / SS_tot.
    """
    rows = []
    for temperature in TEMPERATURES:
        scores = _at_temperature(draws, mean, real, temperature)
        rows.append({"temperature": temperature} | {k: float(v) for k, v in scores.items()})
    return pd.DataFrame(rows)


@jax.jit
def _at_temperature(draws, mean, real, temperature) -> dict[str, jax.Array]:
    scaled = mean[None] + temperature * (draws - mean[None])
    return {
        "r2": jnp.mean(metrics.r2(scaled, real)),
        "energy_score": jnp.mean(metrics.energy_score(scaled, real)),
        "spread_error": metrics.spread_error(scaled, real),
        "coverage80": metrics.interval_coverage(scaled, real, 0.8),
    }


def honesty_of(
    result: Evaluation,
    tempered: pd.DataFrame,
    rules: list[str],
    baselines: Sequence[str] = (),
) -> Honesty:
    """Everything that follows from the scores. rules: methods of consensus."""
    uncertainty, risk = uncertainty_tables(result.by_patient)
    comparison = against_members(result.by_patient, rules)
    return Honesty(
        {
            "reliability": _reliability(result.ranks),
            "rank_histogram": result.ranks,
            "uncertainty": uncertainty,
            "risk_coverage": risk,
            "consensus_against_members": comparison,
            "consensus_verdicts": count_verdicts(comparison) if len(comparison) else comparison,
            "against_baselines": against_baselines(result.by_patient, baselines),
            "temperature": tempered,
        }
    )


def write_honesty(honesty: Honesty, result: Evaluation, samples: pd.Index, folder: Path) -> None:
    """Write all tables. samples: the ids of the latents' rows."""
    for name, table in honesty.tables.items():
        if len(table):
            write_table(table, folder / name)
    named = result.by_patient.assign(sample_id=samples[result.by_patient["row"]])
    named = named.drop(columns="row").rename(columns={"patient": "patient_id"})
    named.to_parquet(folder / "by_patient.parquet", index=False)


def _reliability(ranks: pd.DataFrame) -> pd.DataFrame:
    curves = []
    for key, table in ranks.groupby(list(KEY), sort=False):
        shares = table.sort_values("rank")["share"].to_numpy()
        curve = pd.DataFrame(
            {"nominal": exact_levels(len(shares) - 1), "observed": np.asarray(coverages(shares))}
        )
        names: dict[str, Any] = dict(zip(KEY, key, strict=True))
        curves.append(curve.assign(**names))
    table = pd.concat(curves, ignore_index=True)
    return table[[*KEY, "nominal", "observed"]]
