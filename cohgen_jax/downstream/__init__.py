"""What generated assays are good for: analyses over a run, each a function of tables and draws.

`ANALYSES` lists them; `of_run.analyse_run` computes them, `experiments/downstream.py` is the
command. Needs the extra `downstream`.
"""

from cohgen_jax.downstream.analyses import ANALYSES, Analysis
from cohgen_jax.downstream.classification import Classification
from cohgen_jax.downstream.draws import Draws, cascade_orders
from cohgen_jax.downstream.options import Options, Result, Workers
from cohgen_jax.downstream.outcome import Outcome
from cohgen_jax.downstream.study import NotPossible, Study
from cohgen_jax.downstream.survival import SurvivalOutcome

__all__ = [
    "ANALYSES",
    "Analysis",
    "Classification",
    "Draws",
    "NotPossible",
    "Options",
    "Outcome",
    "Result",
    "Study",
    "SurvivalOutcome",
    "Workers",
    "cascade_orders",
]
