"""How the predictions of several models become one, and how much they disagree.

    eps = sum_k w_k eps_k + (1 - sum_k w_k) eps_0,      eps_0 = sqrt(1 - alpha_bar_t) x_t

eps_0 is the noise prediction of the prior N(0, I) that standardised latents have: what the sources
leave open is left to it, and it costs no evaluation. In v (schedule.py) it predicts 0, and the
rule reads v = sum_k w_k v_k. The rules differ in the weights alone:

    mean      w_k = 1/K                                                      (published)
    loss      w_k = softmax(1 / validation loss)                             (published)
    product   w_k = 1/2: eps_0 + 1/2 sum_k (eps_k - eps_0), half way from one voice to independent
              witnesses, a product of experts (Hinton 2002)
    stacked   w_k(t): what predicted best on validation patients             (stacking.py)

By the first three, models that look at the same share the weight of one, as members of an ensemble;
the stacked rule weighs each. Weights belong to a sample: models whose sources it lacks get none.
They are data, a table of weights for each step and pattern, and arguments of the compiled sampler.

Posteriors  of Gaussian models N(m_k, S) that share S, driven by weights that sum to W:
            N(sum_k w_k m_k, S) if W = 1 (mean, loss), and variance S^W in general (product).
            Stacked: the joint posterior, as stacking.py says.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from cohgen_jax.axes import Array, Float
from cohgen_jax.errors import InputError
from cohgen_jax.sampling.bank import Bank
from cohgen_jax.sampling.stacking import Moments, nearest_pattern, stacked_weights

Consensus = Literal["mean", "loss", "product", "stacked"]
RULES: tuple[str, ...] = get_args(Consensus)
PRODUCT_WEIGHT = 0.5


class Weights(NamedTuple):
    """The weights of a call, by pattern of present models."""

    table: Any  # [S, P, K, D], or [S, P, K, 1] where one weight serves all features
    pattern: Any  # [N] int32, each sample's row of the table
    pairs: Any  # [N, K], in the disagreement; 0 for models that do not take part


def weigh(rule: str, bank: Bank, present: Any, log_snr: np.ndarray) -> Weights:
    """What a rule comes down to for these samples and steps.

    present: [N, S], NumPy or JAX; inside a caller's jit every sample is a pattern of its own, and
    the stacked rule is not to be had. log_snr: [S] of the steps, decreasing in time.

    Raises:
      InputError: an unknown rule, or a bank that lacks what it needs.
    """
    if rule not in RULES:
        raise InputError(f"consensus must be one of {', '.join(RULES)}, not {rule!r}")
    if rule == "loss" and not isinstance(bank.losses, Tracer):
        _check_losses(bank)
    traced = isinstance(present, Tracer)
    present = present if traced else np.asarray(present, bool)
    seen = bank.available(present)
    if not traced:
        told = present if rule == "stacked" else seen
        patterns, index = np.unique(told, axis=0, return_inverse=True)
        index = index.reshape(-1).astype(np.int32)
        num_rows = max(16, 1 << (len(patterns) - 1).bit_length())  # few sizes, few programs
    else:
        patterns, index = seen, jnp.arange(len(seen), dtype=jnp.int32)
        num_rows = len(seen)
    copies = np.array([bank.slots.count(slot) for slot in bank.slots])
    talk = np.ones(bank.num_models, np.float32)
    if bank.regression is not None:  # which is not one of the models that may disagree
        talk[-1] = 0
    pairs = _pairs("loss" if rule == "loss" else "mean", bank.losses, seen, copies, talk)
    filled = np.arange(num_rows) % len(patterns)
    if rule == "stacked":
        table = _stacked(bank, patterns, copies, log_snr)[:, filled]
    else:
        table = _at_every_step(rule, bank.losses, patterns[filled], copies, len(log_snr))
    return Weights(table, index, pairs)


@functools.partial(jax.jit, static_argnames="rule")
def _pairs(rule: str, losses: Any, seen: Any, copies: Any, talk: Any) -> jax.Array:
    return consensus_weights(rule, losses, seen, copies) * talk[None]


@functools.partial(jax.jit, static_argnames=("rule", "num_steps"))
def _at_every_step(
    rule: str, losses: Any, available: Any, copies: Any, num_steps: int
) -> jax.Array:
    """`consensus_weights` as a table [S, P, K, 1]."""
    weights = consensus_weights(rule, losses, available, copies)
    return jnp.broadcast_to(weights[None, :, :, None], (num_steps, *weights.shape, 1))


def _check_losses(bank: Bank) -> None:
    losses = np.asarray(bank.losses)
    if not np.all(losses > 0):
        raise InputError(
            f"the loss-weighted consensus for {bank.target!r} needs the validation loss of every "
            f"model, positive: got {', '.join(map(str, losses))} (nan: not given); give "
            "Bank.from_models losses, or take consensus 'mean'"
        )


@functools.partial(jax.jit, static_argnames="rule")
def consensus_weights(
    rule: str, losses: Float[Array, " K"], available: Any, copies: ArrayLike = 1
) -> Float[Array, "N K"]:
    """Weights of the rules that know no levels, for models available as bool [N, K] says.

    copies: [K], the number of models that look at what the model looks at.

    'mean' and 'loss' sum to 1 over the models available to a sample.
    A sample that no model can see anything of gets equal weights that sum to 1: its models then
    all predict unconditionally.

    >>> seen = np.array([[True, True], [True, False]])
    >>> np.asarray(consensus_weights("loss", jnp.array([0.5, 1.0]), seen)).round(3)
    array([[0.731, 0.269],
           [1.   , 0.   ]], dtype=float32)
    """
    available = jnp.asarray(available, bool)
    nothing = ~available.any(axis=1, keepdims=True)
    alike = jnp.broadcast_to(jnp.asarray(copies, jnp.float32), losses.shape)
    scores = (1 / losses if rule == "loss" else jnp.zeros_like(losses)) - jnp.log(alike)
    weights = jax.nn.softmax(jnp.where(available | nothing, scores[None], -jnp.inf), axis=1)
    if rule == "product":
        return jnp.where(nothing, weights, jnp.where(available, PRODUCT_WEIGHT / alike[None], 0))
    return weights


def _stacked(bank: Bank, patterns: Any, copies: np.ndarray, log_snr: np.ndarray) -> Any:
    """[T, P, K, D], or [T, P, K, 1], for patterns of present sources [P, S]."""
    if bank.moments is None and len(set(bank.slots)) == 1:
        return _at_every_step("mean", bank.losses, bank.available(patterns), 1, len(log_snr))
    if bank.moments is None:
        raise InputError(
            f"the stacked consensus for {bank.target!r} needs moments of its models' predictions "
            "on validation patients: experiments/train.py --resume adds them to a run; "
            "consensus 'mean' does without"
        )
    if not isinstance(patterns, np.ndarray):
        raise InputError("the stacked consensus needs to know who has what: call it outside jit")
    seen = bank.available(patterns)
    mean = np.asarray(consensus_weights("mean", bank.losses, seen, copies))
    weights = np.zeros((len(log_snr), *mean.shape, bank.x_dim), np.float32)
    for p, pattern in enumerate(patterns):
        near = nearest_pattern(bank.moments, tuple(pattern.tolist()))
        if near is None:  # nothing is known: the mean of its models, of all where it has none
            weights[:, p] = mean[p][:, None]
            continue
        heard = tuple(np.flatnonzero(bank.available(np.array([near]))[0]).tolist())
        if heard:
            fitted = _fitted(_ByIdentity(bank.moments[near]), heard, tuple(log_snr.tolist()))
            weights[:, p, heard, : fitted.shape[2]] = fitted
    return weights


class _ByIdentity(NamedTuple):
    """Moments as a key; whoever holds it keeps them, so that no others can have their identity."""

    moments: Moments

    def __hash__(self) -> int:
        return id(self.moments)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and self.moments is other.moments


@functools.lru_cache(maxsize=64)
def _fitted(of: _ByIdentity, heard: tuple[int, ...], log_snr: tuple[float, ...]) -> np.ndarray:
    """`stacked_weights` of the models heard, which every chunk of patients asks for anew."""
    return stacked_weights(of.moments.of(heard), np.array(log_snr))


def combine(
    eps_k: Float[Array, "K R N D"], weights: Float[Array, "N K #D"], prior: Float[Array, "R N D"]
) -> Float[Array, "R N D"]:
    """sum_k w_k eps_k + (1 - sum_k w_k) eps_0, which is the prior's."""
    weights = jnp.moveaxis(weights, 1, 0)[:, None]  # [K, 1, N, D]
    return jnp.sum(weights * eps_k, axis=0) + (1 - jnp.sum(weights, axis=0)) * prior


def disagreement(
    eps_k: Float[Array, "K R N D"], weights: Float[Array, "N K"]
) -> Float[Array, "R N"]:
    """1 - weighted mean pairwise cosine, in [0, 2]; NaN where fewer than two models speak.

    weights: 0 for models that do not take part. A pair weighs w_i + w_j, so that of unit vectors u

        sum_{i < j} (w_i + w_j) u_i u_j = (sum_i w_i u_i) (sum_j u_j) - sum_i w_i |u_i|^2

    >>> eps_k = jnp.array([[1.0, 0.0], [0.0, 2.0]])[:, None, None]  # two models at right angles
    >>> disagreement(eps_k, jnp.array([[0.5, 0.5]]))
    Array([[1.]], dtype=float32)
    """
    norm = jnp.linalg.norm(eps_k, axis=-1)  # [K, R, N]
    weights = jnp.moveaxis(weights, 1, 0)[:, None]  # [K, 1, N]
    talks = (weights > 0).astype(eps_k.dtype)
    to_unit = talks / jnp.maximum(norm, 1e-8)
    one, other = (
        jnp.sum(factor[..., None] * eps_k, axis=0) for factor in (weights * to_unit, to_unit)
    )
    alone = jnp.sum(weights * jnp.square(to_unit * norm), axis=0)
    total = jnp.sum(one * other, axis=-1) - alone
    pair_weight = jnp.sum(weights, axis=0) * (jnp.sum(talks, axis=0) - 1)
    return jnp.where(pair_weight > 0, 1 - total / pair_weight, jnp.nan)
