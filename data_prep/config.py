"""What a preparation run is told: one frozen record, checked at birth."""

import dataclasses
from pathlib import Path
from typing import Literal

from cohgen_jax.errors import InputError, check_choices
from data_prep.barcodes import SAMPLE_TYPES
from data_prep.clinical import RARE_DIAGNOSIS
from data_prep.xena import MIRROR, resolve_projects


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepConfig:
    """Settings of `python -m data_prep.tcga`; every subcommand takes them all."""

    out: Path
    """Cohort directory to write; intermediate files go to its folder `prep`."""
    projects: tuple[str, ...] = ("all",)
    """TCGA projects (BRCA LUAD ...), or all."""
    mirror: str = MIRROR
    """Base address of the files."""
    offline: Path | None = None
    """Folder of files already there; nothing is downloaded."""
    slides: Path | None = None
    """Slide features: a folder of TRIDENT .h5 files, or a .parquet/.csv/.tsv table of vectors; or a
    folder of raw slides (.svs, .tiff, ...), which are encoded first."""
    sample_types: tuple[str, ...] = ()
    """Sample types to keep, e.g. 01 06 for tumours only; all by default."""
    published: bool = False
    """The published choices: split by sample, first slide of a sample (in the order the folder
    lists them), patch features skipped; and every intermediate table of the published chain as
    CSV under `prep/published`."""
    rare_diagnosis: int = RARE_DIAGNOSIS
    """Diagnoses with fewer patients become "Other"."""
    max_missing: float = 0.10
    """Features missing in this share of the training samples, or more, are dropped."""
    val_fraction: float = 0.05
    test_fraction: float = 0.15
    seed: int = 42
    """Of the split."""
    precision: Literal["auto", "float32", "float64"] = "auto"
    """Of intermediate values: float32, or twice the memory and agreement with the published tables
    to the last digit; auto takes float64 in published mode. The cohort is always float32."""
    latent_dim: int = 32
    """Width of the latents under `prep/published` (published mode)."""
    embedding: Literal["pca", "autoencoder", "columns"] = "pca"
    """How omics become latents there: PCA, the published autoencoder, or simply the first columns
    (for checks). Slides always become latents by PCA."""
    patch_pooling: Literal["mean", "statistics"] = "mean"
    """How (N, D) patch features become a slide vector."""
    join_slides: Literal["mean", "first"] = "mean"
    """Several slides of a sample: their mean, or the first."""
    encoder: str = "handcrafted"
    """For raw slides: handcrafted, or the path of an .onnx file."""
    mpp: float | None = None
    """Micrometres a pixel of raw slides that do not say."""
    magnification: float = 20.0
    """Of the patches of raw slides."""
    patch_size: int = 512
    """Pixels, at that magnification."""
    overlap: int = 0
    """Pixels shared by neighbouring patches."""
    jobs: int = 4
    """Downloads, and processes reading slides, at the same time."""
    retries: int = 5
    """Attempts a file after the first."""
    timeout: float = 60.0
    """Seconds without a byte after which a download counts as stalled."""

    def __post_init__(self):
        check_choices(self)
        unknown = [t for t in self.sample_types if t not in SAMPLE_TYPES]
        if unknown:
            known = ", ".join(f"{k} ({v})" for k, v in SAMPLE_TYPES.items())
            raise InputError(f"unknown sample type {', '.join(unknown)}; known: {known}")
        for name in ("val_fraction", "test_fraction", "max_missing"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, expected between 0 and 1")
        if self.val_fraction + self.test_fraction >= 1:
            raise InputError("val_fraction + test_fraction leave nothing to train on")
        for name in ("latent_dim", "jobs", "patch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if not 0 <= self.overlap < self.patch_size:
            raise InputError(f"overlap {self.overlap} must be below patch_size {self.patch_size}")
        if self.mpp is not None and not 0.05 <= self.mpp <= 20:
            raise InputError(f"mpp is {self.mpp}; it is micrometres a pixel, 0.25 at 40x")
        if not 0.5 <= self.magnification <= 100:
            raise InputError(f"magnification is {self.magnification}, expected 0.5 to 100")
        resolve_projects(self.projects)

    @property
    def work(self) -> Path:
        """Where intermediate files and records live."""
        return self.out / "prep"

    @property
    def dtype(self) -> str:
        """Of intermediate values."""
        if self.precision == "auto":
            return "float64" if self.published else "float32"
        return self.precision

    @property
    def raw(self) -> Path:
        """Where the Xena files are."""
        return self.work / "raw" if self.offline is None else self.offline
