"""`cohgen explore`: what the page is told is what `Run.sample` and `Run.impute` say, whoever asks;
other hosts, other pages and long uploads are refused; names are text; a browser draws the numbers.
"""

import dataclasses
import html
import json
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.cohort import read_tables
from cohgen_jax.errors import InputError

pytest.importorskip("starlette", reason="it needs the optional extra `explore`")
pytest.importorskip("uvicorn", reason="it needs the optional extra `explore`")
pytest.importorskip("plotly", reason="it needs the optional extra `explore`")

from starlette.testclient import TestClient

from cohgen_jax.explore import Explorer, application, listen, open_explorer, serve, server
from cohgen_jax.explore.neighbours import NUM_NEIGHBOURS
from cohgen_jax.explore.view import patients_listed, view
from cohgen_jax.sampling.coherent import _sample
from cohgen_jax.sharing.export import export_run
from tests.experiments.conftest import MODALITIES

DRAWS = 12
HERE = "http://127.0.0.1:8700"
CHROMIUM = shutil.which("chromium")
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


@pytest.fixture(scope="module")
def explorer(run_dir):
    found = open_explorer(run_dir, num_draws=DRAWS)
    found.warm(lambda done, total, target: None)
    return found


@pytest.fixture(scope="module")
def measured(cohort_dir):
    return read_tables(cohort_dir).tables


@pytest.fixture
def client(explorer):
    return TestClient(application(explorer), base_url=HERE)


def ask(client, **question):
    return client.post("/look", json=question, headers={"Origin": HERE})


def of(answer, name):
    return next(m for m in answer["modalities"] if m["name"] == name)


def column(values) -> np.ndarray:
    return np.array(values, float)


def someone(explorer, **has) -> str:
    """A patient who has, or lacks, these modalities; who has all is of the test side."""
    run = explorer.run
    fits = np.ones(len(run.samples), bool)
    if all(has.values()):
        fits = run.samples["split"].to_numpy() == "test"
    for name, wanted in has.items():
        fits &= run.latents.present[:, run.index(name)] == wanted
    return str(run.samples.index[np.flatnonzero(fits)[0]])


def texts(tables) -> dict[str, str]:
    return {name: table.to_csv() for name, table in tables.items()}


# ---- values ----------------------------------------------------------------------------------


def test_a_patient_is_shown_as_measured_and_as_sampled(explorer, client, measured):
    patient = someone(explorer, cna=True, rnaseq=True, rppa=True)
    answer = ask(client, patient=patient).json()
    frames = {name: t.loc[[patient]] for name, t in measured.items()}
    frames["samples"] = explorer.run.samples.loc[[patient]]
    again = explorer.run.impute(frames, num_draws=DRAWS, regenerate=True)
    for name in MODALITIES:
        shown, features = of(answer, name), list(explorer.run.codecs[name].features)
        assert shown["features"] == features
        truth = measured[name].loc[patient, features].to_numpy(float)
        np.testing.assert_allclose(column(shown["measured"]), truth, rtol=1e-4, atol=1e-5)
        draws = explorer.run.sample(name, [patient], num_draws=DRAWS)[features]
        np.testing.assert_allclose(column(shown["mean"]), draws.mean(), rtol=2e-3, atol=2e-3)
        for part in ("low", "high", "sd"):
            wanted = again[f"{name}_{part}"].loc[patient, features]
            np.testing.assert_allclose(column(shown[part]), wanted, rtol=2e-3, atol=2e-3)
        row = again["disagreement"].query("modality == @name").iloc[0]
        assert shown["sources"] == row["sources"]
        assert shown["flagged"] == row["flagged"]
        assert shown["disagreement"] == pytest.approx(row["disagreement"], rel=1e-3)
        known = np.isfinite(truth)
        inside = (truth >= column(shown["low"])) & (truth <= column(shown["high"])) & known
        assert shown["inside"] == {"inside": inside.sum(), "of": known.sum()}
        off = np.abs(truth - column(shown["mean"])) / column(shown["sd"])
        assert shown["order"][0] == np.nanargmax(off)


def test_what_was_not_measured_is_generated(explorer, client):
    patient = someone(explorer, cna=True, rnaseq=True, rppa=False)
    shown = of(ask(client, patient=patient).json(), "rppa")
    assert (shown["present"], shown["generated"], shown["inside"]) == (False, True, None)
    assert shown["measured"] == [None] * 3
    assert shown["sources"] == "cna+rnaseq"
    draws = explorer.run.sample("rppa", [patient], num_draws=DRAWS).drop(columns="draw")
    np.testing.assert_allclose(column(shown["mean"]), draws.mean(), rtol=2e-3, atol=2e-3)


def test_usual_is_where_four_in_five_training_patients_lie(explorer, measured):
    train = explorer.run.samples.index[explorer.run.rows("train")]
    for name, usual in explorer.usual.items():
        table = measured[name][list(explorer.run.codecs[name].features)]
        table = table.loc[table.index.isin(train)]
        spread = table.std().to_numpy()
        for values, share in ((usual.low, 0.1), (usual.centre, 0.5), (usual.high, 0.9)):
            wanted = table.quantile(share).to_numpy()
            assert (np.abs(values - wanted) < 0.15 * spread).all(), (name, share)


def test_as_if_it_were_otherwise_is_the_same_noise(explorer, client):
    patient = someone(explorer, cna=True, rnaseq=True, rppa=False)
    run = explorer.run
    recorded = str(run.samples.at[patient, "cancer_type"])
    other = next(level for level in run.covariates.columns[0].levels if level != recorded)
    same = ask(client, patient=patient, settings={"cancer_type": recorded}).json()
    for shown in same["modalities"]:
        assert shown["as_if"]["mean"] == pytest.approx(shown["mean"], rel=1e-3, abs=1e-3)
    changed = of(ask(client, patient=patient, settings={"cancer_type": other}).json(), "rppa")
    frames = {
        name: explorer.tables[name].loc[[patient]] for name in MODALITIES if name != "rppa"
    } | {"samples": run.samples.loc[[patient]]}
    wanted = run.impute(
        frames, num_draws=DRAWS, targets=["rppa"], settings=[f"cancer_type={other}"]
    )["rppa_mean"].loc[patient]
    np.testing.assert_allclose(column(changed["as_if"]["mean"]), wanted, rtol=2e-3, atol=2e-3)
    assert not np.allclose(column(changed["as_if"]["mean"]), column(changed["mean"]), atol=1e-3)
    told = {c["name"]: c["told"] for c in same["covariates"]}
    assert told["cancer_type"] == recorded
    assert float(told["age"]) == pytest.approx(run.samples.at[patient, "age"], rel=1e-3)


def test_neighbours_are_the_nearest(explorer, client):
    run = explorer.run
    patient = someone(explorer, cna=True, rnaseq=True, rppa=True)
    answer = ask(client, patient=patient).json()["neighbours"]
    row = run.samples.index.get_loc(patient)
    whole = np.flatnonzero(run.latents.present.all(axis=1))
    found = {}
    for other in whole[whole != row]:
        parts = []
        for m, width in enumerate(run.latents.widths[:3]):
            off = (run.latents.z[other, m] - run.latents.z[row, m]) * run.latents.scale[m]
            parts.append(np.square(off[:width]).mean())
        found[str(run.samples.index[other])] = np.sqrt(np.mean(parts) / 2)
    nearest = sorted(found, key=found.__getitem__)[:NUM_NEIGHBOURS]
    assert [n["id"] for n in answer["rows"]] == nearest
    assert [n["distance"] for n in answer["rows"]] == pytest.approx(
        [found[i] for i in nearest], rel=1e-3
    )
    assert 0.8 < np.mean(list(found.values())) < 1.2  # as the page says
    maps = client.get("/maps").json()
    for name, place in answer["places"].items():
        at = maps[name]["ids"].index(patient)
        assert [maps[name]["x"][at], maps[name]["y"][at]] == pytest.approx(place, rel=1e-3)


def test_patients_of_every_pattern_share_what_was_compiled(explorer):
    before = _sample._cache_size()
    run = explorer.run
    patterns = {tuple(own): i for i, own in enumerate(run.latents.present) if own.sum() > 1}
    assert len(patterns) > 1
    for row in patterns.values():
        view(explorer, explorer.patient(str(run.samples.index[row])))
    assert _sample._cache_size() == before


def test_a_patient_with_a_single_assay_is_told_so(explorer, client):
    run = explorer.run
    row = np.flatnonzero(run.latents.present[:, 0])[0]
    single = np.zeros(len(run.modalities), bool)
    single[0] = True
    own = explorer.patient(str(run.samples.index[row]))._replace(present=single[None])
    answer = view(explorer, own)
    cna = of(answer, "cna")
    assert (cna["generated"], cna["sources"], cna["mean"][0]) == (False, "", None)
    assert of(answer, "rppa")["sources"] == "cna"


# ---- uploads ---------------------------------------------------------------------------------


def test_rows_that_are_given_are_completed_as_impute_does(explorer, client, new_tables):
    tables = {name: new_tables[name] for name in ("cna", "rnaseq")}
    samples = pd.DataFrame({"cancer_type": "lung", "age": 61}, tables["cna"].index)
    question = {"tables": texts({**tables, "samples": samples}), "patient": "N02"}
    answer = ask(client, **question).json()
    assert answer["id"] == "N02"
    assert answer["ids"] == sorted({*tables["cna"].index, *tables["rnaseq"].index})
    wanted = explorer.run.impute({**tables, "samples": samples}, num_draws=DRAWS)
    shown = of(answer, "rppa")
    for part in ("mean", "low", "high"):
        own = wanted[f"rppa_{part}"].loc["N02"]
        np.testing.assert_allclose(column(shown[part]), own, rtol=2e-3, atol=2e-3)
    assert ["cancer_type", "lung"] in answer["facts"]
    assert len(answer["neighbours"]["rows"]) == NUM_NEIGHBOURS
    assert ask(client, tables=question["tables"]).json()["id"] == answer["ids"][0]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({}, "no patient was named"),
        ({"patient": "nobody"}, "no sample 'nobody'"),
        ({"patient": "N00", "tables": {"mirna": "id,a\nN00,1\n"}}, "mirna is no table of this run"),
        ({"tables": {"../../etc/passwd": "id,a\nN00,1\n"}}, "is no table of this run"),
        ({"tables": {"cna": "  "}}, "no table was given"),
        ({"tables": {"cna": "id,a\nN00,1\n"}}, "cna"),
        ({"tables": {"cna": "<html></html>"}}, "cna"),
        ({"tables": {"samples": "id,age\nN00,50\n"}}, "no table was given"),
    ],
)
def test_what_cannot_be_meant_is_told_on_the_page(client, question, message):
    answer = ask(client, **question)
    assert answer.status_code == 422
    assert message in answer.json()["error"]
    assert "/tmp" not in answer.text
    assert "Traceback" not in answer.text


def test_a_sample_that_the_upload_lacks_and_a_covariate_that_nobody_knows(
    explorer, client, new_tables
):
    given = texts({"cna": new_tables["cna"]})
    assert "no sample 'N99'" in ask(client, tables=given, patient="N99").json()["error"]
    patient = someone(explorer, cna=True, rnaseq=True)
    for settings, words in (
        ({"cancer_type": "spleen"}, "no training patient had it"),
        ({"age": "old"}, "a number like those of training"),
        ({"weight": "70"}, "no covariate of the models"),
    ):
        answer = ask(client, patient=patient, settings=settings)
        assert answer.status_code == 422
        assert words in answer.json()["error"]


def test_nothing_that_is_uploaded_stays(client, new_tables, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert ask(client, tables=texts({"cna": new_tables["cna"]})).status_code == 200
    assert list(tmp_path.iterdir()) == []


@pytest.mark.heavy
def test_a_model_without_patients_takes_uploads(run_dir, new_tables, tmp_path):
    export_run(run_dir, tmp_path / "model")
    explorer = open_explorer(tmp_path / "model", num_draws=DRAWS)
    assert patients_listed(explorer) == []
    client = TestClient(application(explorer), base_url=HERE)
    page = client.get("/").text
    assert "without patients" in page
    assert 'id="patients"' not in page
    assert client.get("/maps").json() == {}
    tables = {name: new_tables[name] for name in ("cna", "rnaseq")}
    answer = ask(client, tables=texts(tables), patient="N01").json()
    assert answer["neighbours"] is None
    wanted = explorer.run.impute(tables, num_draws=DRAWS)["rppa_mean"].loc["N01"]
    np.testing.assert_allclose(column(of(answer, "rppa")["mean"]), wanted, rtol=2e-3, atol=2e-3)
    assert "no sample" in ask(client, patient="N01").json()["error"]
    with pytest.raises(InputError, match="shared model"):
        open_explorer(tmp_path / "model", cohort="elsewhere")


# ---- who may ask -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8700", "127.0.0.1.evil.example", ""]
)
@pytest.mark.parametrize("path", ["/", "/maps", "/plotly.js"])
def test_requests_that_name_another_host_are_refused(client, host, path):
    answer = client.get(path, headers={"Host": host})
    assert answer.status_code == 400
    assert "SIM" not in answer.text


def test_only_the_page_itself_may_ask_for_work(explorer, client):
    question = {"patient": someone(explorer)}
    strangers = [{}, *({"Origin": o} for o in ("http://evil.example", "null", HERE + "0"))]
    for headers in strangers:
        assert client.post("/look", json=question, headers=headers).status_code == 403
    elsewhere = {"Host": "evil.example", "Origin": "http://evil.example"}  # its name points here
    assert client.post("/look", json=question, headers=elsewhere).status_code == 400
    assert client.get("/look").status_code == 405
    localhost = {"Host": "localhost:8700", "Origin": "http://localhost:8700"}
    assert client.post("/look", json=question, headers=localhost).status_code == 200
    form = {"Origin": HERE, "Content-Type": "text/plain"}  # what a form of any page can send
    assert client.post("/look", content=json.dumps(question), headers=form).status_code == 415


@pytest.mark.parametrize(
    "body", ["{", "[]", "7", '{"patient": 7}', '{"tables": [1]}', '{"settings": {"age": {}}}']
)
def test_what_no_page_asks_is_refused(client, body):
    headers = {"Origin": HERE, "Content-Type": "application/json"}
    answer = client.post("/look", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json() == {"error": "not a question that the page asks"}


def test_an_upload_has_a_limit_whatever_length_it_says(client, monkeypatch):
    monkeypatch.setattr(server, "MOST_BYTES", 1 << 20)
    body = json.dumps({"tables": {"cna": "x" * (1 << 20)}}).encode()
    headers = {"Origin": HERE, "Content-Type": "application/json"}
    pieces = (body[i : i + 65536] for i in range(0, len(body), 65536))  # without Content-Length
    for content in (body, pieces):
        answer = client.post("/look", content=content, headers=headers)
        assert answer.status_code == 413
        assert "more than 1 MiB" in answer.json()["error"]


def test_every_answer_forbids_what_the_page_does_not_need(client):
    for path in ("/", "/maps", "/page.js", "/nowhere"):
        headers = client.get(path).headers
        assert "script-src 'self';" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_the_page_loads_its_own_files_alone(client):
    page = client.get("/").text
    loaded = re.findall(r'(?:src|href)="([^"#]*)"', page)
    assert sorted(loaded) == ["data:,", "page.js", "plotly.js", "style.css"]
    for name in loaded[1:]:
        assert client.get(f"/{name}").status_code == 200
    assert len(client.get("/plotly.js").content) > 1e6


# ---- names -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(explorer) -> Explorer:
    """A run whose first test patient, cancer types and features are called as nobody is."""
    run = explorer.run
    row = run.samples.index.get_loc(someone(explorer, cna=True, rnaseq=True, rppa=True))
    ids = run.samples.index.tolist()
    ids[row] = HOSTILE
    samples = run.samples.set_axis(pd.Index(ids, name="sample_id"))
    samples["cancer_type"] = samples["cancer_type"].astype(object)
    samples.iloc[row, samples.columns.get_loc("cancer_type")] = "</script><script>alert(1)"
    codec = run.codecs["rppa"]
    names = (HOSTILE, "<b>bold</b>", "a&lt;b")
    preprocess = codec.preprocess._replace(features=names)
    codecs = {**run.codecs, "rppa": dataclasses.replace(codec, preprocess=preprocess)}
    tables = {
        name: table.rename(index={run.samples.index[row]: HOSTILE})
        for name, table in explorer.tables.items()
    }
    tables["rppa"] = tables["rppa"].set_axis(list(names), axis=1)
    changed = dataclasses.replace(run, samples=samples, codecs=codecs)
    return dataclasses.replace(explorer, run=changed, tables=tables)


def test_names_are_data(hostile):
    client = TestClient(application(hostile), base_url=HERE)
    page = client.get("/").text
    assert "<img" not in page
    assert page.count("</script>") == 3
    about = re.search(r'<script type="application/json" id="about">(.*?)</script>', page, re.S)
    assert about
    assert HOSTILE in {p["id"] for p in json.loads(about[1])["patients"]}
    answer = ask(client, patient=HOSTILE)
    assert answer.headers["content-type"] == "application/json"
    assert of(answer.json(), "rppa")["features"][0] == HOSTILE
    asked = ask(client, patient="<script>").json()["error"]
    assert "'<script>'" in asked  # as text; see the test in a browser


def test_titles_are_escaped(explorer, tmp_path):
    named = dataclasses.replace(explorer.run, path=tmp_path / "<b>mine")
    page = (
        TestClient(
            application(dataclasses.replace(explorer, run=named, note="<i>moved")), base_url=HERE
        )
        .get("/")
        .text
    )
    assert "<b>mine" not in page
    assert html.escape("<b>mine") in page
    assert html.escape("<i>moved") in page


# ---- the command -----------------------------------------------------------------------------


def test_it_listens_on_this_machine_alone():
    with listen(0) as listening:
        host, port = listening.getsockname()
        assert host == "127.0.0.1"
        listening.listen()
        with pytest.raises(InputError, match=f"port {port} cannot be used .*--port"):
            listen(port)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--draws", "9"], "--draws must be at least 10"),
        (["--port", "70000"], "--port must lie between"),
        (["--cohort", "nowhere"], "nowhere"),
        (["--seed", "-1"], "seed must lie"),
    ],
)
def test_what_the_command_refuses(command, run_dir, args, message):
    assert message in command("explore", run_dir, "--port", "0", *args).refused()


def test_a_run_whose_tables_have_moved_can_be_looked_at(run_dir, tmp_path):
    run = shutil.copytree(run_dir, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "cohort": str(tmp_path / "gone")}))
    told: list[str] = []
    moved = open_explorer(run, num_draws=10, tell=told.append)
    assert len(told) == 1
    assert "What was measured is not shown" in told[0]
    answer = view(moved, moved.patient(someone(moved, cna=True, rnaseq=True)))
    assert all(v is None for m in answer["modalities"] for v in m["measured"])
    assert of(answer, "rppa")["mean"][0] is not None
    page = TestClient(application(moved), base_url=HERE).get("/").text
    assert "What was measured is not shown" in page


@pytest.mark.heavy
def test_the_command_serves_until_it_is_stopped(run_dir):
    script = [sys.executable, "-m", "cohgen_jax.cli", "explore", str(run_dir), "--port", "0"]
    with subprocess.Popen(script, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = ""
        while not (found := re.search(r"(http://127\.0\.0\.1:\d+/)", said)):
            line = process.stderr.readline()
            assert line, said
            said += line
        for _ in range(50):
            try:
                page = urllib.request.urlopen(found[1], timeout=10).read().decode()
                break
            except OSError:
                time.sleep(0.1)
        assert "Patient of the run" in page
        process.terminate()
        rest = process.stderr.read()
        assert process.wait(30) == 0, rest
    assert "Traceback" not in rest
    assert "ended" in rest


PROBE = """
const until = async (there) => { while (!there()) await new Promise((r) => setTimeout(r, 50)); };
(async () => {
  const box = (id) => document.getElementById(id), said = {};
  const plot = (id) => (box(id).data || []).map((t) => ({ name: t.name, x: t.x, y: t.y }));
  await until(() => box("values-plot").data && box("map-plot").data);
  box("modality").value = "rppa";
  box("modality").dispatchEvent(new Event("change"));
  said.values = plot("values-plot");
  said.ticks = [...box("values-plot").querySelectorAll(".ytick text")].map((t) => t.textContent);
  said.map = plot("map-plot");
  const rows = [...box("values-table").querySelectorAll("tbody tr")];
  said.table = rows.map((row) => row.cells[0].textContent);
  const select = box("covariates").querySelector("select");
  select.value = select.options[1].value;
  said.set = [select.name, select.value];
  select.dispatchEvent(new Event("change"));
  await until(() => box("if-plot").data);
  said.asIf = plot("if-plot");
  said.title = document.title;
  said.who = box("who").textContent;
  said.drawn = document.querySelectorAll(".js-plotly-plot svg.main-svg").length;
  said.foreign = performance.getEntriesByType("resource").map((e) => e.name)
    .filter((name) => !name.startsWith(location.origin));
  const out = document.createElement("pre");
  out.id = "probed";
  out.textContent = JSON.stringify(said);
  document.body.append(out);
})();
"""


@pytest.mark.heavy
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
def test_a_browser_draws_what_is_sampled(hostile, measured, tmp_path, monkeypatch):
    """A script beside the page's own chooses an assay and another cancer type, and tells what is
    drawn; the patient and its features are called as nobody is."""
    page = server.page_js
    monkeypatch.setattr(server, "page_js", lambda: page() + PROBE)
    with listen(0) as listening:
        address = "http://{}:{}/".format(*listening.getsockname())
        thread = threading.Thread(target=serve, args=(hostile, listening), daemon=True)
        thread.start()
        quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 "--enable-logging=stderr", "--v=0", "--virtual-time-budget=60000", "--dump-dom",
                 f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,2400")  # fmt: skip
        named = address + "#" + urllib.request.quote(HOSTILE)
        done = subprocess.run(
            [str(CHROMIUM), *quiet, named], capture_output=True, text=True, timeout=180, check=True
        )
    found = re.search(r'<pre id="probed">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    said = json.loads(html.unescape(found[1]))
    assert "CONSOLE" not in done.stderr, done.stderr
    assert said["foreign"] == []
    assert said["title"] != "taken"
    assert said["who"] == f"{HOSTILE} (test)"
    features = list(hostile.run.codecs["rppa"].features)
    assert sorted(said["table"]) == sorted(features)
    assert sorted(said["ticks"]) == sorted(features)  # drawn as they are spelt
    escaped = [html.escape(name, quote=False) for name in features]
    traces = {trace["name"]: trace for trace in said["values"]}
    assert {"measured", "generated, mean"} <= traces.keys()

    def drawn(name):
        values = dict(zip(traces[name]["y"], traces[name]["x"], strict=True))
        return column([values[feature] for feature in escaped])

    draws = hostile.run.sample("rppa", [HOSTILE], num_draws=DRAWS)[features]
    np.testing.assert_allclose(drawn("generated, mean"), draws.mean(), rtol=2e-3, atol=2e-3)
    truth = hostile.tables["rppa"].loc[HOSTILE, features]
    np.testing.assert_allclose(drawn("measured"), truth, rtol=1e-3, atol=1e-4)
    name, value = said["set"]
    answer = view(hostile, hostile.patient(HOSTILE), {name: value})
    as_if = next(t for t in said["asIf"] if t["name"] == f"mean as if {name} = {value}")
    wanted = dict(zip(escaped, of(answer, "rppa")["as_if"]["mean"], strict=True))
    assert as_if["x"] == pytest.approx([wanted[y] for y in as_if["y"]], rel=1e-3, abs=1e-3)
    assert sum(len(t["x"]) for t in said["map"]) > 150
    assert said["drawn"] >= 3
