"""Models that are finished leave the farm, and nobody notices."""

import dataclasses

import jax
import numpy as np
import pytest

from cohgen_jax.training import pair_specs, team, train_farm
from cohgen_jax.training.farm import init_state, train_epoch, validate
from cohgen_jax.training.team import assemble, reunite, shrink, team_size
from tests.training.test_farm import CONFIG, MODALITIES, farm_of, leaves_equal

SPECS = pair_specs(MODALITIES)
LONGER = dataclasses.replace(CONFIG, num_epochs=6)


def of_model(state, k):
    """Everything of one model that training changes."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[k], state._replace(epoch=state.active))


def without_c(farm_and_data):
    """Modality c is broken: of six models only a_from_b and b_from_a (0 and 2) can go on."""
    farm, data = farm_and_data
    return farm, data._replace(z=data.z.at[:, 2].set(np.nan))


@pytest.fixture(scope="module")
def shrunk(tmp_path_factory):
    farm, data = without_c(farm_of(SPECS, LONGER))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(team, "PROGRAM", 0.0)
        return train_farm(farm, data, tmp_path_factory.mktemp("shrunk"))


def test_sizes_are_few_and_hold_everybody():
    assert [team_size(n, 12) for n in range(13)] == [1, 1, 2, 3, 5, 5, 6, 9, 9, 9, 12, 12, 12]
    assert [team_size(n, 12, parts=4) for n in (0, 4, 5, 8, 9)] == [4, 4, 8, 8, 12]
    for num_models in (1, 16, 64, 1000):
        sizes = [team_size(n, num_models) for n in range(1, num_models + 1)]
        assert all(size >= n for n, size in enumerate(sizes, start=1))
        assert len(set(sizes)) <= 1 + 2 * np.log2(num_models)


def test_what_leaves_comes_back_as_it_was():
    farm, data = farm_of(SPECS)
    state = init_state(data, farm=farm)
    before = jax.tree.map(np.array, state)
    two = assemble(state, data, [1, 4])
    assert two.places.tolist() == [1, 4]
    assert np.array_equal(two.data.rows, np.asarray(data.rows)[[1, 4]])
    assert leaves_equal(reunite(two), before)
    trained, _ = train_epoch(two.state, two.data, farm=farm)
    after = reunite(two._replace(state=trained))
    for k in range(6):
        assert leaves_equal(of_model(after, k), of_model(before, k)) == (k not in (1, 4))
    two = two._replace(state=trained)
    assert shrink(two, data, [1, 4], 2 * team.PROGRAM) is two
    assert shrink(two, data, [4], team.PROGRAM) is two  # as much as it costs
    assert shrink(two, data, [4], 2 * team.PROGRAM).places.tolist() == [4]


def test_a_shrunken_farm_trains_its_models_as_the_full_one(shrunk):
    """Within 1e-6: a batched product of another size may be summed in another order."""
    state, _ = shrunk
    farm, data = without_c(farm_of(SPECS, LONGER))
    full = init_state(data, farm=farm)
    for _ in range(3):
        for _ in range(2):
            full, _ = train_epoch(full, data, farm=farm)
        full, _ = validate(full, data, farm=farm)
    for k in range(6):
        for a, b in zip(
            *map(jax.tree.leaves, (of_model(state, k), of_model(full, k))), strict=True
        ):
            assert np.allclose(a, b, atol=1e-6)


def test_it_goes_on_in_the_company_that_it_had(shrunk, tmp_path, monkeypatch):
    """To the same bits, though nobody would leave now."""
    state, rows = shrunk
    monkeypatch.setattr(team, "PROGRAM", 0.0)
    farm, data = without_c(farm_of(SPECS, LONGER))
    train_farm(farm, data, tmp_path, until=3)
    monkeypatch.setattr(team, "PROGRAM", np.inf)
    farm, data = without_c(farm_of(SPECS, LONGER))
    end, told = train_farm(farm, data, tmp_path)
    assert str(told) == str(rows)  # nan is not nan
    assert leaves_equal(end, state)


def test_a_model_ends_the_same_alone_as_in_company_that_leaves(shrunk, tmp_path):
    state, _ = shrunk
    farm, data = without_c(farm_of([SPECS[2]], LONGER))
    alone, _ = train_farm(farm, data, tmp_path)
    for a, b in zip(*map(jax.tree.leaves, (of_model(state, 2), of_model(alone, 0))), strict=True):
        assert np.allclose(a, b, atol=1e-6)


def test_who_left_has_no_further_history(shrunk):
    _, rows = shrunk
    by_epoch = {e: [r["model"] for r in rows if r["epoch"] == e] for e in (2, 4, 6)}
    assert by_epoch[2] == [spec.name for spec in SPECS]
    assert by_epoch[4] == by_epoch[6] == ["a_from_b", "b_from_a"]
    assert [r["active"] for r in rows if r["epoch"] == 2] == [
        True,
        False,
        True,
        False,
        False,
        False,
    ]


def test_a_broken_model_keeps_its_last_good_weights(shrunk):
    state, _ = shrunk
    farm, data = farm_of(SPECS, LONGER)
    fresh = init_state(data, farm=farm)
    assert leaves_equal(
        jax.tree.map(lambda leaf: leaf[4], state.best["energy"]),
        jax.tree.map(lambda leaf: leaf[4], fresh.variables),
    )


@pytest.mark.heavy
def test_training_can_stop_at_an_epoch_and_go_on_with_some(tmp_path):
    """until, then only: those chosen end as if nothing had happened, the others stay there."""
    farm, data = farm_of(SPECS)
    whole, _ = train_farm(farm, data, tmp_path / "whole")
    farm, data = farm_of(SPECS)
    part, rows = train_farm(farm, data, tmp_path / "parts", until=2)
    assert int(part.epoch) == 2
    stopped = of_model(part, 0)
    farm, data = farm_of(SPECS)
    end, rows = train_farm(farm, data, tmp_path / "parts", only=[1, 3, 5])
    assert int(end.epoch) == 4
    assert [r["model"] for r in rows[6:]] == [SPECS[k].name for k in (1, 3, 5)]
    for a, b in zip(*map(jax.tree.leaves, (of_model(whole, 3), of_model(end, 3))), strict=True):
        assert np.allclose(a, b, atol=1e-6)
    assert leaves_equal(
        of_model(end, 0)._replace(active=True), stopped._replace(active=True, epoch=False)
    )
