"""Where the tissue is: saturation of a thumbnail against Otsu's threshold.

Stained tissue is coloured, glass is white or grey, so saturation separates them (Otsu 1979).
"""

import numpy as np

MIN_SATURATION = 0.07
"""Below this a pixel is glass whatever Otsu says: an empty slide has a threshold too."""

MIN_BRIGHTNESS = 0.10
"""Darker pixels (black borders, pen) have a saturation that means nothing."""


def saturation(rgb: np.ndarray) -> np.ndarray:
    """HSV saturation [H, W] in [0, 1] of a uint8 image [H, W, 3]; 0 for nearly black pixels."""
    image = rgb.astype(np.float32) / 255.0
    high, low = image.max(axis=2), image.min(axis=2)
    out = np.where(high > 0, (high - low) / np.maximum(high, 1e-6), 0.0)
    return np.where(high < MIN_BRIGHTNESS, 0.0, out).astype(np.float32)


def tissue_mask(rgb: np.ndarray, min_area: float = 1e-3) -> np.ndarray:
    """True on tissue, for a thumbnail [H, W, 3] uint8.

    Args:
        min_area: specks and holes smaller than this share of the thumbnail are smoothed away.
    """
    from skimage import filters, morphology

    colour = filters.gaussian(saturation(rgb), sigma=1.0)
    # Otsu needs two populations; a flat image has one.
    threshold = filters.threshold_otsu(colour) if np.ptp(colour) > 1e-3 else 1.0
    # An image filled with tissue has no glass to tell it from: the floor decides then.
    floor_share = float((colour > MIN_SATURATION).mean())
    if floor_share > 0.9:
        threshold = MIN_SATURATION
    mask = colour > max(threshold, MIN_SATURATION)
    pixels = max(int(min_area * mask.size), 1)
    mask = morphology.closing(mask, morphology.disk(2))
    mask = morphology.remove_small_objects(mask, max_size=pixels)
    return morphology.remove_small_holes(mask, max_size=pixels)
