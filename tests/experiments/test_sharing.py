"""A run handed on: what is in the folder, what it still does, what it refuses, the hub."""

import base64
import http.server
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cohgen_jax.codec.without_patients import LEAST
from cohgen_jax.errors import InputError
from cohgen_jax.runs.run import open_run
from cohgen_jax.sharing.card import CardFacts
from cohgen_jax.sharing.export import export_run, of_many
from cohgen_jax.sharing.publish import publish_model
from tests.experiments.conftest import MODALITIES


@pytest.fixture
def model_dir(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "model")


def test_no_patient_is_in_the_folder(run_dir, exported):
    run = open_run(run_dir)
    ids = [*run.samples.index, *run.samples["patient_id"]]
    names = {path.relative_to(exported).parts[0] for path in exported.rglob("*")}
    assert names == {
        *("README.md", "model.json", "config.json", "covariates.json", "codec", "models"),
        *("regression", "consensus", "calibration", "calibration_few_steps", "typicality"),
    }
    for path in exported.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [i for i in ids if i.encode() in content], path
            assert str(run_dir).encode() not in content
    model = open_run(exported)
    assert len(model.samples) == len(model.latents.z) == 0
    train = run.rows("train")
    rows = {tuple(np.round(row, 4)) for row in run.latents.z[train].reshape(-1, 4).tolist()}
    for target, own in model.regressions.items():
        exact = run.regressions[target].by_pattern
        for pattern, fitted in own.by_pattern.items():
            held = {tuple(np.round(row, 4)) for row in fitted.x.tolist() if any(row)}
            assert not held & {tuple(np.round(row, 4)) for row in exact[pattern].x.tolist()}
            assert not held & rows
    assert model.calibrated_too
    for method, of in model.moments.items():
        for target, measured in of.items():
            assert all(own.patients == 0 or own.patients >= LEAST for own in measured.values())
            for solver in (run.calibrated_with, *model.calibrated_too):
                exact, own = (r.sampled_by(solver).calibration for r in (run, model))
                assert set(exact[method][target].error.tolist()).isdisjoint(
                    own[method][target].error.tolist()
                )


def test_a_model_completes_new_patients_as_its_run_does(run_dir, exported, new_tables):
    run, model = open_run(run_dir), open_run(exported)
    by_run, by_model = (own.impute(new_tables, num_draws=20) for own in (run, model))
    assert by_run.keys() == by_model.keys()
    for name in MODALITIES:
        one, other = by_run[f"{name}_mean"], by_model[f"{name}_mean"]
        assert one.index.equals(other.index)
        lacked = ~one.index.isin(new_tables[name].index)
        sd = by_run[f"{name}_sd"][lacked].to_numpy()
        gap = (other - one)[lacked].to_numpy() / sd
        assert np.sqrt(np.mean(gap**2)) < 0.6  # of the spread; two runs of draws differ by 0.3
        cells = new_tables[name].reindex(index=one.index)[one.columns]
        known = cells.notna().to_numpy()
        np.testing.assert_array_equal(other.to_numpy()[known], one.to_numpy()[known])
    for column in ("typicality", "spread_rank", "expected_error"):
        assert by_model["disagreement"][column].between(0, 20).all()
    typical = [own["disagreement"]["typicality"] for own in (by_run, by_model)]
    np.testing.assert_allclose(*typical, atol=0.3)


def test_the_command_imputes_with_a_model(command, exported, new_dir, tmp_path):
    done = command("impute", "--run", exported, "--input", new_dir, "--out", tmp_path / "out")
    assert done.status == 0
    assert (tmp_path / "out" / "rppa_mean.parquet").exists()


@pytest.mark.parametrize(
    "what", [("evaluate",), ("audit",), ("downstream",), ("report",), ("export", "--out", "twice")]
)
def test_what_needs_patients_is_refused(command, exported, what):
    message = command(what[0], "--run", exported, *what[1:]).refused()
    assert "is a shared model, without patients" in message
    assert "needs the run that it was exported from" in message


def test_training_and_ranking_and_its_own_patients_are_refused(command, exported, cohort_dir):
    again = ("--cohort", cohort_dir, "--out", exported, "--overwrite")
    assert "is a shared model" in command("train", *again).refused()
    where = ("--patients", cohort_dir, "--out", exported.parent / "next.csv")
    assert "is a shared model" in command("prioritize", "--run", exported, *where).refused()
    with pytest.raises(InputError, match=r"Run\.impute takes tables of new ones"):
        open_run(exported).sample("cna")


def test_altered_and_foreign_folders_are_refused(model_dir, run_dir, tmp_path):
    covariates = model_dir / "covariates.json"
    kept = covariates.read_bytes()
    covariates.write_bytes(kept.replace(b"notes", b"motes"))
    with pytest.raises(InputError, match=r"covariates\.json is not as it was exported"):
        open_run(model_dir)
    covariates.unlink()
    with pytest.raises(InputError, match=r"covariates\.json is missing"):
        open_run(model_dir)
    covariates.write_bytes(kept)
    (model_dir / "latents.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"latents\.parquet was not exported with it"):
        open_run(model_dir)
    (model_dir / "latents.parquet").unlink()
    (model_dir / "README.md").write_text("the card may be edited")
    assert open_run(model_dir).modalities == MODALITIES
    for text, said in (("{", "damaged"), ('{"format": "x", "version": 1, "files": {}}', "format")):
        (model_dir / "model.json").write_text(text)
        with pytest.raises(InputError, match=said):
            open_run(model_dir)
    about = {"format": "cohgen_jax shared model", "version": 9, "files": {}}
    (model_dir / "model.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="version 9"):
        open_run(model_dir)
    with pytest.raises(InputError, match="is not a shared model"):
        publish_model(run_dir, "me/mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="not empty"):
        export_run(run_dir, tmp_path / "full")


def test_the_card_tells_the_run(run_dir, exported):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard.load(exported / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.library_name == "cohgen_jax"
    results = {r.task_name.split()[0]: r for r in card.data.eval_results if r.metric_type == "crps"}
    assert set(results) == {"rppa"}
    assert all(0 < result.metric_value < 2 for result in results.values())
    for heading in ("Cohort", "Scores", "Calibration", "Beside the run", "Limits", "Privacy"):
        assert f"\n## {heading}\n" in card.content
    num = len(open_run(run_dir).samples)
    assert f"{num} samples" in card.content
    assert "was not audited" in card.content
    assert "Simulated: no patients" in card.content


def test_numbers_of_many_are_of_many():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=203)
    summary = of_many(values)
    assert len(summary) == 203
    assert (np.diff(summary) >= 0).all()
    assert not np.isin(np.round(summary, 5), np.round(values, 5)).any()
    at = (0.1, 0.5, 0.9)
    np.testing.assert_allclose(np.quantile(summary, at), np.quantile(values, at), atol=0.05)
    few = of_many(np.arange(3.0))
    np.testing.assert_array_equal(few, 1.0)
    with pytest.raises(InputError, match="one line"):
        CardFacts(license="mit\nevil: true")


class Hub(http.server.BaseHTTPRequestHandler):
    """What a model hub answers to an upload of small files; keeps what it was sent."""

    address: str
    made: dict
    files: dict

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self.made.update(json.loads(body))
            return self.answer({"url": f"{self.address}/me/{self.made['name']}"})
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            answers = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked
            ]
            return self.answer({"files": answers})
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.files[line["value"]["path"]] = content
            made = {
                "commitUrl": f"{self.address}/me/mine/commit/1",
                "commitOid": "1" * 40,
                "success": True,
            }
            return self.answer(made)
        return self.answer({}, 404)

    def do_GET(self):
        self.answer({"siblings": [], "sha": "0" * 40, "id": "me/mine"})

    def answer(self, content, status=200):
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_local")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    made, files = {}, {}
    handler = type("Local", (Hub,), {"made": made, "files": files})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler.address, made, files
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings("ignore")  # of the client, to its own developers
def test_a_published_model_comes_back_as_it_was(hub, command, exported, new_tables, tmp_path):
    pytest.importorskip("huggingface_hub")
    address, made, files = hub
    given = ("--repository", "me/mine", "--endpoint", address)
    done = command("publish", "--model", exported, *given)
    assert done.status == 0, done.err
    assert made["name"] == "mine"
    assert made.get("private") or made.get("visibility") == "private"
    for name, content in files.items():
        path = tmp_path / "back" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    here = {p.relative_to(exported).as_posix() for p in exported.rglob("*") if p.is_file()}
    assert files.keys() - {".gitattributes"} == here
    back = open_run(Path(tmp_path / "back"))
    draws = [own.impute(new_tables, num_draws=2)["rppa"] for own in (back, open_run(exported))]
    pd.testing.assert_frame_equal(*draws)


@pytest.mark.filterwarnings("ignore")
def test_a_hub_that_refuses_is_told_in_one_line(command, exported):
    pytest.importorskip("huggingface_hub")
    given = ("--repository", "me/mine", "--endpoint", "http://127.0.0.1:9")
    message = command("publish", "--model", exported, *given).refused()
    assert "could not be published" in message
    assert "OWNER/NAME" in command("publish", "--model", exported, "--repository", "x").refused()
