"""Downloading the Xena files: parallel, resumed, retried, checked, never half under a final name.

pooch places the files; the transfer itself is `fetch`, because a stalled download of hundreds of
megabytes has to be continued (HTTP Range), which pooch's own downloader does not do. Bytes go to
`<name>.part`; only a complete, intact gzip stream gets the final name.
"""

import concurrent.futures
import datetime
import email.utils
import gzip
import logging
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tqdm import tqdm

from cohgen_jax.errors import InputError
from cohgen_jax.storage.whole import full_disk_explained
from data_prep.config import PrepConfig
from data_prep.files import read_json, write_json
from data_prep.stages import Stages
from data_prep.xena import KINDS, file_name, resolve_projects

log = logging.getLogger("data_prep")

MANIFEST = "manifest.json"
ABSENT = (403, 404, 410)
"""Answers that mean "there is no such file" (an S3 bucket without listing says 403)."""

_PIECE = 1 << 15
"""Bytes written at a time; what a stall or a kill can lose is less than one piece."""


class Absent(Exception):
    """The server has no such file."""


class Damaged(Exception):
    """The bytes received are not the file they should be."""


class Outcome(NamedTuple):
    """state: "ok" (downloaded), "kept" (already there), "absent" or "failed"; why: the reason."""

    state: Literal["ok", "kept", "absent", "failed"]
    why: str = ""


def check_gzip(path: Path) -> None:
    """Raises `Damaged` unless the file is whole gzip members, by their CRC and length."""
    with open(path, "rb") as f:
        start = f.read(64)
    if start[:2] != b"\x1f\x8b":
        raise Damaged(f"not a gzip file: it starts with {start[:24]!r}")
    try:
        with gzip.open(path) as f:
            while f.read(1 << 20):
                pass
    except (EOFError, OSError, zlib.error) as error:
        raise Damaged(f"gzip stream damaged or cut short ({error})") from error


def fetch(
    url: str,
    target: Path,
    part: Path,
    *,
    retries: int = 5,
    timeout: float = 60.0,
    wait: float = 1.0,
    progress: Callable[[int], Any] = lambda n: None,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Downloads `url` to `target`, continuing `part` if there is one.

    Args:
        part: where bytes are kept until the file is whole; survives an interruption.
        retries: attempts after the first; each waits twice as long as the one before (`wait`
            seconds at first, 60 at most). An attempt that brought bytes starts the count again.
        timeout: seconds without a byte that count as a stall.
        progress: told the number of bytes received.
    Returns:
        `last_modified` (date) and `url` actually served, after redirects.
    Raises:
        Absent: the server says there is no such file.
        Damaged, requests or urllib3 errors: the last one, when the attempts are used up.
    """
    import requests
    import urllib3

    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            told = _transfer(url, part, timeout, progress)
            try:
                check_gzip(part)
            except Damaged:
                part.unlink()
                before = 0
                raise
            with full_disk_explained(target):
                part.replace(target)
            _stamp_path(part).unlink(missing_ok=True)
            return told
        except (Absent, InputError):
            raise
        except (Damaged, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            after = part.stat().st_size if part.exists() else 0
            failures = 1 if after > before else failures + 1
            if failures > retries:
                raise
            pause = min(wait * 2 ** (failures - 1), 60.0)
            log.info("%s: %s; trying again in %.0f s", part.stem, error, pause)
            sleep(pause)


def _stamp_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _transfer(url: str, part: Path, timeout: float, progress) -> dict[str, str]:
    """One attempt: appends to `part` from where it ends, if the server still has the same file."""
    import requests

    stamp = _stamp_path(part)
    have = part.stat().st_size if part.exists() else 0
    known: Mapping[str, str] = read_json(stamp) if have and stamp.exists() else {}
    # Without a validator a continued file could mix two versions: start over.
    validator = known.get("etag") or known.get("last_modified_header")
    headers = {"Accept-Encoding": "identity"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as answer:
        if answer.status_code in ABSENT:
            raise Absent(f"{url}: {answer.status_code} {answer.reason}")
        if answer.status_code == 416:
            part.unlink(missing_ok=True)
            raise Damaged("the part kept so far is longer than the file; starting over")
        answer.raise_for_status()
        continued = answer.status_code == 206 and _starts_at(answer.headers, have)
        etag = answer.headers.get("ETag", "")
        # A weak validator (W/) does not promise equal bytes, so it cannot continue a file.
        told = {
            "etag": "" if etag.startswith("W/") else etag,
            "last_modified_header": answer.headers.get("Last-Modified", ""),
            "last_modified": _day(answer.headers.get("Last-Modified")),
            "url": answer.url,
        }
        if not continued:
            have = 0
            write_json(stamp, told)
        expected = answer.headers.get("Content-Length")
        received = 0
        with (
            full_disk_explained(part, part, stamp),
            open(part, "ab" if continued else "wb", 0) as f,
        ):
            # Raw bytes: a server that labels .gz as Content-Encoding must not have them unpacked.
            for piece in answer.raw.stream(_PIECE, decode_content=False):
                f.write(piece)
                f.flush()
                received += len(piece)
                progress(len(piece))
        if expected is not None and received != int(expected):
            raise Damaged(f"{received} of {expected} bytes arrived")
    return {"last_modified": told["last_modified"], "url": told["url"]}


def _starts_at(headers: Mapping[str, str], have: int) -> bool:
    return headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _day(header: str | None) -> str:
    try:
        moment = email.utils.parsedate_to_datetime(header or "")
    except (TypeError, ValueError):
        return ""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%d")


def load_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """File name -> url, sha256, bytes, last_modified, fetched of every file downloaded."""
    path = folder / MANIFEST
    return read_json(path) if path.exists() else {}


def download_file(
    name: str, config: PrepConfig, folder: Path, progress, sleep=time.sleep
) -> dict[str, Any]:
    """Downloads one file of the mirror into `folder`; returns its manifest entry but checksum."""
    import pooch

    part = folder / f"{name}.part"
    told: dict[str, str] = {}

    def downloader(url: str, output_file: Any, pooch: Any) -> None:
        told.update(
            fetch(
                url,
                Path(output_file),
                part,
                retries=config.retries,
                timeout=config.timeout,
                progress=progress,
                sleep=sleep,
            )
        )

    pooch.get_logger().setLevel(logging.ERROR)
    url = config.mirror.rstrip("/") + "/" + name
    # pooch's protocol of a downloader has a return value that it does not use.
    place: Any = downloader
    pooch.retrieve(url, known_hash=None, fname=name, path=folder, downloader=place)
    return {"asked": url, **told, "bytes": (folder / name).stat().st_size}


def run_download(config: PrepConfig, stages: Stages, sleep=time.sleep) -> dict[str, Outcome]:
    """Downloads every file of the chosen projects that is not there, several at a time.

    A file the mirror does not have is noted; one that could not be had after all attempts makes
    the run end with an `InputError` after the others are done. Nothing is done when offline.
    """
    if config.offline is not None:
        if not config.offline.is_dir():
            raise FileNotFoundError(f"no such folder for --offline: {config.offline}")
        return {}
    if not config.mirror.startswith(("http://", "https://")):
        raise InputError(f"mirror {config.mirror!r} is not an http(s) address; see --offline")
    folder = config.work / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    manifest = load_manifest(folder)
    names = [file_name(p, k) for p in resolve_projects(config.projects) for k in KINDS]
    outcomes = {n: Outcome("kept") for n in names if _already_there(folder / n, manifest, stages)}
    wanted = [n for n in names if n not in outcomes]
    stop = threading.Event()
    with (
        tqdm(desc="download", unit="B", unit_scale=True, disable=not wanted) as bar,
        concurrent.futures.ThreadPoolExecutor(config.jobs) as pool,
    ):

        def received(count: int) -> None:
            if stop.is_set():
                raise KeyboardInterrupt
            bar.update(count)

        futures = {
            pool.submit(download_file, n, config, folder, received, sleep): n for n in wanted
        }
        try:
            for future in concurrent.futures.as_completed(futures):
                name = futures[future]
                outcomes[name] = _outcome(future)
                if outcomes[name].state == "ok":
                    manifest[name] = {
                        **future.result(),
                        "sha256": stages.checksums.of(folder / name),
                    }
                    write_json(folder / MANIFEST, manifest)
        except BaseException:
            # Running transfers end at their next piece and keep their parts for the next run.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    write_json(folder / MANIFEST, manifest)
    stages.checksums.save()
    (stages.ran if any(o.state == "ok" for o in outcomes.values()) else stages.skipped).append(
        "download"
    )
    _tell(outcomes)
    return outcomes


def _already_there(path: Path, manifest: dict[str, dict[str, Any]], stages: Stages) -> bool:
    """True for a file that is the one downloaded, or an intact one that someone put there."""
    if not path.exists():
        return False
    entry = manifest.get(path.name)
    if entry is not None and stages.checksums.of(path) == entry.get("sha256"):
        return True
    try:
        if entry is None:
            check_gzip(path)
            manifest[path.name] = {
                "sha256": stages.checksums.of(path),
                "bytes": path.stat().st_size,
            }
            return True
    except Damaged as damage:
        log.warning("%s: %s; downloading it again", path.name, damage)
    path.unlink()
    manifest.pop(path.name, None)
    return False


def _outcome(future: concurrent.futures.Future) -> Outcome:
    import requests
    import urllib3

    try:
        future.result()
    except Absent as error:
        return Outcome("absent", str(error))
    except (Damaged, requests.RequestException, urllib3.exceptions.HTTPError) as error:
        return Outcome("failed", str(error))
    return Outcome("ok")


def _tell(outcomes: Mapping[str, Outcome]) -> None:
    absent = sorted(n for n, o in outcomes.items() if o.state == "absent")
    failed = sorted(n for n, o in outcomes.items() if o.state == "failed")
    if absent:
        log.warning("the mirror does not have %s", ", ".join(absent))
    if failed:
        reasons = "; ".join(f"{n}: {outcomes[n].why}" for n in failed[:5])
        raise InputError(
            f"{len(failed)} of {len(outcomes)} files could not be downloaded ({reasons}); run the "
            "same command again to continue where it stopped"
        )
