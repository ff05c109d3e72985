"""Raw slides: tissue, grid, reading, encoders, and the stage on awkward files."""

import shutil

import h5py
import numpy as np
import pandas as pd
import pytest

from cohgen_jax.errors import InputError
from data_prep import tcga
from data_prep.slides import encoders
from data_prep.slides.encoders import HANDCRAFTED_WIDTH, handcrafted, make_encoder
from data_prep.slides.patches import (
    Grid,
    _mean_in_boxes,
    grid,
    open_slide,
    read_patches,
    resolution,
    tissue_patches,
)
from data_prep.slides.raw import encode_patches, slide_files
from data_prep.slides.tissue import tissue_mask

PINK, GLASS = (200, 120, 170), (244, 243, 244)


class DrawnSlide:
    """An OpenSlide look-alike of one level over an array."""

    def __init__(self, image: np.ndarray, **properties: str):
        self._image = image
        self.dimensions = (image.shape[1], image.shape[0])
        self.level_downsamples = (1.0,)
        self.properties = {
            k.replace("_", ".", 1).replace("_", "-"): v for k, v in properties.items()
        }

    def get_best_level_for_downsample(self, downsample: float) -> int:
        return 0

    def get_thumbnail(self, size):
        from PIL import Image

        image = Image.fromarray(self._image)
        image.thumbnail(size)
        return image

    def read_region(self, at, level, size):
        from PIL import Image

        return (
            Image.fromarray(self._image)
            .convert("RGBA")
            .crop((*at, at[0] + size[0], at[1] + size[1]))
        )


def _drawn(height: int = 600, width: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """An ellipse of tissue on glass, with noise, and where it is."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    inside = ((y - 300) / 220) ** 2 + ((x - 400) / 300) ** 2 < 1
    image = np.where(inside[..., None], PINK, GLASS) + rng.normal(0, 3, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8), inside


def test_tissue_is_found_where_it_was_drawn():
    image, inside = _drawn()
    mask = tissue_mask(image)
    assert (mask & inside).sum() / (mask | inside).sum() > 0.97


def test_glass_black_borders_and_full_frames():
    rng = np.random.default_rng(0)
    glass = np.clip(np.array(GLASS) + rng.normal(0, 2, (200, 200, 3)), 0, 255).astype(np.uint8)
    assert not tissue_mask(glass).any()
    assert not tissue_mask(np.zeros((50, 50, 3), np.uint8)).any()
    full = np.clip(np.array(PINK) + rng.normal(0, 8, (200, 200, 3)), 0, 255).astype(np.uint8)
    assert tissue_mask(full).mean() > 0.99


def test_grid_is_every_box_with_enough_tissue():
    image, inside = _drawn()
    slide = DrawnSlide(image)
    patches = grid(slide, inside, 0.5, patch_size=64, overlap=16, min_tissue=0.5)
    assert patches.size_level0 == 64
    wanted = [
        (x, y)
        for y in range(0, 600 - 64 + 1, 48)
        for x in range(0, 800 - 64 + 1, 48)
        if inside[y : y + 64, x : x + 64].mean() >= 0.5
    ]
    assert sorted(map(tuple, patches.coords.tolist())) == sorted(wanted)


def test_grid_scales_with_the_resolution():
    image, inside = _drawn()
    slide = DrawnSlide(image)
    at_40x = grid(slide, inside, 0.25, patch_size=64, magnification=20)
    assert at_40x.size_level0 == 128
    assert grid(slide, inside, 0.5, patch_size=64, magnification=10).size_level0 == 128
    np.testing.assert_array_equal(np.unique(at_40x.coords % 128), [0])
    assert (at_40x.coords + 128 <= [800, 600]).all()


def test_box_means_are_means():
    rng = np.random.default_rng(0)
    mask = rng.random((30, 40)) > 0.4
    x, y = np.array([0, 4, 20]), np.array([0, 10, 15])
    ours = _mean_in_boxes(mask, x / 40, y / 30, 10 / 40, 12 / 30)
    direct = [mask[b : b + 12, a : a + 10].mean() for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ours, direct)


def test_patches_are_the_pixels_of_the_slide():
    image, inside = _drawn()
    slide = DrawnSlide(image)
    patches = grid(slide, inside, 0.5, patch_size=64)
    read = read_patches(slide, patches.coords[:5], patches)
    for (x, y), patch in zip(patches.coords[:5], read, strict=True):
        np.testing.assert_array_equal(patch, image[y : y + 64, x : x + 64])


@pytest.mark.parametrize(
    ("tags", "mpp"),
    [
        ({"openslide_mpp_x": "0.2525"}, 0.2525),
        ({"openslide_objective_power": "40"}, 0.25),
        ({"aperio_MPP": "0.499"}, 0.499),
    ],
)
def test_resolution_comes_from_the_tags(tags, mpp):
    assert resolution(DrawnSlide(_drawn()[0], **tags), "s", 9.0) == mpp


@pytest.mark.parametrize("tags", [{}, {"openslide_mpp_x": "352.8"}, {"openslide_mpp_x": "none"}])
def test_without_a_usable_tag_mpp_is_needed(tags):
    slide = DrawnSlide(_drawn()[0], **tags)
    assert resolution(slide, "frozen.svs", 0.5) == 0.5
    with pytest.raises(InputError, match=r"frozen\.svs: no usable resolution tag.*--mpp"):
        resolution(slide, "frozen.svs")


def test_a_slide_without_tissue_says_so():
    with pytest.raises(InputError, match="no tissue found"):
        tissue_patches(DrawnSlide(np.full((100, 100, 3), 244, np.uint8)), "blank.svs", 0.5)


def test_handcrafted_descriptor():
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 255, (3, 64, 64, 3)).astype(np.uint8)
    features = handcrafted(patches)
    assert features.shape == (3, HANDCRAFTED_WIDTH)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, handcrafted(patches))
    np.testing.assert_array_equal(features[1:2], handcrafted(patches[1:2]))
    for flat in (0, 128, 255):
        assert np.isfinite(handcrafted(np.full((1, 64, 64, 3), flat, np.uint8))).all()


def test_handcrafted_descriptor_sees_stain_and_not_direction():
    from skimage import color

    rng = np.random.default_rng(0)
    stains = np.zeros((64, 64, 3))
    stains[..., 0] = rng.uniform(0.02, 0.05, (64, 64))
    stains[..., 1] = rng.uniform(0.02, 0.05, (64, 64))
    pale = (color.hed2rgb(stains) * 255).astype(np.uint8)
    stains[..., 0] *= 3
    dark = (color.hed2rgb(stains) * 255).astype(np.uint8)
    features = handcrafted(np.stack([pale, dark, np.rot90(pale)]))
    assert features[1, 0] > 2 * features[0, 0]  # mean haematoxylin
    assert abs(features[1, 7] / features[0, 7] - 1) < 0.2  # mean eosin
    # Colour, stains, gradients, nuclei do not turn with the patch.
    np.testing.assert_allclose(features[2, :28], features[0, :28], rtol=1e-4, atol=1e-5)


def _onnx_model(path, height=None, width=None, batch=None):
    """Global average pooling: the vector is the mean of each normalised channel."""
    onnx = pytest.importorskip("onnx")
    shape = [batch or "n", 3, height or "h", width or "w"]
    entry = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, shape)
    result = onnx.helper.make_tensor_value_info("vector", onnx.TensorProto.FLOAT, None)
    node = onnx.helper.make_node("GlobalAveragePool", ["image"], ["vector"])
    graph = onnx.helper.make_graph([node], "pool", [entry], [result])
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))


@pytest.mark.parametrize("fixed", [{}, {"height": 32, "width": 32}, {"batch": 1}])
def test_onnx_encoder(tmp_path, fixed):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "encoder.onnx"
    _onnx_model(path, **fixed)
    patches = np.zeros((4, 64, 64, 3), np.uint8) + np.array([10, 100, 200], np.uint8)
    features = make_encoder(str(path))(patches)
    mean, sd = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    wanted = (np.array([10, 100, 200]) / 255 - mean) / sd
    np.testing.assert_allclose(features, np.tile(wanted, (4, 1)), rtol=1e-4)


def test_encoders_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="unknown encoder 'resnet'"):
        make_encoder("resnet")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.onnx"):
        make_encoder(str(tmp_path / "nowhere.onnx"))
    pytest.importorskip("onnxruntime")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(InputError, match="not a usable ONNX model"):
        make_encoder(str(tmp_path / "bad.onnx"))


def test_own_encoder_by_name(monkeypatch):
    monkeypatch.setitem(encoders.ENCODERS, "mean", lambda: lambda p: p.mean(axis=(1, 2)))
    assert make_encoder("mean")(np.ones((2, 4, 4, 3), np.uint8)).shape == (2, 3)


def test_real_slide_in_parallel_is_the_real_slide(slides_folder):
    path = slides_folder / "CMU-1-Small-Region.svs"
    slide = open_slide(path)
    _, mask, patches = tissue_patches(slide, path.name, None, patch_size=128)
    assert 0.2 < mask.mean() < 0.6
    assert patches.mpp == pytest.approx(0.499)
    # Patches that were taken have colour, those that were not are mostly glass.
    few = patches._replace(coords=patches.coords[:: max(len(patches.coords) // 20, 1)][:20])
    assert (read_patches(slide, few.coords, few).std(axis=(1, 2)).mean(axis=1) > 5).all()
    alone = encode_patches(path, few, "handcrafted", jobs=1)
    together = encode_patches(path, few, "handcrafted", jobs=2)
    np.testing.assert_array_equal(alone, together)


def _run(*arguments) -> int:
    return tcga.main(["slides", *map(str, arguments)])


def test_awkward_slides_are_listed_and_the_run_goes_on(slides_folder, tmp_path, capfd):
    out = tmp_path / "cohort"
    settings = ("--out", out, "--slides", slides_folder, "--patch-size", 96, "--jobs", 1)
    assert _run(*settings, "--mpp", 0.5, "--magnification", 10) == 0
    folder = out / "prep" / "slides"
    failures = pd.read_csv(folder / "failures.csv", index_col="slide")["reason"]
    assert set(failures.index) == {"tiny_16px.svs", "unopenable.tiff"}
    assert "cannot be opened as a slide" in failures["unopenable.tiff"]
    vectors = pd.read_parquet(folder / "slide_vectors.parquet")
    assert vectors.index.tolist() == ["CMU-1-Small-Region", "drawn_pyramid"]
    assert vectors.shape[1] == HANDCRAFTED_WIDTH
    with h5py.File(folder / "patches" / "CMU-1-Small-Region_patches.h5") as f:
        coords = f["coords"]
        assert coords.shape[1] == 2
        facts = dict(coords.attrs)
    assert facts["patch_size"] == 96
    assert facts["patch_size_level0"] == round(96 / 0.499)
    assert facts["level0_magnification"] == pytest.approx(20, rel=0.01)
    assert facts["target_magnification"] == 10
    assert facts["name"] == "CMU-1-Small-Region"
    assert (facts["level0_width"], facts["level0_height"]) == (2220, 2967)
    with h5py.File(folder / "features" / "CMU-1-Small-Region.h5") as f:
        assert f["features"].shape == (len(f["coords"]), HANDCRAFTED_WIDTH)
    from PIL import Image

    with Image.open(folder / "overview" / "CMU-1-Small-Region.png") as picture:
        assert picture.size[0] > 2 * 500
    capfd.readouterr()
    assert _run(*settings, "--mpp", 0.5, "--magnification", 10) == 0
    assert "0 stages run, 3 up to date" in capfd.readouterr().err


def test_without_mpp_the_slide_without_tags_is_listed(slides_folder, tmp_path):
    folder = tmp_path / "slides"
    folder.mkdir()
    shutil.copy(slides_folder / "drawn_pyramid.tiff", folder)
    assert _run("--out", tmp_path / "out", "--slides", folder, "--patch-size", 32) == 1
    failures = (tmp_path / "out" / "prep" / "slides" / "failures.csv").read_text()
    assert "--mpp" in failures


def test_slides_are_found_in_folders_of_folders(tmp_path):
    (tmp_path / "uuid").mkdir()
    (tmp_path / "uuid" / "b.svs").touch()
    (tmp_path / "a.SVS").touch()
    (tmp_path / "notes.txt").touch()
    assert [p.name for p in slide_files(tmp_path)] == ["a.SVS", "b.svs"]


def test_grid_of_a_slide_smaller_than_a_patch_is_empty():
    slide = DrawnSlide(np.full((16, 16, 3), 100, np.uint8))
    patches = grid(slide, np.ones((16, 16), bool), 0.5)
    assert isinstance(patches, Grid)
    assert patches.coords.shape == (0, 2)
