"""Opening a slide, laying a grid of patches over its tissue, reading them.

Coordinates are pixels of level 0 (x right, y down, the patch's top left corner). They are written
as TRIDENT does: `<slide>_patches.h5`, dataset `coords` [N, 2] with the grid's facts as attributes.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cohgen_jax.errors import InputError
from cohgen_jax.storage.whole import whole_file
from data_prep.slides.tissue import tissue_mask

SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide")

PLAUSIBLE_MPP = (0.05, 20.0)
"""Micrometres a pixel that a microscope scanner can have (200x to 0.5x)."""

THUMBNAIL = 2048
"""Longest side, in pixels, of the image in which tissue is sought."""


class Grid(NamedTuple):
    """Patches of one slide.

    coords: int64 [N, 2], level-0 x and y; size_level0: their side in level-0 pixels
    patch_size: side in pixels at the target magnification; mpp: micrometres a level-0 pixel
    """

    coords: np.ndarray
    size_level0: int
    patch_size: int
    overlap: int
    mpp: float
    magnification: float
    width: int
    height: int


def open_slide(path: Path) -> Any:
    """An OpenSlide object; `InputError` with the reason if the file is not a slide."""
    import openslide

    if not path.is_file():
        raise FileNotFoundError(f"no such slide: {path}")
    try:
        return openslide.OpenSlide(str(path))
    except openslide.OpenSlideError as error:
        raise InputError(f"{path.name}: cannot be opened as a slide ({error})") from error


def resolution(slide: Any, name: str, mpp: float | None = None) -> float:
    """Micrometres a level-0 pixel: from the slide's tags, else `mpp`, else an error.

    The objective power counts as a tag: 10 / power, i.e. 0.25 at 40x.
    """
    tags = slide.properties
    for key, convert in (
        ("openslide.mpp-x", float),
        ("aperio.MPP", float),
        ("openslide.objective-power", lambda power: 10.0 / float(power)),
    ):
        try:
            value = convert(tags[key])
        except (KeyError, ValueError, ZeroDivisionError):
            continue
        # 72 or 300 dots an inch are what image programs write when nobody told them.
        if PLAUSIBLE_MPP[0] <= value <= PLAUSIBLE_MPP[1]:
            return value
    if mpp is None:
        raise InputError(
            f"{name}: no usable resolution tag (mpp or objective power); give --mpp, micrometres a "
            "pixel (0.25 at 40x, 0.5 at 20x)"
        )
    return mpp


def thumbnail(slide: Any) -> np.ndarray:
    """The whole slide as uint8 [H, W, 3], at most THUMBNAIL pixels a side."""
    side = min(THUMBNAIL, max(slide.dimensions))
    return np.asarray(slide.get_thumbnail((side, side)).convert("RGB"))


def grid(
    slide: Any,
    mask: np.ndarray,
    mpp: float,
    *,
    patch_size: int = 512,
    magnification: float = 20.0,
    overlap: int = 0,
    min_tissue: float = 0.25,
) -> Grid:
    """A regular grid over the slide, keeping patches with at least `min_tissue` tissue.

    Args:
        mask: tissue mask [h, w] of the whole slide, any size.
        mpp: micrometres a level-0 pixel. magnification: of the patches; 20 is 0.5 micrometres.
        patch_size, overlap: pixels at that magnification.
    """
    width, height = slide.dimensions
    scale = (10.0 / magnification) / mpp
    size = max(round(patch_size * scale), 1)
    step = max(round((patch_size - overlap) * scale), 1)
    xs = np.arange(0, width - size + 1, step)
    ys = np.arange(0, height - size + 1, step)
    x, y = (a.ravel() for a in np.meshgrid(xs, ys))
    share = _mean_in_boxes(mask, x / width, y / height, size / width, size / height)
    coords = np.stack([x, y], axis=1)[share >= min_tissue].astype(np.int64).reshape(-1, 2)
    return Grid(coords, size, patch_size, overlap, mpp, magnification, width, height)


def _mean_in_boxes(mask: np.ndarray, x, y, w: float, h: float) -> np.ndarray:
    """Share of `mask` inside boxes given as fractions of its sides, by a summed-area table."""
    rows, columns = mask.shape
    table = np.zeros((rows + 1, columns + 1))
    table[1:, 1:] = mask.astype(np.float64).cumsum(axis=0).cumsum(axis=1)
    left, top = (np.floor(a * n).astype(int) for a, n in ((x, columns), (y, rows)))
    right = np.minimum(np.maximum(np.ceil((x + w) * columns).astype(int), left + 1), columns)
    bottom = np.minimum(np.maximum(np.ceil((y + h) * rows).astype(int), top + 1), rows)
    total = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    return total / ((right - left) * (bottom - top))


def read_patches(slide: Any, coords: np.ndarray, patches: Grid) -> np.ndarray:
    """uint8 [N, patch_size, patch_size, 3] at the target magnification.

    Read from the coarsest level that is still fine enough, then resampled.
    """
    from PIL import Image

    side = patches.patch_size
    level = slide.get_best_level_for_downsample(max(patches.size_level0 / side, 1.0))
    at_level = max(round(patches.size_level0 / slide.level_downsamples[level]), 1)
    out = np.empty((len(coords), side, side, 3), dtype=np.uint8)
    for i, (x, y) in enumerate(coords):
        region = slide.read_region((int(x), int(y)), level, (at_level, at_level))
        # Outside the scanned area OpenSlide gives transparent pixels: glass is white.
        glass = Image.new("RGB", region.size, (255, 255, 255))
        glass.paste(region, mask=region.getchannel("A"))
        if at_level != side:
            glass = glass.resize((side, side), Image.Resampling.BILINEAR)
        out[i] = np.asarray(glass)
    return out


def attributes(patches: Grid, name: str) -> dict[str, Any]:
    """The facts TRIDENT keeps with coordinates."""
    return {
        "patch_size": patches.patch_size,
        "patch_size_level0": patches.size_level0,
        "level0_magnification": 10.0 / patches.mpp,
        "target_magnification": patches.magnification,
        "overlap": patches.overlap,
        "name": name,
        "savetodir": "",
        "level0_width": patches.width,
        "level0_height": patches.height,
    }


def write_h5(path: Path, patches: Grid, name: str, features: np.ndarray | None = None) -> None:
    """TRIDENT's coordinates file, or with `features` [N, D] its feature file."""
    import h5py

    with whole_file(path) as temporary, h5py.File(temporary, "w", track_order=True) as f:
        f.create_dataset("coords", data=patches.coords)
        f["coords"].attrs.update(attributes(patches, name))
        if features is not None:
            f.create_dataset("features", data=features.astype(np.float32))


def tissue_patches(
    slide: Any, name: str, mpp: float | None, **layout: Any
) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Thumbnail, tissue mask and patch grid of a slide; `InputError` if there is no tissue."""
    micrometres = resolution(slide, name, mpp)
    image = thumbnail(slide)
    mask = tissue_mask(image)
    if not mask.any():
        raise InputError(f"{name}: no tissue found ({slide.dimensions[0]} x {slide.dimensions[1]})")
    patches = grid(slide, mask, micrometres, **layout)
    if not len(patches.coords):
        raise InputError(
            f"{name}: no patch of {patches.size_level0} level-0 pixels with enough tissue in "
            f"{slide.dimensions[0]} x {slide.dimensions[1]}"
        )
    return image, mask, patches
