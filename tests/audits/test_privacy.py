"""Attacks against closed forms, a model that has learnt its patients by heart, and one that cannot
have."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from cohgen_jax.audits.attribute_inference import (
    Known,
    compared,
    explained,
    label_inference,
    recalls,
)
from cohgen_jax.audits.membership import denoising_losses, rates, supervised_scores
from cohgen_jax.audits.privacy import by_distance, candidates, record_distances, released_as
from cohgen_jax.codec import CodecConfig, fit_codec
from cohgen_jax.errors import InputError
from cohgen_jax.sampling.bank import Bank
from cohgen_jax.sampling.generator import Generated
from cohgen_jax.schedule import linear_schedule, signal_and_noise
from cohgen_jax.scores import draws as metrics

SCHEDULE = linear_schedule(100)
LEVELS = np.array([60, 30, 10])


class ByHeart(nn.Module):
    """The exact denoiser of the empirical distribution of `records` (all of them memorised), or of
    N(0, I) when there are none."""

    records: tuple = ()
    x_dim: int = 4
    cond_dims: tuple = (4,)

    def __call__(self, x, t, conds, mask=None, train=False):
        a, s = signal_and_noise(SCHEDULE, t)
        if not self.records:
            return s * x
        known = jnp.asarray(self.records, jnp.float32)
        squared = jnp.sum(jnp.square(x[:, None] - a[:, None] * known[None]), axis=-1)
        x_0 = jax.nn.softmax(-squared / (2 * jnp.square(s)), axis=1) @ known
        return (x - a * x_0) / s


def losses(records, x_0, num_noises=8):
    bank = Bank.from_models("b", ["a"], [(ByHeart(records=records), {})])
    conds = np.zeros((1, *x_0.shape), np.float32)
    return denoising_losses(
        bank, x_0, conds, 4, SCHEDULE, levels=LEVELS, num_noises=num_noises, seed=0
    )


def test_denoising_loss_is_the_closed_form():
    """For eps_hat = s x_t the error is a^2 eps - a s x_0, of mean square a^4 + a^2 s^2 x_0^2."""
    x_0 = np.array([[0.0] * 4, [1.0] * 4, [-3.0] * 4], np.float32)
    share = SCHEDULE.alpha_bar[LEVELS][:, None]
    expected = share**2 + share * (1 - share) * np.mean(x_0**2, axis=1)
    np.testing.assert_allclose(losses((), x_0, 20_000), expected, atol=0.02)


def test_loss_attack_finds_those_learnt_by_heart_and_nobody_else():
    rng = np.random.default_rng(0)
    x_0 = rng.normal(size=(400, 4)).astype(np.float32)
    members, others = x_0[:200], x_0[200:]
    memory = tuple(map(tuple, members.tolist()))
    found = -np.log(losses(memory, x_0)).mean(axis=0)
    assert rates(found[:200], found[200:]).auc > 0.95
    blind = -losses((), np.concatenate([members, others])).mean(axis=0)
    assert rates(blind[:200], blind[200:]).auc == pytest.approx(0.5, abs=0.08)


def test_rates_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    members, others = rng.normal(1, 1, 400).round(1), rng.normal(0, 1, 300).round(1)
    found = rates(members, others)
    truth = np.repeat([1, 0], [400, 300])
    assert found.auc == pytest.approx(roc_auc_score(truth, np.concatenate([members, others])))
    threshold = np.sort(others)[-4]  # three false accusations of 300 are allowed
    assert found.tpr_at_1fpr == pytest.approx(np.mean(members > threshold))
    # N(1, 1) against N(0, 1): AUC = Phi(1 / sqrt 2)
    assert found.auc_low < 0.7602 < found.auc_high
    assert 0.03 < found.auc_high - found.auc_low < 0.1
    assert found.tpr_low <= found.tpr_at_1fpr <= found.tpr_high


def test_supervised_attack_uses_what_separates_and_only_that():
    rng = np.random.default_rng(0)
    is_member = np.arange(400) < 200
    noise = rng.normal(size=(400, 5))
    told = np.column_stack([noise, is_member + 0.5 * rng.normal(size=400)])
    assert roc_auc_score(is_member, supervised_scores(told, is_member)) > 0.85
    guessed = supervised_scores(noise, is_member)
    assert roc_auc_score(is_member, guessed) == pytest.approx(0.5, abs=0.1)


def test_candidates_are_alike_in_label():
    rng = np.random.default_rng(0)
    split = rng.choice(["train", "val", "test"], 900, p=[0.6, 0.1, 0.3])
    labels = np.where(rng.random(900) < 0.3, "a", "b")
    complete = rng.random(900) < 0.8
    chosen = candidates(complete, split, labels, 60, seed=1)
    assert len(chosen.members) == len(chosen.others) == 60
    assert (labels[chosen.members] == labels[chosen.others]).all()
    assert set(split[chosen.members]) == {"train"}
    assert set(split[chosen.others]) == {"test"}
    assert complete[chosen.rows].all()
    assert len(set(chosen.rows)) == 120
    with pytest.raises(InputError, match="there are 0"):
        candidates(np.zeros(900, bool), split, labels, 60, seed=1)


def test_copies_of_training_records_are_told_from_fresh_ones():
    rng = np.random.default_rng(0)
    train, own, fresh = rng.normal(size=(3, 500, 3))
    copied = record_distances(train[rng.permutation(500)], own, train)
    assert copied["dcr"] == pytest.approx(0, abs=1e-6)
    assert copied["share_below"] == 1
    assert copied["closer_to_train"] > 0.99  # a copy of the training record at its own position
    assert copied["nndr"] < 0.01
    like_new = record_distances(fresh, own, train)
    assert like_new["dcr"] == pytest.approx(like_new["dcr_real"], rel=0.1)
    assert like_new["nndr"] == pytest.approx(like_new["nndr_real"], abs=0.03)
    assert like_new["share_below"] == pytest.approx(0.05, abs=0.03)
    assert like_new["closer_to_train"] == pytest.approx(0.5, abs=3 * 0.0224)


def test_released_tables_give_away_whom_they_copy():
    """In units, standardised again: a copied record is at distance 0, a fresh one is not."""
    rng = np.random.default_rng(0)
    raw = np.exp(rng.normal(size=(90, 5))).astype(np.float32)
    table = pd.DataFrame(raw, [f"p{i}" for i in range(90)], list("vwxyz"))
    table.index.name = "sample_id"
    codec = fit_codec(table[:60], None, CodecConfig(latent_dim=2), 0)
    x = codec.standardised(table)
    copied = Generated(np.zeros((1, 30, 2)), np.zeros((1, 30)), x[None, :30])
    columns, streams = np.array([0, 3]), np.arange(30, dtype=np.uint32)
    records = released_as(codec, copied, streams, 0, columns)
    np.testing.assert_allclose(records[0], x[:30][:, columns], atol=1e-4)
    found = by_distance(x[:60][:, columns], records[:, np.r_[:30, :30]], records)
    assert (found["release"][:30] > -1e-3).all()
    np.testing.assert_allclose(found["query"][:30], 0, atol=1e-3)
    assert rates(found["release"][:30], found["release"][30:]).auc > 0.99
    drawn = Generated(codec.project(x)[None, :30], np.zeros((1, 30)))  # with a draw of the rest
    records = released_as(codec, drawn, streams, 0, np.arange(5))
    expected = codec.draw_standardised(drawn.draws, streams, 0)
    np.testing.assert_allclose(records, expected, atol=0.02)


def test_attribute_scores_are_the_standard_ones():
    rng = np.random.default_rng(0)
    real, draws = rng.normal(size=(50, 3)), rng.normal(size=(6, 50, 3))
    everyone = np.ones(50)
    assert explained(draws, real).score(everyone) == pytest.approx(
        float(metrics.r2_inf(draws, real)), abs=1e-5
    )
    labels, predicted = rng.choice(list("xyz"), 50), rng.choice(list("xyz"), 50)
    assert recalls(predicted, labels).score(everyone) == pytest.approx(
        balanced_accuracy_score(labels, predicted)
    )


def test_a_gap_between_members_and_others_is_found():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(2, 300, 3))
    draws = 0.9 * real[None] + 0.1 * rng.normal(size=(5, 2, 300, 3))
    known, unknown = explained(draws[:, 0], real[0]), explained(draws[:, 0], real[1])
    found = compared(known, unknown, unknown, 0)
    assert found["gap"] == pytest.approx(found["members"] - found["others"])
    assert 1 < found["gap_low"] < found["gap"] < found["gap_high"]
    same = compared(known, explained(draws[:, 1], real[1]), unknown, 0)
    assert same["gap_low"] < 0 < same["gap_high"]


def test_a_label_is_inferred_where_the_generated_assay_tells_it():
    rng = np.random.default_rng(0)

    def group(n, telling):
        labels = rng.choice(["I", "II"], n).astype(object)
        generated = rng.normal(size=(n, 2)) + 3 * telling * (labels == "II")[:, None]
        labels[:5] = None
        labels[5] = "rare"
        return Known(rng.normal(size=(n, 4)), generated, labels)

    found = label_inference(group(200, 1), group(200, 1), group(200, 1), 0)
    assert found is not None
    assert found["others"] > 0.9
    assert found["without_model"] == pytest.approx(0.5, abs=0.1)
    empty = group(200, 1)._replace(labels=np.full(200, None))
    assert label_inference(empty, empty, empty, 0) is None
