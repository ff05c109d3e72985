"""Which models there are: what each generates, and from what."""

from collections.abc import Sequence
from typing import NamedTuple


class ModelSpec(NamedTuple):
    """A model to train: target and sources as positions in the cohort's modalities."""

    name: str
    target: int
    sources: tuple[int, ...]
    member: int = 0
    """Of the ensemble that answers for the model."""


def pair_specs(modalities: Sequence[str], members: int = 1) -> list[ModelSpec]:
    """Every ordered pair: M (M - 1) single-condition models, `members` of each."""
    return [
        ModelSpec(_member_name(f"{target}_from_{source}", i), t, (s,), i)
        for t, target in enumerate(modalities)
        for s, source in enumerate(modalities)
        if s != t
        for i in range(members)
    ]


def shared_specs(modalities: Sequence[str], members: int = 1) -> list[ModelSpec]:
    """A single-condition network for each target, which any of its sources can be shown to,
    `members` of each."""
    every = range(len(modalities))
    return [
        ModelSpec(_member_name(f"{target}_from_single", i), t, tuple(s for s in every if s != t), i)
        for t, target in enumerate(modalities)
        for i in range(members)
    ]


def multi_specs(modalities: Sequence[str], members: int = 1) -> list[ModelSpec]:
    """A multi-condition model for each target, `members` of each."""
    every = range(len(modalities))
    return [
        ModelSpec(_member_name(f"{target}_from_multi", i), t, tuple(s for s in every if s != t), i)
        for t, target in enumerate(modalities)
        for i in range(members)
    ]


def _member_name(name: str, member: int) -> str:
    return f"{name}.{member}" if member else name
