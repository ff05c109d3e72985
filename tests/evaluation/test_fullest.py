"""Which condition stands for a target."""

import pandas as pd
import pytest

from cohgen_jax.evaluation.fullest import all_others, fullest, in_words, of_fullest
from cohgen_jax.evaluation.summary import summarise, summary_text

MODALITIES = ("a", "b", "c")


def table(counts, target="a"):
    """Conditions of one target, by two methods. counts: sources -> n."""
    return pd.DataFrame(
        [
            {"target": target, "method": method, "sources": sources, "n": n, "draws": 3}
            | {"num_sources": 0 if sources == "none" else sources.count("+") + 1}
            | {"r2_inf": 0.5, "energy_score": n + 0.1 * len(method), "energy_score_se": 0.1}
            | {"spread_error": 1.0, "coverage80": 0.8}
            for sources, n in counts.items()
            for method in ("multi", "ridge")
        ]
    )


@pytest.mark.parametrize(
    ("counts", "chosen"),
    [
        ({"none": 90, "b": 90, "c": 90, "b+c": 90}, "b+c"),
        ({"b": 90, "c": 90, "b+c": 10}, "b+c"),
        ({"b": 40, "c": 90, "b+c": 9}, "c"),
        ({"b": 40, "c": 90}, "c"),  # nobody has both
        ({"b": 6, "c": 6, "b+c": 6}, "b+c"),
        ({"b": 6, "c": 7, "b+c": 5}, "c"),
        ({"none": 3}, "none"),
    ],
)
def test_most_sources_that_enough_patients_have(counts, chosen):
    rows = table(counts)
    assert fullest(rows) == {"a": chosen}
    own = of_fullest(rows, {"a": chosen})
    assert own["method"].tolist() == ["multi", "ridge"]
    assert set(own["sources"]) == {chosen}


def test_words_and_summary_name_the_sources_where_these_are_not_all():
    pairs = pd.concat([table({"b": 40, "c": 40}), table({"a": 40, "c": 20}, "b")])
    chosen = fullest(pairs)
    assert chosen == {"a": "b", "b": "a"}
    assert not all_others(chosen, MODALITIES)
    assert "(a from b, b from a)" in in_words(chosen, MODALITIES)
    assert len(summarise(pairs)) == 4
    text = summary_text(pairs)
    assert "a from b" in text
    assert "all others" not in text
    whole = table({"b": 40, "c": 40, "b+c": 40})
    assert in_words(fullest(whole), MODALITIES) == "from all other modalities"
    assert "from all others" in summary_text(whole)
