"""A codec: one modality's raw table <-> standardised latents.

raw table -> filter, scale, impute -> PCA or autoencoder -> each latent to mean 0, variance 1 on
train, and back, all fitted on train only. Axes: N samples, F features kept, L latent width (at most
D, the padded width that all modalities of a cohort share), M modalities.
"""

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cohgen_jax.codec.autoencoder import (
    AutoencoderFit,
    autoencoder_decode,
    autoencoder_encode,
    choose_place,
    fit_autoencoder,
)
from cohgen_jax.codec.config import CodecConfig
from cohgen_jax.codec.pca import Pca, fit_pca, pca_decode, pca_encode
from cohgen_jax.codec.preprocess import Preprocess, fit_preprocess, standardise, unstandardise
from cohgen_jax.cohort.cohort import Cohort
from cohgen_jax.errors import InputError

Progress = Callable[[str], None]


class Latents(NamedTuple):
    """A cohort in latent space; rows as in `Cohort.samples`."""

    z: np.ndarray  # float32 [N, M, D], standardised; 0 where absent and beyond a narrower width
    present: np.ndarray  # bool [N, M]
    widths: np.ndarray  # int [M]
    modalities: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Codec:
    """A fitted codec; made by `fit_codec`, kept by `save_codecs`."""

    config: CodecConfig
    preprocess: Preprocess
    reducer: Pca | AutoencoderFit
    latent_mean: np.ndarray
    """float32 [L], over train, before standardisation."""
    latent_sd: np.ndarray
    """float32 [L]."""

    @property
    def features(self) -> tuple[str, ...]:
        """The features that `decode` returns; those dropped in fitting are not among them."""
        return self.preprocess.features

    @property
    def width(self) -> int:
        return len(self.latent_sd)

    def encode(self, table: pd.DataFrame, *, allow_absent: float = 0.0) -> np.ndarray:
        """float32 [N, L]: latents of any patients, columns matched by name, missing cells imputed.

        `allow_absent` is the share of the fitted features that the table may lack; the default
        refuses a table that lacks any.
        """
        x = standardise(self.preprocess, table, allow_absent=allow_absent)
        return ((_reduce(self.reducer, x) - self.latent_mean) / self.latent_sd).astype(np.float32)

    def residual(self, table: pd.DataFrame) -> np.ndarray:
        """float32 [N]: root mean square, over features in standard deviations, of what encoding
        and decoding does not bring back: what is foreign to the codec, latents do not show."""
        x = standardise(self.preprocess, table, allow_absent=0.0)
        back = _restore(self.reducer, _reduce(self.reducer, x))
        return np.sqrt(np.mean(np.square(x - back), axis=1)).astype(np.float32)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """float32 [..., F]: latents [..., L] in the units of the table, columns as `features`."""
        z = np.asarray(z, dtype=np.float32)
        if z.shape[-1] != self.width:
            raise InputError(f"latents of width {z.shape[-1]} given, the codec has {self.width}")
        x = _restore(self.reducer, z * self.latent_sd + self.latent_mean)
        return unstandardise(self.preprocess, x)


def fit_codec(
    train: pd.DataFrame,
    val: pd.DataFrame | None,
    config: CodecConfig,
    seed: int,
    progress: Progress | None = None,
    *,
    scratch: Path | None = None,
    checkpoint_seconds: float = 0.0,
) -> Codec:
    """Fit on the train samples that have the modality.

    Args:
        train, val: raw values, index sample_id; `val` decides when an autoencoder stops.
        config: what to fit. The width is config.latent_dim, or fewer where the data have fewer
            features, samples or (PCA) dimensions.
        seed: of the autoencoder's initialisation and batches, or of a large PCA.
        progress: told the losses of an autoencoder as lines of text.
        scratch: directory from which an interrupted autoencoder continues, with checkpoints as
            often as `checkpoint_seconds` says; by default there are none. A table that fits no
            memory goes there too, or to the system's place for temporary files.
    """
    if len(train) < 2:
        raise InputError(f"a codec needs two train samples or more; found {len(train)}")
    fitted = fit_preprocess(train, max_missing=config.max_missing, imputer=config.imputer)
    width = min(config.latent_dim, len(fitted.features), len(train) - 1)
    with contextlib.ExitStack() as files:
        if config.kind == "pca":
            x = standardise(fitted, train, allow_absent=0.0)
            reducer = fit_pca(x, width, seed)
        else:
            if val is None or len(val) == 0:
                raise InputError("an autoencoder needs validation samples to know when to stop")
            place = choose_place(len(train), len(fitted.features), width, config)
            file = None
            if place == "disk":
                if scratch is not None:
                    scratch.mkdir(parents=True, exist_ok=True)
                folder = tempfile.TemporaryDirectory(dir=scratch, prefix="table-")
                file = Path(files.enter_context(folder)) / "x.npy"
            x = standardise(fitted, train, allow_absent=0.0, file=file)
            reducer = fit_autoencoder(
                x,
                standardise(fitted, val, allow_absent=0.0),
                width,
                config,
                seed,
                progress,
                place=place,
                checkpoints=None if scratch is None else scratch / "training",
                checkpoint_seconds=checkpoint_seconds,
            )
        latents = _reduce(reducer, x).astype(np.float64)
    sd = latents.std(axis=0)
    return Codec(
        config=config,
        preprocess=fitted,
        reducer=reducer,
        latent_mean=latents.mean(axis=0).astype(np.float32),
        # A latent that an autoencoder left unused stays 0 instead of becoming amplified rounding.
        latent_sd=np.where(sd > 1e-6 * max(sd.max(), 1e-12), sd, 1.0).astype(np.float32),
    )


def fit_codecs(
    cohort: Cohort,
    config: CodecConfig | Mapping[str, CodecConfig],
    seed: int,
    progress: Progress | None = None,
    *,
    done: Mapping[str, Codec] | None = None,
    on_fit: Callable[[str, Codec], None] = lambda modality, codec: None,
    scratch: Path | None = None,
    checkpoint_seconds: float = 0.0,
) -> dict[str, Codec]:
    """One codec for each modality of the cohort, from one config or one for each modality.

    Those in `done` are taken as they are; `on_fit` is given each of the others when it is fitted.
    `scratch` holds a directory for each modality, see `fit_codec`.
    """
    codecs = {}
    for modality in cohort.modalities:
        if done is not None and modality in done:
            codecs[modality] = done[modality]
            continue
        own = config if isinstance(config, CodecConfig) else config[modality]
        train, val = cohort.table(modality, "train"), cohort.table(modality, "val")

        def tell(line: str, modality: str = modality) -> None:
            if progress is not None:
                progress(f"{modality}: {line}")

        try:
            codecs[modality] = fit_codec(
                train,
                val,
                own,
                seed,
                tell,
                scratch=None if scratch is None else scratch / modality,
                checkpoint_seconds=checkpoint_seconds,
            )
        except InputError as error:
            raise InputError(f"{modality}: {error}") from error
        on_fit(modality, codecs[modality])
    return codecs


def encode_cohort(cohort: Cohort, codecs: Mapping[str, Codec]) -> Latents:
    """Every sample as latents of one padded width, modalities in the order of the codecs.

    A modality that the cohort does not have is absent for every sample.
    """
    lacking = [m for m in cohort.modalities if m not in codecs]
    if lacking:
        raise InputError(f"no codec for {lacking[0]!r}; there are codecs for {', '.join(codecs)}")
    ids = cohort.samples.index
    widths = np.array([codec.width for codec in codecs.values()])
    z = np.zeros((len(ids), len(codecs), widths.max()), dtype=np.float32)
    present = np.zeros(z.shape[:2], dtype=bool)
    for j, (modality, codec) in enumerate(codecs.items()):
        if modality not in cohort.modalities or cohort.tables[modality].empty:
            continue
        table = cohort.table(modality)
        present[:, j] = ids.isin(table.index)
        try:
            z[present[:, j], j, : codec.width] = codec.encode(table)
        except InputError as error:
            raise InputError(f"{modality}: {error}") from error
    return Latents(z, present, widths, tuple(codecs))


def _reduce(reducer: Pca | AutoencoderFit, x: np.ndarray) -> np.ndarray:
    return pca_encode(reducer, x) if isinstance(reducer, Pca) else autoencoder_encode(reducer, x)


def _restore(reducer: Pca | AutoencoderFit, z: np.ndarray) -> np.ndarray:
    return pca_decode(reducer, z) if isinstance(reducer, Pca) else autoencoder_decode(reducer, z)
