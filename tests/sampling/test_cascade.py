"""Cascades against generators whose output is known."""

import numpy as np
import pytest

from cohgen_jax.errors import InputError
from cohgen_jax.sampling import cascade, complete
from cohgen_jax.sampling.generator import Generated

MODALITIES = ("a", "b", "c")
D = 2


def adder(target, calls=None):
    """Draws the sum of what is present, plus 10 times the position of the target, plus noise of
    0.01 that differs from row to row and seed to seed."""
    t = MODALITIES.index(target)

    def generate(z, present, num_draws, seed):
        if calls is not None:
            calls.append((target, z.copy(), present.copy(), num_draws, seed))
        shown = np.where(present[:, :, None], z, 0).sum(axis=1)
        noise = np.random.default_rng(seed).normal(size=(num_draws, len(z), D))
        draws = (shown[None] + 10 * t + 0.01 * noise).astype(np.float32)
        return Generated(draws, np.zeros((num_draws, len(z)), np.float32))

    return generate


def test_each_modality_sees_those_before_it():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(5, 3, D)).astype(np.float32)
    present = np.ones((5, 3), bool)
    before = z.copy()
    generators = {m: adder(m) for m in MODALITIES}
    draws = cascade(generators, MODALITIES, z, present, ["c", "b"], num_draws=4, seed=0)
    assert list(draws) == ["c", "b"]
    assert draws["b"].shape == draws["c"].shape == (4, 5, D)
    # The values that patients had of b and c play no part.
    np.testing.assert_allclose(draws["c"], np.tile(z[:, 0] + 20, (4, 1, 1)), atol=0.06)
    # Draw r of b is conditioned on draw r of c.
    np.testing.assert_allclose(draws["b"], z[None, :, 0] + draws["c"] + 10, atol=0.06)
    assert len(np.unique(draws["c"][:, 0, 0])) == 4
    np.testing.assert_array_equal(z, before)
    assert present.all()


def test_the_order_matters_and_narrow_draws_are_padded():
    z, present = np.ones((3, 3, D + 2), np.float32), np.ones((3, 3), bool)
    calls = []

    def narrow(z, present, num_draws, seed):
        return adder("a")(z[..., :D], present, num_draws, seed)

    def wide(z, present, num_draws, seed):
        calls.append(z)
        return adder("b")(z[..., :D], present, num_draws, seed)

    generators = {"a": narrow, "b": wide}
    one = cascade(generators, MODALITIES, z, present, ["a", "b"], num_draws=1, seed=0)
    other = cascade(generators, MODALITIES, z, present, ["b", "a"], num_draws=1, seed=0)
    assert np.abs(one["b"] - other["b"]).min() > 0.5
    np.testing.assert_allclose(calls[0][:, 0, :D], one["a"][0])


@pytest.mark.parametrize("order", [["a", "a"], ["a", "x"], ["c"]])
def test_an_order_that_cannot_be(order):
    z, present = np.ones((3, 3, D), np.float32), np.ones((3, 3), bool)
    with pytest.raises(InputError, match="must name different modalities"):
        cascade({"a": adder("a")}, MODALITIES, z, present, order, num_draws=1, seed=0)


def test_completing_generates_what_is_missing_from_what_is_there():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(6, 3, D)).astype(np.float32)
    present = np.ones((6, 3), bool)
    present[[0, 1], 0] = False
    present[1, 1] = False
    present[2] = False  # has nothing
    calls = []
    generators = {m: adder(m, calls) for m in MODALITIES}
    filled = complete(generators, MODALITIES, z, present, num_draws=3, seed=0)
    assert {m: rows.tolist() for m, (rows, _) in filled.items()} == {
        "a": [0, 1, 2],
        "b": [1, 2],
        "c": [2],
    }
    shown = np.where(present[:, :, None], z, 0).sum(axis=1)
    for m, (rows, draws) in filled.items():
        expected = shown[rows] + 10 * MODALITIES.index(m)
        np.testing.assert_allclose(draws, np.tile(expected, (3, 1, 1)), atol=0.06)
    assert len({seed for *_, seed in calls}) == 3  # modalities do not share their noise
    whole = np.ones_like(present)
    assert complete(generators, MODALITIES, z, whole, num_draws=3, seed=0) == {}
