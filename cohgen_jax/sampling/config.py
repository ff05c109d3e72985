"""What may be chosen about sampling, in one value."""

from __future__ import annotations

import dataclasses

from cohgen_jax.errors import InputError, check_choices
from cohgen_jax.sampling.bank import Ensemble
from cohgen_jax.sampling.consensus import Consensus
from cohgen_jax.sampling.specialize import Precision
from cohgen_jax.solvers import Solver


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rejection:
    """When a draw is drawn again (defaults as published)."""

    cos_threshold: float = 1.0
    """A step counts against a draw when its disagreement exceeds this."""
    prop_threshold: float = 0.1
    """A draw fails when more than this share of its steps count against it."""
    max_retries: int = 10
    """Redraws at most; of draws that all fail, the one with the smallest share is kept."""

    def __post_init__(self):
        if not 0 <= self.prop_threshold <= 1:
            raise InputError(f"prop_threshold must lie in [0, 1], got {self.prop_threshold}")
        if self.max_retries < 0:
            raise InputError(f"max_retries must not be negative, got {self.max_retries}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """How draws are made; hashed by value, so that equal ones share their compiled programs."""

    solver: Solver
    """From `cohgen_jax.solvers`, of the noise schedule that the models were trained with."""
    consensus: Consensus = "mean"
    """How the models' predictions become one (sampling/consensus.py): 'mean', 'loss' (softmax of
    1 / `Bank.losses`), 'product', or 'stacked' (needs `Bank.moments`)."""
    temperature: float = 1.0
    """1 for draws of the posterior, 0 for its mean m, between them m + temperature (draw - m):
    spread scaled exactly, whatever the posterior. m is x_0 predicted from x_T = 0, by all members,
    where nothing of x_0 is left in x_T; networks that predict the noise do not know it there.
    Times `Bank.spread` under the stacked consensus, which validation patients have fitted."""
    rejection: Rejection | None = None
    """Redraw draws whose models disagree too long; None accepts every draw."""
    ensemble: Ensemble = "average"
    """What M models of the same sources do. 'average': all predict in every draw and share the
    weight of one. 'mixture': draw r is that of member r mod M, so that the draws are the mixture of
    what the members believe (deep ensembles, Lakshminarayanan et al. 2017), at the cost of one
    model. Its draws are shared out evenly, not independent: estimates that remove the noise of
    finitely many (fair scores, R2_inf) are too good by about 1/R of what the members do not agree
    on."""
    precision: Precision = "float32"
    """Of the networks' matrix products (see `specialize.fold`)."""
    keep_trajectory: bool = False
    """Return the disagreement of every step."""
    keep_mean: bool = False
    """Return the posterior mean also where spread is not scaled about it."""
    specialized: bool = True
    """False evaluates every network as it is defined, at every step of every draw: slow, the same
    up to what a draw's pure noise tells a network of v."""

    def __post_init__(self):
        check_choices(self)
        if not 0 <= self.temperature <= 1:
            raise InputError(f"temperature must lie in [0, 1], got {self.temperature}")

    @property
    def compiled(self) -> SamplerConfig:
        """The part that a compiled program depends on: the rest at its default."""
        return dataclasses.replace(
            self, consensus="mean", temperature=1.0, ensemble="average", keep_mean=False
        )
