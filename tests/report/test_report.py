"""Figures show the numbers they are given; the page holds what the run holds and stands alone."""

import base64
import dataclasses
import gzip
import html.parser
import itertools
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text as MplText

from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.fidelity import conditions
from cohgen_jax.evaluation.summary import summarise
from cohgen_jax.figures import curves, dots, maps, missing, style
from cohgen_jax.report import page, write_run_report
from cohgen_jax.report.sections import CHAPTERS, fidelity
from cohgen_jax.report.sections.downstream import verdicts
from cohgen_jax.report.sections.overview import honesty, verdict

METHODS = ("coherent", "coherent_mean", "coherent_loss", "multi", "ridge", "kernel_ridge",
           "nearest", "gaussian", "multimodal_vae")  # fmt: skip
CHROMIUM = shutil.which("chromium")


def table_of(num_modalities: int) -> tuple[list[str], pd.DataFrame]:
    names = ["cna", "rnaseq", "rppa", "wsi", "methylation", "mirna", "radiology"][:num_modalities]
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
        for method in METHODS
        for c in conditions(names)
    ]
    return names, pd.DataFrame(rows)


def overlapping(figure) -> list[tuple[str, str]]:
    """Pairs of texts of the drawn figure that cover each other."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    unused = [axes for axes in figure.axes if not axes.get_visible()]
    hidden = {text for axes in unused for text in axes.findobj(MplText)}
    for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]:
        low, high = sorted(axis.get_view_interval())
        out_of_view = [t for t in axis.get_major_ticks() if not low <= t.get_loc() <= high]
        hidden |= {text for tick in out_of_view for text in (tick.label1, tick.label2)}
    boxes = [
        (text.get_text(), text.get_window_extent(canvas.get_renderer()))
        for text in figure.findobj(MplText)
        if text.get_visible() and text.get_text().strip() and text not in hidden
    ]
    return [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(boxes, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]


def test_overlaps_are_seen():
    figure = style.panels(1, 1, width=2, height=2)[0]
    figure.axes[0].set_xticks([0.5, 0.51], ["one label", "another"])
    assert ("one label", "another") in overlapping(figure)


@pytest.mark.parametrize("num_modalities", [2, 4, 7])
def test_dots_have_a_panel_a_target_and_labels_do_not_overlap(num_modalities):
    names, table = table_of(num_modalities)
    figure = dots.score_dots(table, names)
    assert {axes.get_title(loc="left") for axes in figure.axes} - {""} == set(names)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [style.method_label(m) for m in METHODS]
    assert overlapping(figure) == []


def test_dots_lie_at_the_scores():
    names, table = table_of(3)
    panel = dots.score_dots(table, names).axes[0]
    line = next(x for x in panel.lines if x.get_label() == style.method_label("multi"))
    chosen = table.query("target == 'cna' and method == 'multi'")
    np.testing.assert_allclose(line.get_xdata(), chosen["r2_inf"])


def test_with_many_subsets_dots_are_means_by_number_of_sources():
    names, table = table_of(6)
    panel = dots.score_dots(table, names).axes[0]
    line = next(x for x in panel.lines if x.get_label() == style.method_label("multi"))
    own = table.query("target == 'cna' and method == 'multi'")
    np.testing.assert_allclose(line.get_xdata(), own.groupby("num_sources")["r2_inf"].mean())


def test_presence_patterns_count_everybody_once():
    present = pd.DataFrame({"a": [1, 1, 0, 1], "b": [1, 0, 1, 1]}).astype(bool)
    patterns = missing.presence_patterns(present)
    assert patterns.to_dict("records")[0] == {"a": True, "b": True, "samples": 2}
    assert patterns["samples"].sum() == 4
    assert overlapping(missing.upset(present)) == []


def test_a_method_has_one_colour_everywhere():
    assert style.method_colour("multi") == style.method_colour("multi", ["x", "multi"])
    mine = ["mine", "yours"]
    assert len({style.method_colour(m, [*style.METHODS, *mine]) for m in mine}) == 2


def test_principal_axes_of_a_line_hold_all_variation():
    line = np.outer(np.arange(9.0), [3.0, 4.0])
    found = maps.pca_map(line, {"multi": line[:2]})
    assert found.labels[0] == "PC1 (100%)"
    np.testing.assert_allclose(np.abs(np.diff(found.points["real"][:, 0])), 5)
    np.testing.assert_allclose(found.points["multi"], found.points["real"][:2], atol=1e-9)


def test_figures_become_the_same_files(tmp_path):
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
    loss = curves.loss_curves(history, models)
    best = [line for line in loss.axes[2].lines if line.get_marker() == "o"]
    assert [list(line.get_xydata()[0]) for line in best] == [[2, 1]]
    path = style.save(loss, tmp_path / "figures" / "loss")
    assert ET.parse(path).getroot().tag.endswith("svg")
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    again = curves.loss_curves(history, models)
    assert style.save(again, tmp_path / "again").read_bytes() == path.read_bytes()


# ---- the page --------------------------------------------------------------------------------


class Outline(html.parser.HTMLParser):
    """Ids of sections, pictures without words, and whatever would be loaded from elsewhere."""

    def __init__(self, text: str):
        super().__init__()
        self.sections, self.mute, self.loads, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "section":
            self.sections.append(given["id"])
        if tag == "img" and not given.get("alt"):
            self.mute.append(given["src"][:40])
        links = [given.get(name, "") for name in ("src", "href", "srcset", "data")]
        self.loads += [link for link in links if link and not re.match("#|data:", link)]
        if tag not in ("meta", "link", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The files of a run with three modalities, evaluated, without downstream or audit."""
    path = tmp_path_factory.mktemp("report") / "run"
    names, table = table_of(3)
    rng = np.random.default_rng(1)
    ids = pd.Index([f"P{i:02d}" for i in range(40)], name="sample_id")
    about = {"codecs": {name: {} for name in names}}
    config = {"cohort": "folder/<b>mine", "data_checksum": "abc", "seed": 1, "split_seed": 2,
              "diffusion": {"predicts": "v"}}  # fmt: skip
    for folder in ("codec", "latents", "metrics", "generated/multi", "models/single"):
        (path / folder).mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config))
    (path / "codec" / "about.json").write_text(json.dumps(about))
    note = {"time": "2026-01-01T00:00:00+00:00", "event": "note", "text": "dropped <3 columns"}
    (path / "log.jsonl").write_text(2 * (json.dumps(note) + "\n"))  # a run that was resumed
    pd.DataFrame(
        {"split": ["train"] * 25 + ["val"] * 5 + ["test"] * 10, "cancer_type": ["x & y", "z"] * 20},
        index=ids,
    ).to_parquet(path / "samples.parquet")
    for m, name in enumerate(names):
        values = pd.DataFrame(rng.normal(size=(40, 3)), ids, [f"latent_{d}" for d in range(3)])
        (values.iloc[:-9] if m == 2 else values).to_parquet(path / "latents" / f"{name}.parquet")
        others = "+".join(other for other in names if other != name)
        values.iloc[25:].assign(draw=0).to_parquet(
            path / "generated" / "multi" / f"{name}_from_{others}.parquet"
        ) if m < 2 else None
    table.to_csv(path / "metrics" / "fidelity.csv", index=False)
    return path


def test_the_page_stands_alone_and_names_what_is_absent(small_run):
    text = write_run_report(small_run).read_text()
    outline = Outline(text)
    assert text.count("dropped &lt;3 columns") == 1
    assert outline.loads == []
    assert outline.open == []
    assert outline.mute == []
    for anchor in ("overview", "cohort", "fidelity", "calibration", "embedding", "run"):
        assert anchor in outline.sections
    for anchor in ("downstream", "privacy", "raw", "shift", "training"):
        chapter = next(c for c in CHAPTERS if c.anchor == anchor)
        assert anchor not in outline.sections
        assert chapter.made_by.format(run=small_run) in text
    assert "variation between held-out patients" in text
    for escaped in ("&lt;b&gt;mine", "dropped &lt;3 columns", "x &amp; y"):
        assert escaped in text
    assert "<b>mine" not in text
    best = pd.read_csv(small_run / "metrics" / "fidelity.csv").query(
        "num_sources == 2 and target == 'cna'"
    )
    assert f'<span class="big best">{best["r2_inf"].max():.3f}</span>' in text


def test_the_page_names_the_patients_of_the_evaluation(small_run, tmp_path):
    run = shutil.copytree(small_run, tmp_path / "run")
    (run / "metrics" / "evaluation.json").write_text('{"split": "val"}')
    text = write_run_report(run).read_text()
    for place in ("variation between", "posterior mean on", "on the same"):
        assert f"{place} validation patients" in text
    assert "better than new patients will have" in text
    assert not re.search("held-out", text, re.IGNORECASE)


def test_one_row_holds_a_condition_by_every_method():
    _, table = table_of(3)
    shuffled = table.sample(frac=1, random_state=0)
    found = fidelity.wide(shuffled, "energy_score", list(METHODS))
    assert len(found) == 9  # three targets, each from two single sources and from both
    assert (
        found["sources"] == shuffled.drop_duplicates(["target", "sources"])["sources"].array
    ).all()
    for method in METHODS:
        own = table[table["method"] == method].set_index(["target", "sources"])["energy_score"]
        wanted = own.loc[list(zip(found["target"], found["sources"], strict=True))]
        np.testing.assert_array_equal(found[style.method_label(method)], wanted)


def test_the_plots_hold_the_numbers(small_run):
    text = write_run_report(small_run).read_text()
    specs = re.findall(r'<script type="application/json">(.*?)</script>', text, re.S)
    scores = next(s for s in map(json.loads, specs) if "score" in s["traces"][0].get("meta", {}))
    table = pd.read_csv(small_run / "metrics" / "fidelity.csv")
    own = table.query("target == 'rppa' and method == 'gaussian'").set_index("sources")
    trace = next(
        t for t in scores["traces"]
        if t["meta"] == {"target": "rppa", "score": "R² of the posterior mean"}
        and t["name"] == "Gaussian"
    )  # fmt: skip
    np.testing.assert_allclose(trace["x"], own.loc[trace["y"], "r2_inf"], rtol=1e-3)


def test_numbers_that_json_has_not_and_text_that_ends_a_script():
    spec = json.loads(
        page.Plot([{"x": [float("nan"), np.float32(1.5)], "name": "</script>"}], {}, None).json  # pyright: ignore
    )
    assert spec["traces"][0] == {"x": [None, 1.5], "name": "</script>"}
    raw = page.Plot([{"name": "</script>"}], {}, None).json  # pyright: ignore
    assert "<" not in raw


def test_the_verdict_says_what_is_bad():
    _, table = table_of(3)
    table["r2_inf"], table["energy_score"], table["coverage80"] = 0.2, 3.0, 0.6
    table.loc[table["method"] == "ridge", "energy_score"] = 2.5
    headline, first, *_ = verdict(summarise(table), ["coherent", "multi"])
    assert "on 0 of 3 targets" in headline
    assert "too sure of itself" in first
    assert "0.50 worse" in first
    few = table.assign(spread_error=1.0, draws=3)  # whose range holds the truth half of the time
    assert "calibrated (" in verdict(summarise(few), ["coherent", "multi"])[1]
    assert "too sure" in verdict(summarise(few.assign(draws=9)), ["coherent", "multi"])[1]
    table["coverage80"], table["spread_error"] = 0.8, [0.7, 1.0, 1.4] * (len(table) // 3)
    words = honesty(table.iloc[0]), honesty(table.iloc[1]), honesty(table.iloc[2])
    assert [text.split(" (")[0] for text in words] == [
        "too sure of itself", "calibrated", "less sure than it could be"
    ]  # fmt: skip


def with_units(table: pd.DataFrame) -> pd.DataFrame:
    """The same, scored in units as well."""
    rng = np.random.default_rng(2)
    crps = rng.uniform(0.4, 0.6, len(table))
    scores = {"crps": crps, "crps_se": 0.01, "r2": 1 - crps, "corr": 0.5, "variance_ratio": 0.98,
              "coverage80": 0.65, "structure_slope": 0.9, "pearson_pooled": 0.7}  # fmt: skip
    return table.assign(draws=10, **{f"units_{name}": value for name, value in scores.items()})


def test_the_verdict_is_in_units_and_paired_where_there_are_any():
    names, table = table_of(3)
    table = with_units(table)
    full = table["num_sources"] == 2
    table.loc[full, "units_crps"] = 0.5
    table.loc[full & (table["method"] == "multi"), "units_crps"] = 0.4
    table.loc[full & (table["method"] == "ridge"), "units_crps"] = [0.45, 0.45, 0.35]
    paired = pd.DataFrame(
        [
            {"method": "multi", "baseline": "ridge", "difference": difference, "se": 0.02,
             "target": target, "sources": "+".join(m for m in names if m != target)}
            for target, difference in zip(names, [-0.05, -0.03, 0.05], strict=True)
        ]
    )  # fmt: skip
    models = ["coherent", "multi"]
    headline, first, *_ = verdict(summarise(table), models, paired=paired)
    assert "better CRPS in units than every baseline on 2 of 3 targets" in headline
    assert "by more than two standard errors on 1, and behind it on 1" in headline
    assert first.startswith("cna: Multi-condition explains")
    assert "CRPS in units 0.4000; calibrated (the middle 80 %" in first
    assert "65 % when honest" in first
    assert "the model is 0.0500 better (patient by patient -0.0500 ± 0.0200" in first
    headline, first, *_ = verdict(summarise(table), models)  # not paired: no claim of that kind
    assert "standard errors" not in headline
    assert first.endswith("0.0500 better.")
    narrow = summarise(table.assign(units_coverage80=0.6)).iloc[0]
    assert honesty(narrow).startswith("too sure of itself")
    # Shared values raise coverage by themselves.
    wide = summarise(table.assign(units_coverage80=0.75, spread_error=1.0)).iloc[0]
    assert honesty(wide).startswith("calibrated")


def test_scores_in_units_lead_the_page(small_run, tmp_path):
    run = shutil.copytree(small_run, tmp_path / "run")
    table = with_units(pd.read_csv(run / "metrics" / "fidelity.csv"))
    table.to_csv(run / "metrics" / "fidelity.csv", index=False)
    known = {"columns": [{"name": "cancer_type"}, {"name": "age"}], "notes": []}
    (run / "covariates.json").write_text(json.dumps(known))
    text = write_run_report(run).read_text()
    best = table.query("num_sources == 2 and target == 'cna'")["units_crps"].min()
    assert f'<span class="big best">{best:.4f}</span>' in text
    assert "all models know cancer_type, age of each patient" in text
    assert "tables of the cohort could not be read" not in text
    specs = re.findall(r'<script type="application/json">(.*?)</script>', text, re.S)
    scores = next(s for s in map(json.loads, specs) if "score" in s["traces"][0].get("meta", {}))
    order = list(dict.fromkeys(trace["meta"]["score"] for trace in scores["traces"]))
    assert order[0] == "CRPS in units (lower is better)"
    assert order.index("R² in units") < order.index("R² of the posterior mean")
    latents = write_run_report(small_run).read_text()
    assert "tables of the cohort could not be read" in latents
    assert "all models know" not in latents


def test_a_search_shows_what_it_tried(small_run, tmp_path):
    run = shutil.copytree(small_run, tmp_path / "run")
    tried = pd.DataFrame({"config": [3, 1], "epochs": [90, 10], "score": [2.5, 3.25]})
    tried.to_csv(run / "search.csv", index=False)
    text = write_run_report(run).read_text()
    assert "2 configurations; the best has a mean validation score of 2.5 after 90 epochs" in text
    assert "<td>3.25</td>" in text


def test_the_claims_say_who_is_better():
    rows = [
        ("reconstruction", "energy_score", -0.2, 0.01),
        ("reconstruction", "energy_score", 0.1, 0.02),
        ("reconstruction", "energy_score", -0.1, 0.5),
        ("rescue_stage", "balanced_accuracy", 0.2, 0.01),
        ("synthetic", "balanced_accuracy", -0.2, 0.01),
    ]
    table = pd.DataFrame(rows, columns=["analysis", "metric", "estimate", "p_holm"]).assign(n=9)
    energy, accuracy, synthetic = verdicts(table)
    assert "lower is better; the first named is better in 1, worse in 1, 1 undecided" in energy
    assert "higher is better; the first named is better in 1, worse in 0" in accuracy
    assert "closest to real is best; 0 above real, 1 below it" in synthetic
    table["analysis"] = "completion"  # of several outcomes
    energy, accuracy = verdicts(table)
    assert energy.startswith("completion (energy score), 3 contrasts")
    assert accuracy.startswith("completion (balanced accuracy), 2 contrasts")


def test_plotly_is_packed_and_can_be_unpacked(small_run):
    text = write_run_report(small_run).read_text()
    (packed,) = re.findall(r'<script type="text/plain" id="plotly">([^<]*)</script>', text)
    assert gzip.decompress(base64.b64decode(packed)).decode() == page.plotly_js()
    assert len(packed) < len(page.plotly_js()) / 2


def test_a_damaged_table_is_named(small_run, tmp_path):
    run = shutil.copytree(small_run, tmp_path / "run")
    (run / "codec" / "about.json").write_text("{")
    with pytest.raises(InputError, match=r"about\.json is damaged"):
        write_run_report(run)
    with pytest.raises(InputError, match="not a run directory"):
        write_run_report(tmp_path)


def test_without_plotly_pictures_stand_for_plots(small_run, monkeypatch, tmp_path):
    monkeypatch.setattr(page, "plotly_js", lambda: "")
    text = write_run_report(small_run, tmp_path / "out.html").read_text()
    assert len(text) < 3e6
    assert text.count('<div class="still"><img') == text.count('<figure class="plot">') > 3


def test_blocks_are_told_apart():
    kinds = [kind.kind for kind in page.Block.__args__]
    assert len(set(kinds)) == len(kinds)
    assert all(dataclasses.is_dataclass(kind) for kind in page.Block.__args__)


def chromium(page_file, folder, *flags) -> subprocess.CompletedProcess:
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000",
             f"--user-data-dir={folder / 'profile'}", "--window-size=1280,7000")  # fmt: skip
    command = [str(CHROMIUM), *quiet, *flags, page_file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)


@pytest.mark.heavy
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
def test_a_browser_draws_the_plots_and_the_selectors_work(small_run, tmp_path):
    from PIL import Image

    written = write_run_report(small_run)
    # A script at the end chooses another target and tells what is then drawn, and what was loaded.
    probe = """<script>setTimeout(() => {
      const figure = document.querySelector('#fidelity figure.plot');
      const s = figure.querySelector('select'), old = figure.querySelector('.canvas').data;
      const before = old.length + ':' + old[0].y[0];
      s.value = 'rppa'; s.dispatchEvent(new Event('change'));
      const now = figure.querySelector('.canvas').data;
      console.log('PROBE ' + before + ' ' + now.length + ':' + now[0].y[0] + ' ' +
        document.querySelectorAll('.js-plotly-plot').length + '/' +
        document.querySelectorAll('figure.plot').length + ' ' +
        performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length);
    }, 6000)</script>"""
    probed = tmp_path / "probed.html"
    probed.write_text(written.read_text().replace("</body>", probe + "</body>"))
    said = chromium(probed, tmp_path, "--dump-dom").stderr
    found = re.search(r"PROBE (\d+):(\S+) (\d+):(\S+) (\d+)/(\d+) (\d+)", said)
    assert found, said
    before, first, now, then, drawn, plots, loaded = found.groups()
    assert (before, now) == (str(len(METHODS)), str(len(METHODS)))
    assert (first, then) == ("rnaseq", "cna")
    assert drawn == plots
    assert loaded == "0"
    errors = [line for line in said.splitlines() if "CONSOLE" in line and "PROBE" not in line]
    assert errors == []

    picture = tmp_path / "screen.png"
    chromium(written, tmp_path, f"--screenshot={picture}")
    shades = np.asarray(Image.open(picture).convert("L"))
    for band in np.array_split(shades[:4000], 8):
        assert (band < 200).mean() > 0.002  # ink everywhere: nothing is blank
    pdf = tmp_path / "print.pdf"
    chromium(written, tmp_path, f"--print-to-pdf={pdf}")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert pdf.stat().st_size > 50_000
