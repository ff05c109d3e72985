"""From patches to vectors: a handcrafted descriptor, or any ONNX model.

An encoder maps uint8 patches [N, H, W, 3] to float32 [N, D]. The default needs no weights; it
describes colour and texture of an H&E stain and is no match for a foundation model, whose vectors
can be read as they are (`embeddings.py`) or computed here from an ONNX file.

Handcrafted, D = 81, at half resolution:
    stains   haematoxylin, eosin and residual optical density by colour deconvolution (Ruifrok and
             Johnston 2001): mean, sd, quantiles 0.1 0.25 0.5 0.75 0.9 of each            3 x 7
    colour   mean and sd of R, G, B; share of coloured (tissue) pixels                    6 + 1
    texture  grey-level co-occurrence (Haralick 1973) of haematoxylin and luminance at
             distances 1 and 4: contrast, dissimilarity, homogeneity, energy, correlation 2 x 2 x 5
             uniform local binary patterns (Ojala 2002), (8, 1) and (16, 2)               10 + 18
             gradient magnitude: mean, sd                                                 2
    nuclei   dark haematoxylin: area share, objects a pixel, log mean area                3
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cohgen_jax.errors import InputError
from data_prep.slides.tissue import MIN_SATURATION, saturation

Encoder = Callable[[np.ndarray], np.ndarray]

HANDCRAFTED_WIDTH = 81

_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_GREY_LEVELS = 32
_NUCLEUS = 0.08
"""Haematoxylin density (scikit-image's scale) above which a pixel is likely a nucleus."""
_IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))


def handcrafted(patches: np.ndarray) -> np.ndarray:
    """The descriptor of the module's docstring: uint8 [N, H, W, 3] -> float32 [N, 81]."""
    return np.stack([_describe(p) for p in patches]).astype(np.float32)


def _describe(patch: np.ndarray) -> np.ndarray:
    from skimage import color, filters, measure

    half = patch[: patch.shape[0] // 2 * 2, : patch.shape[1] // 2 * 2].astype(np.float64)
    if min(half.shape[:2]) >= 32:
        half = (half[::2, ::2] + half[1::2, ::2] + half[::2, 1::2] + half[1::2, 1::2]) / 4
    rgb = np.round(half).astype(np.uint8)
    stains = color.rgb2hed(rgb)
    parts = []
    for k in range(3):
        density = stains[..., k]
        parts.append([density.mean(), density.std(), *np.quantile(density, _QUANTILES)])
    parts.append((rgb / 255.0).mean(axis=(0, 1)))
    parts.append((rgb / 255.0).std(axis=(0, 1)))
    parts.append([(saturation(rgb) > MIN_SATURATION).mean()])
    luminance = color.rgb2gray(rgb)
    haematoxylin = np.clip(stains[..., 0] / 0.3, 0.0, 1.0)
    parts += [_cooccurrence(haematoxylin), _cooccurrence(luminance)]
    grey = np.round(luminance * 255).astype(np.uint8)
    parts += [_binary_patterns(grey, 8, 1), _binary_patterns(grey, 16, 2)]
    gradient = filters.sobel(luminance)
    parts.append([gradient.mean(), gradient.std()])
    labels = np.asarray(measure.label(stains[..., 0] > _NUCLEUS))
    count = int(labels.max())
    area = float((labels > 0).mean())
    objects = count / labels.size
    parts.append([area, objects, np.log1p(area / objects) if count else 0.0])
    return np.concatenate([np.asarray(p, dtype=np.float64).ravel() for p in parts])


def _cooccurrence(image: np.ndarray) -> list[float]:
    """Five Haralick properties at two distances, mean over four directions; image in [0, 1]."""
    from skimage.feature import graycomatrix, graycoprops

    levels = np.minimum((image * _GREY_LEVELS).astype(np.uint8), _GREY_LEVELS - 1)
    angles = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
    counts = graycomatrix(levels, (1, 4), angles, _GREY_LEVELS, symmetric=True, normed=True)
    names = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation")
    return [v for name in names for v in graycoprops(counts, name).mean(axis=1)]


def _binary_patterns(grey: np.ndarray, points: int, radius: int) -> np.ndarray:
    from skimage.feature import local_binary_pattern

    codes = local_binary_pattern(grey, points, radius, method="uniform").astype(int)
    return np.bincount(codes.ravel(), minlength=points + 2) / codes.size


def onnx_encoder(path: Path) -> Encoder:
    """An ONNX image model: one input [N, 3, H, W] (ImageNet normalised), first output [N, D].

    Patches are resized to the model's H and W where these are fixed; an output with more axes is
    averaged over them.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such ONNX encoder: {path}")
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            "an .onnx encoder needs onnxruntime: pip install 'cohgen-jax[onnx]'"
        ) from error
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own, undocumented types
        raise InputError(f"{path}: not a usable ONNX model ({error})") from error
    entry = session.get_inputs()[0]
    if len(entry.shape) != 4 or (entry.shape[1] not in (3, None) and entry.shape[1] == 1):
        raise InputError(
            f"{path}: input {entry.name} has shape {entry.shape}, expected [N, 3, H, W]"
        )
    sizes = [s if isinstance(s, int) else None for s in entry.shape[2:]]

    def encode(patches: np.ndarray) -> np.ndarray:
        images = _resized(patches, sizes[0], sizes[1]).astype(np.float64) / 255.0
        images = ((images - _IMAGENET[0]) / _IMAGENET[1]).transpose(0, 3, 1, 2)
        kind = np.float16 if entry.type == "tensor(float16)" else np.float32
        batch = entry.shape[0]
        if isinstance(batch, int) and batch != len(images):
            # A model exported with a fixed batch of one: patch by patch.
            runs = [session.run(None, {entry.name: i[None].astype(kind)})[0] for i in images]
            features = np.concatenate([np.asarray(r) for r in runs])
        else:
            features = np.asarray(session.run(None, {entry.name: images.astype(kind)})[0])
        features = features.astype(np.float32)
        # [N, D, h, w] feature maps and [N, tokens, D] both become [N, D].
        if features.ndim == 3:
            return features.mean(axis=1)
        return features.reshape(*features.shape[:2], -1).mean(axis=2)

    return encode


def _resized(patches: np.ndarray, height: int | None, width: int | None) -> np.ndarray:
    from PIL import Image

    size = (width or patches.shape[2], height or patches.shape[1])
    if size == (patches.shape[2], patches.shape[1]):
        return patches
    return np.stack(
        [np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BILINEAR)) for p in patches]
    )


ENCODERS: dict[str, Callable[[], Encoder]] = {"handcrafted": lambda: handcrafted}
"""Name -> maker; add an entry to use another encoder by name."""


def make_encoder(name: str) -> Encoder:
    """The encoder of that name, or of that `.onnx` file."""
    if name in ENCODERS:
        return ENCODERS[name]()
    if name.endswith(".onnx"):
        return onnx_encoder(Path(name))
    raise InputError(
        f"unknown encoder {name!r}: {', '.join(ENCODERS)}, or the path of an .onnx file"
    )
