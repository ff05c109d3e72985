"""Which pairs of modalities get a model of their own."""

import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.training import TrainConfig, multi_specs, pair_specs, shared_specs
from cohgen_jax.training.config import LEAST_PAIR
from cohgen_jax.training.trainable import trainable

NAMES = ("a", "b", "c")


def cohort(together: int, in_val: int = 2):
    """a and b, and b and c, of 20 training and 2 validation patients each; of a and c, `together`
    training and `in_val` validation patients."""
    ab, bc, ac = [1, 1, 0], [0, 1, 1], [1, 0, 1]
    train = [ab] * 20 + [bc] * 20 + [ac] * together
    val = [ab] * 2 + [bc] * 2 + [ac] * in_val
    present = np.array([*train, *val], bool)
    return present, np.arange(len(train)), np.arange(len(train), len(present))


@pytest.mark.parametrize(
    ("together", "in_val", "kept"),
    [(LEAST_PAIR, 1, True), (LEAST_PAIR - 1, 2, False), (30, 0, False), (0, 0, False)],
)
def test_a_pair_needs_patients_on_both_sides(together, in_val, kept):
    specs, told = trainable(pair_specs(NAMES), NAMES, *cohort(together, in_val), TrainConfig())
    names = {spec.name for spec in specs}
    assert {"a_from_b", "b_from_a", "b_from_c", "c_from_b"} <= names
    assert ("a_from_c" in names) == ("c_from_a" in names) == kept
    if kept:
        assert told == []
    else:
        (note,) = told
        assert f"a from c (train {together}, val {in_val})" in note
        assert "c from a" in note


def test_members_of_an_ensemble_go_together_and_are_told_once():
    specs, (note,) = trainable(pair_specs(NAMES, 3), NAMES, *cohort(0, 0), TrainConfig())
    assert len(specs) == 4 * 3
    assert note.count("a from c") == 1


@pytest.mark.parametrize("specs_of", [multi_specs, shared_specs])
def test_networks_of_all_sources_stay(specs_of):
    specs, told = trainable(specs_of(NAMES), NAMES, *cohort(0, 0), TrainConfig())
    assert specs == specs_of(NAMES)
    assert not told


def test_small_batches_need_fewer():
    specs, told = trainable(pair_specs(NAMES), NAMES, *cohort(2), TrainConfig(batch_size=2))
    assert len(specs) == 6
    assert not told


def test_a_target_without_any_pair_is_refused_with_numbers():
    present, train, val = cohort(3)
    present[train[:16], 0] = False  # 4 are left who have a and b
    with pytest.raises(InputError, match=r"of a .* 6 in train.*a from b \(train 4.*a from c \(tr"):
        trainable(pair_specs(NAMES), NAMES, present, train, val, TrainConfig())
