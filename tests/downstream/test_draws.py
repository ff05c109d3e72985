"""Draws: cascades of all orders at once are cascades; what is kept is read as it was."""

import dataclasses

import numpy as np

from cohgen_jax.downstream import draws as drawing
from cohgen_jax.downstream.study import open_gaps
from cohgen_jax.sampling import cascade
from cohgen_jax.sampling.generator import Generated
from tests.downstream.conftest import planted_draws, planted_study

NAMES = ("a", "b", "c", "d")


def weighted_sum(target: int):
    """A deterministic generator: shows which modalities it saw, and what they held."""

    def generate(z, present, num_draws, seed):
        factor = np.array([1.0, 10.0, 100.0, 1000.0])
        total = (z * (present * factor)[:, :, None]).sum(axis=1) + target
        draws = np.repeat(total[None], num_draws, axis=0).astype(np.float32)
        return Generated(draws, np.zeros(draws.shape[:2], np.float32))

    return generate


def test_all_orders_at_once_are_the_cascade_of_each():
    z = np.random.default_rng(0).standard_normal((5, 4, 2)).astype(np.float32)
    generators = {name: weighted_sum(t) for t, name in enumerate(NAMES)}
    orders = [*drawing.subsets_removed(NAMES), *(r for _, r in drawing.pair_orders(NAMES))]
    assert len(orders) == 14 + 6
    together = drawing.cascade_orders(generators, NAMES, z, orders, 3, 0)
    for order in orders:
        alone = cascade(generators, NAMES, z, np.ones((5, 4), bool), order, 3, 0)
        assert list(together[order]) == list(order)
        for target in order:
            np.testing.assert_allclose(together[order][target], alone[target], rtol=1e-6)


def test_hidden_values_are_not_seen():
    """Other true values of what an order takes away change nothing."""
    z = np.random.default_rng(0).standard_normal((5, 4, 2)).astype(np.float32)
    generators = {name: weighted_sum(t) for t, name in enumerate(NAMES)}
    changed = z.copy()
    changed[:, 1:3] += 7
    before = drawing.cascade_orders(generators, NAMES, z, [("c", "b")], 2, 0)
    after = drawing.cascade_orders(generators, NAMES, changed, [("c", "b")], 2, 0)
    for target, values in before["c", "b"].items():
        np.testing.assert_array_equal(values, after["c", "b"][target])


def test_covariates_are_shown_whatever_is_hidden():
    """To cascades, to holes, and where nothing else is shown."""
    study = planted_study(num=40, holes=0.4)
    known = np.random.default_rng(3).standard_normal((40, 1, 3)).astype(np.float32)
    latents = study.latents._replace(
        z=np.concatenate([study.latents.z, known], axis=1), widths=np.array([3, 3, 3, 2])
    )
    study = dataclasses.replace(study, latents=latents)
    patient = {row.tobytes(): i for i, row in enumerate(known[:, 0])}

    def told(target: int):
        def generate(z, present, num_draws, seed):
            assert (z[:, :3][~present] == 0).all()
            who = np.array([patient[row.tobytes()] for row in z[:, 3]], np.float32)
            draws = np.tile(who[None, :, None], (num_draws, 1, 3))
            return Generated(draws, np.zeros(draws.shape[:2], np.float32))

        return generate

    generators = {("multi", name): told(t) for t, name in enumerate(study.modalities)}
    drawn = drawing.generate_all(generators, study, "multi", 2, 0)
    for order, targets in drawn.cascades["multi"].items():
        for target in order:
            np.testing.assert_array_equal(targets[target][1, :, 0], study.test)
    lacking = study.train[~latents.present[study.train, 2]]
    np.testing.assert_array_equal(drawn.holes["multi"]["c"][0, :, 0], lacking)
    np.testing.assert_array_equal(drawn.unconditional["multi"]["a"][0, :, 0], study.test)
    completed = drawn.completed("multi", ("a",), latents.z[study.test])
    np.testing.assert_array_equal(completed[:, :, 3], np.tile(known[study.test, 0], (2, 1, 1)))
    features = open_gaps(latents, latents.z, latents.present)
    assert features.shape == (40, 9)  # of the assays alone


def test_kept_draws_are_read_under_their_key_only(tmp_path):
    study = planted_study(num=60, holes=0.3)
    drawn, path = planted_draws(study, 2), tmp_path / "multi.npz"
    drawing.save(drawn, "multi", path, "key")
    again = drawing.load(path, "multi", "key")
    assert again is not None
    np.testing.assert_array_equal(again.one("multi", "b"), drawn.one("multi", "b"))
    lacking = (~study.latents.present[study.train, 2]).sum()
    assert again.holes["multi"]["c"].shape[1] == lacking > 0
    assert drawing.load(path, "multi", "other") is None
    path.write_bytes(path.read_bytes()[:-200])
    assert drawing.load(path, "multi", "key") is None
    assert drawing.load(tmp_path / "none.npz", "multi", "key") is None
