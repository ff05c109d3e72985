"""What users run: programs compiled with every optimisation, which the other tests do without.

Run by test_optimised.py, in a process that compiles so.
"""

import chex
import jax
import numpy as np
import pytest

from cohgen_jax.training import multi_specs, train_farm
from tests import test_golden_vectors as vectors
from tests.training.test_farm import MODALITIES, farm_of, killed


def test_programs_are_optimised():
    """Two operations become one fusion."""
    program = jax.jit(lambda x: np.float32(2) * jax.numpy.sin(x) + 1).lower(np.ones(64, np.float32))
    assert "fusion" in program.compile().as_text()


@pytest.mark.parametrize("rule", ["mean", "loss"])
def test_the_sampler_arrives_where_the_publication_does(rule):
    vectors.test_coherent_sampling_arrives_where_the_publication_does(rule)


def test_stopping_and_resuming_changes_nothing(tmp_path):
    """Bitwise."""
    farm, data = farm_of(multi_specs(MODALITIES)[:1])
    whole = train_farm(farm, data, tmp_path / "whole")
    with pytest.raises(RuntimeError):
        train_farm(farm, data, tmp_path / "stopped", killed)
    resumed = train_farm(farm, data, tmp_path / "stopped")
    chex.assert_trees_all_equal(whole[0], resumed[0])
    assert whole[1] == resumed[1]
