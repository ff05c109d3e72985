"""Judging generated data: every target from every subset of the others, beside baselines.

Figures and the report are packages of their own, which need matplotlib and jinja2.
"""

from cohgen_jax.baselines import BASELINES, fit_baselines
from cohgen_jax.evaluation.fidelity import (
    Condition,
    Evaluation,
    conditions,
    evaluate,
    score_by_label,
    score_draws,
    write_table,
)
from cohgen_jax.evaluation.masks import balanced_masks
from cohgen_jax.evaluation.summary import summarise, summary_text
from cohgen_jax.sampling.generator import Generated, Generator
from cohgen_jax.scores.distances import (
    pair_distances,
    real_against_generated,
    real_against_real,
    set_distances,
)
from cohgen_jax.scores.draws import (
    cosine_distance,
    energy_score,
    interval_coverage,
    mse,
    r2,
    r2_by_group,
    r2_inf,
    spread_error,
)
from cohgen_jax.scores.manifold import Manifold, manifold_metrics

__all__ = [
    "BASELINES",
    "Condition",
    "Evaluation",
    "Generated",
    "Generator",
    "Manifold",
    "balanced_masks",
    "conditions",
    "cosine_distance",
    "energy_score",
    "evaluate",
    "fit_baselines",
    "interval_coverage",
    "manifold_metrics",
    "mse",
    "pair_distances",
    "r2",
    "r2_by_group",
    "r2_inf",
    "real_against_generated",
    "real_against_real",
    "score_by_label",
    "score_draws",
    "set_distances",
    "spread_error",
    "summarise",
    "summary_text",
    "write_table",
]
