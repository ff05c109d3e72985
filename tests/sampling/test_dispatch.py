"""Handing rows to models: every need is met once, and few programs are compiled."""

import jax
import numpy as np
import pytest

from cohgen_jax.networks import NetworkConfig, build, init
from cohgen_jax.sampling import Bank, SamplerConfig
from cohgen_jax.sampling.coherent import _sample
from cohgen_jax.sampling.dispatch import FEW_ROWS, dispatch, everywhere
from cohgen_jax.sampling.generate import sample_rows
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import ddim

SCHEDULE = linear_schedule(20)
SOLVER = ddim(SCHEDULE, 3)


@pytest.mark.parametrize(("num_rows", "num_devices"), [(40, 1), (40, 2), (400, 1), (400, 2)])
def test_every_row_finds_its_models_and_no_others(num_rows, num_devices):
    rng = np.random.default_rng(0)
    needed, groups = rng.random((num_rows, 5)) < [0.1, 0.9, 0.4, 0.5, 0.02], [(0, 3), (1, 2, 4)]
    needed[:, 1] |= ~needed.any(axis=1)
    plan = jax.tree.map(np.asarray, dispatch(needed, groups, num_devices))
    size = num_rows // num_devices
    for block in range(num_devices):
        # Let model k answer 100 k + row.
        answers = np.concatenate(
            [
                (100 * np.array(ks)[:, None] + rows[block]).ravel()
                for ks, rows in zip(groups, plan.rows, strict=True)
            ]
        )
        for n in range(size):
            taken = plan.taken[block, n]
            told = answers[plan.seats[block, n]][taken]
            ks = np.flatnonzero(needed[block * size + n])
            assert sorted(told) == [100 * k + n for k in ks]
            assert list(plan.models[block, n][taken]) == list(ks)
    idle, busy = (rows.shape[2] for rows in plan.rows)
    if size > FEW_ROWS:  # the busy group does not make the idle one work
        assert idle < busy
    else:
        assert idle == busy == size


def test_few_rows_are_one_program_whoever_has_what():
    rng, shapes = np.random.default_rng(0), set()
    for share in (0.2, 0.5, 1.0):
        needed = rng.random((32, 3)) < share
        needed[0] = True
        plan = dispatch(needed, [(0, 2), (1,)])
        shapes.add(tuple(np.shape(leaf) for leaf in jax.tree.leaves(plan)))
    assert len(shapes) == 1


def test_everywhere_is_the_dispatch_of_full_need():
    groups = [(1,), (0, 2)]
    ours, theirs = everywhere(9, groups), dispatch(np.ones((9, 3), bool), groups)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def bank_of(num_sources):
    module = build(NetworkConfig(architecture="mlp", width=8, num_layers=2), 3, (3,))
    models = [(module, init(module, jax.random.key(k))) for k in range(num_sources)]
    return Bank.from_models("t", [str(s) for s in range(num_sources)], models)


def test_all_subsets_of_all_patients_are_one_call_and_few_compilations():
    """Sizes of cohorts, patterns and targets vary; programs do not multiply with them."""
    modalities, bank = ("0", "1", "2", "t"), bank_of(3)
    rng = np.random.default_rng(1)
    before = _sample._cache_size()
    for num in (65, 70, 90, 127, 128, 200, 333):
        z = rng.normal(size=(num, 4, 3)).astype(np.float32)
        subsets = [[a, b, c, False] for a in (0, 1) for b in (0, 1) for c in (0, 1)][1:]
        present = np.repeat(np.array(subsets, bool), num, axis=0)
        rows = np.tile(z, (7, 1, 1))
        samples = sample_rows(
            bank, modalities, rows, present, 0, 2, SamplerConfig(solver=SOLVER), chains=128
        )
        assert samples.draws.shape == (2, 7 * num, 3)
        alone = np.asarray(samples.disagreement).reshape(2, 7, num)
        singles = present[::num].sum(axis=1) == 1
        assert np.all(np.isnan(alone[:, singles]))
        assert np.all(np.isfinite(alone[:, ~singles]))
    assert _sample._cache_size() - before <= 3


def test_models_are_not_run_where_they_are_not_needed():
    """Compiled work of a call in which each row has one of four sources: a quarter, not all."""
    num, groups = 128, [group.members for group in bank_of(4).groups]

    def slots(present):
        return sum(rows.size for rows in dispatch(np.asarray(present), groups).rows)

    one_each = np.eye(4, dtype=bool)[np.arange(num) % 4]
    assert slots(one_each) == num
    assert slots(np.ones_like(one_each)) == 4 * num
