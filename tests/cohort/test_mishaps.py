"""A damaged cohort is read to the same values, refused, or told of: never silently another one."""

import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from cohgen_jax.errors import InputError
from tests.cohort.mishaps import MISHAPS, IDS, draft, load, silent, torn_patients

SINGLE = len(MISHAPS)
COHORTS = st.tuples(
    st.integers(0, 2**16), st.sampled_from(sorted(IDS)), st.booleans(), st.booleans()
)


def settings(examples: int):
    return hypothesis.settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )


def silently_different(cohort: tuple, mishaps: tuple[str, ...]) -> list[str]:
    """What is another than in the whole cohort, and told by nobody."""
    with tempfile.TemporaryDirectory() as place:
        whole = load(draft(*cohort).write(Path(place) / "whole" / "cohort"))
        damaged = draft(*cohort)
        for k, name in enumerate(mishaps):
            MISHAPS[name](damaged, np.random.default_rng([cohort[0], k]))
        try:
            found = load(damaged.write(Path(place) / "damaged" / "cohort"))
        except InputError:
            return []
    torn = [f"{patient} is on two sides of the split" for patient in torn_patients(found)]
    return [*silent(found, whole, damaged.instead), *torn]


def holds(cohort: tuple, *mishaps: str) -> None:
    assert silently_different(cohort, mishaps) == [], mishaps
