"""Downloads against a server that misbehaves."""

import gzip
import http.server
import json
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from cohgen_jax.errors import InputError
from data_prep import download, tcga
from data_prep.config import PrepConfig
from data_prep.download import load_manifest, run_download
from data_prep.stages import Stages
from data_prep.xena import KINDS, file_name

BIG = 400_000


def _table(kind: str, rows: int = 30) -> bytes:
    """A table in the real format, gzipped without a time stamp."""
    first = {"clinical": "sample", "survival": "sample", "protein": "peptide_target"}
    ids = [f"TCGA-AA-{i:04d}-01A" for i in range(6)]
    if kind == "survival":
        lines = ["sample\tOS\t_PATIENT\tOS.time", *(f"{i}\t0\t{i[:12]}\t100" for i in ids)]
    elif kind == "clinical":
        lines = ["sample\tgender.demographic", *(f"{i}\tfemale" for i in ids)]
    else:
        rng = np.random.default_rng(0)
        lines = ["\t".join([first.get(kind, "Ensembl_ID"), *ids])]
        lines += [
            "\t".join([f"F{k}", *(f"{v:.6f}" for v in rng.uniform(1, 9, 6))]) for k in range(rows)
        ]
    return gzip.compress("\n".join(lines).encode() + b"\n", mtime=0)


class Server(http.server.ThreadingHTTPServer):
    """Serves the files of one project; `faults[name]` is a list of what to do wrong, in turn."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {file_name("BRCA", k): _table(k) for k in KINDS}
        # Incompressible, so that it takes several pieces to transfer.
        noise = np.random.default_rng(1).bytes(BIG)
        self.files[file_name("BRCA", "star_counts")] = gzip.compress(noise, mtime=0)
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.asked: Counter = Counter()
        self.ranges: dict[str, list[str]] = defaultdict(list)
        self.etag = '"v1"'
        self.release = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/download/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        name = self.path.rsplit("/", 1)[1]
        self.server.asked[name] += 1
        faults = self.server.faults[name]
        fault = faults.pop(0) if faults else "none"
        body = self.server.files.get(name)
        if body is None or fault == "404":
            return self._answer(404, b"<html>no such key</html>")
        if fault == "500":
            return self._answer(500, b"oops")
        if fault == "wrong":
            return self._answer(200, b"<html><body>Please log in</body></html>")
        if fault == "redirect":
            self.send_response(302)
            self.send_header("Location", f"/elsewhere/{name}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if fault == "loop":
            faults.append("loop")
            self.send_response(302)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        start, wanted = 0, self.headers.get("Range")
        if wanted:
            self.server.ranges[name].append(wanted)
            if self.headers.get("If-Range") in (None, self.server.etag):
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if fault != "no length":
            self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", self.server.etag)
        self.send_header("Last-Modified", "Mon, 05 Aug 2024 10:00:00 GMT")
        self.send_header("Connection", "close")
        self.close_connection = True
        if fault == "encoded":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        rest = body[start:]
        if fault in ("half", "no length"):
            rest = rest[: len(rest) // 2]
        if fault == "corrupt":
            middle = len(rest) // 2
            rest = rest[:middle] + b"\x00\x00\x00\x00" + rest[middle + 4 :]
        if fault in ("stall", "hang"):
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            self.server.release.wait(30 if fault == "hang" else 2)
            return None
        self.wfile.write(rest)
        return None

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server():
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield running
    running.release.set()
    running.shutdown()
    thread.join()
    running.server_close()


def _config(server: Server, out: Path, **more) -> PrepConfig:
    settings = {"projects": ("BRCA",), "mirror": server.url, "timeout": 0.4, "retries": 3}
    return PrepConfig(out=out, **(settings | more))


def _download(server: Server, out: Path, **more):
    config = _config(server, out, **more)
    outcomes = run_download(config, Stages(config.work), sleep=lambda seconds: None)
    return {name.split(".")[1]: outcome for name, outcome in outcomes.items()}


def _whole(server: Server, out: Path) -> bool:
    """Every file under a final name is the server's, byte for byte."""
    there = [p for p in (out / "prep" / "raw").iterdir() if p.name.endswith(".gz")]
    return all(p.read_bytes() == server.files[p.name] for p in there)


STAR = file_name("BRCA", "star_counts")


def test_everything_arrives_and_is_recorded(server, tmp_path):
    outcomes = _download(server, tmp_path)
    assert {o.state for o in outcomes.values()} == {"ok"}
    assert _whole(server, tmp_path)
    manifest = load_manifest(tmp_path / "prep" / "raw")
    assert set(manifest) == set(server.files)
    entry = manifest[STAR]
    assert entry["bytes"] == len(server.files[STAR])
    assert entry["last_modified"] == "2024-08-05"
    assert entry["asked"] == server.url + STAR
    left = {p.name for p in (tmp_path / "prep" / "raw").iterdir()} - set(server.files)
    assert left == {"manifest.json"}


def test_second_run_asks_for_nothing(server, tmp_path):
    _download(server, tmp_path)
    server.asked.clear()
    assert {o.state for o in _download(server, tmp_path).values()} == {"kept"}
    assert not server.asked


@pytest.mark.parametrize(
    "faults",
    [["500"], ["500", "500"], ["wrong"], ["corrupt"], ["no length"], ["redirect"], ["encoded"]],
    ids=lambda f: "-".join(f),
)
def test_passing_faults_are_overcome(server, tmp_path, faults):
    server.faults[STAR] = list(faults)
    outcomes = _download(server, tmp_path)
    assert outcomes["star_counts"].state == "ok"
    assert _whole(server, tmp_path)


def test_a_truncated_body_is_continued_not_restarted(server, tmp_path):
    server.faults[STAR] = ["half", "half"]
    assert _download(server, tmp_path)["star_counts"].state == "ok"
    assert _whole(server, tmp_path)
    starts = [int(r.removeprefix("bytes=").rstrip("-")) for r in server.ranges[STAR]]
    size = len(server.files[STAR])
    assert starts == [size // 2, size // 2 + (size - size // 2) // 2]


def test_a_stall_is_noticed_and_continued(server, tmp_path):
    server.faults[STAR] = ["stall"]
    started = time.monotonic()
    assert _download(server, tmp_path)["star_counts"].state == "ok"
    assert time.monotonic() - started < 5
    assert _whole(server, tmp_path)
    assert server.ranges[STAR]


def test_a_file_that_changed_in_between_is_not_glued_together(server, tmp_path):
    server.faults[STAR] = ["half", "404"]
    assert _download(server, tmp_path)["star_counts"].state == "absent"
    noise = np.random.default_rng(2).bytes(BIG)
    server.files[STAR], server.etag = gzip.compress(noise, mtime=0), '"v2"'
    assert _download(server, tmp_path)["star_counts"].state == "ok"
    assert _whole(server, tmp_path)


def test_absent_files_are_told_apart_from_failures(server, tmp_path, caplog):
    del server.files[file_name("BRCA", "protein")]
    outcomes = _download(server, tmp_path)
    assert outcomes["protein"].state == "absent"
    assert server.asked[file_name("BRCA", "protein")] == 1
    assert "TCGA-BRCA.protein.tsv.gz" in caplog.text


@pytest.mark.parametrize("fault", ["500", "wrong", "corrupt", "no length", "loop"])
def test_lasting_faults_end_in_one_message_and_no_file(server, tmp_path, fault):
    server.faults[STAR] = [fault] * 50
    with pytest.raises(InputError, match=r"1 of 5 files could not be downloaded .*star_counts"):
        _download(server, tmp_path, retries=2)
    assert not (tmp_path / "prep" / "raw" / STAR).exists()
    assert _whole(server, tmp_path)
    # The others are there, and the next run only asks for what is missing.
    server.faults.clear()
    server.asked.clear()
    outcomes = _download(server, tmp_path)
    assert outcomes["star_counts"].state == "ok"
    assert set(server.asked) == {STAR}


def test_waits_grow_between_attempts(server, tmp_path):
    server.faults[STAR] = ["500"] * 4
    waits: list[float] = []
    config = _config(server, tmp_path, jobs=1, retries=5)
    run_download(config, Stages(config.work), sleep=waits.append)
    assert waits == [1.0, 2.0, 4.0, 8.0]


def test_a_killed_download_is_continued_by_the_next_run(server, tmp_path):
    server.faults[STAR] = ["hang"]
    arguments = ["--out", str(tmp_path), "--projects", "BRCA", "--mirror", server.url]
    command = [sys.executable, "-m", "data_prep.tcga", "download", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    part = tmp_path / "prep" / "raw" / f"{STAR}.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    server.release.set()
    assert part.stat().st_size
    assert not (tmp_path / "prep" / "raw" / STAR).exists()
    assert _download(server, tmp_path)["star_counts"].state == "ok"
    assert server.ranges[STAR]
    assert _whole(server, tmp_path)


def test_a_damaged_file_under_the_final_name_is_replaced(server, tmp_path):
    _download(server, tmp_path)
    path = tmp_path / "prep" / "raw" / STAR
    path.write_bytes(path.read_bytes()[:1000])
    assert _download(server, tmp_path)["star_counts"].state == "ok"
    assert _whole(server, tmp_path)


def test_files_put_there_by_hand_are_taken_if_intact(server, tmp_path):
    folder = tmp_path / "prep" / "raw"
    folder.mkdir(parents=True)
    (folder / STAR).write_bytes(server.files[STAR])
    (folder / file_name("BRCA", "protein")).write_bytes(b"\x1f\x8b half a file")
    outcomes = _download(server, tmp_path)
    assert outcomes["star_counts"].state == "kept"
    assert outcomes["protein"].state == "ok"
    assert _whole(server, tmp_path)


def test_no_connection_is_one_message(server, tmp_path):
    config = _config(server, tmp_path, mirror="http://127.0.0.1:9/", retries=1)
    with pytest.raises(InputError, match="5 of 5 files could not be downloaded"):
        run_download(config, Stages(config.work), sleep=lambda seconds: None)


def test_a_mirror_must_be_an_address(server, tmp_path):
    with pytest.raises(InputError, match="not an http"):
        _download(server, tmp_path, mirror="/data/xena")


def test_project_without_a_file_is_named_and_the_exit_code_says_so(server, tmp_path, capfd):
    arguments = ["download", "--out", str(tmp_path), "--mirror", server.url, "--retries", "0"]
    assert tcga.main([*arguments, "--projects", "BRCA", "GBM"]) == tcga.EXIT_PROJECT_MISSING
    assert "no file at all for GBM" in capfd.readouterr().err


def test_full_disk_removes_the_partial_file(server, tmp_path, monkeypatch):
    real = open

    class Full:
        def __init__(self, file):
            self._file = file

        def __enter__(self):
            return self

        def __exit__(self, *args):
            self._file.close()

        def write(self, data):
            self._file.write(data[:100])
            raise OSError(28, "No space left on device")

    def opening(path, mode="r", *args, **kwargs):
        file = real(path, mode, *args, **kwargs)
        return Full(file) if str(path).endswith(f"{STAR}.part") and "b" in mode else file

    monkeypatch.setattr(download, "open", opening, raising=False)
    with pytest.raises(InputError, match="no space left"):
        _download(server, tmp_path)
    left = [p.name for p in (tmp_path / "prep" / "raw").iterdir() if STAR in p.name]
    assert left == []


def test_manifest_is_json_a_person_can_read(server, tmp_path):
    _download(server, tmp_path)
    text = (tmp_path / "prep" / "raw" / "manifest.json").read_text()
    assert set(json.loads(text)[STAR]) >= {"asked", "bytes", "last_modified", "sha256", "url"}
