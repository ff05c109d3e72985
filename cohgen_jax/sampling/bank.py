"""A bank: the models that generate one target, with their parameters stacked.

A model of the bank looks at some of its conditions (its slots): a single-condition model at one
source, a multi-condition model at all of them, either at the covariates besides; a regression of
the target on whatever sources are there (`regression`) is one more model, the denoiser of its
Gaussian posterior. Conditions are the sources, then the covariates, then what the regression says,
where the bank has these. Models of the same form share a group, whose
stacked parameters run as one batched network under `vmap`; a bank of trained pairs is one
group, a bank of published models that were searched one by one may be several. All of it is
one program when the caller jits it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from cohgen_jax.errors import InputError
from cohgen_jax.networks.posterior import GaussianPosterior
from cohgen_jax.sampling.stacking import Moments, Pattern
from cohgen_jax.schedule import PREDICTIONS, Prediction, eps_from

Ensemble = Literal["average", "mixture"]
ENSEMBLES: tuple[str, ...] = get_args(Ensemble)


RegressionOf = Callable[[Sequence[np.ndarray], np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(conditions [N, C] each, as models see them; present [N, S]) -> mean and variance [N, width]."""


@struct.dataclass
class Group:
    """Models of one form: networks, or views of networks, each of which is shown some of its
    conditions."""

    variables: Any
    """Parameter trees of the networks, stacked along a first axis."""
    module: nn.Module = struct.field(pytree_node=False)
    members: tuple[int, ...] = struct.field(pytree_node=False)
    """Position of each model in the bank: all views of the first network, then of the next."""
    inputs: tuple[int | None, ...] | None = struct.field(pytree_node=False, default=None)
    """Of views: the conditions that the network takes, None for one that the bank lacks. A network
    that is a model of its own takes the slots of the model."""

    @property
    def views(self) -> int:
        """Models that share the parameters of a network."""
        leaves = jax.tree.leaves(self.variables)  # none: models without parameters share none
        return len(self.members) // len(leaves[0]) if leaves else 1

    def each(self, one_model: Callable[..., Any], of_network: tuple, of_model: tuple) -> Any:
        """one_model(*of_network, *of_model) of every model [K_g, ...]: of_network has leaves
        [networks, ...], of_model [K_g, ...]."""
        if self.views == 1:
            return jax.vmap(one_model)(*of_network, *of_model)
        split = jax.tree.map(lambda leaf: leaf.reshape(-1, self.views, *leaf.shape[1:]), of_model)
        axes = (*[None] * len(of_network), *[0] * len(of_model))
        out = jax.vmap(jax.vmap(one_model, in_axes=axes))(*of_network, *split)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), out)


@struct.dataclass
class Bank:
    """K models that predict the noise of one target from S sources."""

    groups: tuple[Group, ...]
    losses: jax.Array
    """Validation loss of each model [K], for the loss-weighted consensus; NaN when unknown."""
    moments: Mapping[Pattern, Moments] | None = struct.field(pytree_node=False)
    """Of the models' predictions on validation patients, by the sources shown, for the stacked
    consensus."""
    target: str = struct.field(pytree_node=False)
    sources: tuple[str, ...] = struct.field(pytree_node=False)
    slots: tuple[tuple[int, ...], ...] = struct.field(pytree_node=False)
    """Which sources each model looks at, in the order of its conditions."""
    predicts: Prediction = struct.field(pytree_node=False)
    x_dim: int = struct.field(pytree_node=False)
    dims: jax.Array
    """1 on the target's components, 0 on padding beyond them [D]: there a chain stays 0."""
    natural: tuple[jax.Array, ...] | None = None
    """What models see of a unit of each source's latents, S arrays [C_s]; None: the latents."""
    covariates: int = struct.field(pytree_node=False, default=0)
    """Width of the condition after the sources, which everybody has; 0: there is none."""
    regression: RegressionOf | None = struct.field(pytree_node=False, default=None)
    """What the last model is made of."""
    spread: Any = struct.field(pytree_node=False, default=1.0)
    """Factor on the spread of stacked draws about their mean, fitted on validation patients: a
    number, or one for each component [D]."""

    @property
    def num_models(self) -> int:
        return len(self.slots)

    @property
    def widths(self) -> dict[int, int]:
        """Condition -> its width, as far as the models say what they take."""
        widths = {}
        for group in self.groups:
            for member in group.members:
                dims = getattr(group.module, "cond_dims", ())
                widths |= dict(zip(group.inputs or self.slots[member], dims, strict=False))
        widths.pop(None, None)
        return widths

    @classmethod
    def from_models(
        cls,
        target: str,
        sources: Sequence[str],
        models: Sequence[tuple[nn.Module, Any]],
        *,
        predicts: Prediction = "eps",
        losses: Sequence[float] | None = None,
        slots: Sequence[Sequence[int]] | None = None,
        inputs: Sequence[int | None] | None = None,
        moments: Mapping[Pattern, Moments] | None = None,
        width: int | None = None,
        natural: Sequence[np.ndarray] | None = None,
        covariates: int = 0,
    ) -> Bank:
        """Group and stack (module, variables) pairs.

        Without `slots`, one model looks at all sources if it has that many conditions, and
        otherwise model k looks at source k. With `inputs`, the sources that every network takes
        (None for one that the bank lacks), a network is several models, each shown its slots alone:
        `slots` are those of the views of the first network, then of the next, alike. `width`:
        components of the target, where the models are wider. `natural`: what they see of a unit of
        each source's latents, S arrays [C_s]. `covariates`: they look at one more condition, the
        last in their slots.

        Raises:
          InputError: the target among the sources, or counts that do not fit.
        """
        sources = tuple(sources)
        if target in sources:
            raise InputError(f"the target {target!r} cannot also be a source")
        if len(set(sources)) != len(sources):
            raise InputError(f"sources repeat: {', '.join(sources)}")
        if predicts not in PREDICTIONS:
            raise InputError(f"predicts must be one of {', '.join(PREDICTIONS)}, not {predicts!r}")
        if slots is None:
            one_multi = len(models) == 1 and len(models[0][0].cond_dims) == len(sources) + (
                covariates > 0
            )
            slots = [range(len(sources))] if one_multi else [(k,) for k in range(len(sources))]
        known = [len(sources)] * (covariates > 0)
        slots = tuple((*slot, *known) for slot in slots)
        views = 1 if inputs is None else len(slots) // len(models)
        if len(slots) != len(models) * views:
            raise InputError(
                f"{len(models)} models for target {target!r}, but sources {', '.join(sources)} "
                f"ask for {len(slots)}"
            )
        if losses is not None and len(losses) != len(slots):
            raise InputError(f"{len(losses)} losses for {len(slots)} models")
        members: dict[nn.Module, list[int]] = {}
        for k, (module, _) in enumerate(models):
            members.setdefault(module, []).append(k)
        groups = tuple(
            Group(
                jax.tree.map(_stack, *[models[k][1] for k in ks]),
                module,
                tuple(k * views + view for k in ks for view in range(views)),
                None if inputs is None else (*inputs, *known),
            )
            for module, ks in members.items()
        )
        loss_array = jnp.asarray([jnp.nan] * len(slots) if losses is None else losses, jnp.float32)
        x_dim = models[0][0].x_dim
        return cls(
            groups,
            loss_array,
            moments,
            target,
            sources,
            slots,
            predicts,
            x_dim,
            jnp.asarray(np.arange(x_dim) < (width or x_dim), jnp.float32),
            None if natural is None else tuple(jnp.asarray(n, jnp.float32) for n in natural),
            covariates,
        )

    def with_regression(self, regression: RegressionOf, alpha_bar: np.ndarray) -> Bank:
        """The bank with a regression as one more model. alpha_bar: [T], of the schedule."""
        module = GaussianPosterior(self.x_dim, self.predicts)
        variables = {"levels": {"alpha_bar": jnp.asarray(alpha_bar[None], jnp.float32)}}
        losses = np.asarray(self.losses)
        return self.replace(  # pyright: ignore[reportAttributeAccessIssue]
            groups=(*self.groups, Group(variables, module, (self.num_models,))),
            losses=jax.device_put(np.append(losses, losses.max())),
            slots=(*self.slots, (len(self.sources) + (self.covariates > 0),)),
            regression=regression,
        )

    @functools.cached_property
    def networks(self) -> Bank:
        """The bank without its regression."""
        if self.regression is None:
            return self
        bank = self.of(list(range(self.num_models - 1)))
        return bank.replace(regression=None)  # pyright: ignore[reportAttributeAccessIssue]

    def turns(self, ensemble: Ensemble) -> tuple[Bank, ...]:
        """The banks that draws come from in turn: this one, of a mixture one for each member."""
        if ensemble not in ENSEMBLES:
            raise InputError(f"ensemble must be one of {', '.join(ENSEMBLES)}, not {ensemble!r}")
        return self._members if ensemble == "mixture" else (self,)

    @functools.cached_property
    def _members(self) -> tuple[Bank, ...]:
        """One bank for each member of the ensembles in this one: models of the same slots are the
        members of an ensemble, and turn m has the m-th of each, counted round where one has fewer.
        """
        ensembles: dict[tuple[int, ...], list[int]] = {}
        for k, slot in enumerate(self.slots):
            ensembles.setdefault(slot, []).append(k)
        count = max(map(len, ensembles.values()))
        if count == 1:
            return (self,)
        return tuple(
            self.of([ks[turn % len(ks)] for ks in ensembles.values()]) for turn in range(count)
        )

    def of(self, chosen: list[int]) -> Bank:
        """The bank of some of the models, in the given order."""
        groups = []
        for group in self.groups:
            for networks, kept in _networks_of(group, chosen):
                variables = _cut_out(group.variables, np.array(networks, np.int32))
                members = tuple(map(chosen.index, kept))
                groups.append(Group(variables, group.module, members, group.inputs))
        moments = self.moments and {p: measured.of(chosen) for p, measured in self.moments.items()}
        return self.replace(  # pyright: ignore[reportAttributeAccessIssue]
            groups=tuple(groups),
            losses=self.losses[np.array(chosen)],
            slots=tuple(self.slots[k] for k in chosen),
            moments=moments,
        )

    def unnamed(self) -> Bank:
        """The same bank without names and what only the host reads, so that banks that differ in
        nothing else compile once."""
        return self.replace(  # pyright: ignore[reportAttributeAccessIssue]
            target="",
            sources=tuple(str(s) for s in range(len(self.sources))),
            moments=None,
            natural=None,
            regression=None,
            spread=1.0,
        )

    def conditions(
        self, conds: Sequence[Any], present: Any, told: np.ndarray | None = None
    ) -> tuple[jax.Array, ...]:
        """All conditions as the models see them, from the latents of the sources (and covariates).

        A network multiplies an absent condition by 0; a missing value there must not survive it.
        told: `told` of the same, from a caller who has it already.
        """
        seen = _seen(tuple(conds), jnp.asarray(present, bool), self.natural)
        if self.regression is None:
            return seen
        if told is None:
            said = self.regression([np.asarray(cond) for cond in seen], np.asarray(present, bool))
            padding = ((0, 0), (0, self.x_dim - said[0].shape[1]))
            told = np.concatenate([np.pad(part, padding) for part in said], axis=1)
        return (*seen, jnp.asarray(told))

    def told(self, conds: Sequence[Any], present: Any) -> np.ndarray | None:
        """What the regression tells of samples, mean and variance [N, 2 D]; None without one. It
        costs less asked once of many than of a few at a time."""
        return None if self.regression is None else np.asarray(self.conditions(conds, present)[-1])

    def variance(self, conds: Sequence[Any], present: Any) -> np.ndarray:
        """float32 [N, D]: of the latents given the sources (and covariates), by the regression; 1
        without one."""
        if self.regression is None:
            return np.ones((len(present), self.x_dim), np.float32)
        return np.asarray(self.variance_of(self.conditions(conds, present)))

    def variance_of(self, seen: Sequence[jax.Array]) -> jax.Array:
        """[N, D]: the same, of a bank that has a regression, from what `conditions` returned."""
        return seen[-1][:, self.x_dim :]

    def masks(self, present: Any) -> Any:
        """1 where a condition is there, of the sources [N, S] and all others."""
        others = max(max(slot) for slot in self.slots) + 1 - len(self.sources)
        mask = present.astype(jnp.float32)
        return jnp.concatenate([mask, jnp.ones((len(mask), max(0, others)), jnp.float32)], axis=1)

    def shown(
        self, group: Group, conds: Sequence[jax.Array], mask: jax.Array
    ) -> tuple[list[jax.Array], jax.Array]:
        """What the models of a group are given of `conditions` and `masks`: C arrays [K_g, N, C_c]
        and the masks [K_g, N, C]."""
        slots = [self.slots[k] for k in group.members]
        if group.inputs is None:
            taken = [jnp.stack([conds[slot[c]] for slot in slots]) for c in range(len(slots[0]))]
            return taken, jnp.stack([mask[:, list(slot)] for slot in slots])
        dims = group.module.cond_dims  # pyright: ignore[reportAttributeAccessIssue]
        lacking = [jnp.zeros((len(mask), dim), jnp.float32) for dim in dims]
        own = [lacking[c] if i is None else conds[i] for c, i in enumerate(group.inputs)]
        looks = np.array([[i in slot for i in group.inputs] for slot in slots], np.float32)
        places = [0 if i is None else i for i in group.inputs]
        num = len(slots)
        return (
            [jnp.broadcast_to(cond[None], (num, *cond.shape)) for cond in own],
            mask[None][..., places] * looks[:, None],
        )

    def available(self, present: Any) -> Any:
        """Which models see something of which sample: [N, S] -> [N, K] bool, NumPy or JAX.

        A regression always does; covariates alone are not enough for a network."""
        present = present.astype(bool)
        xp = np if isinstance(present, np.ndarray) else jnp
        seen = []
        for slot in self.slots:
            sources = [c for c in slot if c < len(self.sources)]
            everybody = xp.ones(len(present), bool)
            seen.append(present[:, sources].any(axis=1) if sources else everybody)
        return xp.stack(seen, axis=1)

    def needed(self, present: np.ndarray) -> np.ndarray:
        """Which models work on which sample, [N, S] -> [N, K] bool: those that see something of it,
        and all where there is nothing to be seen."""
        seen = self.available(present)
        return seen | ~seen.any(axis=1, keepdims=True)

    def predict_eps(
        self,
        x: jax.Array,
        t: jax.Array,
        conds: Sequence[jax.Array],
        present: jax.Array,
        signal: jax.Array,
        noise: jax.Array,
    ) -> jax.Array:
        """Noise predictions of all models at one noise level, by definition.

        The sampler computes the same in another order: see `specialize`.

        Args:
          x: [R, N, D], R draws of each sample. t: int32 scalar.
          conds: those of `conditions`, or of a bank that sees latents one array [S, N, C].
          present: [N, S], 1 = observed.
          signal, noise: sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t), scalars.

        Returns:
          [K, R, N, D]. An absent source is masked: its model predicts unconditionally.
        """
        steps = jnp.full(x.shape[1], t, jnp.int32)
        mask = self.masks(present)
        outputs: list[Any] = [None] * self.num_models
        for group in self.groups:

            def one_model(variables, model_conds, model_mask, module=group.module):
                return jax.vmap(
                    lambda draw: module.apply(variables, draw, steps, model_conds, model_mask)
                )(x)

            out = group.each(one_model, (group.variables,), self.shown(group, conds, mask))
            for position, k in enumerate(group.members):
                outputs[k] = out[position]
        eps = eps_from(self.predicts, jnp.stack(outputs), x[None], signal, noise)
        return eps * self.dims[None, None, None]


def _stack(*leaves: Any) -> jax.Array:
    """On the host if they are there, where it takes no program."""
    hosted = all(isinstance(leaf, np.ndarray) for leaf in leaves)
    return jax.device_put(np.stack(leaves)) if hosted else jnp.stack(leaves)


@jax.jit
def _seen(
    conds: tuple[Any, ...], present: jax.Array, natural: tuple[jax.Array, ...] | None
) -> tuple[Any, ...]:
    """`conds` in natural scale, those of sources 0 where they are absent."""
    scaled = list(conds)
    for s in range(present.shape[1]):
        scaled[s] = jnp.where(present[:, s, None], conds[s], 0)
        if natural is not None:
            scaled[s] = scaled[s] * natural[s][None]
    return tuple(scaled)


@jax.jit  # one program, not one for every shape
def _cut_out(variables: Any, networks: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[networks], variables)


def _networks_of(group: Group, chosen: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """(networks, models) of the chosen models of a group: networks of which as many views are kept
    stay together."""
    kept: dict[int, list[int]] = {}
    for k in chosen:
        if k in group.members:
            kept.setdefault(group.members.index(k) // group.views, []).append(k)
    together: dict[int, tuple[list[int], list[int]]] = {}
    for network, models in kept.items():
        networks, of_them = together.setdefault(len(models), ([], []))
        networks.append(network)
        of_them += models
    return list(together.values())
