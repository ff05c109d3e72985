"""Figures and the report: everything asked for is drawn, and the page stands alone."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.evaluation import figures, style
from cohgen_jax.evaluation.fidelity import conditions
from cohgen_jax.evaluation.report import write_report


def table_of(num_modalities: int) -> tuple[list[str], pd.DataFrame]:
    names = [f"m{i}" for i in range(num_modalities)]
    rng = np.random.default_rng(0)
    rows = [
        {
            "method": method,
            "target": c.target,
            "sources": c.label,
            "num_sources": len(c.sources),
            "n": 50,
            "r2_inf": rng.uniform(-0.05, 0.5),
            "energy_score": rng.uniform(3, 4),
            "energy_score_se": 0.05,
            "spread_error": rng.uniform(0.8, 1.2),
            "coverage80": 0.8,
        }
        for method in ("coherent", "multi", "ridge", "kernel_ridge", "nearest")
        for c in conditions(names)
    ]
    return names, pd.DataFrame(rows)


@pytest.mark.parametrize("num_modalities", [2, 4, 6])
@pytest.mark.parametrize("score", ["r2_inf", "energy_score", "spread_error"])
def test_bars_have_a_panel_a_target(num_modalities, score):
    names, table = table_of(num_modalities)
    figure = figures.score_bars(table, names, score)
    titles = {axes.get_title(loc="left") for axes in figure.axes} - {""}
    assert titles == set(names)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "Coherent Denoising", "Multi-condition", "Ridge", "Kernel ridge", "Nearest patients"
    ]  # fmt: skip


def test_bars_are_as_high_as_the_scores():
    names, table = table_of(3)
    panel = figures.score_bars(table, names).axes[0]
    chosen = table.query("target == 'm0' and method == 'coherent'")
    heights = [bar.get_height() for bar in panel.containers[0]]
    np.testing.assert_allclose(heights, chosen["r2_inf"])


def test_a_method_has_one_colour_everywhere():
    assert style.method_colour("multi") == style.method_colour("multi", ["x", "multi"])
    mine = ["mine", "yours"]
    assert len({style.method_colour(m, [*style.METHODS, *mine]) for m in mine}) == 2


def test_other_figures_and_files(tmp_path):
    rng = np.random.default_rng(0)
    history = pd.DataFrame(
        {
            "epoch": [1, 2, 3] * 2,
            "model": ["p_from_q"] * 3 + ["q_from_multi"] * 3,
            "train_loss": rng.random(6),
            "val_energy": [3, 1, 2, 5, 4, np.nan],
        }
    )
    models = [("p_from_q", "p", "q"), ("q_from_multi", "q", "multi")]
    loss = figures.loss_curves(history, models)
    best = [line for line in loss.axes[2].lines if line.get_marker() == "o"]
    assert [list(line.get_xydata()[0]) for line in best] == [[2, 1]]
    real = {"p": rng.normal(size=(30, 4)), "q": rng.normal(size=(30, 2))}
    pca = figures.pca_panels(real, {("multi", "p"): real["p"], ("multi", "q"): real["q"]})
    assert len(pca.axes) == 4
    chains = {
        "p": {"q+r": rng.random((9, 5)), "q": rng.random((9, 5))},
        "q": {"p": rng.random((9, 5))},
    }
    curves = figures.disagreement_curves(chains, np.linspace(999, 0, 5))
    for name, figure in {"loss": loss, "pca": pca, "curves": curves}.items():
        path = style.save(figure, tmp_path / "figures" / name)
        assert ET.parse(path).getroot().tag.endswith("svg")
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    again = style.save(curves, tmp_path / "again")
    assert again.read_bytes() == (tmp_path / "figures" / "curves.svg").read_bytes()


def test_the_report_stands_alone_and_escapes(tmp_path):
    names, table = table_of(3)
    figure = style.save(figures.score_bars(table, names), tmp_path / "figures" / "bars")
    page = write_report(
        tmp_path / "run",
        title="A <b>cohort</b>",
        tables={"Conditions": table, "Types": pd.DataFrame({"label": ["x & y"], "r2": [0.12345]})},
        figures=[(figure, 'Bars "of" R2'), (figure.with_suffix(".png"), "again")],
        metadata={"seed": 3, "config": {"widths": [1, 2]}},
        notes=["dropped <3 columns"],
    ).read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", page)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert page.count("<img") == 2
    for text in ("A &lt;b&gt;cohort", "x &amp; y", "dropped &lt;3 columns", "0.1235"):
        assert text in page
    best = table.query("num_sources == 2 and target == 'm0'").sort_values("r2_inf").iloc[-1]
    assert f'<span class="r2 best">{best.r2_inf:.3f}</span>' in page


def test_a_report_without_scores_has_no_summary(tmp_path):
    page = write_report(tmp_path, title="Empty", tables={}).read_text()
    assert "Summary" not in page
    with pytest.raises(ValueError, match="embeds"):
        write_report(tmp_path, title="x", tables={}, figures=[(tmp_path / "a.pdf", "")])
