"""Raw slides to feature files: tissue, patches, vectors, overview; one slide after the other.

    <work>/slides/patches/<slide>_patches.h5   coordinates, TRIDENT's format
    <work>/slides/features/<slide>.h5          features [N, D] and coordinates
    <work>/slides/overview/<slide>.png         what was taken
    <work>/slides/failures.csv                 slides that could not be used, with the reason

The patches of a slide are read and encoded by several processes. A slide that fails is listed and
the run goes on.
"""

import concurrent.futures
import functools
import logging
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from cohgen_jax.errors import InputError
from data_prep.config import PrepConfig
from data_prep.files import write_text
from data_prep.slides.encoders import make_encoder
from data_prep.slides.overview import draw_overview
from data_prep.slides.patches import (
    SUFFIXES,
    Grid,
    open_slide,
    read_patches,
    tissue_patches,
    write_h5,
)
from data_prep.stages import Stages

log = logging.getLogger("data_prep")

CHUNK = 16
"""Patches a process reads and encodes at a time."""


def is_raw_slides(path: Path) -> bool:
    """True for a slide file, or a folder that holds any."""
    return bool(slide_files(path))


def slide_files(path: Path) -> list[Path]:
    """Slides in a folder and its folders (as the GDC client lays them out), sorted by name."""
    if path.is_file():
        return [path] if path.suffix.lower() in SUFFIXES else []
    slides = [p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()]
    return sorted(slides, key=lambda p: (p.name, str(p)))


def encode_slides(config: PrepConfig, stages: Stages) -> tuple[Path, list[tuple[str, str]]]:
    """Encodes every slide of `config.slides`; skips those that are done and unchanged.

    Returns:
        The folder of feature files, and (slide, reason) of those that failed.
    """
    assert config.slides is not None
    make_encoder(config.encoder)  # a wrong name fails now, not in a worker
    folder = config.work / "slides"
    params = {
        "encoder": config.encoder,
        "mpp": config.mpp,
        "magnification": config.magnification,
        "patch_size": config.patch_size,
        "overlap": config.overlap,
    }
    failed: list[tuple[str, str]] = []
    done: set[str] = set()
    for path in tqdm(slide_files(config.slides), desc="slides", unit="slide"):
        name = path.stem
        if name in done:
            failed.append((str(path.relative_to(config.slides)), "another slide has this name"))
            continue
        stat = path.stat()
        # Slides are gigabytes: size and time stand for their checksum.
        identity = {"bytes": stat.st_size, "mtime": stat.st_mtime_ns}
        outputs = [
            folder / "patches" / f"{name}_patches.h5",
            folder / "features" / f"{name}.h5",
            folder / "overview" / f"{name}.png",
        ]
        try:
            stages.run(
                f"slide-{name}",
                [],
                {**params, **identity},
                outputs,
                lambda p=path, o=outputs: _encode_one(p, o, config),
            )
            done.add(name)
        except (InputError, OSError) as error:
            if "no space left" in str(error):
                raise
            log.warning("%s", error)
            failed.append((path.name, str(error)))
    _drop_stale(folder / "features", done)
    table = pd.DataFrame(failed, columns=["slide", "reason"])
    write_text(folder / "failures.csv", table.to_csv(index=False))
    if not done:
        reasons = "; ".join(reason for _, reason in failed[:3])
        raise InputError(
            f"none of {len(failed)} slides in {config.slides} could be used: {reasons}"
        )
    return folder / "features", failed


def _drop_stale(folder: Path, done: set[str]) -> None:
    """Removes features of slides that are gone or now fail: they would be read as vectors."""
    for path in folder.glob("*.h5"):
        if path.stem not in done:
            path.unlink()


def _encode_one(path: Path, outputs: list[Path], config: PrepConfig) -> dict[str, Any]:
    slide = open_slide(path)
    try:
        image, mask, patches = tissue_patches(
            slide,
            path.name,
            config.mpp,
            patch_size=config.patch_size,
            magnification=config.magnification,
            overlap=config.overlap,
        )
    finally:
        slide.close()
    features = encode_patches(path, patches, config.encoder, config.jobs)
    write_h5(outputs[0], patches, path.stem)
    write_h5(outputs[1], patches, path.stem, features)
    draw_overview(outputs[2], image, mask, patches)
    return {"patches": len(patches.coords), "width": features.shape[1], "mpp": patches.mpp}


def encode_patches(path: Path, patches: Grid, encoder: str, jobs: int = 1) -> np.ndarray:
    """float32 [N, D] of all patches of a slide, in the order of their coordinates.

    Chunks go to `jobs` processes; the result does not depend on their number.
    """
    chunks = [patches.coords[i : i + CHUNK] for i in range(0, len(patches.coords), CHUNK)]
    work = functools.partial(
        _encode_chunk, str(path), patches._replace(coords=np.empty((0, 2))), encoder
    )
    return np.concatenate(list(_mapped(work, chunks, jobs)))


def _mapped(work, chunks: list[np.ndarray], jobs: int) -> Iterator[np.ndarray]:
    if jobs == 1 or len(chunks) == 1:
        yield from map(work, chunks)
        return
    # Spawned, not forked: the parent may run threads (JAX, Arrow) that a fork would leave locked.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(min(jobs, len(chunks)), context) as pool:
        yield from pool.map(work, chunks)


@functools.lru_cache(maxsize=2)
def _opened(path: str) -> Any:
    return open_slide(Path(path))


@functools.lru_cache(maxsize=2)
def _encoder(name: str):
    return make_encoder(name)


def _encode_chunk(path: str, patches: Grid, encoder: str, coords: np.ndarray) -> np.ndarray:
    import openslide

    try:
        return _encoder(encoder)(read_patches(_opened(path), coords, patches))
    except openslide.OpenSlideError as error:
        # The slide object is unusable after an error, and its exception does not cross processes.
        _opened.cache_clear()
        raise InputError(f"{Path(path).name}: damaged inside ({error})") from None
