"""Colours: methods shown together can be told apart, whatever the reader's cones."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from cohgen_jax.figures.style import METHODS, method_colour

# Complete protanopia, deuteranopia and tritanopia, on linear RGB (Machado et al. 2009, table 1)
VISIONS = {
    "normal": np.eye(3),
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
COMPARED = (
    *("coherent", "coherent_mean", "coherent_loss", "multi", "coherent_product"),
    *("ridge", "kernel_ridge", "nearest", "gaussian", "multimodal_vae"),
    *("climatology", "engression"),
)
RESCUED = ("coherent", "multi", "knn", "mean", "ablated", "full", "ridge", "kernel_ridge")


def linear(colour: str) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of linear sRGB."""
    to_xyz = [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]
    xyz = np.array(to_xyz) @ rgb / [0.9505, 1.0, 1.0888]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def apart(a: str, b: str) -> float:
    """Smallest CIE76 difference over the four kinds of vision; 2.3 is just noticeable."""
    return min(
        np.linalg.norm(
            lab(np.clip(np.array(seen) @ linear(a), 0, 1))
            - lab(np.clip(np.array(seen) @ linear(b), 0, 1))
        )
        for seen in VISIONS.values()
    )


def test_the_scale_of_differences():
    assert apart("#000000", "#FFFFFF") == pytest.approx(100, abs=1)
    assert apart("#FF0000", "#808000") < apart("#0000FF", "#FFFF00")


@pytest.mark.parametrize("together", [COMPARED, RESCUED], ids=["fidelity", "rescue"])
def test_methods_of_one_figure_differ_for_every_reader(together):
    for a, b in itertools.combinations(together, 2):
        assert apart(method_colour(a), method_colour(b)) > 11, (a, b)


def test_methods_alike_in_colour_have_different_markers():
    for (a, one), (b, other) in itertools.combinations(METHODS.items(), 2):
        if apart(one.colour, other.colour) < 11:
            assert one.marker != other.marker, (a, b)
    labels = [look.label for look in METHODS.values()]
    assert len(set(labels)) == len(labels)
