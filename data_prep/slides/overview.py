"""One picture a slide: thumbnail, tissue mask, patches taken, so that a person sees what was."""

from pathlib import Path

import numpy as np

from cohgen_jax.storage.whole import whole_file
from data_prep.slides.patches import Grid


def draw_overview(path: Path, image: np.ndarray, mask: np.ndarray, patches: Grid) -> None:
    """PNG of three panels side by side.

    Args:
        image: thumbnail uint8 [h, w, 3]. mask: tissue, bool [h, w].
    """
    from PIL import Image, ImageDraw

    height, width = image.shape[:2]
    scale = min(1.0, 800 / max(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    thumb = Image.fromarray(image).resize(size)
    tissue = Image.fromarray((mask * 255).astype(np.uint8)).resize(size).convert("RGB")
    taken = thumb.copy()
    pen = ImageDraw.Draw(taken)
    fx, fy = size[0] / patches.width, size[1] / patches.height
    for x, y in patches.coords:
        corner = ((x + patches.size_level0) * fx - 1, (y + patches.size_level0) * fy - 1)
        if corner[0] > x * fx and corner[1] > y * fy:
            pen.rectangle([x * fx, y * fy, *corner], outline=(0, 90, 200), width=1)
    gap, head = 8, 18
    sheet = Image.new("RGB", (3 * size[0] + 4 * gap, size[1] + head + 2 * gap), (255, 255, 255))
    titles = (
        f"{patches.width} x {patches.height}, {patches.mpp:.3g} um/px",
        f"tissue {mask.mean():.0%}",
        f"{len(patches.coords)} patches of {patches.size_level0} px",
    )
    words = ImageDraw.Draw(sheet)
    for k, (panel, title) in enumerate(zip((thumb, tissue, taken), titles, strict=True)):
        left = gap + k * (size[0] + gap)
        words.text((left, gap // 2), title, fill=(0, 0, 0))
        sheet.paste(panel, (left, head + gap))
    with whole_file(path) as temporary:
        sheet.save(temporary, format="PNG")
